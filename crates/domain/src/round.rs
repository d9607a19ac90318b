//! Rounds and predictions.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Asset, CrunchId, DeploymentId, Method, ModelId, RoundId, Span, Target, Timestamp};

/// A stored or configured word that the program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no {kind}: expected one of {expected}")]
pub struct UnknownWord {
    pub(crate) kind: &'static str,
    pub(crate) word: String,
    pub(crate) expected: String,
}

/// Enumerations that are stored and sent as words.
macro_rules! words {
    ($type:ident, $kind:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in order.
            pub const ALL: &[$type] = &[$($type::$variant),+];
            /// The word that is stored and sent.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }
        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl ::std::str::FromStr for $type {
            type Err = $crate::UnknownWord;
            fn from_str(word: &str) -> Result<Self, $crate::UnknownWord> {
                $type::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| $crate::UnknownWord {
                    kind: $kind,
                    word: word.chars().take(50).collect(),
                    expected: [$($word),+].join(", "),
                })
            }
        }
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as ::serde::Deserialize>::deserialize(deserializer)?.parse().map_err(::serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

/// Where a round stands.
///
/// `asked` → `closed` → `scored` or `void`; or `interrupted` (we died or stopped in flight), or `missed` (never asked).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoundState {
    /// Marked before the models are asked.
    Asked,
    /// Every model of the field has an outcome.
    Closed,
    /// Scored as a whole.
    Scored,
    /// Not scorable: its prices never came, or nobody answered.
    Void,
    /// We died or stopped while it was in flight.
    Interrupted,
    /// Never asked, for a reason of ours or of the prices.
    Missed,
}
words!(RoundState, "round state", {
    Asked => "asked", Closed => "closed", Scored => "scored", Void => "void",
    Interrupted => "interrupted", Missed => "missed",
});

/// One question put to every model at one instant, and so the identity of a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Follows from the other parts.
    pub id: RoundId,
    /// What to forecast.
    pub asset: Asset,
    /// How far ahead.
    pub horizon: Span,
    /// The spacings of the answers within the horizon; one, except with `predict_all`.
    pub steps: Vec<Span>,
    /// How models are asked.
    pub method: Method,
    /// What of the price is forecast.
    pub target: Target,
    /// The slot instant: no model has seen a later price.
    pub performed_at: Timestamp,
}

impl Question {
    /// The question about `asset` at `performed_at`.
    pub fn new(
        crunch: &CrunchId,
        asset: Asset,
        horizon: Span,
        steps: Vec<Span>,
        method: Method,
        target: Target,
        performed_at: Timestamp,
    ) -> Self {
        let id = RoundId::derive(crunch, &asset, horizon, &steps, performed_at);
        Question { id, asset, horizon, steps, method, target, performed_at }
    }

    /// When reality is known.
    pub fn resolves_at(&self) -> Timestamp {
        self.performed_at + self.horizon
    }
}

impl fmt::Display for Question {
    /// For log lines: `BTC 24h at 2025-05-20T00:02:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.performed_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        write!(f, "{} {} at {at}", self.asset, self.horizon)
    }
}

/// How one model's part in one round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PredictionStatus {
    /// A valid answer in time.
    Success,
    /// It answered in time, but with an error or with something that is no valid answer.
    Failed,
    /// No answer by the deadline.
    Timeout,
    /// Not asked: it does not run, cannot be reached, or is cooling down.
    Absent,
}
words!(PredictionStatus, "prediction status", {
    Success => "SUCCESS", Failed => "FAILED", Timeout => "TIMEOUT", Absent => "ABSENT",
});

/// One model's outcome in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Who.
    pub model_id: ModelId,
    /// Which start of its code; `None` when it was not running.
    pub deployment_id: Option<DeploymentId>,
    /// How it ended.
    pub status: PredictionStatus,
    /// The cause in words; always there unless the status is `SUCCESS`.
    pub reason: Option<String>,
    /// The valid answer.
    pub answer: Option<AnswerBytes>,
    /// The start of an answer that was refused, at most [`Prediction::MAX_REFUSED_BYTES`].
    pub refused: Option<String>,
    /// When the answer had arrived.
    pub received_at: Option<Timestamp>,
    /// From our sending the question to the whole answer.
    pub took: Option<Duration>,
}

impl Prediction {
    /// How much of a refused answer is kept.
    pub const MAX_REFUSED_BYTES: usize = 16 * 1024;

    /// How the reason begins where an answer was too large to be read: by this it is told from an error of the model's own.
    pub const TOO_LARGE: &str = "too large: ";

    /// An outcome without an answer.
    pub fn unanswered(
        model_id: ModelId,
        deployment_id: Option<DeploymentId>,
        status: PredictionStatus,
        reason: impl Into<String>,
    ) -> Self {
        Prediction {
            model_id,
            deployment_id,
            status,
            reason: Some(reason.into()),
            answer: None,
            refused: None,
            received_at: None,
            took: None,
        }
    }
}

/// A valid answer in the form in which it is kept from the check on, some kilobytes for a day ahead. Whoever collects,
/// stores or loads it passes the bytes on as they are: `scoring` alone packs and reads them, and knows their versions.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerBytes(Box<[u8]>);

impl AnswerBytes {
    /// What to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for AnswerBytes {
    /// Gives back what the vector has room for beyond its length: many are held at once.
    fn from(bytes: Vec<u8>) -> Self {
        AnswerBytes(bytes.into_boxed_slice())
    }
}

impl From<&[u8]> for AnswerBytes {
    fn from(bytes: &[u8]) -> Self {
        AnswerBytes(bytes.into())
    }
}

impl AsRef<[u8]> for AnswerBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AnswerBytes {
    /// The length alone: the bytes tell nobody anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerBytes({} bytes)", self.0.len())
    }
}

/// How many predictions ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusCounts {
    /// `SUCCESS`.
    pub success: u64,
    /// `FAILED`.
    pub failed: u64,
    /// `TIMEOUT`.
    pub timeout: u64,
    /// `ABSENT`.
    pub absent: u64,
}

impl StatusCounts {
    /// Counts one more.
    pub fn add(&mut self, status: PredictionStatus, count: u64) {
        *match status {
            PredictionStatus::Success => &mut self.success,
            PredictionStatus::Failed => &mut self.failed,
            PredictionStatus::Timeout => &mut self.timeout,
            PredictionStatus::Absent => &mut self.absent,
        } += count;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.success + self.failed + self.timeout + self.absent
    }
}

impl AddAssign for StatusCounts {
    fn add_assign(&mut self, other: Self) {
        self.success += other.success;
        self.failed += other.failed;
        self.timeout += other.timeout;
        self.absent += other.absent;
    }
}

impl FromIterator<PredictionStatus> for StatusCounts {
    fn from_iter<I: IntoIterator<Item = PredictionStatus>>(statuses: I) -> Self {
        let mut counts = StatusCounts::default();
        for status in statuses {
            counts.add(status, 1);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn words_are_read_back_and_unknown_ones_name_the_choices() {
        for state in RoundState::ALL {
            assert_eq!(RoundState::from_str(state.as_str()), Ok(*state));
        }
        let error = PredictionStatus::from_str("success").unwrap_err().to_string();
        assert_eq!(
            error,
            "`success` is no prediction status: expected one of SUCCESS, FAILED, TIMEOUT, ABSENT"
        );
    }
}
