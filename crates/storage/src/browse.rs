//! What people look at: rounds, what became of them, and how models answered, portion by portion. Only reads.
//!
//! Every access is bounded, whatever is asked for: lists walk along the ids of rounds, which sort by slot, newest first,
//! and a walk ends after [`PORTION`] rounds even if it has found nothing; then it tells where to go on.

use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Asset, DeploymentId, ModelId, Prediction, PredictionStatus, PricePoint, RoundId, RoundState, Span,
    StatusCounts, Timestamp,
};

use crate::{Result, RoundRecord};

/// How many rounds one walk looks at.
pub const PORTION: usize = 5_000;

/// Which rounds to list: those for which all that is given holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundFilter {
    /// About this asset.
    pub asset: Option<Asset>,
    /// Over this horizon.
    pub horizon: Option<Span>,
    /// In this state.
    pub state: Option<RoundState>,
    /// Asked at or after this instant.
    pub from: Option<Timestamp>,
    /// Asked before this instant.
    pub to: Option<Timestamp>,
}

impl RoundFilter {
    /// The ids that such rounds have below `before`: from the first, and below the second.
    pub fn bounds(&self, before: Option<RoundId>) -> (RoundId, RoundId) {
        let from = RoundId::first_at(self.from.unwrap_or(Timestamp::UNIX_EPOCH));
        let to = RoundId::first_at(self.to.unwrap_or(Timestamp::MAX_UTC));
        (from, before.map_or(to, |before| before.min(to)))
    }
}

/// Which outcomes of a model to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutcomeFilter {
    /// In these rounds.
    pub rounds: RoundFilter,
    /// That ended so.
    pub status: Option<PredictionStatus>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to go on: give it as `before`; `None` at the end of the list. There may be more even where nothing was found.
    pub next: Option<RoundId>,
}

impl<T> Page<T> {
    /// The page of a walk that looked for one item more than `limit`, down to and with the round `walked_to`, or to the end.
    pub fn of_walk(
        mut found: Vec<T>,
        limit: usize,
        walked_to: Option<RoundId>,
        id: impl Fn(&T) -> RoundId,
    ) -> Self {
        let is_cut = found.len() > limit;
        found.truncate(limit);
        let next = if is_cut { found.last().map(id) } else { walked_to };
        Page { items: found, next }
    }
}

/// How one model's part in one round ended, without what it answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Who.
    pub model_id: ModelId,
    /// Which start of its code; `None` when it was not running.
    pub deployment_id: Option<DeploymentId>,
    /// How it ended.
    pub status: PredictionStatus,
    /// The cause, unless the status is `SUCCESS`. May quote the answer.
    pub reason: Option<String>,
    /// When the answer had arrived.
    pub received_at: Option<Timestamp>,
    /// From our sending the question to the whole answer.
    pub took: Option<Duration>,
    /// Its score; `None` unless the round is scored, and for an answer that could not be read any more.
    pub score: Option<OutcomeScore>,
}

/// A score, without its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeScore {
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// 0 to 1, higher is better.
    pub relative: f64,
    /// Why a valid answer has no score.
    pub failure: Option<String>,
}

/// A model's part in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOutcome {
    /// Which round.
    pub round: RoundRecord,
    /// How it ended.
    pub outcome: Outcome,
}

/// How one model answered in some rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelActivity {
    /// Who.
    pub model_id: ModelId,
    /// How its predictions ended.
    pub counts: StatusCounts,
    /// How many of them have a latency.
    pub timed: u64,
    /// The sum of those latencies.
    pub took: Duration,
    /// The longest of them; zero without any.
    pub longest: Duration,
}

/// What people look at. See the module for how lists behave.
#[async_trait]
pub trait BrowseRepository {
    /// Up to `limit` rounds, newest slot first, below `before`.
    async fn list_rounds(
        &self,
        filter: &RoundFilter,
        before: Option<RoundId>,
        limit: usize,
    ) -> Result<Page<RoundRecord>>;

    /// How every prediction of a round ended, with its score, in the order of model ids.
    async fn round_outcomes(&self, id: RoundId) -> Result<Vec<Outcome>>;

    /// One prediction, answer included.
    async fn prediction(&self, id: RoundId, model: &ModelId) -> Result<Option<Prediction>>;

    /// Up to `limit` of a model's outcomes, newest slot first, of rounds below `before`. Each is looked up by its key.
    async fn model_outcomes(
        &self,
        model: &ModelId,
        filter: &OutcomeFilter,
        before: Option<RoundId>,
        limit: usize,
    ) -> Result<Page<ModelOutcome>>;

    /// The rounds with `from <= performed_at < to` whose predictions are stored, in the order of ids. They do not change.
    async fn answered_rounds(&self, from: Timestamp, to: Timestamp) -> Result<Vec<RoundId>>;

    /// How models answered in these rounds, in the order of model ids. Reads every prediction of them: give it few.
    async fn activity(&self, rounds: &[RoundId]) -> Result<Vec<ModelActivity>>;

    /// Closes of an asset with `after < at <= up_to`, oldest first, one for each multiple of `spacing` since the epoch: the
    /// last one since the multiple before it, if there is any; of several at one instant the one stored last. Each is
    /// looked up by itself, so that few of a long time cost little; a `spacing` of zero gives none.
    async fn spaced_closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        spacing: Span,
    ) -> Result<Vec<PricePoint>>;
}
