//! The operator's hand: what people change, and the record of who did it, when and why.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use domain::{ModelId, RoundId, Timestamp};
use serde::Serialize;

use crate::Result;

/// The rule of a round that an operator voided: no change of the scoring rule scores it again.
pub const BY_HAND: &str = "by hand";

/// What an operator does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Voids a closed, scored or void round; its scores go, and it stays void whatever the rule.
    VoidRound(RoundId),
    /// Has a closed, scored or void round scored again, from the predictions and prices as they are stored now.
    RescoreRound(RoundId),
    /// Leaves a model out of the leaderboard.
    ExcludeModel(ModelId),
    /// Ends that.
    IncludeModel(ModelId),
    /// From now on no round is asked.
    Pause,
    /// Ends that.
    Resume,
}

impl Action {
    /// What is done, as it is stored.
    pub fn word(&self) -> &'static str {
        match self {
            Action::VoidRound(_) => "void_round",
            Action::RescoreRound(_) => "rescore_round",
            Action::ExcludeModel(_) => "exclude_model",
            Action::IncludeModel(_) => "include_model",
            Action::Pause => "pause",
            Action::Resume => "resume",
        }
    }

    /// To what: the id of a round or model.
    pub fn subject(&self) -> Option<String> {
        match self {
            Action::VoidRound(id) | Action::RescoreRound(id) => Some(id.to_string()),
            Action::ExcludeModel(id) | Action::IncludeModel(id) => Some(id.to_string()),
            Action::Pause | Action::Resume => None,
        }
    }
}

/// An action with all that goes on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
}

/// Why an order changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unchanged {
    /// There is no such round or model.
    Unknown,
    /// It is so already.
    Already,
    /// The round is in a state that is not for scoring.
    State(domain::RoundState),
    /// The predictions of the round are not kept any more: to score it again would lose its scores.
    PredictionsGone,
}

impl fmt::Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unchanged::Unknown => f.write_str("there is none with this id"),
            Unchanged::Already => f.write_str("it is so already"),
            Unchanged::State(state) => {
                write!(f, "it is {state}: only closed, scored and void rounds can be judged")
            }
            Unchanged::PredictionsGone => {
                f.write_str("its predictions are not kept any more: it cannot be scored again")
            }
        }
    }
}

/// An order as it is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// From 1, in the order of recording.
    pub number: u64,
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What was done: see [`Action::word`].
    pub action: String,
    /// To which round or model.
    pub subject: Option<String>,
    /// Why.
    pub reason: String,
}

/// What operators change.
#[async_trait]
pub trait OperatorRepository {
    /// Carries out an order and puts it on record. One that changes nothing is not recorded, and says why.
    async fn carry_out(&self, order: &Order) -> Result<std::result::Result<(), Unchanged>>;

    /// The newest orders on record, up to `limit`, newest first.
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>>;

    /// The models that are left out of the leaderboard.
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>>;

    /// The order by which no round is asked now.
    async fn pause(&self) -> Result<Option<AuditEntry>>;
}
