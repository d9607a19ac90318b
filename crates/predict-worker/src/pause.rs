//! Whether an operator has paused the competition.

use std::sync::Arc;
use std::time::Duration;

use storage::{AuditEntry, Store};
use tokio::sync::watch;

/// How long a look may take. A database that is slow or away holds no slot up: what was known last holds on.
const PATIENCE: Duration = Duration::from_millis(100);

pub struct PauseWatch {
    store: Arc<dyn Store>,
    pause: watch::Sender<Option<AuditEntry>>,
}

impl PauseWatch {
    /// Begins with what is stored.
    pub async fn start(store: Arc<dyn Store>) -> storage::Result<Self> {
        let pause = watch::Sender::new(store.pause().await?);
        Ok(PauseWatch { store, pause })
    }

    /// Looks once.
    pub async fn look(&self) {
        if let Ok(Ok(pause)) = tokio::time::timeout(PATIENCE, self.store.pause()).await {
            self.pause.send_replace(pause);
        }
    }

    /// Why no round is asked now.
    pub fn reason(&self) -> Option<String> {
        self.pause.borrow().as_ref().map(|pause| format!("paused by {}: {}", pause.by, pause.reason))
    }
}
