//! The process around the worker.

use domain::{Clock, SystemClock};
use storage::{WorkerIdentity, WorkerRole};
use tokio::net::TcpListener;

/// What the worker knows of the process that it runs in.
#[derive(Debug)]
pub struct Process {
    /// Who it is: it lists itself with the workers that the database knows, for it writes nothing there.
    pub identity: WorkerIdentity,
    /// Where `/healthz`, `/readyz` and `/metrics` are answered besides, to whoever reaches it: without keys and limits.
    pub admin: Option<TcpListener>,
}

impl Process {
    /// One without a name and without that.
    pub fn unnamed() -> Self {
        let now = SystemClock.now();
        let identity = WorkerIdentity::new(WorkerRole::Report, String::new(), env!("CARGO_PKG_VERSION"), now);
        Process { identity, admin: None }
    }
}
