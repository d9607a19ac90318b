//! Scores rounds, each as a whole.

use std::sync::Arc;

use domain::{Prediction, PricePoint, Question, Timestamp};
use scoring::{PredictionScore, RoundOutcome, Settlement, StepMean, score_round, settle};
use storage::{Result, RoundScores, ScoreRecord, StepScore, StorageError, Store};

use crate::{Progress, ScoreSettings};

/// Rounds taken from the database at once: few, so that memory and write transactions stay small.
const BATCH: usize = 64;

pub struct Scorer {
    store: Arc<dyn Store>,
    settings: Arc<ScoreSettings>,
}

enum Verdict {
    Scored(RoundScores),
    Void(String),
    Waiting,
}

impl Scorer {
    pub fn new(store: Arc<dyn Store>, settings: ScoreSettings) -> Self {
        Scorer { store, settings: Arc::new(settings) }
    }

    /// Scores, voids or defers every round that is due.
    pub async fn score_due(&self, now: Timestamp) -> Result<Progress> {
        let mut progress = Progress::default();
        loop {
            let due = self.store.fetch_ready_to_score(now, BATCH).await?;
            for question in &due {
                self.score_one(question, now, &mut progress).await?;
            }
            if due.len() < BATCH {
                return Ok(progress);
            }
        }
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
                self.store.void_round(question.id, now, &reason).await?;
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
        let closes = self.closes(question).await?;
        let newest = self.store.newest_close_at(&question.asset).await?;
        let steps = match settle(question, &closes, &self.settings.settlement, now, newest) {
            Settlement::Settled(steps) => steps,
            Settlement::Waiting { .. } => return Ok(Verdict::Waiting),
            Settlement::Void { reason } => return Ok(Verdict::Void(reason)),
        };
        let predictions = self.store.predictions(question.id).await?;
        let (question, settings) = (question.clone(), Arc::clone(&self.settings));
        let scoring = tokio::task::spawn_blocking(move || {
            let answers: Vec<Option<&str>> =
                predictions.iter().map(|prediction| prediction.answer.as_deref()).collect();
            let outcome = score_round(&question, &answers, &steps, &settings.scoring);
            to_verdict(outcome, &question, &predictions, &settings, now)
        });
        // The task neither panics on bad data nor is it cancelled; should it be, the round is tried again.
        scoring.await.map_err(|error| StorageError::Unavailable(Box::new(error)))
    }

    /// The closes that the round's increments can need.
    async fn closes(&self, question: &Question) -> Result<Vec<PricePoint>> {
        let interval = self.settings.settlement.interval;
        self.store.closes(&question.asset, question.performed_at - interval, question.resolves_at()).await
    }
}

fn to_verdict(
    outcome: RoundOutcome,
    question: &Question,
    predictions: &[Prediction],
    settings: &ScoreSettings,
    now: Timestamp,
) -> Verdict {
    match outcome {
        RoundOutcome::Void { reason } => Verdict::Void(reason),
        RoundOutcome::Scored { best, q95, predictions: scores } => Verdict::Scored(RoundScores {
            round_id: question.id,
            rule: settings.scoring.rule.to_string(),
            scored_at: now,
            best,
            q95,
            scores: predictions.iter().zip(scores).map(to_record).collect(),
        }),
    }
}

fn to_record((prediction, score): (&Prediction, PredictionScore)) -> ScoreRecord {
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
