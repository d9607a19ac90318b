//! Whether an operator has paused the competition.

use std::sync::Arc;
use std::time::Duration;

use storage::{AuditEntry, Store};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// How long a look may take. A database that is slow or away holds no slot up: what was known last holds on.
const PATIENCE: Duration = Duration::from_millis(100);

pub struct PauseWatch {
    store: Arc<dyn Store>,
    /// A look that the database has not answered yet.
    reading: Mutex<Option<JoinHandle<storage::Result<Option<AuditEntry>>>>>,
    pause: watch::Sender<Option<AuditEntry>>,
}

impl PauseWatch {
    /// Begins with what is stored.
    pub async fn start(store: Arc<dyn Store>) -> storage::Result<Self> {
        let pause = watch::Sender::new(store.pause().await?);
        Ok(PauseWatch { store, reading: Mutex::default(), pause })
    }

    /// Looks once, and waits for the answer unless the one of an earlier look is still out.
    pub async fn look(&self) {
        let mut reading = self.reading.lock().await;
        let patience = if reading.is_none() { PATIENCE } else { Duration::ZERO };
        let store = Arc::clone(&self.store);
        let answer = reading.get_or_insert_with(|| tokio::spawn(async move { store.pause().await }));
        if let Ok(answer) = tokio::time::timeout(patience, answer).await {
            *reading = None;
            if let Ok(Ok(pause)) = answer {
                self.pause.send_replace(pause);
            }
        }
    }

    /// Why no round is asked now.
    pub fn reason(&self) -> Option<String> {
        self.pause.borrow().as_ref().map(|pause| format!("paused by {}: {}", pause.by, pause.reason))
    }
}
