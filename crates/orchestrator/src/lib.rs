//! The local orchestrator, the model host and the built-in models.
//!
//! [`LocalOrchestrator`] keeps the models of a list running through a [`runner::Runner`] and announces them to
//! coordinators over a WebSocket. [`host`] serves one model as a gRPC node. [`builtin`] holds the models that come
//! with the program.

mod board;
pub mod builtin;
mod fleet;
mod handshake;
pub mod host;
mod local;
pub mod models_file;
mod models_watch;
pub mod runner;
mod server;
mod supervisor;

pub use builtin::{BuiltinEntry, BuiltinSpec, roster};
pub use fleet::{CountedIds, DeploymentIds, RandomIds};
pub use local::{LocalOrchestrator, ModelSource};
pub use models_file::{ModelEntry, write_models_file};
pub use runner::{InProcessRunner, ProcessRunner};
