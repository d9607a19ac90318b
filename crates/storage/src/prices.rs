//! The ledger.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PricePoint, Span, Timestamp};

use crate::Result;

/// What the ledger holds of one asset.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedStatus {
    /// What is priced.
    pub asset: Asset,
    /// The source of its newest entry.
    pub source: String,
    /// Ledger entries, corrections included.
    pub count: u64,
    /// The oldest close.
    pub oldest_at: Timestamp,
    /// The newest close.
    pub newest_at: Timestamp,
}

/// Two neighbouring closes of an asset that are further apart than closes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The earlier one.
    pub after: Timestamp,
    /// The later one.
    pub before: Timestamp,
}

/// All prices, in the order in which they were stored.
#[async_trait]
pub trait PriceRepository {
    /// Appends entries. The predict worker, the ledger's one writer, has numbered them; an entry whose position is
    /// taken is left as it was. A new one that gives a past instant another price than it had, or its first when the asset
    /// has later closes, goes on record as a correction that came at `at`.
    async fn append_prices(&self, entries: &[LedgerEntry], at: Timestamp) -> Result<()>;

    /// The position of the newest entry; [`LedgerPosition::START`] for an empty ledger.
    async fn ledger_end(&self) -> Result<LedgerPosition>;

    /// The entries whose close is at or after `since`, in the order of storing.
    async fn ledger_since(&self, since: Timestamp) -> Result<Vec<LedgerEntry>>;

    /// The closes of an asset with `after < at <= up_to`, oldest first, one per instant: the entry stored last wins.
    async fn closes(&self, asset: &Asset, after: Timestamp, up_to: Timestamp) -> Result<Vec<PricePoint>>;

    /// The instant of the newest close of an asset at or before `up_to`.
    async fn newest_close_at(&self, asset: &Asset, up_to: Timestamp) -> Result<Option<Timestamp>>;

    /// The holes between the closes of an asset with `after < at <= up_to`, where they should be `interval` apart, oldest first.
    async fn holes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        interval: Span,
    ) -> Result<Vec<Hole>>;

    /// What the ledger holds, by asset.
    async fn feed_status(&self) -> Result<Vec<FeedStatus>>;

    /// The assets whose prices rounds wait for that are neither scored nor void, and when the last of those rounds resolves.
    async fn awaited_assets(&self) -> Result<BTreeMap<Asset, Timestamp>>;
}
