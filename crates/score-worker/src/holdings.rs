//! What a score worker holds in the database: claims on the rounds that it works on, and at times the lease on the ranking.
//!
//! Both end by themselves when they are not renewed, so that others soon do the work of a worker that died.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Span, Timestamp};
use storage::{Hold, HolderId, Lease, LeaseName, Result, Store};
use tokio::sync::watch;

/// How long claims and leases last unless they are renewed: the work of a worker that died rests so long at most. A database
/// that is slow, or away for a moment, must not cost a living one what it holds.
pub const LEASE: Span = Span::seconds(30);

/// Renewed so often that two attempts in a row may fail.
const RENEWAL: Duration = Duration::from_secs(10);

pub struct Holdings {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    id: HolderId,
    /// The lease on the ranking, as far as this worker knows.
    ranking: watch::Sender<Option<Lease>>,
}

impl Holdings {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Holdings { store, clock, id: HolderId::random(), ranking: watch::Sender::new(None) }
    }

    /// What claims are made with at `now`.
    pub fn hold(&self, now: Timestamp) -> Hold {
        Hold { by: self.id.clone(), now, lasts: LEASE }
    }

    /// The lease on the ranking, which is taken when it is free; `None` while another worker has it. It may have been lost
    /// without a word: who writes with it is told so.
    pub async fn ranking(&self, now: Timestamp) -> Result<Option<Lease>> {
        let held = self.ranking.borrow().clone();
        if held.is_some() {
            return Ok(held);
        }
        let taken = self.store.take_lease(LeaseName::Ranking, &self.hold(now)).await?;
        if taken.is_some() {
            tracing::info!(holder = %self.id, "this score worker writes the leaderboard from now on");
            self.ranking.send_replace(taken.clone());
        }
        Ok(taken)
    }

    /// Notes that another worker has taken the lease on the ranking.
    pub fn lose_ranking(&self) {
        if self.ranking.send_replace(None).is_some() {
            tracing::warn!(holder = %self.id, "another score worker writes the leaderboard by now: this one was away");
        }
    }

    /// Tells whether this worker has the lease on the ranking.
    pub fn watch_ranking(&self) -> watch::Receiver<Option<Lease>> {
        self.ranking.subscribe()
    }

    /// Renews what is held, for as long as it is polled.
    pub async fn keep(&self) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "cannot renew claims and lease now: others may take them over");
            }
        }
    }

    /// Makes what is held last longer, as far as nobody else has taken it.
    pub async fn renew(&self) -> Result<()> {
        let hold = self.hold(self.clock.now());
        self.store.renew_claims(&hold).await?;
        let held = self.ranking.borrow().clone();
        if let Some(lease) = held
            && !self.store.renew_lease(&lease, &hold).await?
        {
            self.lose_ranking();
        }
        Ok(())
    }

    /// Gives everything back, so that others need not wait until it ends by itself.
    pub async fn give_back(&self) -> Result<()> {
        let claims = self.store.release_claims(&self.id).await;
        let lease = match self.ranking.send_replace(None) {
            Some(lease) => self.store.release_lease(&lease).await,
            None => Ok(()),
        };
        claims.and(lease)
    }
}
