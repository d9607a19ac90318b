//! Scores rounds, each as a whole.

use std::sync::Arc;

use domain::{Prediction, Question, Timestamp};
use scoring::{
    PredictionScore, RoundOutcome, SettledStep, Settlement, StepMean, UnreadableAnswer, score_round, settle,
};
use storage::{OutdatedRounds, Result, RoundScores, ScoreRecord, StepScore, StorageError, Store};

use crate::holdings::Holdings;
use crate::{Progress, ScoreSettings};

/// Rounds claimed at once: few, so that workers share a backlog evenly and one that dies keeps few of them waiting.
const CLAIM: usize = 8;

/// Rounds scored again before new ones have their turn.
const AGAIN: usize = 64;

pub struct Scorer {
    store: Arc<dyn Store>,
    holdings: Arc<Holdings>,
    settings: Arc<ScoreSettings>,
    /// The stamp of its scores.
    rule: String,
}

enum Verdict {
    Scored(RoundScores),
    Void(String),
    Waiting,
}

impl Scorer {
    pub fn new(store: Arc<dyn Store>, holdings: Arc<Holdings>, settings: ScoreSettings) -> Self {
        let rule = settings.stamp();
        Scorer { store, holdings, settings: Arc::new(settings), rule }
    }

    /// Scores, voids or defers every round that is due and that no other worker has claimed.
    pub async fn score_due(&self, now: Timestamp, progress: &mut Progress) -> Result<()> {
        loop {
            let claimed = self.store.claim_ready(&self.holdings.hold(now), CLAIM).await?;
            for question in &claimed {
                self.score_one(question, now, progress).await?;
            }
            if claimed.len() < CLAIM {
                return Ok(());
            }
        }
    }

    /// Does the same for some rounds resolved after `resolved_after` that another rule scored or voided, the latest first:
    /// so the shortest window is whole again soonest. Returns how many it took.
    pub async fn rescore_some(
        &self,
        resolved_after: Timestamp,
        now: Timestamp,
        progress: &mut Progress,
    ) -> Result<usize> {
        let (mut again, mut taken) = (Progress::default(), 0);
        while taken < AGAIN {
            let hold = self.holdings.hold(now);
            let claimed = self.store.claim_outdated(&hold, &self.rule, resolved_after, CLAIM).await?;
            for question in &claimed {
                self.score_one(question, now, &mut again).await?;
            }
            taken += claimed.len();
            if claimed.len() < CLAIM {
                break;
            }
        }
        progress.rescored += again.scored + again.void;
        progress.waiting += again.waiting;
        Ok(taken)
    }

    /// How many such rounds are left.
    pub async fn outdated(&self, resolved_after: Timestamp, now: Timestamp) -> Result<OutdatedRounds> {
        self.store.outdated_rounds(&self.rule, resolved_after, now).await
    }

    async fn score_one(&self, question: &Question, now: Timestamp, progress: &mut Progress) -> Result<()> {
        let verdict = match self.judge(question, now).await {
            // One unreadable row must not keep the other rounds from their scores.
            Err(error @ StorageError::Corrupt { .. }) => {
                tracing::error!(round = %question.id, %error, "round void: it cannot be read");
                Verdict::Void(error.to_string())
            }
            verdict => verdict?,
        };
        match verdict {
            Verdict::Scored(scores) => {
                self.store.store_scores(&scores).await?;
                progress.scored += 1;
                progress.predictions += scores.scores.len() as u64;
            }
            Verdict::Void(reason) => {
                tracing::warn!(round = %question.id, reason, "void: {question}");
                self.store.void_round(question.id, &self.rule, now, &reason).await?;
                progress.void += 1;
            }
            Verdict::Waiting => {
                self.store.defer_scoring(question.id, now + self.settings.retry_after).await?;
                progress.waiting += 1;
            }
        }
        Ok(())
    }

    async fn judge(&self, question: &Question, now: Timestamp) -> Result<Verdict> {
        let steps = match self.settle(question, now).await? {
            Settlement::Settled(steps) => steps,
            Settlement::Waiting { .. } => return Ok(Verdict::Waiting),
            Settlement::Void { reason } => return Ok(Verdict::Void(reason)),
        };
        let predictions = self.store.predictions(question.id).await?;
        let (round, settings) = (question.clone(), Arc::clone(&self.settings));
        let judged_by = JudgedBy { rule: self.rule.clone(), at: now };
        let scoring =
            tokio::task::spawn_blocking(move || score(&round, &predictions, &steps, &settings, judged_by));
        Ok(scoring.await.unwrap_or_else(|error| {
            // A fault of ours: the round stays closed for a program without it, and the others go on.
            tracing::error!(round = %question.id, %error, "cannot score {question}, putting it off");
            Verdict::Waiting
        }))
    }

    async fn settle(&self, question: &Question, now: Timestamp) -> Result<Settlement> {
        let settings = &self.settings.settlement;
        // Read before the closes: prices that arrive in between must not make one of them look missing for good.
        let newest = self.store.newest_close_at(&question.asset, now).await?;
        let resolves_at = question.resolves_at();
        if newest.is_none_or(|newest| newest + settings.max_price_age <= resolves_at) {
            // In an outage rounds pile up, so none reads a day of closes only to learn that the last is missing.
            return Ok(Settlement::Waiting { instant: resolves_at });
        }
        let (after, up_to) = settings.needed_closes(question, now);
        let closes = self.store.closes(&question.asset, after, up_to).await?;
        Ok(settle(question, &closes, settings, now, newest))
    }
}

/// What scores say of how they came about.
struct JudgedBy {
    rule: String,
    at: Timestamp,
}

fn score(
    question: &Question,
    predictions: &[Prediction],
    steps: &[SettledStep],
    settings: &ScoreSettings,
    judged_by: JudgedBy,
) -> Verdict {
    let answers: Vec<_> = predictions.iter().map(|prediction| prediction.answer.as_ref()).collect();
    let outcome = score_round(question, &answers, steps, &settings.scoring);
    to_verdict(outcome, question, predictions, judged_by)
}

fn to_verdict(
    outcome: RoundOutcome,
    question: &Question,
    predictions: &[Prediction],
    judged_by: JudgedBy,
) -> Verdict {
    match outcome {
        RoundOutcome::Void { reason } => Verdict::Void(reason),
        RoundOutcome::Scored { best, q95, predictions: scores } => {
            let scores = RoundScores {
                round_id: question.id,
                rule: judged_by.rule,
                scored_at: judged_by.at,
                best,
                q95,
                scores: records(question, predictions, scores),
            };
            // What storage refuses would end the worker, at each start again.
            match scores.check_finite() {
                Ok(()) => Verdict::Scored(scores),
                Err(error) => Verdict::Void(error.to_string()),
            }
        }
    }
}

/// One for each prediction, but for those whose answer cannot be read.
fn records(
    question: &Question,
    predictions: &[Prediction],
    scores: Vec<std::result::Result<PredictionScore, UnreadableAnswer>>,
) -> Vec<ScoreRecord> {
    let record = |(prediction, score): (&Prediction, _)| match score {
        Ok(score) => Some(to_record(prediction, score)),
        Err(error) => {
            tracing::error!(round = %question.id, model = %prediction.model_id, %error, "left out of {question}");
            None
        }
    };
    predictions.iter().zip(scores).filter_map(record).collect()
}

fn to_record(prediction: &Prediction, score: PredictionScore) -> ScoreRecord {
    let to_step =
        |StepMean { step, mean, increments, left_out }| StepScore { step, mean, increments, left_out };
    ScoreRecord {
        model_id: prediction.model_id.clone(),
        raw: score.raw,
        relative: score.relative,
        failure: score.failure,
        steps: score.steps.into_iter().map(to_step).collect(),
    }
}
