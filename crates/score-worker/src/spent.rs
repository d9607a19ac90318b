//! Where a score worker's time goes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::Stopwatch;

/// How long a worker has been at each kind of work. The times of threads that work side by side add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Claiming rounds.
    pub claiming: Duration,
    /// Reading prices.
    pub prices: Duration,
    /// Reading the answers of rounds.
    pub loading: Duration,
    /// Settling rounds, unpacking and scoring answers.
    pub scoring: Duration,
    /// Storing scores and other verdicts.
    pub storing: Duration,
    /// Following the changes of scores, windows, leaderboards, snapshots.
    pub ranking: Duration,
}

/// Adds it up.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Spent>);

impl Meter {
    /// What was spent so far.
    pub fn read(&self) -> Spent {
        // A lock is poisoned by a panic only, and none happens while it is held.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `work` and adds how long it took to a part.
    pub async fn time<T>(&self, part: fn(&mut Spent) -> &mut Duration, work: impl Future<Output = T>) -> T {
        let watch = Stopwatch::start();
        let outcome = work.await;
        *part(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += watch.elapsed();
        outcome
    }
}
