//! Rows as `condor db export` prints them: everything that is needed to recompute every score outside.

use domain::{
    Asset, DeploymentId, Method, ModelId, PredictionStatus, RoundId, RoundState, Span, StatusCounts, Target,
    Timestamp,
};
use serde::Serialize;

use crate::StepScore;

/// A round. Spans are in seconds here, for scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in RoundRecord")]
pub struct ExportedRound {
    pub round_id: RoundId,
    pub asset: Asset,
    #[serde(serialize_with = "seconds")]
    pub horizon: Span,
    #[serde(serialize_with = "all_seconds")]
    pub steps: Vec<Span>,
    pub method: Method,
    pub target: Target,
    pub performed_at: Timestamp,
    pub resolves_at: Timestamp,
    pub state: RoundState,
    pub reason: Option<String>,
    pub closed_at: Option<Timestamp>,
    pub scored_at: Option<Timestamp>,
    #[serde(flatten)]
    pub counts: StatusCounts,
    pub rule: Option<String>,
    pub best: Option<f64>,
    pub q95: Option<f64>,
}

/// A prediction; `answer` is the JSON text as the model sent it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in domain::Prediction")]
pub struct ExportedPrediction {
    pub round_id: RoundId,
    pub model_id: ModelId,
    pub deployment_id: Option<DeploymentId>,
    pub status: PredictionStatus,
    pub reason: Option<String>,
    pub received_at: Option<Timestamp>,
    pub took_us: Option<u64>,
    pub answer: Option<String>,
}

/// A score.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in ScoreRecord")]
pub struct ExportedScore {
    pub round_id: RoundId,
    pub model_id: ModelId,
    pub raw: Option<f64>,
    pub relative: f64,
    pub failure: Option<String>,
    pub steps: Vec<StepScore>,
}

fn seconds<S: serde::Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(span.as_secs())
}

fn all_seconds<S: serde::Serializer>(spans: &[Span], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(spans.iter().map(|span| span.as_secs()))
}
