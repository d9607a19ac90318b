//! What a worker finds in the database when it starts.

use domain::{LedgerEntry, LedgerPosition, Model, Span, Timestamp};
use storage::{Result, Store};

use crate::recorder::persist;

/// What an earlier run has left.
pub struct OnRecord {
    /// The entries that are young enough to matter.
    pub ledger: Vec<LedgerEntry>,
    /// The newest entry's position.
    pub ledger_end: LedgerPosition,
    /// Every model ever seen.
    pub models: Vec<Model>,
    /// The newest slot.
    pub newest_slot: Option<Timestamp>,
}

impl OnRecord {
    /// Marks the rounds that were in flight as interrupted, and reads the rest; waits for the database as long as it takes.
    pub async fn take_over(store: &dyn Store, now: Timestamp, history: Span) -> Result<Self> {
        let read = || Self::try_take_over(store, now, history);
        persist("what is on record", read, |error, away| {
            tracing::warn!(%error, away_s = away.as_secs(), "waiting for the database: nothing is asked yet");
        })
        .await
    }

    async fn try_take_over(store: &dyn Store, now: Timestamp, history: Span) -> Result<Self> {
        let reason = "the predict worker ended while it was in flight";
        let interrupted = store.interrupt_open_rounds(now, reason).await?;
        if !interrupted.is_empty() {
            let rounds = interrupted.len();
            tracing::warn!(rounds, "rounds in flight when the predict worker ended: interrupted");
        }
        Ok(OnRecord {
            ledger: store.ledger_since(now - history).await?,
            ledger_end: store.ledger_end().await?,
            models: store.models().await?,
            newest_slot: store.newest_slot().await?,
        })
    }
}
