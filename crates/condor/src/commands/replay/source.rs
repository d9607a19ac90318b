//! Where the prices of a replay come from: recorded files, or the ledger of another database.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use domain::{Asset, Span};
use feeds::RecordedPrices;
use storage::without_secrets;

use crate::cli::ReplaySource;
use crate::commands::{UsageError, recorded_assets};
use crate::store;

/// Reads the prices of the assets that are `wanted`; when there are none, of those on the timetable that have any.
pub async fn read(
    source: &ReplaySource,
    wanted: &[Asset],
    scheduled: &[Asset],
) -> anyhow::Result<(Vec<Asset>, RecordedPrices)> {
    match (&source.prices, &source.ledger) {
        (Some(dir), _) => Ok(from_files(dir, wanted, scheduled)?),
        (None, Some(url)) => from_ledger(url, wanted, scheduled).await,
        (None, None) => Err(UsageError("where are the prices? name --prices or --ledger".into()).into()),
    }
}

fn from_files(
    dir: &Path,
    wanted: &[Asset],
    scheduled: &[Asset],
) -> Result<(Vec<Asset>, RecordedPrices), UsageError> {
    let assets = if wanted.is_empty() { recorded_assets(dir, scheduled)? } else { wanted.to_vec() };
    let prices = RecordedPrices::load(dir, &assets).map_err(|error| UsageError(error.to_string()))?;
    Ok((assets, prices))
}

/// Of corrected prices the corrections.
async fn from_ledger(
    url: &str,
    wanted: &[Asset],
    scheduled: &[Asset],
) -> anyhow::Result<(Vec<Asset>, RecordedPrices)> {
    let store = store::open_read_only(url).await?;
    store.check_schema().await.context("the database of --ledger")?;
    let mut closes = BTreeMap::new();
    let status = store.feed_status().await?;
    for asset in if wanted.is_empty() { scheduled } else { wanted } {
        if let Some(held) = status.iter().find(|status| status.asset == *asset) {
            // The bound itself is left out.
            let after = held.oldest_at - Span::seconds(1);
            closes.insert(asset.clone(), store.closes(asset, after, held.newest_at).await?);
        }
    }
    let missing = wanted.iter().find(|asset| !closes.contains_key(asset));
    if missing.is_some() || closes.is_empty() {
        let held: Vec<&str> = status.iter().map(|status| status.asset.as_str()).collect();
        let what = missing.map_or("any scheduled asset", |asset| asset.as_str());
        let (url, held) = (without_secrets(url), held.join(", "));
        return Err(UsageError(format!("the ledger of {url} has no prices of {what}: it has {held}")).into());
    }
    Ok((closes.keys().cloned().collect(), RecordedPrices::of(closes)))
}
