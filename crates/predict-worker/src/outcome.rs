//! From what came over the wire to a prediction.

use std::time::Duration;

use domain::{AnswerBytes, DeploymentId, ModelId, Prediction, PredictionStatus, Question, Timestamp};
use model_client::{CallOutcome, Oversized};
use protocol::Value;
use scoring::{Expected, Limits, Refusal, parse_answer};

use crate::elsewhere::elsewhere;

/// Answers above this are checked outside the runtime's threads: they may take more than a tenth of a millisecond.
const CHECK_ELSEWHERE_BYTES: usize = 8 * 1024;

/// What a model said to a question, and when.
pub struct Reply {
    /// Who.
    pub model_id: ModelId,
    /// Which start of its code.
    pub deployment_id: DeploymentId,
    /// What came over the wire.
    pub outcome: CallOutcome,
    /// When it had come.
    pub received_at: Timestamp,
}

impl Reply {
    /// The prediction that this makes; `None` when the fault is ours, which is held against nobody.
    pub async fn into_prediction(self, question: &Question, limits: &Limits) -> Option<Prediction> {
        use PredictionStatus::{Absent, Failed, Timeout};
        let (status, reason) = match self.outcome {
            CallOutcome::Answered { value, took, room } => {
                let answer = Answer {
                    model_id: self.model_id,
                    deployment_id: self.deployment_id,
                    took,
                    received_at: self.received_at,
                };
                let prediction = answer.check(value, question, limits).await;
                drop(room);
                return Some(prediction);
            }
            CallOutcome::Raised { code, message } => (Failed, format!("raised ({code}): {message}")),
            CallOutcome::BadImplementation { message } => (Failed, format!("bad implementation: {message}")),
            CallOutcome::TooLarge { what: Oversized::Answer, message } => {
                (Failed, format!("{}{message}", Prediction::TOO_LARGE))
            }
            CallOutcome::TooLarge { what: Oversized::Request, message }
            | CallOutcome::BadAnswer { message } => (Failed, message),
            CallOutcome::NotSetUp { message, excused } => {
                let status = if excused { Absent } else { Failed };
                (status, format!("its process is fresh and not set up: {message}"))
            }
            CallOutcome::Timeout { message } | CallOutcome::Busy { message } => (Timeout, message),
            CallOutcome::Broken { message } | CallOutcome::Unreachable { message } => {
                (Absent, format!("cannot be reached: {message}"))
            }
            CallOutcome::CredentialsRefused { message } => {
                (Absent, format!("refused credentials: {message}"))
            }
            CallOutcome::CoolingDown { message } => (Absent, message),
            CallOutcome::OurFault { message, excused: false } => {
                (Failed, format!("refuses our questions more often than is excused: {message}"))
            }
            CallOutcome::OurFault { message, excused: true } => {
                tracing::error!(model = %self.model_id, round = %question.id, %message, "the node refused our question: left out of the round");
                return None;
            }
        };
        let reason = printable(&reason);
        Some(Prediction {
            received_at: (status == Failed).then_some(self.received_at),
            ..Prediction::unanswered(self.model_id, Some(self.deployment_id), status, reason)
        })
    }
}

/// What keeps a model from being asked.
#[derive(Debug, Clone)]
pub struct SetupFault {
    /// How its part in a round ends; `None` when the fault is ours, which is held against nobody.
    status: Option<PredictionStatus>,
    /// The cause.
    pub reason: String,
}

impl SetupFault {
    /// The fault in the outcome of a set-up, if there is one.
    pub fn of(outcome: CallOutcome) -> Option<Self> {
        use PredictionStatus::{Absent, Failed};
        let (status, reason) = match outcome {
            CallOutcome::Answered { .. } => return None,
            CallOutcome::Raised { code, message } => {
                (Some(Failed), format!("set-up raised ({code}): {message}"))
            }
            CallOutcome::BadImplementation { message } => {
                (Some(Failed), format!("bad implementation: {message}"))
            }
            CallOutcome::BadAnswer { message } | CallOutcome::TooLarge { message, .. } => {
                (Some(Failed), format!("odd answer to the set-up: {message}"))
            }
            CallOutcome::Timeout { message }
            | CallOutcome::Busy { message }
            | CallOutcome::CoolingDown { message } => (Some(Absent), format!("set-up: {message}")),
            CallOutcome::Broken { message } | CallOutcome::Unreachable { message } => {
                (Some(Absent), format!("cannot be reached: {message}"))
            }
            CallOutcome::CredentialsRefused { message } => {
                (Some(Absent), format!("refused credentials: {message}"))
            }
            CallOutcome::NotSetUp { message, excused } | CallOutcome::OurFault { message, excused } => {
                ((!excused).then_some(Failed), format!("the node refused our set-up: {message}"))
            }
        };
        Some(SetupFault { status, reason: printable(&reason) })
    }

    /// What this makes of the model's part in a round; `None`: it is left out.
    pub fn prediction(&self, model_id: &ModelId, deployment_id: &DeploymentId) -> Option<Prediction> {
        let (id, deployment) = (model_id.clone(), Some(deployment_id.clone()));
        self.status.map(|status| Prediction::unanswered(id, deployment, status, self.reason.clone()))
    }
}

struct Answer {
    model_id: ModelId,
    deployment_id: DeploymentId,
    took: Duration,
    received_at: Timestamp,
}

impl Answer {
    async fn check(self, value: Value, question: &Question, limits: &Limits) -> Prediction {
        let (status, answer, reason, refused) = match pack_answer(value, question, limits).await {
            Ok(answer) => (PredictionStatus::Success, Some(answer), None, None),
            Err(RefusedAnswer { reason, text }) => {
                (PredictionStatus::Failed, None, Some(printable(&reason)), Some(kept_part(&text)))
            }
        };
        Prediction {
            model_id: self.model_id,
            deployment_id: Some(self.deployment_id),
            status,
            reason,
            answer,
            refused: refused.filter(|text| !text.is_empty()),
            received_at: Some(self.received_at),
            took: Some(self.took),
        }
    }
}

/// An answer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedAnswer {
    /// Where and why, for its author.
    pub reason: String,
    /// The answer; empty when it was no JSON.
    pub text: String,
}

/// Checks what a model answered to `question`, as every answer is checked. A large one is checked away from the runtime's
/// threads.
pub async fn check_answer(value: Value, question: &Question, limits: &Limits) -> Result<(), RefusedAnswer> {
    read_answer(value, question, limits, |text, expected, limits| {
        parse_answer(text, expected, limits).map(drop)
    })
    .await
}

/// [`check_answer`], and what is stored of a valid answer: of its text nothing is kept.
pub async fn pack_answer(
    value: Value,
    question: &Question,
    limits: &Limits,
) -> Result<AnswerBytes, RefusedAnswer> {
    read_answer(value, question, limits, |text, expected, limits| {
        scoring::pack_answer(text, expected, limits).map(|(_, packed)| packed.into())
    })
    .await
}

/// What is made of a text.
type Reader<T> = fn(&[u8], &Expected, &Limits) -> Result<T, Refusal>;

async fn read_answer<T: Send + 'static>(
    value: Value,
    question: &Question,
    limits: &Limits,
    read: Reader<T>,
) -> Result<T, RefusedAnswer> {
    match value {
        Value::Json(text) => read_text(text, question, limits, read).await,
        other => {
            let reason = format!("answered {}, expected JSON", kind(&other));
            Err(RefusedAnswer { reason, text: String::new() })
        }
    }
}

async fn read_text<T: Send + 'static>(
    text: String,
    question: &Question,
    limits: &Limits,
    read: Reader<T>,
) -> Result<T, RefusedAnswer> {
    let expected = Expected::from(question);
    let limits = *limits;
    let is_small = text.len() <= CHECK_ELSEWHERE_BYTES;
    let check = move || {
        let result = read(text.as_bytes(), &expected, &limits);
        result.map_err(|refusal| RefusedAnswer { reason: refusal.to_string(), text })
    };
    if is_small {
        return check();
    }
    elsewhere(check).await.unwrap_or_else(|_| {
        let reason = "the check of the answer failed: a fault of ours, see the log".to_owned();
        Err(RefusedAnswer { reason, text: String::new() })
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "nothing (None)",
        Value::Double(_) => "a DOUBLE",
        Value::Int(_) => "an INT",
        Value::String(_) => "a STRING",
        Value::Json(_) => "JSON",
    }
}

fn kept_part(text: &str) -> String {
    printable(&text[..text.floor_char_boundary(Prediction::MAX_REFUSED_BYTES)])
}

/// A text from outside as it is stored and logged: a reason of bounded length without characters that databases refuse.
pub fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(Prediction::MAX_REFUSED_BYTES);
    text[..end].replace('\0', "\u{fffd}")
}
