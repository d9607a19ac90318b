//! What the journal holds, and its form there.

use std::time::Duration;

use domain::{
    AnswerBytes, DeploymentId, LedgerEntry, Model, ModelId, Prediction, PredictionStatus, Question, RoundId,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{JournalError, Result};

/// A place in the order of records: from 1 on, never used twice. 0 is before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub i64);

/// One write to the database; each may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// New entries of the ledger.
    Prices(Vec<LedgerEntry>),
    /// What is known of models.
    Models(Vec<Model>),
    /// Rounds that are about to be asked.
    Asked {
        /// What is asked.
        questions: Vec<Question>,
        /// When it was marked.
        at: Timestamp,
    },
    /// A round whose outcomes are complete; they are kept apart.
    Closed {
        /// What was asked.
        question: Question,
        /// When it closed.
        closed_at: Timestamp,
    },
    /// Slots that were not asked.
    Missed {
        /// What would have been asked.
        questions: Vec<Question>,
        /// Why it was not.
        reason: String,
        /// When that was found.
        at: Timestamp,
    },
}

impl Record {
    /// In a word or two, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Record::Prices(_) => "prices",
            Record::Models(_) => "models",
            Record::Asked { .. } => "asked rounds",
            Record::Closed { .. } => "a closed round",
            Record::Missed { .. } => "missed rounds",
        }
    }

    /// The round that it closes.
    pub fn closes(&self) -> Option<RoundId> {
        match self {
            Record::Closed { question, .. } => Some(question.id),
            _ => None,
        }
    }
}

/// A record and its place.
#[derive(Debug)]
pub struct Entry {
    /// Its place.
    pub seq: Seq,
    /// When it was committed to the journal.
    pub at: Timestamp,
    /// The record, or why it cannot be read.
    pub record: Result<Record>,
}

/// A prediction but for its answer, which is kept as it is.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Prediction")]
struct OutcomeForm {
    model_id: ModelId,
    deployment_id: Option<DeploymentId>,
    status: PredictionStatus,
    reason: Option<String>,
    #[serde(skip)]
    answer: Option<AnswerBytes>,
    refused: Option<String>,
    received_at: Option<Timestamp>,
    took: Option<Duration>,
}

pub(crate) fn encode(record: &Record) -> Result<String> {
    serde_json::to_string(record).map_err(|error| unreadable(record.kind(), error))
}

pub(crate) fn decode(seq: Seq, payload: &str) -> Result<Record> {
    serde_json::from_str(payload).map_err(|error| unreadable(format!("record {}", seq.0), error))
}

pub(crate) fn encode_outcome(prediction: &Prediction) -> Result<(String, Option<&[u8]>)> {
    let mut payload = Vec::new();
    OutcomeForm::serialize(prediction, &mut serde_json::Serializer::new(&mut payload))
        .map_err(|error| unreadable("outcome", error))?;
    let payload = String::from_utf8(payload).map_err(|error| unreadable("outcome", error))?;
    Ok((payload, prediction.answer.as_ref().map(AnswerBytes::as_bytes)))
}

pub(crate) fn decode_outcome(
    round_id: RoundId,
    payload: &str,
    answer: Option<Vec<u8>>,
) -> Result<Prediction> {
    let mut prediction = OutcomeForm::deserialize(&mut serde_json::Deserializer::from_str(payload))
        .map_err(|error| unreadable(format!("outcome in round {round_id}"), error))?;
    prediction.answer = answer.map(AnswerBytes::from);
    Ok(prediction)
}

fn unreadable(what: impl Into<String>, why: impl std::fmt::Display) -> JournalError {
    JournalError::Unreadable { what: what.into(), why: why.to_string() }
}
