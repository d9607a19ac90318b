//! A value that is read again at most once in a while, by one reader at a time, and kept when reading fails.
//!
//! Ages are measured in real time, whatever the clock says: they bound the load on the database.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Stopwatch;
use tokio::sync::MutexGuard as Turn;
use tokio::time::timeout;

use crate::stamp::Stamp;

/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time between two attempts while they fail, at most.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a value is served when it cannot be read again.
const KEEP_FOR: Duration = Duration::from_secs(3600);

/// A value as it was read last.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    value: Arc<T>,
    /// True when the latest attempt to read it again failed.
    pub(crate) stale: bool,
    /// Of the value and of whether it is stale.
    pub(crate) stamp: Stamp,
}

impl<T> Reading<T> {
    /// The value, for who keeps it.
    pub(crate) fn value(&self) -> Arc<T> {
        Arc::clone(&self.value)
    }
}

impl<T> Deref for Reading<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// There is nothing to serve: nothing was read yet, or too long ago. The cause is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Holds one value.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    /// For log lines.
    name: &'static str,
    /// The time between two readings.
    every: Duration,
    held: Mutex<Held<T>>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Held<T> {
    value: Option<(Arc<T>, Stopwatch)>,
    tried: Option<Stopwatch>,
    failing: bool,
    stamp: Stamp,
    /// How often it was said that the value is out of date.
    expiries: u64,
}

impl<T: PartialEq> Cached<T> {
    pub(crate) fn new(name: &'static str, every: Duration) -> Self {
        let held = Held { value: None, tried: None, failing: false, stamp: Stamp::fresh(), expiries: 0 };
        Cached { name, every, held: Mutex::new(held), refreshing: tokio::sync::Mutex::new(()) }
    }

    /// The value; `read` is awaited only when it is time to read again and nobody else does.
    pub(crate) async fn get(
        &self,
        read: impl Future<Output = storage::Result<T>>,
    ) -> Result<Reading<T>, Unavailable> {
        if self.was_tried_lately() {
            return self.held();
        }
        let Some(_turn) = self.take_turn().await else { return self.held() };
        if !self.was_tried_lately() {
            let expiries = self.lock().expiries;
            match timeout(PATIENCE, read).await {
                Ok(Ok(value)) => self.note_value(value),
                Ok(Err(error)) => self.note_failure(&error),
                Err(_) => self.note_failure(&format_args!("no answer within {} s", PATIENCE.as_secs())),
            }
            self.note_expiry_since(expiries);
        }
        self.held()
    }

    /// Whoever has something to serve does not wait for the one who is reading.
    async fn take_turn(&self) -> Option<Turn<'_, ()>> {
        match self.refreshing.try_lock() {
            Ok(turn) => Some(turn),
            Err(_) if self.held().is_ok() => None,
            Err(_) => Some(self.refreshing.lock().await),
        }
    }

    /// The value is out of date: who asks next reads it again.
    pub(crate) fn expire(&self) {
        let mut held = self.lock();
        held.expiries += 1;
        if !held.failing {
            held.tried = None;
        }
    }

    /// What was being read while it changed may be from before the change.
    fn note_expiry_since(&self, expiries: u64) {
        let mut held = self.lock();
        if held.expiries != expiries && !held.failing {
            held.tried = None;
        }
    }

    fn was_tried_lately(&self) -> bool {
        let held = self.lock();
        let pause = if held.failing { self.every.min(RETRY_AFTER) } else { self.every };
        held.tried.is_some_and(|tried| tried.elapsed() < pause)
    }

    fn held(&self) -> Result<Reading<T>, Unavailable> {
        let held = self.lock();
        match &held.value {
            Some((value, age)) if age.elapsed() < KEEP_FOR => {
                Ok(Reading { value: value.clone(), stale: held.failing, stamp: held.stamp })
            }
            _ => Err(Unavailable),
        }
    }

    /// A value equal to the one that is held is the same one, only younger: nothing that was made from it is made again.
    fn note_value(&self, value: T) {
        let mut held = self.lock();
        let known = held.value.take().map(|(known, _)| known).filter(|known| **known == value);
        if known.is_none() {
            held.stamp = Stamp::fresh();
        }
        held.value = Some((known.unwrap_or_else(|| Arc::new(value)), Stopwatch::start()));
        held.tried = Some(Stopwatch::start());
        if std::mem::replace(&mut held.failing, false) {
            held.stamp = Stamp::fresh();
            tracing::info!(what = self.name, "report worker: {} can be read again", self.name);
        }
    }

    fn note_failure(&self, error: &dyn std::fmt::Display) {
        let mut held = self.lock();
        held.tried = Some(Stopwatch::start());
        if !std::mem::replace(&mut held.failing, true) {
            held.stamp = Stamp::fresh();
            tracing::warn!(what = self.name, %error, "report worker: cannot read {}: {error}", self.name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use storage::StorageError;

    use super::*;

    fn away() -> StorageError {
        StorageError::Unavailable("connection refused".into())
    }

    #[tokio::test]
    async fn many_readers_cost_one_reading() {
        let cached = Cached::new("it", Duration::from_secs(60));
        let readings = AtomicU32::new(0);
        let read = || async {
            tokio::task::yield_now().await;
            Ok(readings.fetch_add(1, Ordering::SeqCst))
        };
        let (a, b, c) = tokio::join!(cached.get(read()), cached.get(read()), cached.get(read()));
        assert_eq!((*a.unwrap(), *b.unwrap(), *c.unwrap()), (0, 0, 0));
        assert_eq!(*cached.get(read()).await.unwrap(), 0);
        assert_eq!(readings.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_value_is_read_again_and_kept_and_marked_when_that_fails() {
        let cached = Cached::new("it", Duration::ZERO);
        assert_eq!(cached.get(async { Err(away()) }).await.unwrap_err(), Unavailable);
        assert_eq!(*cached.get(async { Ok(1) }).await.unwrap(), 1);
        assert_eq!(*cached.get(async { Ok(2) }).await.unwrap(), 2);
        let kept = cached.get(async { Err(away()) }).await.unwrap();
        assert_eq!((*kept, kept.stale), (2, true));
        let again = cached.get(async { Ok(3) }).await.unwrap();
        assert_eq!((*again, again.stale), (3, false));
    }

    #[tokio::test]
    async fn a_value_that_is_said_to_be_out_of_date_is_read_again_also_when_it_was_just_being_read() {
        let cached = Cached::new("it", Duration::from_secs(60));
        assert_eq!(*cached.get(async { Ok(1) }).await.unwrap(), 1);
        cached.expire();
        let changing = async {
            cached.expire();
            Ok(2)
        };
        assert_eq!(*cached.get(changing).await.unwrap(), 2);
        assert_eq!(*cached.get(async { Ok(3) }).await.unwrap(), 3);
        assert_eq!(*cached.get(async { panic!("read for no reason") }).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_stamp_changes_with_the_value_and_with_whether_it_is_stale_and_only_then() {
        let cached = Cached::new("it", Duration::ZERO);
        let stamp = async |value: Result<u32, StorageError>| cached.get(async { value }).await.unwrap().stamp;
        let first = stamp(Ok(1)).await;
        assert_eq!(stamp(Ok(1)).await, first);
        let stale = stamp(Err(away())).await;
        assert_ne!(stale, first);
        assert_eq!(stamp(Err(away())).await, stale);
        let fresh = stamp(Ok(1)).await;
        assert_ne!(fresh, stale);
        assert_ne!(stamp(Ok(2)).await, fresh);
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_not_asked_by_every_request() {
        let cached = Cached::<u32>::new("it", Duration::from_secs(60));
        assert!(cached.get(async { Err(away()) }).await.is_err());
        assert!(cached.get(async { panic!("asked again at once") }).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_holds_up_one_request_only_and_not_for_long() {
        let cached = Cached::new("it", Duration::ZERO);
        cached.get(async { Ok(1) }).await.unwrap();
        let hung = cached.get(std::future::pending());
        let other = cached.get(async { panic!("two readers at once") });
        let (hung, other) = tokio::join!(hung, other);
        assert_eq!((*hung.unwrap(), *other.unwrap()), (1, 1));
    }
}
