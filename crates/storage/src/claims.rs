//! Claims: which score worker works on which round.
//!
//! A claim keeps other workers away from a round for a while, so that many of them share the work. It is no promise: one
//! that ran out may be taken by another, and then both score the round, with the same result.
//!
//! What is said of clocks in [`LeaseRepository`](crate::LeaseRepository) holds for claims too.

use async_trait::async_trait;
use domain::{Question, Timestamp};

use crate::{Hold, HolderId, Result};

/// Rounds judged by another rule than the one in force, or by a price that was corrected since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutdatedRounds {
    /// How many.
    pub all: u64,
    /// How many of them are not deferred, whether claimed or not.
    pub due: u64,
}

/// Which score worker works on which round. A round is free when nobody has claimed it, the claim ran out, or the claim is
/// the caller's own. Scoring, voiding or deferring a round ends its claim.
#[async_trait]
pub trait ClaimRepository {
    /// Claims up to `limit` free rounds that are closed, have resolved by now and are not deferred: the first in the order
    /// of resolution and id, in which they are returned. No two callers get the same round.
    async fn claim_ready(&self, hold: &Hold, limit: usize) -> Result<Vec<Question>>;

    /// Claims up to `limit` free rounds that resolved after `resolved_after`, were scored or voided by another rule than
    /// `rule` or by a price that was corrected since, and are not deferred: the latest resolution first, then by id.
    async fn claim_outdated(
        &self,
        hold: &Hold,
        rule: &str,
        resolved_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<Question>>;

    /// How many such rounds there are, deferred and claimed ones included.
    async fn outdated_rounds(
        &self,
        rule: &str,
        resolved_after: Timestamp,
        now: Timestamp,
    ) -> Result<OutdatedRounds>;

    /// When the first of the rounds resolved that are ready to be scored by `now`, whoever has claimed them.
    async fn first_ready(&self, now: Timestamp) -> Result<Option<Timestamp>>;

    /// Makes every claim of this holder last longer.
    async fn renew_claims(&self, hold: &Hold) -> Result<()>;

    /// Gives every claim of this holder back.
    async fn release_claims(&self, by: &HolderId) -> Result<()>;
}
