//! A Python submission as a model node: one process runs its code, one call at a time.

mod environment;
mod frame;
mod log;
mod node;
mod process;

use std::path::PathBuf;
use std::time::Duration;

use super::MAX_MESSAGE_BYTES;

pub(crate) use environment::installers_see;
pub use environment::{EnvironmentError, Environments};
pub(super) use node::SubmissionNode;

/// The largest value that an answer can carry: a message holds it and some bytes more.
const LARGEST_VALUE: usize = MAX_MESSAGE_BYTES - 1024;

/// What becomes of the host of a submission whose process has died in a call or after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterDeath {
    /// It refuses calls with FAILED_PRECONDITION until the next Setup starts the process afresh.
    AwaitSetup,
    /// It tells the caller and ends, for its orchestrator to start it again: public coordinators never send a second Setup
    /// to the same address.
    End,
}

/// A submission that is ready to run.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The folder with `main.py`, or with one notebook.
    pub folder: PathBuf,
    /// The Python interpreter that has what the submission imports: see [`Environments::interpreter`].
    pub interpreter: PathBuf,
    /// The full name of the base class that is looked for when that of a Setup cannot be imported.
    pub base_class: String,
    /// A call beyond it gets its process killed.
    pub call_limit: Duration,
    /// What the host does once the process has died, other than in a Setup.
    pub after_death: AfterDeath,
}
