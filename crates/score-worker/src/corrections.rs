//! Finds the rounds that corrections of prices touch.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Asset, LedgerPosition, PriceCorrection, RoundId, Timestamp};
use scoring::SettlementSettings;
use storage::{Result, Store};

/// Corrections whose rounds are looked for together: rounds that overlap are read once for all of them.
const TOGETHER: usize = 256;

/// Marks the rounds that resolved after `resolved_after` and that may be settled by closes which were corrected since the last
/// time; returns how many. What is cut off is done again, with the same result.
pub async fn apply(
    store: &dyn Store,
    settlement: &SettlementSettings,
    resolved_after: Timestamp,
) -> Result<usize> {
    let mut rounds = BTreeSet::new();
    loop {
        let corrections = store.unapplied_corrections(TOGETHER).await?;
        if corrections.is_empty() {
            return Ok(rounds.len());
        }
        let touched = touched_by(&corrections, store, settlement, resolved_after).await?;
        let applied: Vec<LedgerPosition> = corrections.iter().map(|one| one.position).collect();
        store.apply_corrections(&applied, &touched).await?;
        corrections.iter().for_each(log);
        rounds.extend(touched.into_keys());
    }
}

/// The rounds that corrections touch, each with the last one.
async fn touched_by(
    corrections: &[PriceCorrection],
    store: &dyn Store,
    settlement: &SettlementSettings,
    resolved_after: Timestamp,
) -> Result<BTreeMap<RoundId, LedgerPosition>> {
    let mut by_asset: BTreeMap<&Asset, Vec<&PriceCorrection>> = BTreeMap::new();
    for correction in corrections {
        by_asset.entry(&correction.asset).or_default().push(correction);
    }
    let mut touched = BTreeMap::new();
    for (asset, corrections) in by_asset {
        let instants = || corrections.iter().map(|correction| correction.at);
        let (Some(first), Some(last)) = (instants().min(), instants().max()) else { continue };
        let from = (first - settlement.max_price_age).max(resolved_after);
        for question in store.priced_rounds(asset, from, last + settlement.max_price_age).await? {
            let used = corrections.iter().filter(|correction| settlement.may_use(&question, correction.at));
            if let Some(position) = used.map(|correction| correction.position).max() {
                touched.insert(question.id, position);
            }
        }
    }
    Ok(touched)
}

fn log(correction: &PriceCorrection) {
    let PriceCorrection { asset, at, new, source, .. } = correction;
    match correction.old {
        Some(old) => tracing::warn!(%asset, %at, ?old, ?new, source, "a price was corrected"),
        None => tracing::info!(%asset, %at, ?new, source, "a missing price has come"),
    }
}
