//! How a model is run: as a process of its own, or within this one.

mod in_process;
mod process;
mod users;

use std::net::SocketAddr;

use async_trait::async_trait;
use domain::ModelId;

pub use in_process::InProcessRunner;
pub use process::{ProcessRunner, Submissions};
pub use users::{SubmissionUsers, UserRange, UsersChoice, UsersError};

use crate::door::Door;
use crate::models_file::{ModelEntry, ModelProgram};

/// A model did not come up; the message says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// Starts models as gRPC nodes.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Starts `program`; returns once it can be called. When this future is dropped, nothing is left running.
    async fn start(
        &self,
        model_id: &ModelId,
        program: &ModelProgram,
    ) -> Result<Box<dyn Instance>, StartError>;

    /// Told the complete list of models whenever it changes: what is kept for others may go.
    fn keep_only(&self, _entries: &[ModelEntry]) {}

    /// Keeps what it runs away from the orchestrator's own ports, as far as it can tell who is who.
    fn door(&self) -> Door {
        Door::open()
    }
}

/// A model that runs. When dropped, it is stopped without grace.
#[async_trait]
pub trait Instance: Send {
    /// Where its gRPC server listens.
    fn address(&self) -> SocketAddr;

    /// Waits until it ends by itself; says how it ended. May be dropped and called again.
    async fn ended(&mut self) -> String;

    /// Stops it, with a few seconds of grace.
    async fn stop(&mut self);
}
