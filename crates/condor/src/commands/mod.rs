//! One file for each command.

pub mod backtest;
pub mod config;
pub mod db;
pub mod eval;
pub mod feeds;
mod fleet_address;
pub mod model_host;
pub mod models;
pub mod operator;
pub mod orchestrator;
pub mod predict;
pub mod probe;
pub mod prune;
pub mod replay;
pub mod report;
pub mod score;
pub mod up;
pub mod what_if;

use std::path::Path;

use domain::Asset;

pub use fleet_address::FleetAddress;

/// Those of the scheduled assets that have price files in a folder.
fn recorded_assets(dir: &Path, scheduled: &[Asset]) -> Result<Vec<Asset>, UsageError> {
    let recorded = ::feeds::assets_in(dir).map_err(|error| UsageError(error.to_string()))?;
    let assets: Vec<Asset> = scheduled.iter().filter(|asset| recorded.contains(asset)).cloned().collect();
    if assets.is_empty() {
        let names = scheduled.iter().map(Asset::as_str).collect::<Vec<_>>().join(", ");
        return Err(UsageError(format!("{}: no prices of any scheduled asset ({names})", dir.display())));
    }
    Ok(assets)
}

/// A command line that makes no sense; the process exits with 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
