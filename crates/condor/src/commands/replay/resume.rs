//! Going on where an earlier run over the same database ended or was killed, so that the result is that of one run.
//!
//! A run stores what it does in the order of time. So nothing is missing of what was played before the newest instant on
//! record, and that one is played once more: what of it is stored stays, the rest is asked anew. Scoring lags behind
//! playing, and goes on after the newest leaderboard: whatever was scored since is found to be so.

use std::cmp::max;

use domain::{Span, Timestamp};
use storage::{Result, Store};

use super::Plan;

/// Where a replay goes on.
pub struct Resumption {
    /// The instants that may not have been scored, from here until `play_from`.
    pub score_from: Timestamp,
    /// The first instant to play.
    pub play_from: Timestamp,
}

impl Resumption {
    /// Looks what is on record, and takes off record what the run before had in flight.
    pub async fn find(store: &dyn Store, plan: &Plan) -> Result<Self> {
        let interval = plan.config.prices.interval;
        let Some(newest) = newest_instant(store).await? else { return Ok(Resumption::fresh(plan)) };
        let withdrawn = store.withdraw_open_rounds().await?;
        let play_from = max(plan.from, newest);
        let score_from = first_unscored(store, plan.from, interval).await?;
        tracing::info!(rounds_in_flight = withdrawn.len(), %play_from, "going on where the run before ended");
        Ok(Resumption { score_from, play_from })
    }

    fn fresh(plan: &Plan) -> Self {
        Resumption { score_from: plan.from, play_from: plan.from }
    }
}

/// The newest instant of which a slot or a price is on record.
pub async fn newest_instant(store: &dyn Store) -> Result<Option<Timestamp>> {
    let newest_close = store.feed_status().await?.into_iter().map(|status| status.newest_at).max();
    Ok(max(store.newest_slot().await?, newest_close))
}

/// A leaderboard is the last thing that is written of its instant.
async fn first_unscored(store: &dyn Store, from: Timestamp, interval: Span) -> Result<Timestamp> {
    Ok(store.latest_leaderboard().await?.map_or(from, |newest| newest.as_of + interval))
}
