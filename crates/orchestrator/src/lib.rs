//! The local orchestrator, the model host and the built-in models.
//!
//! [`LocalOrchestrator`] keeps the models of a list running through a [`runner::Runner`] and announces them to
//! coordinators over a WebSocket. [`deploy`] lets people see, upload, start and stop them over HTTP. [`host`] serves one model as a gRPC node. [`builtin`] holds the models that come
//! with the program.

mod board;
pub mod builtin;
pub mod deploy;
mod door;
mod fleet;
mod handshake;
pub mod host;
pub mod limits;
mod local;
pub mod logs;
mod models_edit;
pub mod models_file;
mod models_watch;
pub mod runner;
mod server;
mod status;
mod submission_id;
mod supervisor;

pub use builtin::{BuiltinEntry, BuiltinSpec, roster};
pub use door::Door;
pub use fleet::{CountedIds, DeploymentIds, RandomIds};
pub use local::{Control, LocalOrchestrator, ModelSource};
pub use models_edit::{Adopted, adopt_submissions, set_roster};
pub use models_file::ModelEntry;
pub use runner::{InProcessRunner, ProcessRunner, SubmissionUsers, Submissions, UserRange, UsersChoice};
pub use status::{ModelStatus, Status};
pub use submission_id::{InvalidSubmissionId, SubmissionId};
pub use supervisor::RestartPolicy;
