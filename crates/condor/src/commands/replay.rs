//! `condor replay`: days in seconds, with a simulated clock, through the same code as the workers.

mod coverage;
mod models;
mod progress;
mod report;
mod resume;
mod scoring;
mod source;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use domain::{Asset, Clock, SimulatedClock, Span, Stopwatch, Timestamp, TimestampExt};
use feeds::{PriceFeed, RecordedPrices};
use model_client::Cluster;
use predict_worker::PredictWorker;
use storage::Store;
use tokio_util::sync::CancellationToken;

use super::{UsageError, predict};
use crate::cli::{ReplayArgs, ReplayModels};
use crate::config::{Config, load};
use crate::{open_files, store};
use models::ModelFleet;
pub use models::Submission;
use progress::Progress;
use report::ReportFile;
use resume::Resumption;
use scoring::Scoring;
pub use summary::Summary;

/// How long the models may take to be there: a Setup may take two minutes.
const START_PATIENCE: Duration = Duration::from_secs(150);

/// What is replayed.
pub struct Plan {
    /// Settings, as for the workers.
    pub config: Config,
    /// Where prices come from.
    pub feed: Arc<dyn PriceFeed>,
    /// Only these assets are asked.
    pub assets: Vec<Asset>,
    /// Which models are asked.
    pub models: ReplayModels,
    /// The first slot.
    pub from: Timestamp,
    /// The end: the first slot that is not asked.
    pub to: Timestamp,
}

/// Replays recorded prices and prints the summary.
pub async fn run(args: ReplayArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Some(database) = args.settings.database.as_deref() else {
        bail!(UsageError("name a database of its own for the replay: --database sqlite://replay.db".into()));
    };
    if let Some(address) = &args.models.orchestrator {
        address.confirm("a replay sends its models past prices", args.models.yes)?;
    }
    let config = load(args.settings.config.as_deref(), Some(database))?.config;
    if args.source.ledger.as_deref().is_some_and(|ledger| is_same(ledger, database)) {
        bail!(UsageError(
            "--ledger and --database are the same: a replay needs a database of its own".into()
        ));
    }
    let report = args.report.as_deref().map(ReportFile::create).transpose()?;
    let plan = plan(&args, config).await?;
    let store = store::open(database).await?;
    let _lock = store::lock_for_predict(database)?;
    store.migrate().await?;
    if let Some(newest) = resume::newest_instant(store.as_ref()).await?.filter(|newest| *newest > plan.to) {
        bail!(UsageError(format!(
            "{database} holds rounds or prices up to {newest}, past --to: name another --database"
        )));
    }
    let Some(summary) = replay(&plan, Arc::clone(&store), shutdown).await? else {
        bail!("stopped: run it again to go on from there");
    };
    if let Some(report) = report {
        report.write(&summary, store.as_ref()).await?;
    }
    if args.json {
        println!("{}", serde_json::json!({ "summary": summary }));
    } else {
        summary.print();
    }
    Ok(())
}

fn is_same(ledger: &str, database: &str) -> bool {
    matches!((store::identity(ledger), store::identity(database)), (Ok(ledger), Ok(database)) if ledger == database)
}

async fn plan(args: &ReplayArgs, config: Config) -> anyhow::Result<Plan> {
    let scheduled = config.schedules()?.assets();
    check_scheduled(&args.assets, &scheduled)?;
    let (assets, prices) = source::read(&args.source, &args.assets, &scheduled).await?;
    let (from, to) = range(args, &prices, config.prices.interval)?;
    Ok(Plan { config, feed: Arc::new(prices), assets, models: args.models.clone(), from, to })
}

/// What was asked for, else the time for which every asset has prices.
fn range(
    args: &ReplayArgs,
    prices: &RecordedPrices,
    interval: Span,
) -> anyhow::Result<(Timestamp, Timestamp)> {
    let (from, to) = match (args.from, args.to) {
        (Some(from), Some(to)) => (from, to),
        (from, to) => {
            let span = prices.common_span().map_err(|error| UsageError(error.to_string()))?;
            (from.unwrap_or(span.from), to.unwrap_or(span.to))
        }
    };
    let (from, to) = (from.ceil_to(interval), to.floor_to(interval));
    if from >= to {
        bail!(UsageError(format!("nothing to replay: --from {from} is not before --to {to}")));
    }
    Ok((from, to))
}

/// Refuses assets about which nothing is asked.
pub fn check_scheduled(assets: &[Asset], scheduled: &[Asset]) -> Result<(), UsageError> {
    let Some(unknown) = assets.iter().find(|asset| !scheduled.contains(asset)) else { return Ok(()) };
    let names: Vec<&str> = scheduled.iter().map(Asset::as_str).collect();
    let names = names.join(", ");
    Err(UsageError(format!("--assets: no schedule asks about {unknown}: choose from {names}")))
}

/// Runs the plan into `store`; `None` when it was told to stop.
pub async fn replay(
    plan: &Plan,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> anyhow::Result<Option<Summary>> {
    let watch = Stopwatch::start();
    let Some(fleet) = shutdown.run_until_cancelled(ModelFleet::start(plan)).await else { return Ok(None) };
    let fleet = fleet?;
    let (cluster, events) = Cluster::start(fleet.cluster_config(&plan.config)?);
    let events = open_files::watch(events);
    let resumption = Resumption::find(store.as_ref(), plan).await?;
    let clock = Arc::new(SimulatedClock::at(resumption.play_from));
    let mut settings = predict::settings(&plan.config)?;
    settings.only_assets = Some(plan.assets.clone());
    let feed = Arc::clone(&plan.feed);
    let predict_clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let worker =
        PredictWorker::start(settings, Arc::clone(&store), None, predict_clock, feed, events).await?;
    let started = tokio::time::timeout(START_PATIENCE, worker.wait_until_started());
    match shutdown.run_until_cancelled(started).await {
        Some(started) => started.context("the orchestrator announced no models: is it there?")?,
        None => return Ok(None),
    }
    if worker.status().running_models() == 0 {
        bail!("the orchestrator runs no model: there is nobody to ask");
    }
    fleet.check_set_up(&worker.status().broken_models())?;
    let scoring = Scoring::start(plan, Arc::clone(&store), resumption.play_from)?;
    let is_done = Replay { plan, clock, worker, scoring }.run(&resumption, &shutdown).await?;
    cluster.shutdown().await;
    fleet.shutdown().await;
    if !is_done {
        return Ok(None);
    }
    let summary = Summary::collect(store.as_ref(), plan, watch.elapsed()).await?;
    if summary.timeout > 0 {
        tracing::warn!(timeouts = summary.timeout, "call timeouts are real time: this run is not repeatable");
    }
    Ok(Some(summary))
}

struct Replay<'a> {
    plan: &'a Plan,
    clock: Arc<SimulatedClock>,
    worker: PredictWorker,
    scoring: Scoring,
}

impl Replay<'_> {
    /// At each instant, in order: prices, ticks, questions, closing, scoring, leaderboard. False when it was told to stop
    /// before the end.
    async fn run(mut self, begin: &Resumption, shutdown: &CancellationToken) -> anyhow::Result<bool> {
        let interval = self.plan.config.prices.interval;
        for at in instants(begin.score_from, begin.play_from, interval) {
            self.scoring.score(at, std::future::ready(())).await?;
        }
        let progress = Progress::start(self.plan, begin.play_from);
        for at in instants(begin.play_from, self.plan.to + interval, interval) {
            if shutdown.is_cancelled() {
                self.worker.flush().await;
                self.scoring.finish().await?.give_back().await?;
                return Ok(false);
            }
            self.clock.set(at);
            self.play(at).await?;
            progress.advance(at);
        }
        let mut scorer = self.scoring.finish().await?;
        scorer.rank(self.plan.to).await.context("cannot write the leaderboard")?;
        scorer.give_back().await?;
        progress.finish();
        Ok(true)
    }

    async fn play(&mut self, at: Timestamp) -> anyhow::Result<()> {
        self.worker.take_prices(at).await;
        if at < self.plan.to {
            for round in self.worker.open_slot(at).await {
                round.await.context("a round was lost in flight")?;
            }
            self.worker.idle().await;
        }
        self.scoring.score(at, self.worker.flush()).await
    }
}

/// `from`, and so on by `interval`, before `end`.
fn instants(from: Timestamp, end: Timestamp, interval: Span) -> impl Iterator<Item = Timestamp> {
    std::iter::successors(Some(from), move |at| Some(*at + interval)).take_while(move |at| *at < end)
}
