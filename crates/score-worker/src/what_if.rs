//! What the leaderboard would be if the stored predictions were scored and weighed otherwise. Nothing is written.

use std::sync::Arc;

use domain::{
    Clock, Leaderboard, ModelId, Parameter, Question, RoundState, ScoreHistory, ScoredPrediction,
    ScoredRound, SimulatedClock, Span, Timestamp, TimestampExt, Window, WindowSpans,
};
use storage::{BY_HAND, ExportedRound, Result, RoundPages, RoundScores, Store};

use crate::ScoreSettings;
use crate::holdings::Holdings;
use crate::ranker::rank_all_but;
use crate::scorer::{Scorer, Verdict};
use crate::spent::Meter;

/// Rounds scored at once.
const BATCH: usize = 256;

/// Rounds that were asked earlier than this before the windows begin do not reach into them: no competition asks further ahead.
const LONGEST_HORIZON: Span = Span::days(90);

/// What is to be different.
pub struct WhatIf {
    /// How predictions are scored and weighed.
    pub settings: ScoreSettings,
    /// How far windows reach back.
    pub windows: WindowSpans,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatIfOutcome {
    /// The leaderboard as it would be.
    pub leaderboard: Leaderboard,
    /// Rounds in the windows that would be scored.
    pub scored: u64,
    /// Rounds in the windows that would be void, or whose prices are not there; those voided by hand are not among them.
    pub void: u64,
}

impl WhatIf {
    /// Scores the rounds of the windows as of `as_of` in memory, by the prices of that time as they are on record now, and ranks
    /// who is a member now.
    /// `progress` is told how many rounds are done and how many there are.
    pub async fn play(
        &self,
        store: &Arc<dyn Store>,
        as_of: Timestamp,
        progress: impl Fn(usize, usize),
    ) -> Result<WhatIfOutcome> {
        let after = as_of.floor_to(Span::HOUR) - self.windows.of(Window::Anchor);
        let rounds = rounds_resolved(store.as_ref(), after, as_of).await?;
        let scorer = self.scorer(store, as_of);
        let mut history = ScoreHistory::new(after).with_windows(self.windows);
        let (mut scored, mut done) = (0, 0);
        for batch in rounds.chunks(BATCH) {
            for (question, verdict) in batch.iter().zip(scorer.judge_only(batch, as_of).await?) {
                if let Verdict::Scored(scores) = verdict {
                    history.insert(&to_scored_round(question, scores));
                    scored += 1;
                }
            }
            // Changes are kept for whoever stores them.
            history.take_changes();
            done += batch.len();
            progress(done, rounds.len());
        }
        let leaderboard = self.rank(store.as_ref(), &mut history, as_of).await?;
        Ok(WhatIfOutcome { leaderboard, scored, void: rounds.len() as u64 - scored })
    }

    fn scorer(&self, store: &Arc<dyn Store>, as_of: Timestamp) -> Scorer {
        let clock = Arc::new(SimulatedClock::at(as_of)) as Arc<dyn Clock>;
        let holdings = Arc::new(Holdings::new(Arc::clone(store), clock));
        Scorer::new(Arc::clone(store), holdings, self.settings.clone(), Arc::new(Meter::default()))
    }

    async fn rank(
        &self,
        store: &dyn Store,
        history: &mut ScoreHistory,
        as_of: Timestamp,
    ) -> Result<Leaderboard> {
        let mut ids: Vec<ModelId> = Vec::new();
        for model in store.models().await? {
            history.set_member(&model.id, model.joined_at);
            ids.push(model.id);
        }
        history.set_first_scored(&store.first_scored(&ids).await?);
        let excluded = store.excluded_models().await?;
        let standings = history.standings(as_of, &self.settings.weights);
        Ok(rank_all_but(&excluded, &standings, &self.settings.stamp()))
    }
}

/// The rounds that resolved after `after` up to `up_to` and that a rule may judge, in the order of ids.
async fn rounds_resolved(store: &dyn Store, after: Timestamp, up_to: Timestamp) -> Result<Vec<Question>> {
    let is_in = |round: &ExportedRound| {
        round.resolves_at > after
            && round.resolves_at <= up_to
            && matches!(round.state, RoundState::Closed | RoundState::Scored | RoundState::Void)
            && round.rule.as_deref() != Some(BY_HAND)
    };
    let mut questions = Vec::new();
    let mut pages = RoundPages::new(store, after - LONGEST_HORIZON, up_to);
    while let Some(rounds) = pages.next().await? {
        questions.extend(rounds.into_iter().filter(is_in).map(to_question));
    }
    Ok(questions)
}

fn to_question(round: ExportedRound) -> Question {
    let ExportedRound { round_id, asset, horizon, steps, method, target, performed_at, .. } = round;
    Question { id: round_id, asset, horizon, steps, method, target, performed_at }
}

fn to_scored_round(question: &Question, scores: RoundScores) -> ScoredRound {
    let to_scored = |score: storage::ScoreRecord| ScoredPrediction {
        model_id: score.model_id,
        relative: score.relative,
        raw: score.raw,
    };
    ScoredRound {
        id: question.id,
        parameter: Parameter { asset: question.asset.clone(), horizon: question.horizon },
        performed_at: question.performed_at,
        resolves_at: question.resolves_at(),
        scores: scores.scores.into_iter().map(to_scored).collect(),
    }
}
