//! Corrections of prices, and the rounds that they touch.
//!
//! A correction goes on record in the transaction that stores the price ([`append_prices`]). Then the worker that ranks looks
//! for the rounds that may have been judged by the price before it, and marks them with the correction's place in the ledger.
//! A round remembers up to which place it was priced when it was judged: one with a later mark is judged again.
//!
//! [`append_prices`]: crate::PriceRepository::append_prices

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PriceCorrection, Question, RoundId, Timestamp};

use crate::Result;

/// Corrections of prices, and the rounds that they touch.
#[async_trait]
pub trait CorrectionRepository {
    /// Up to `limit` corrections, of one asset or of all, below `before`, the last recorded first.
    async fn corrections(
        &self,
        asset: Option<&Asset>,
        before: Option<LedgerPosition>,
        limit: usize,
    ) -> Result<Vec<PriceCorrection>>;

    /// The corrections of closes of an asset with `after < at <= up_to`, in the order in which they were recorded.
    async fn corrected_closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
    ) -> Result<Vec<PriceCorrection>>;

    /// The first `limit` corrections whose rounds are not marked yet, in the order in which they were recorded.
    async fn unapplied_corrections(&self, limit: usize) -> Result<Vec<PriceCorrection>>;

    /// The rounds of an asset that are closed, scored or void, resolved at or after `from`, and were asked up to `to`, in the
    /// order of ids. Any other is judged, if ever, by what is in the ledger now.
    async fn priced_rounds(&self, asset: &Asset, from: Timestamp, to: Timestamp) -> Result<Vec<Question>>;

    /// Marks rounds with the place of the last correction that touches them, and notes of these corrections that it is done.
    /// A later mark stays.
    async fn apply_corrections(
        &self,
        applied: &[LedgerPosition],
        touched: &BTreeMap<RoundId, LedgerPosition>,
    ) -> Result<()>;
}

/// Those of the entries, which are new to the ledger, that may correct something: a close not later than the newest one of
/// its asset before them, and one that is among them twice.
pub fn may_correct<'e>(
    entries: impl IntoIterator<Item = &'e LedgerEntry>,
    newest: &BTreeMap<Asset, Timestamp>,
) -> Vec<LedgerPosition> {
    let mut seen = BTreeSet::new();
    let mut is_late = |entry: &&'e LedgerEntry| {
        let is_first = seen.insert((&entry.asset, entry.point.at));
        !is_first || newest.get(&entry.asset).is_some_and(|newest| entry.point.at <= *newest)
    };
    entries.into_iter().filter(|entry| is_late(entry)).map(|entry| entry.position).collect()
}
