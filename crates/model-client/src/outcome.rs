//! What became of a call.

use std::time::Duration;

use prost::Message;
use protocol::commons::Status;
use protocol::dynamic_subclass::CallResponse;
use protocol::{Value, status};

use crate::budget::Room;
use crate::health::Finding;
use crate::reception::Answer;
use crate::transport::Fault;

/// What became of a call, with its cause in words that a person can act on.
#[derive(Debug, Clone, PartialEq)]
pub enum CallOutcome {
    /// The model answered; a successful Setup answers [`Value::None`].
    Answered {
        /// What it said.
        value: Value,
        /// From sending the question to having the whole answer.
        took: Duration,
        /// The room that the value takes; others wait for it.
        room: Room,
    },
    /// The model's code raised, in its constructor or in the method.
    Raised {
        /// `MODEL_FAILED`, `SETUP_FAILED`, `UNKNOWN` or a code that is newer than this program.
        code: String,
        /// The node's words.
        message: String,
    },
    /// There is no such class or method.
    BadImplementation {
        /// The node's words.
        message: String,
    },
    /// The process is fresh: it wants Setup, then history.
    NotSetUp {
        /// The node's words.
        message: String,
        /// Not held against the model. False when it answers so too often, and counts as failed.
        excused: bool,
    },
    /// The node found our request wrong.
    OurFault {
        /// The node's words.
        message: String,
        /// Not held against the model. False when it answers so too often, and counts as failed.
        excused: bool,
    },
    /// A message above a size limit.
    TooLarge {
        /// Which message it was.
        what: Oversized,
        /// Both sizes, where known.
        message: String,
    },
    /// An answer that is none: no protobuf, no status, a value that is not of its type.
    BadAnswer {
        /// What is wrong with it.
        message: String,
    },
    /// The node is not who it has to be, or does not accept who we are. Nothing of what it said was used.
    CredentialsRefused {
        /// Whose credentials, what is wrong with them, and how to mend it.
        message: String,
    },
    /// The model took the call, and the caller's patience ended before its answer came.
    Timeout {
        /// Which call, and how long.
        message: String,
    },
    /// The model never took the call: until the caller's patience ended it was busy, with an earlier call of ours or with
    /// another caller.
    Busy {
        /// With what, and since when.
        message: String,
    },
    /// The call was under way when the connection broke, or the node answered with an error of its own.
    Broken {
        /// Why.
        message: String,
    },
    /// There is no connection.
    Unreachable {
        /// Why.
        message: String,
    },
    /// The call was skipped, since the model has timed out several times in a row.
    CoolingDown {
        /// After how many timeouts, and when it is tried again.
        message: String,
    },
}

/// Which message was above a size limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversized {
    /// Ours, which the node did not take: send less at once.
    Request,
    /// The model's.
    Answer,
}

impl CallOutcome {
    /// True when the model has taken the call in, whatever it then did with it: what was sent need not be sent again.
    pub fn acknowledges(&self) -> bool {
        match self {
            CallOutcome::Answered { .. }
            | CallOutcome::Raised { .. }
            | CallOutcome::BadImplementation { .. }
            | CallOutcome::BadAnswer { .. } => true,
            CallOutcome::TooLarge { what, .. } => *what == Oversized::Answer,
            CallOutcome::NotSetUp { .. }
            | CallOutcome::OurFault { .. }
            | CallOutcome::CredentialsRefused { .. }
            | CallOutcome::Timeout { .. }
            | CallOutcome::Busy { .. }
            | CallOutcome::Broken { .. }
            | CallOutcome::Unreachable { .. }
            | CallOutcome::CoolingDown { .. } => false,
        }
    }

    /// The cause in words; empty when the model answered.
    pub fn cause(&self) -> &str {
        match self {
            CallOutcome::Answered { .. } => "",
            CallOutcome::Raised { message, .. }
            | CallOutcome::BadImplementation { message }
            | CallOutcome::NotSetUp { message, .. }
            | CallOutcome::OurFault { message, .. }
            | CallOutcome::TooLarge { message, .. }
            | CallOutcome::BadAnswer { message }
            | CallOutcome::CredentialsRefused { message }
            | CallOutcome::Timeout { message }
            | CallOutcome::Busy { message }
            | CallOutcome::Broken { message }
            | CallOutcome::Unreachable { message }
            | CallOutcome::CoolingDown { message } => message,
        }
    }

    /// What this tells about the model; `None` when it tells nothing.
    pub(crate) fn finding(&self) -> Option<Finding<'_>> {
        let cause = self.cause();
        match self {
            CallOutcome::Answered { .. } => Some(Finding::Good),
            CallOutcome::Raised { .. }
            | CallOutcome::BadAnswer { .. }
            | CallOutcome::TooLarge { what: Oversized::Answer, .. }
            | CallOutcome::NotSetUp { excused: false, .. }
            | CallOutcome::OurFault { excused: false, .. } => Some(Finding::Failed(cause)),
            CallOutcome::BadImplementation { .. } => Some(Finding::BadImplementation(cause)),
            CallOutcome::CredentialsRefused { .. } => Some(Finding::CredentialsRefused(cause)),
            CallOutcome::Timeout { .. } | CallOutcome::Busy { .. } => Some(Finding::TimedOut(cause)),
            CallOutcome::Broken { .. } => Some(Finding::Broken(cause)),
            CallOutcome::Unreachable { .. } => Some(Finding::NoConnection(cause)),
            CallOutcome::TooLarge { what: Oversized::Request, .. }
            | CallOutcome::NotSetUp { excused: true, .. }
            | CallOutcome::OurFault { excused: true, .. }
            | CallOutcome::CoolingDown { .. } => None,
        }
    }

    /// Whether a refusal is excused, for outcomes that are one.
    pub(crate) fn refusal(&mut self) -> Option<&mut bool> {
        match self {
            CallOutcome::NotSetUp { excused, .. } | CallOutcome::OurFault { excused, .. } => Some(excused),
            _ => None,
        }
    }

    /// Reads a node's answer. A Setup's is the same message without a value.
    pub(crate) fn of_answer(answer: Answer, took: Duration, max_answer_bytes: usize) -> Self {
        let Answer { message, room } = answer;
        let response = match CallResponse::decode(message) {
            Ok(response) => response,
            Err(error) => return bad_answer(format!("the answer is no message of this protocol: {error}")),
        };
        let Some(said) = response.status.filter(|status| !status.code.is_empty()) else {
            return bad_answer("the answer carries no status".to_owned());
        };
        if said.code != status::SUCCESS {
            return Self::of_status(said);
        }
        // A node whose method returned nothing may leave the value out.
        let variant = response.method_response.unwrap_or_default();
        if variant.value.len() > max_answer_bytes {
            return Self::oversized_answer(variant.value.len(), max_answer_bytes);
        }
        match Value::try_from(variant) {
            Ok(value) => CallOutcome::Answered { value, took, room },
            Err(error) => bad_answer(format!("the answer cannot be read: {error}")),
        }
    }

    fn of_status(said: Status) -> Self {
        let message = bounded(&said.message);
        match said.code.as_str() {
            status::BAD_IMPLEMENTATION => CallOutcome::BadImplementation { message },
            status::FAILED_PRECONDITION => CallOutcome::NotSetUp { message, excused: true },
            status::INVALID_ARGUMENT => CallOutcome::OurFault { message, excused: true },
            code => CallOutcome::Raised { code: bounded(code), message },
        }
    }

    pub(crate) fn of_fault(fault: Fault, max_answer_bytes: usize) -> Self {
        match fault {
            Fault::NoConnection(message) | Fault::NotSent(message) => CallOutcome::Unreachable { message },
            Fault::Credentials(message) => CallOutcome::CredentialsRefused { message },
            Fault::Broken(message) => CallOutcome::Broken { message },
            Fault::TooLarge { bytes } => Self::oversized_answer(bytes, max_answer_bytes),
            Fault::Malformed(message) => bad_answer(message),
            Fault::Refused(status) => Self::of_grpc_status(&status),
        }
    }

    /// A gRPC status tells of the node and of the way to it, never of the model, whose faults come as answers.
    fn of_grpc_status(status: &tonic::Status) -> Self {
        use tonic::Code;
        let message = format!("the node answered {:?}: {}", status.code(), bounded(status.message()));
        match status.code() {
            Code::ResourceExhausted | Code::OutOfRange if let Some(what) = oversized(status) => {
                CallOutcome::TooLarge { what, message }
            }
            Code::Unauthenticated | Code::PermissionDenied => {
                let message = format!("the node refused our credentials: {}", bounded(status.message()));
                CallOutcome::CredentialsRefused { message }
            }
            Code::FailedPrecondition => CallOutcome::NotSetUp { message, excused: true },
            Code::InvalidArgument => CallOutcome::OurFault { message, excused: true },
            _ => CallOutcome::Broken { message },
        }
    }

    fn oversized_answer(bytes: usize, max_answer_bytes: usize) -> Self {
        let message =
            format!("the answer has {bytes} bytes, more than the {max_answer_bytes} that are allowed");
        CallOutcome::TooLarge { what: Oversized::Answer, message }
    }
}

/// True when the node is busy with a call of another caller, and has not taken ours.
pub(crate) fn is_busy_answer(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::ResourceExhausted && oversized(status).is_none()
}

/// Which message a node means when it speaks of a size limit: grpcio's words, then tonic's.
fn oversized(status: &tonic::Status) -> Option<Oversized> {
    let text = status.message().to_ascii_lowercase();
    if !text.contains("larger than max") && !text.contains("message length too large") {
        return None;
    }
    let its_own = text.contains("sent message") || text.contains("encoded message");
    Some(if its_own { Oversized::Answer } else { Oversized::Request })
}

fn bad_answer(message: String) -> CallOutcome {
    CallOutcome::BadAnswer { message }
}

/// The longest text of a node that is passed on.
const MAX_TEXT_BYTES: usize = 4 * 1024;

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::commons::Variant;

    const TOOK: Duration = Duration::from_millis(5);

    fn read(message: Bytes) -> CallOutcome {
        CallOutcome::of_answer(Answer { message, room: Room::default() }, TOOK, 1000)
    }

    fn answer(code: &str, message: &str, value: Option<Variant>) -> CallOutcome {
        let status = Some(Status { code: code.into(), message: message.into() });
        let response = CallResponse { status, method_response: value };
        read(response.encode_to_vec().into())
    }

    #[test]
    fn every_status_code_of_the_protocol_has_its_outcome() {
        let message = || "why".to_owned();
        let value = Value::Json("[1]".into());
        assert_eq!(
            answer("SUCCESS", "", Some(value.to_variant())),
            CallOutcome::Answered { value, took: TOOK, room: Room::default() }
        );
        let nothing = CallOutcome::Answered { value: Value::None, took: TOOK, room: Room::default() };
        assert_eq!(answer("SUCCESS", "", None), nothing);
        for code in ["MODEL_FAILED", "SETUP_FAILED", "UNKNOWN", "NEWER_THAN_US"] {
            let raised = CallOutcome::Raised { code: code.into(), message: message() };
            assert_eq!(answer(code, "why", None), raised);
        }
        assert_eq!(
            answer("BAD_IMPLEMENTATION", "why", None),
            CallOutcome::BadImplementation { message: message() }
        );
        let (message, excused) = (message(), true);
        let not_set_up = CallOutcome::NotSetUp { message: message.clone(), excused };
        assert_eq!(answer("FAILED_PRECONDITION", "why", None), not_set_up);
        assert_eq!(answer("INVALID_ARGUMENT", "why", None), CallOutcome::OurFault { message, excused });
    }

    #[test]
    fn an_answer_that_is_none_says_what_is_wrong_with_it() {
        let told = |outcome: CallOutcome| match outcome {
            CallOutcome::BadAnswer { message } => message,
            other => panic!("{other:?}"),
        };
        let read = |bytes: &'static [u8]| read(Bytes::from_static(bytes));
        assert!(told(read(b"\xff\xff\xff")).starts_with("the answer is no message of this protocol"));
        assert_eq!(told(read(b"")), "the answer carries no status");
        assert_eq!(told(answer("", "", None)), "the answer carries no status");
        let double = Variant { r#type: 1, value: Bytes::from_static(b"123") };
        assert_eq!(
            told(answer("SUCCESS", "", Some(double))),
            "the answer cannot be read: a DOUBLE has 8 bytes, got 3"
        );
        let unknown = Variant { r#type: 77, value: Bytes::new() };
        assert_eq!(
            told(answer("SUCCESS", "", Some(unknown))),
            "the answer cannot be read: type 77 is not in the protocol"
        );
    }

    #[test]
    fn a_value_above_the_limit_is_too_large_and_one_at_the_limit_is_not() {
        let of = |bytes: usize| answer("SUCCESS", "", Some(Value::String("x".repeat(bytes)).to_variant()));
        assert!(matches!(of(1000), CallOutcome::Answered { .. }));
        assert!(matches!(of(1001), CallOutcome::TooLarge { what: Oversized::Answer, .. }));
    }

    #[test]
    fn a_nodes_endless_text_is_cut_between_characters() {
        let CallOutcome::Raised { message, .. } = answer("MODEL_FAILED", &"é".repeat(5000), None) else {
            panic!("no failure");
        };
        assert_eq!(message.len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn grpc_statuses_tell_busy_size_credentials_and_transport_apart() {
        use tonic::Status;
        let of = |status: Status| CallOutcome::of_fault(Fault::Refused(status), 1000);
        assert!(is_busy_answer(&Status::resource_exhausted("busy")));
        let python = Status::resource_exhausted("Received message larger than max (5000000 vs. 4194304)");
        assert!(!is_busy_answer(&python));
        assert!(matches!(of(python), CallOutcome::TooLarge { what: Oversized::Request, .. }));
        let answer = Status::resource_exhausted("SERVER: Sent message larger than max (9 vs. 4)");
        assert!(matches!(of(answer), CallOutcome::TooLarge { what: Oversized::Answer, .. }));
        let tonic = "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes";
        assert!(matches!(
            of(Status::out_of_range(tonic)),
            CallOutcome::TooLarge { what: Oversized::Request, .. }
        ));
        assert!(matches!(of(Status::unavailable("")), CallOutcome::Broken { .. }));
        assert!(matches!(of(Status::internal("")), CallOutcome::Broken { .. }));
        assert!(matches!(of(Status::unauthenticated("")), CallOutcome::CredentialsRefused { .. }));
        assert!(matches!(of(Status::permission_denied("")), CallOutcome::CredentialsRefused { .. }));
        assert!(matches!(of(Status::failed_precondition("")), CallOutcome::NotSetUp { .. }));
        assert!(matches!(of(Status::invalid_argument("")), CallOutcome::OurFault { .. }));
    }

    #[test]
    fn an_answer_acknowledges_and_silence_busy_or_a_broken_connection_do_not() {
        let message = String::new;
        assert!(answer("SUCCESS", "", None).acknowledges());
        assert!(answer("MODEL_FAILED", "", None).acknowledges());
        assert!(CallOutcome::TooLarge { what: Oversized::Answer, message: message() }.acknowledges());
        assert!(!CallOutcome::TooLarge { what: Oversized::Request, message: message() }.acknowledges());
        assert!(!CallOutcome::Timeout { message: message() }.acknowledges());
        assert!(!CallOutcome::Unreachable { message: message() }.acknowledges());
        assert!(!CallOutcome::NotSetUp { message: message(), excused: true }.acknowledges());
        assert!(!CallOutcome::Busy { message: message() }.acknowledges());
        assert!(!CallOutcome::CoolingDown { message: message() }.acknowledges());
        assert!(!CallOutcome::CredentialsRefused { message: message() }.acknowledges());
    }
}
