//! `condor backtest`: one submission against the built-in models over days of prices, on its author's machine.

mod evaluation;
mod faults;
mod histogram;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use domain::{Asset, Span, Timestamp, TimestampExt};
use feeds::{PriceFeed, RecordedPrices, SimulatedMarket};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::replay::{Plan, Submission, replay};
use super::{UsageError, recorded_assets, score};
use crate::cli::{BacktestArgs, ReplayModels};
use crate::config::{Config, load};
use crate::store;
use evaluation::Evaluation;
use report::Report;

/// Shown at the end of `condor backtest --help`.
pub const EXPLANATION: &str = "\
For each asset and horizon:
  rounds       scored rounds
  valid        share of questions with a valid answer
  score        mean score in its rounds, from 0 to 1 for the best; without a valid answer it is 0
  rank         among the built-in models, by that score
  crps         mean value of the scoring rule, lower is better
  vs baseline  that, over the best built-in model's in the same rounds: 0.98 is 2 % better
  calibration  what the histogram of its PIT values says (docs/scoring.md)

The histogram is that of all moves: for each, the probability that the model gave to a move of at most what happened. It is flat
where the model is right, a U where its distributions are too narrow, a hump where they are too wide.

Examples:
  condor backtest my-model
  condor backtest my-model --prices FOLDER --days 10 --assets BTC,ETH
  condor backtest my-model --keep kept && condor report --database sqlite://kept/backtest.db";

/// The baselines: each built-in model once.
const BASELINES: usize = 5;
/// The day on which the simulated market is entered: Monday, 2025-01-06. It opened as long before as models are told prices of.
const SIMULATED_FROM: i64 = 1_736_121_600;

/// Plays the days and prints what came of it.
pub async fn run(args: BacktestArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let submission = Submission::at(&args.submission)?;
    let folder = Folder::make(args.keep.as_deref())?;
    let database = folder.database_url();
    let config = load(args.config.as_deref(), Some(&database))?.config;
    let plan = plan(&args, config, &folder)?;
    let store = store::open(&database).await?;
    let _lock = store::lock_for_predict(&database)?;
    store.migrate().await?;
    eprintln!(
        "{} and {BASELINES} built-in models, {} to {}, {}",
        submission.model_id,
        plan.from.to_utc_string(),
        plan.to.to_utc_string(),
        describe_prices(&args)
    );
    let Some(summary) = replay(&plan, Arc::clone(&store), shutdown.clone()).await? else { bail!("stopped") };
    let settings = score::settings(&plan.config)?;
    let evaluation = Evaluation::of(&submission.model_id, store.as_ref(), &plan, &settings);
    let Some(evaluation) = shutdown.run_until_cancelled(evaluation).await else { bail!("stopped") };
    let evaluation = evaluation?;
    let call_timeout = plan.config.models.call_timeout.as_duration();
    let report = Report::new(&submission.model_id, &summary, &evaluation, &settings, call_timeout);
    if args.json {
        report.print_json()?
    } else {
        report.print()
    }
    if let Some(kept) = &args.keep {
        let kept = kept.display();
        eprintln!("\nkept in {kept}; to look at it: condor report --database {database}");
    }
    if !report.has_answers() {
        bail!("{} gave no valid answer", submission.model_id);
    }
    Ok(())
}

fn describe_prices(args: &BacktestArgs) -> String {
    match &args.prices {
        Some(folder) => format!("prices of {}", folder.display()),
        None => format!("simulated market, seed {}", args.seed),
    }
}

fn plan(args: &BacktestArgs, config: Config, folder: &Folder) -> anyhow::Result<Plan> {
    let assets = assets(args, &config)?;
    let (feed, from, to) = match &args.prices {
        Some(dir) => recorded(args, dir, &config, &assets)?,
        None => simulated(args, &config, &assets)?,
    };
    let models = ReplayModels {
        submission: vec![args.submission.clone()],
        python: args.python.clone(),
        logs: Some(folder.path().to_owned()),
        ..ReplayModels::built_in(BASELINES)
    };
    Ok(Plan { config, feed, assets, models, from, to })
}

/// Those asked for, which must be on the timetable; else those of the timetable that have prices.
fn assets(args: &BacktestArgs, config: &Config) -> anyhow::Result<Vec<Asset>> {
    let scheduled = config.schedules()?.assets();
    super::replay::check_scheduled(&args.assets, &scheduled)?;
    if !args.assets.is_empty() {
        return Ok(args.assets.clone());
    }
    match &args.prices {
        Some(dir) => Ok(recorded_assets(dir, &scheduled)?),
        None => Ok(scheduled),
    }
}

type Played = (Arc<dyn PriceFeed>, Timestamp, Timestamp);

/// The last days of a recording, or those before `--to`.
fn recorded(args: &BacktestArgs, dir: &Path, config: &Config, assets: &[Asset]) -> anyhow::Result<Played> {
    let prices = RecordedPrices::load(dir, assets).map_err(|error| UsageError(error.to_string()))?;
    let span = prices.common_span().map_err(|error| UsageError(error.to_string()))?;
    let interval = config.prices.interval;
    let to = args.to.unwrap_or(span.to).floor_to(interval);
    let from = to - Span::days(args.days);
    if from < span.from || to > span.to {
        bail!(UsageError(format!(
            "there are prices from {} to {} only, and {} days before {} were asked for: choose other --days or --to",
            span.from.to_utc_string(),
            span.to.to_utc_string(),
            args.days,
            to.to_utc_string()
        )));
    }
    Ok((Arc::new(prices), from, to))
}

fn simulated(args: &BacktestArgs, config: &Config, assets: &[Asset]) -> anyhow::Result<Played> {
    let from = Timestamp::from_unix_seconds(SIMULATED_FROM).context("no instant")?;
    let market = SimulatedMarket::new(args.seed, from - config.prices.history, assets);
    Ok((Arc::new(market), from, from + Span::days(args.days)))
}

/// Where a backtest keeps its database and the model's logs.
struct Folder {
    path: PathBuf,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

impl Folder {
    fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
            return Ok(Folder { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        let refused = |error| UsageError(format!("--keep {}: {error}: name a new folder", path.display()));
        std::fs::create_dir(path).map_err(refused)?;
        Ok(Folder { path: path.to_owned(), _temporary: None })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn database_url(&self) -> String {
        format!("sqlite://{}", self.path.join("backtest.db").display())
    }
}
