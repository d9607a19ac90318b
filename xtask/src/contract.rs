//! The report worker held against its own OpenAPI document, by schemathesis.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use domain::{Clock, Span, SystemClock, TimestampExt};

use crate::python::Environment;
use crate::served::{Served, free_port};
use crate::{repository, shell, target_folder};

const SCHEMATHESIS: Environment =
    Environment { folder: "python-contract", requirements: "python/requirements-contract.txt" };

/// What it is told, with the reasons.
const CONFIG: &str = "python/contract.toml";

/// One model's answers are longer than this in the longest rounds: they are refused, with a reason.
const SETTINGS: &str = "[models]\nmax_answer_bytes = 40000\n";

/// As many as are made up in a run of all tests.
const FEW_EXAMPLES: u32 = 15;

#[derive(Args)]
pub struct Options {
    /// How many requests are made up for each operation, beside those that probe the bounds of its parameters
    #[arg(long, value_name = "N", default_value_t = 900)]
    examples: u32,
    /// Make up other requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
}

/// Runs it for as long as it takes.
pub fn run(options: &Options) -> Result<()> {
    let python = SCHEMATHESIS.interpreter()?;
    shell::run(&mut shell::cargo(&["build", "--quiet", "--workspace", "--bin", "condor"]))?;
    let condor = target_folder().join("debug/condor");
    let folder = tempfile::tempdir()?;
    let served = replayed(&python, &condor, folder.path())?;
    let mut check = shell::command(python.with_file_name("schemathesis"), &["--config-file"]);
    check.arg(repository().join(CONFIG)).arg("run").arg(format!("{}/openapi.json", served.address.url()));
    check.args(["--max-examples", &options.examples.to_string(), "--seed", &options.seed.to_string()]);
    check.env("SCHEMATHESIS_HOOKS", "contract_hooks").env("PYTHONPATH", repository().join("python"));
    // It leaves what failed in a folder where it runs.
    shell::run(check.current_dir(folder.path()))
        .context("the report worker does not answer as its document says")
}

/// The same with few requests.
pub fn check() -> Result<()> {
    run(&Options { examples: FEW_EXAMPLES, seed: 1 })
}

/// A report worker over a day of rounds that ended just now: those over a day are open.
fn replayed(python: &Path, condor: &Path, folder: &Path) -> Result<Served> {
    let now = SystemClock.now().floor_to(Span::HOUR);
    let [first_price, from, to] = [32, 30, 4].map(|hours| (now - Span::hours(hours)).to_utc_string());
    // Python before 3.11 reads no `Z`.
    let first_price = first_price.replace('Z', "+00:00");
    let config = folder.join("condor.toml");
    std::fs::write(&config, SETTINGS).with_context(|| format!("cannot write {}", config.display()))?;
    let database = format!("sqlite://{}", folder.join("replay.db").display());
    let mut prices = shell::command(python, &["python/random_prices.py"]);
    shell::run(prices.arg(folder).arg(first_price))?;
    let mut replay = shell::command(condor, &["replay", "--assets", "BTC,ETH", "--from", &from, "--to", &to]);
    replay.args(["--add-model", "random-walk:scale=10", "--database", &database]);
    shell::output(replay.arg("--config").arg(&config).arg("--prices").arg(folder))?;
    let port = free_port()?;
    let mut report = shell::command(condor, &["report", "--database", &database]);
    report.arg("--config").arg(&config).args(["--listen", &format!("127.0.0.1:{port}")]);
    Served::start(report, port, "/leaderboard")
}
