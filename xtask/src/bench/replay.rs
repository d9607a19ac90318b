//! A replay of nine days, from prices to a leaderboard.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use domain::Stopwatch;
use serde_json::Value;

use crate::{shell, target_folder};

const DAYS: f64 = 9.0;

#[derive(Args)]
pub struct Options {
    /// A folder of recorded one-minute prices of BTC, ETH and SOL from 2025-05-20 to 2025-05-29
    #[arg(long, value_name = "DIR")]
    prices: PathBuf,
}

/// Runs the replay and prints its row.
pub fn run(options: &Options) -> Result<()> {
    if !options.prices.is_dir() {
        bail!("there is no folder {}: give one with recorded prices as --prices", options.prices.display());
    }
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "condor"]))?;
    let folder = tempfile::tempdir()?;
    let mut command =
        shell::command(target_folder().join("release/condor"), &["replay", "--json", "--models", "5"]);
    command.args([
        "--assets",
        "BTC,ETH,SOL",
        "--from",
        "2025-05-20T00:00:00Z",
        "--to",
        "2025-05-29T00:00:00Z",
    ]);
    command.arg("--prices").arg(options.prices.canonicalize()?);
    command.arg("--database").arg(format!("sqlite://{}", folder.path().join("replay.db").display()));
    let stopwatch = Stopwatch::start();
    let output = shell::output(&mut command)?;
    let seconds = stopwatch.elapsed().as_secs_f64();
    let predictions = predictions_in(&output)?;
    println!("| benchmark | wall time, s | days/s | predictions/s |");
    println!("|---|--:|--:|--:|");
    println!("| replay | {seconds:.1} | {:.2} | {:.0} |", DAYS / seconds, predictions / seconds);
    Ok(())
}

/// The count of predictions in the summary, which is the last line.
fn predictions_in(output: &str) -> Result<f64> {
    let last = output.lines().last().context("the replay printed nothing")?;
    let line: Value =
        serde_json::from_str(last).with_context(|| format!("the last line is no JSON: {last}"))?;
    line["summary"]["predictions"].as_f64().with_context(|| format!("the last line is no summary: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_read_from_the_last_line() {
        let output = "{\"round\":1}\n{\"summary\":{\"predictions\":25920}}\n";
        assert_eq!(predictions_in(output).unwrap(), 25_920.0);
        assert!(predictions_in("").is_err());
        assert!(predictions_in("{\"round\":1}").is_err());
    }
}
