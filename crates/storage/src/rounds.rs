//! Rounds, the predictions in them, and their scores.

use async_trait::async_trait;
use domain::{
    ModelId, Prediction, Question, RoundId, RoundState, ScoredRound, Span, StatusCounts, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{ExportedPrediction, ExportedRound, ExportedScore, Result};

/// A round as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundRecord {
    /// What was asked.
    pub question: Question,
    /// Where it stands.
    pub state: RoundState,
    /// Why it is missed, void or interrupted.
    pub reason: Option<String>,
    /// When it was closed, interrupted or found missed.
    pub closed_at: Option<Timestamp>,
    /// When it was scored or voided.
    pub scored_at: Option<Timestamp>,
    /// How its predictions ended.
    pub counts: StatusCounts,
    /// Rule and version of its scores, such as `crps/1`.
    pub rule: Option<String>,
    /// The best raw score in it.
    pub best: Option<f64>,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: Option<f64>,
}

/// One model's score over the increments of one step size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepScore {
    /// The step size.
    pub step: Span,
    /// The mean over the increments that counted.
    pub mean: f64,
    /// How many increments counted.
    pub increments: u32,
    /// How many were left out, for every model alike.
    pub left_out: u32,
}

/// One model's score in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRecord {
    /// Who.
    pub model_id: ModelId,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// Why a valid answer has no score.
    pub failure: Option<String>,
    /// By step size; empty without a valid answer.
    pub steps: Vec<StepScore>,
}

/// A round's scores, stored as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundScores {
    /// Which round.
    pub round_id: RoundId,
    /// Rule and version, such as `crps/1`.
    pub rule: String,
    /// When they were computed.
    pub scored_at: Timestamp,
    /// The best raw score.
    pub best: f64,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: f64,
    /// One for each prediction of the round, of any status.
    pub scores: Vec<ScoreRecord>,
}

/// Counts changes of scores, from 1; a later change has the higher number. 0 is before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ChangeNumber(pub i64);

/// A round whose scores are new or were replaced, or that was voided.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreChange {
    /// Its place among the changes.
    pub number: ChangeNumber,
    /// Which round.
    pub round_id: RoundId,
    /// The scores; `None` when it is void now.
    pub scored: Option<ScoredRound>,
}

/// Rounds, the predictions in them, and their scores.
#[async_trait]
pub trait RoundRepository {
    /// Marks rounds as asked before they are asked. Returns those that were not on record in any state: only they may
    /// be asked.
    async fn mark_asked(&self, questions: &[Question], asked_at: Timestamp) -> Result<Vec<RoundId>>;

    /// Stores all predictions of a round at once and closes it: from `asked`, from `interrupted`, or from nothing when
    /// the mark never arrived. For a round in any other state nothing changes: the first stored outcome stays.
    /// Also notes for each model with a valid answer that it answered at `performed_at`.
    async fn close_round(
        &self,
        question: &Question,
        closed_at: Timestamp,
        predictions: &[Prediction],
    ) -> Result<()>;

    /// Records slots that were not asked. A round already on record stays as it is.
    async fn record_missed(&self, questions: &[Question], reason: &str, at: Timestamp) -> Result<()>;

    /// Marks every round still `asked` as interrupted at `at`; returns them. Called by the predict worker when it starts.
    async fn interrupt_open_rounds(&self, at: Timestamp, reason: &str) -> Result<Vec<RoundId>>;

    /// The newest slot on record.
    async fn newest_slot(&self) -> Result<Option<Timestamp>>;

    /// Up to `limit` closed rounds that have resolved by `now` and are not deferred beyond it, in the order of
    /// resolution and id.
    async fn fetch_ready_to_score(&self, now: Timestamp, limit: usize) -> Result<Vec<Question>>;

    /// Leaves a closed round alone until `until`, because its prices are not there yet.
    async fn defer_scoring(&self, id: RoundId, until: Timestamp) -> Result<()>;

    /// The predictions of a round, in the order of model ids, answers included.
    async fn predictions(&self, id: RoundId) -> Result<Vec<Prediction>>;

    /// Stores a round's scores and marks it scored; replaces the scores of a round scored before. Nothing changes (no
    /// new [`ChangeNumber`] either) when the same scores are stored again. A round that is neither closed nor scored
    /// stays as it is.
    async fn store_scores(&self, scores: &RoundScores) -> Result<()>;

    /// Marks a closed round void.
    async fn void_round(&self, id: RoundId, at: Timestamp, reason: &str) -> Result<()>;

    /// Up to `limit` changes after `after` to rounds that resolved after `resolved_after`, in the order of their
    /// numbers. Numbers are given in commit order: none appears later below one that was seen.
    async fn score_changes(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoreChange>>;

    /// For every model with one: when its first scored round asked since it joined resolved.
    async fn first_scored(&self) -> Result<Vec<(ModelId, Timestamp)>>;

    /// One round.
    async fn round(&self, id: RoundId) -> Result<Option<RoundRecord>>;

    /// A model's latest scored predictions that resolved after `after`: how many.
    async fn scored_count(&self, model: &ModelId, after: Timestamp) -> Result<u64>;

    /// For exports: rounds with `from <= performed_at < to` and id above `after`, in the order of ids (which is that of
    /// slots), up to `limit`.
    async fn export_rounds(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<RoundId>,
        limit: usize,
    ) -> Result<Vec<ExportedRound>>;

    /// For exports: every prediction of one round, in the order of model ids.
    async fn export_predictions(&self, id: RoundId) -> Result<Vec<ExportedPrediction>>;

    /// For exports: every score of one round, in the order of model ids.
    async fn export_scores(&self, id: RoundId) -> Result<Vec<ExportedScore>>;
}
