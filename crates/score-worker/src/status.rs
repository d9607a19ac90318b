//! What a score worker says of itself while it works.

use std::sync::Arc;

use storage::{Lease, ScoringChange};
use tokio::sync::watch;

use crate::spent::{Meter, Spent};

/// What a score worker is doing; stays up to date.
#[derive(Debug, Clone)]
pub struct Status {
    pub(crate) others: watch::Receiver<Option<ScoringChange>>,
    pub(crate) ranking: watch::Receiver<Option<Lease>>,
    pub(crate) meter: Arc<Meter>,
}

impl Status {
    /// The settings in force, while they are not this worker's: it does nothing then.
    pub fn stands_by_for(&self) -> Option<ScoringChange> {
        self.others.borrow().clone()
    }

    /// Where its time went so far.
    pub fn spent(&self) -> Spent {
        self.meter.read()
    }

    /// True for the one worker that writes leaderboard and snapshots, as far as it knows.
    pub fn is_ranking(&self) -> bool {
        self.ranking.borrow().is_some()
    }
}
