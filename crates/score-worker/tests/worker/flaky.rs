//! A store that does at a chosen moment what databases and neighbours do at any.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domain::{LedgerEntry, Timestamp};
use storage::{InterceptedStore, Interceptor, Result, StorageError, Store};
use tokio_util::sync::CancellationToken;

/// What happens.
pub enum Fault {
    /// The connection breaks before the call arrives.
    Unreached,
    /// The connection breaks before the answer to the call arrives.
    Unanswered,
    /// The predict worker stores prices right after the call.
    PricesArrive(Vec<LedgerEntry>),
    /// The worker is told to stop right after the call.
    ToldToStop(CancellationToken),
}

/// A store that passes every call on to this one and has a fault at the call `at`, from 0; and its calls. Only those with
/// names in `counted` are counted; all when it is empty.
pub fn flaky(
    store: &Arc<dyn Store>,
    fault: Fault,
    counted: &'static str,
    at: usize,
) -> (Arc<dyn Store>, Calls) {
    let count = AtomicUsize::new(0);
    let calls = Calls(Arc::new(Plan { store: Arc::clone(store), fault, at, counted, count }));
    (Arc::new(InterceptedStore::new(Arc::clone(store), calls.clone())), calls)
}

/// The calls to a flaky store.
#[derive(Clone)]
pub struct Calls(Arc<Plan>);

struct Plan {
    store: Arc<dyn Store>,
    fault: Fault,
    at: usize,
    counted: &'static str,
    count: AtomicUsize,
}

impl Calls {
    /// How many were counted.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }
}

impl Plan {
    fn is_due(&self, call: &str) -> bool {
        let counts = self.counted.split(' ').any(|counted| counted.is_empty() || counted == call);
        counts && self.count.fetch_add(1, Ordering::SeqCst) == self.at
    }

    /// What happens after the call.
    async fn strike(&self) -> Result<()> {
        match &self.fault {
            Fault::Unreached | Fault::Unanswered => Err(unavailable()),
            Fault::PricesArrive(entries) => self.store.append_prices(entries, Timestamp::UNIX_EPOCH).await,
            Fault::ToldToStop(shutdown) => {
                shutdown.cancel();
                Ok(())
            }
        }
    }
}

impl Interceptor for Calls {
    async fn intercept<T: Send>(
        &self,
        method: &'static str,
        access: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let is_due = self.0.is_due(method);
        if is_due && matches!(self.0.fault, Fault::Unreached) {
            return Err(unavailable());
        }
        let value = access.await?;
        if is_due {
            self.0.strike().await?;
        }
        Ok(value)
    }
}

fn unavailable() -> StorageError {
    StorageError::Unavailable("the connection broke".into())
}
