//! Statuses in answers.

use protocol::commons::Status;
use protocol::status;

pub(super) fn success() -> Status {
    Status { code: status::SUCCESS.to_owned(), message: String::new() }
}

pub(super) fn failure(code: &str, message: impl Into<String>) -> Status {
    Status { code: code.to_owned(), message: message.into() }
}
