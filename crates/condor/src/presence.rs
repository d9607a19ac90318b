//! Tells the database every few seconds that a worker lives, and how it is: for the page's view of the system.
//!
//! It has a connection of its own and waits for nothing long, so that it is in nobody's way. While the database is away
//! nothing is told; a worker that was killed falls silent.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock};
use storage::{StorageError, Store, WorkerFacts, WorkerIdentity, WorkerRole, WorkerSign};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// How long the database may take each time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is told of a worker beside who it is.
#[async_trait::async_trait]
pub trait Account: Send + Sync + 'static {
    /// What it does, in a few words, and facts about that. `store` may be asked.
    async fn account(&self, store: &dyn Store) -> Result<(String, WorkerFacts), StorageError>;
}

/// Who this process is from now on.
pub fn identity(role: WorkerRole) -> WorkerIdentity {
    WorkerIdentity::new(role, machine(), env!("CARGO_PKG_VERSION"), SystemClock.now())
}

/// The name of this machine.
pub fn machine() -> String {
    nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
}

/// Tells of a worker for as long as it is not ended.
pub struct Presence {
    stop: CancellationToken,
    telling: JoinHandle<()>,
}

impl Presence {
    /// Starts to tell the database at `url` of a worker, whose account `worker` gives.
    pub async fn start(
        identity: WorkerIdentity,
        url: &str,
        worker: Arc<dyn Account>,
    ) -> Result<Self, StorageError> {
        let stop = CancellationToken::new();
        let teller = Teller { identity, store: store::open(url).await?, worker };
        let telling = tokio::spawn(teller.keep_telling(stop.clone()));
        Ok(Presence { stop, telling })
    }

    /// The worker stops, and leaves the record.
    pub async fn end(self) {
        self.stop.cancel();
        // Whatever became of it, the row goes a day later.
        let _ = self.telling.await;
    }
}

struct Teller {
    identity: WorkerIdentity,
    store: Arc<dyn Store>,
    worker: Arc<dyn Account>,
}

impl Teller {
    async fn keep_telling(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            bounded("the worker is not on record for now", self.tell()).await;
            stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        }
        let leaving = self.store.forget_worker(&self.identity.instance);
        bounded("the worker stays on record for a day", leaving).await;
    }

    async fn tell(&self) -> Result<(), StorageError> {
        let (state, facts) = self.worker.account(self.store.as_ref()).await?;
        let schema = self.store.known_schema();
        let sign = WorkerSign { identity: self.identity.clone(), schema, state, facts };
        self.store.note_worker(&sign, SystemClock.now()).await
    }
}

/// Others say in the log that the database is away.
async fn bounded(consequence: &str, access: impl Future<Output = Result<(), StorageError>>) {
    match tokio::time::timeout(PATIENCE, access).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "{consequence}"),
        Err(_) => tracing::debug!("{consequence}: the database does not answer within {PATIENCE:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Busy;

    #[async_trait::async_trait]
    impl Account for Busy {
        async fn account(&self, _: &dyn Store) -> Result<(String, WorkerFacts), StorageError> {
            Ok(("busy".to_owned(), WorkerFacts { due_rounds: Some(3), ..WorkerFacts::default() }))
        }
    }

    #[tokio::test]
    async fn a_worker_is_on_record_from_its_start_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let identity = identity(WorkerRole::Score);
        let presence = Presence::start(identity.clone(), &url, Arc::new(Busy)).await.unwrap();
        let workers = async || store.workers(SystemClock.now()).await.unwrap();
        while workers().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let [worker] = &workers().await[..] else { panic!("one worker") };
        assert_eq!(worker.sign.identity.instance, identity.instance);
        assert_eq!((worker.sign.state.as_str(), worker.sign.facts.due_rounds), ("busy", Some(3)));
        assert_eq!(worker.sign.schema, store.known_schema());
        presence.end().await;
        assert_eq!(workers().await, []);
    }
}
