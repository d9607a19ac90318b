//! What is done to each model in a round, and what became of it.

use std::sync::Arc;
use std::time::Duration;

use domain::Question;
use model_client::{CallOutcome, EncodedCall, EncodedSetup, ModelNode, Room};
use predict_worker::check_answer;
use protocol::Value;
use scoring::Limits;

/// One call, encoded once for all models; cloning it copies no bytes.
#[derive(Clone)]
pub enum Action {
    /// Its constructor.
    SetUp(EncodedSetup),
    /// Prices.
    Tick(EncodedCall),
    /// A question whose answer is checked.
    Ask(Arc<Ask>),
}

/// A question, and what may be answered.
pub struct Ask {
    /// The question on the wire.
    pub call: EncodedCall,
    /// The question.
    pub question: Question,
    /// What a model may answer.
    pub limits: Limits,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// True when there was no outcome in time; false when it failed.
    pub is_timeout: bool,
    /// In words.
    pub cause: String,
}

impl Action {
    /// Does it to one model.
    pub async fn perform(&self, node: &ModelNode, patience: Duration) -> Result<(), Fault> {
        match self {
            Action::SetUp(setup) => answered(node.setup(setup, patience).await).map(drop),
            Action::Tick(tick) => answered(node.call(tick, patience).await).map(drop),
            Action::Ask(ask) => {
                let (answer, _room) = answered(node.call(&ask.call, patience).await)?;
                let checked = check_answer(answer, &ask.question, &ask.limits).await;
                checked.map_err(|refused| Fault::failed(refused.reason))
            }
        }
    }
}

impl Fault {
    fn failed(cause: impl Into<String>) -> Self {
        Fault { is_timeout: false, cause: cause.into() }
    }
}

/// The value of an answer, and the room that it takes. A busy model counts as in a round of the predict worker: its time has passed.
fn answered(outcome: CallOutcome) -> Result<(Value, Room), Fault> {
    let cause = match outcome {
        CallOutcome::Answered { value, room, .. } => return Ok((value, room)),
        CallOutcome::Timeout { message: cause }
        | CallOutcome::Busy { message: cause }
        | CallOutcome::CoolingDown { message: cause } => return Err(Fault { is_timeout: true, cause }),
        CallOutcome::Raised { code, message } => format!("raised ({code}): {message}"),
        CallOutcome::BadImplementation { message } => format!("bad implementation: {message}"),
        CallOutcome::NotSetUp { message, .. } => {
            format!("its process is fresh and not set up: {message}")
        }
        CallOutcome::OurFault { message, .. } => format!("refused our request: {message}"),
        CallOutcome::CredentialsRefused { message } => format!("refused credentials: {message}"),
        CallOutcome::Broken { message } | CallOutcome::Unreachable { message } => {
            format!("cannot be reached: {message}")
        }
        CallOutcome::TooLarge { message, .. } | CallOutcome::BadAnswer { message } => message,
    };
    Err(Fault::failed(cause))
}
