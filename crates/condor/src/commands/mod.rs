//! One file for each command.

pub mod config;
pub mod db;
pub mod model_host;
pub mod orchestrator;
pub mod predict;
pub mod replay;
pub mod report;
pub mod score;
pub mod up;

/// A command line that makes no sense; the process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
