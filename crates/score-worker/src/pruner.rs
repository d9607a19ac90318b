//! Removes what is older than the settings keep: once an hour, by the worker that ranks.
//!
//! That it is one worker saves work and no more: two that remove the same do no harm.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use storage::{Pruned, Pruning, Result, Retention, Store};
use tokio::time::sleep;

use crate::holdings::Holdings;

/// Between two removals: each takes what has become old since.
const PAUSE: Duration = Duration::from_secs(3600);

/// After each portion comes a pause so many times as long, for whoever else writes.
const PATIENCE: u32 = 4;

/// And at least this long: who waits for SQLite's write lock looks every tenth of a second at the latest.
const LEAST_PATIENCE: Duration = Duration::from_millis(25);

pub struct Pruner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    holdings: Arc<Holdings>,
    retention: Retention,
}

impl Pruner {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        holdings: Arc<Holdings>,
        retention: Retention,
    ) -> Self {
        Pruner { store, clock, holdings, retention }
    }

    /// Removes what is old, as soon as this worker ranks and then every hour, for as long as it is polled. What cannot be
    /// removed now is for the next time.
    pub async fn keep(&self) -> Infallible {
        loop {
            // It cannot end: the sender is in the holdings.
            let _ = self.holdings.watch_ranking().wait_for(Option::is_some).await;
            if let Err(error) = self.prune().await {
                tracing::warn!(%error, "cannot remove what is old now, trying again in an hour");
            }
            sleep(PAUSE).await;
        }
    }

    /// Removes what is old while this worker ranks.
    pub async fn prune(&self) -> Result<Vec<Pruned>> {
        let ranking = self.holdings.watch_ranking();
        let store = self.store.as_ref();
        let mut pruning = Pruning::plan(store, &self.retention, self.clock.now()).await?;
        while ranking.borrow().is_some()
            && let Some(took) = pruning.step(store).await?
        {
            sleep(LEAST_PATIENCE.max(took * PATIENCE)).await;
        }
        log(&pruning);
        Ok(pruning.done().to_vec())
    }
}

fn log(pruning: &Pruning) {
    for Pruned { what, before, rows, bytes, in_use } in pruning.done() {
        if *rows + *bytes > 0 {
            tracing::info!(%what, %before, rows, bytes, "old {what} removed");
        }
        if *in_use > 0 {
            tracing::info!(%what, in_use, "old {what} are in use: they are removed another time");
        }
    }
    let unfinished = pruning.held_back();
    if unfinished > 0 {
        tracing::warn!(
            unfinished,
            "old rounds are still to be scored, and kept for that: without hope of prices end them with \
             `condor round void`"
        );
    }
}
