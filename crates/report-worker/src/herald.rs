//! Follows the database: what changed is read again, and told to who listens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, DeploymentId, Model, ModelId, RoundId, RoundState, Span, Timestamp};
use serde::Serialize;
use storage::{ChangeNumber, ChangeSource, RoundRecord, StorageError, Topic};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::cache::Unavailable;
use crate::stamp::Stamp;
use crate::{App, schema};

/// The rounds that are looked at: more than begin and end between two looks.
const ROUNDS: usize = 128;

/// Rounds named in one event, and models told of after one change, at most.
pub(crate) const MOST: usize = 100;

/// Between two looks at what changed, so that a busy database is not read all the time.
const PAUSE: Duration = Duration::from_millis(250);

/// How often everything is looked at while changes cannot be noticed, and what changed while it cannot be read.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// A round was asked, closed, missed or interrupted. Nothing of its answers is told.
#[derive(Serialize, ToSchema)]
#[schema(as = RoundEvent)]
pub(crate) struct RoundEvent<'a> {
    #[schema(value_type = schema::RoundId)]
    round_id: RoundId,
    #[schema(value_type = schema::Asset)]
    asset: &'a Asset,
    #[schema(value_type = schema::Span)]
    horizon: Span,
    /// Its slot.
    #[schema(value_type = schema::Timestamp)]
    performed_at: Timestamp,
    #[schema(value_type = schema::Timestamp)]
    resolves_at: Timestamp,
    #[schema(value_type = schema::RoundState)]
    state: RoundState,
}

/// Rounds were scored, voided or reopened.
#[derive(Serialize, ToSchema)]
#[schema(as = ScoresEvent)]
pub(crate) struct ScoresEvent {
    /// Which, at most 100; when there are more, several events follow one another.
    #[schema(value_type = Vec<schema::RoundId>, max_items = 100)]
    round_ids: Vec<RoundId>,
}

/// There is a new leaderboard.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaderboardEvent)]
pub(crate) struct LeaderboardEvent<'a> {
    /// Rounds resolved up to here count.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// Rule and version of the scores.
    rule: &'a str,
}

/// A model joined, came back, was deployed anew or left.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelEvent)]
pub(crate) struct ModelEvent<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    model_name: &'a str,
    /// `joined`, also after it had left; `deployed`; or `left`: it was unconnected for so long that it is not in the field any more.
    change: &'static str,
}

impl<'a> ModelEvent<'a> {
    /// That this became of a model.
    pub(crate) fn new(model: &'a Model, change: &'static str) -> Self {
        ModelEvent { model_id: &model.id, model_name: model.display_name(), change }
    }
}

/// Follows until `shutdown`.
pub(crate) async fn follow(app: Arc<App>, source: Arc<dyn ChangeSource>, shutdown: CancellationToken) {
    let mut herald = Herald { app, source, seen: Seen::default(), pending: BTreeSet::new() };
    shutdown.run_until_cancelled(herald.follow()).await;
}

struct Herald {
    app: Arc<App>,
    source: Arc<dyn ChangeSource>,
    seen: Seen,
    /// What changed and could not be read yet.
    pending: BTreeSet<Topic>,
}

/// What was told, or was there from the start.
#[derive(Default)]
struct Seen {
    rounds: Option<HashMap<RoundId, RoundState>>,
    scores: Option<ChangeNumber>,
    leaderboard: Option<Stamp>,
    models: Option<BTreeMap<ModelId, (Timestamp, DeploymentId)>>,
}

/// It is tried again.
struct NotNow;

impl From<StorageError> for NotNow {
    fn from(_: StorageError) -> Self {
        NotNow
    }
}

impl From<Unavailable> for NotNow {
    fn from(_: Unavailable) -> Self {
        NotNow
    }
}

impl Herald {
    async fn follow(&mut self) {
        let mut watch = self.source.watch();
        let mut is_blind = false;
        loop {
            let pause = match watch.changed().await {
                Ok(topics) => {
                    if std::mem::take(&mut is_blind) {
                        tracing::info!("report worker: changes in the database are noticed again");
                    }
                    self.app.notices.told(self.app.clock.now());
                    self.pending.extend(topics);
                    PAUSE
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_blind, true) {
                        tracing::warn!(%error, "report worker: looks for changes every second: {error}");
                    }
                    self.app.notices.blind();
                    self.pending.extend(Topic::ALL);
                    POLL_EVERY
                }
            };
            self.catch_up().await;
            while !self.pending.is_empty() {
                tokio::time::sleep(POLL_EVERY).await;
                self.catch_up().await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn catch_up(&mut self) {
        self.app.reader.expire(&self.pending);
        for topic in std::mem::take(&mut self.pending) {
            let told = match topic {
                Topic::Rounds => self.tell_rounds().await,
                Topic::Scores => self.tell_scores().await,
                Topic::Leaderboard => self.tell_leaderboard().await,
                Topic::Models => self.tell_models().await,
                Topic::Audit => Ok(()),
            };
            if told.is_err() {
                self.pending.insert(topic);
            }
        }
    }

    async fn tell_rounds(&mut self) -> Result<(), NotNow> {
        let rounds = self.source.newest_rounds(ROUNDS).await?;
        if let Some(seen) = &self.seen.rounds {
            let is_new = |round: &&RoundRecord| seen.get(&round.question.id) != Some(&round.state);
            // What is scored is told with the scores.
            let is_judged =
                |round: &&RoundRecord| matches!(round.state, RoundState::Scored | RoundState::Void);
            for round in rounds.iter().rev().filter(is_new).filter(|round| !is_judged(round)) {
                self.app.events.tell("round", &round_event(round));
            }
        }
        self.seen.rounds = Some(rounds.iter().map(|round| (round.question.id, round.state)).collect());
        Ok(())
    }

    async fn tell_scores(&mut self) -> Result<(), NotNow> {
        let Some(mut seen) = self.seen.scores else {
            self.seen.scores = Some(self.source.last_change().await?);
            return Ok(());
        };
        loop {
            let judged = self.source.judged_rounds(seen, MOST).await?;
            let Some((last, _)) = judged.last() else { return Ok(()) };
            seen = *last;
            self.seen.scores = Some(seen);
            let round_ids = judged.iter().map(|(_, round)| round.question.id).collect();
            self.app.events.tell("scores", &ScoresEvent { round_ids });
            if judged.len() < MOST {
                return Ok(());
            }
        }
    }

    async fn tell_leaderboard(&mut self) -> Result<(), NotNow> {
        let leaderboard = self.app.reader.leaderboard().await?;
        let before = self.seen.leaderboard.replace(leaderboard.stamp);
        if let Some(board) =
            leaderboard.as_ref().filter(|_| before.is_some_and(|seen| seen != leaderboard.stamp))
        {
            self.app.events.tell("leaderboard", &LeaderboardEvent { as_of: board.as_of, rule: &board.rule });
        }
        Ok(())
    }

    async fn tell_models(&mut self) -> Result<(), NotNow> {
        let models = self.app.reader.models().await?;
        if let Some(seen) = &self.seen.models {
            let changes = models.iter().filter_map(|model| {
                let change = match seen.get(&model.id) {
                    Some((joined_at, _)) if *joined_at != model.joined_at => "joined",
                    None => "joined",
                    Some((_, deployment)) if *deployment != model.deployment_id => "deployed",
                    Some(_) => return None,
                };
                Some(ModelEvent::new(model, change))
            });
            changes.take(MOST).for_each(|change| self.app.events.tell("model", &change));
        }
        let state = |model: &Model| (model.id.clone(), (model.joined_at, model.deployment_id.clone()));
        self.seen.models = Some(models.iter().map(state).collect());
        Ok(())
    }
}

fn round_event(round: &RoundRecord) -> RoundEvent<'_> {
    RoundEvent {
        round_id: round.question.id,
        asset: &round.question.asset,
        horizon: round.question.horizon,
        performed_at: round.question.performed_at,
        resolves_at: round.question.resolves_at(),
        state: round.state,
    }
}
