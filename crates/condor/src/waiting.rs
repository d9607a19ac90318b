//! A worker whose database is not there yet: it waits, and says so.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use domain::{Clock, Stopwatch, SystemClock, Timestamp};
use serde_json::{Value, json};
use storage::StorageError;

use crate::admin::Readiness;

/// How often the log says again that the database is waited for.
const REMINDER: std::time::Duration = std::time::Duration::from_secs(60);

/// Whether a worker waits for its database at this moment.
#[derive(Default)]
pub struct DatabaseWait(Mutex<Option<Fault>>);

struct Fault {
    since: Timestamp,
    why: String,
    said: Stopwatch,
}

impl DatabaseWait {
    /// The database could not be reached.
    pub fn note(&self, error: &StorageError) {
        let mut fault = self.lock();
        let is_due = fault.as_ref().is_none_or(|fault| fault.said.elapsed() >= REMINDER);
        let since = fault.as_ref().map_or_else(|| SystemClock.now(), |fault| fault.since);
        let said = fault.as_ref().filter(|_| !is_due).map_or_else(Stopwatch::start, |fault| fault.said);
        if is_due {
            tracing::warn!(%error, %since, "waiting for the database: the worker starts by itself when it is there");
        }
        *fault = Some(Fault { since, why: error.to_string(), said });
    }

    /// The database is there.
    pub fn end(&self) {
        if let Some(Fault { since, .. }) = self.lock().take() {
            tracing::warn!(%since, "the database is there");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The readiness of a worker that may have to wait for its database before it can start.
#[derive(Default)]
pub struct Startup {
    /// Says whether it waits.
    pub wait: DatabaseWait,
    running: OnceLock<Arc<dyn Readiness>>,
}

impl Startup {
    /// From now on `readiness` tells.
    pub fn is_over(&self, readiness: Arc<dyn Readiness>) {
        // A worker starts once.
        let _ = self.running.set(readiness);
    }
}

#[async_trait::async_trait]
impl Readiness for Startup {
    async fn check(&self) -> (bool, Value) {
        if let Some(running) = self.running.get() {
            return running.check().await;
        }
        let fault = self.wait.lock();
        let waiting = fault.as_ref().map(|fault| json!({ "since": fault.since, "why": fault.why }));
        (false, json!({ "started": false, "waits_for_database": waiting }))
    }

    fn look(&self) {
        if let Some(running) = self.running.get() {
            running.look();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Well;

    #[async_trait::async_trait]
    impl Readiness for Well {
        async fn check(&self) -> (bool, Value) {
            (true, json!({ "started": true }))
        }
    }

    #[tokio::test]
    async fn a_worker_says_since_when_it_waits_for_its_database_and_then_how_it_is() {
        let startup = Startup::default();
        startup.wait.note(&StorageError::Unavailable("nobody listens".into()));
        let (is_ready, details) = startup.check().await;
        assert!(!is_ready);
        assert_eq!(details["waits_for_database"]["why"], "the database is unavailable: nobody listens");
        let since = details["waits_for_database"]["since"].clone();
        startup.wait.note(&StorageError::Unavailable("it starts".into()));
        assert_eq!(startup.check().await.1["waits_for_database"]["since"], since);
        startup.wait.end();
        assert!(startup.check().await.1["waits_for_database"].is_null());
        startup.is_over(Arc::new(Well));
        assert_eq!(startup.check().await, (true, json!({ "started": true })));
    }
}
