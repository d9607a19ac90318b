//! `condor replay`: days in seconds, with a simulated clock, through the same code as the workers.

mod models;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use domain::{Asset, Clock, SimulatedClock, Span, Stopwatch, Timestamp, TimestampExt};
use feeds::{PriceFeed, RecordedPrices};
use indicatif::{ProgressBar, ProgressStyle};
use model_client::Cluster;
use predict_worker::PredictWorker;
use score_worker::{ScoreSettings, ScoreWorker};
use storage::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{UsageError, predict, recorded_assets, score};
use crate::cli::{ReplayArgs, ReplayModels};
use crate::config::{Config, load};
use crate::{open_files, store};
use models::ModelFleet;
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
    let plan = plan(&args, config)?;
    let store = store::open(database).await?;
    let _lock = store::lock_for_predict(database)?;
    store.migrate().await?;
    if let Some(newest) = store.newest_slot().await?.filter(|newest| *newest >= plan.to) {
        bail!(UsageError(format!(
            "{database} holds rounds up to {newest}, past --to: name another --database"
        )));
    }
    let Some(summary) = replay(&plan, store, shutdown).await? else {
        bail!("stopped: run it again to go on from there");
    };
    if args.json {
        println!("{}", serde_json::json!({ "summary": summary }));
    } else {
        summary.print();
    }
    Ok(())
}

fn plan(args: &ReplayArgs, config: Config) -> anyhow::Result<Plan> {
    let assets = assets(args, &config)?;
    let prices =
        RecordedPrices::load(&args.prices, &assets).map_err(|error| UsageError(error.to_string()))?;
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

/// Those asked for, which must be on the timetable; else those of the timetable that have prices.
fn assets(args: &ReplayArgs, config: &Config) -> anyhow::Result<Vec<Asset>> {
    let scheduled = config.schedules()?.assets();
    if let Some(unknown) = args.assets.iter().find(|asset| !scheduled.contains(asset)) {
        let names: Vec<&str> = scheduled.iter().map(Asset::as_str).collect();
        bail!(UsageError(format!(
            "--assets: no schedule asks about {unknown}: choose from {}",
            names.join(", ")
        )));
    }
    if !args.assets.is_empty() {
        return Ok(args.assets.clone());
    }
    Ok(recorded_assets(&args.prices, &scheduled)?)
}

/// Runs the plan into `store`; `None` when it was told to stop.
pub async fn replay(
    plan: &Plan,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> anyhow::Result<Option<Summary>> {
    let watch = Stopwatch::start();
    let fleet = ModelFleet::start(plan).await?;
    let (cluster, events) = Cluster::start(fleet.cluster_config(&plan.config)?);
    let events = open_files::watch(events);
    let clock = Arc::new(SimulatedClock::at(plan.from));
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
    let scoring = Scoring::new(score::settings(&plan.config)?, Arc::clone(&store), plan.from);
    let ticks = Replay { plan, clock, worker, scoring }.run(&shutdown).await?;
    cluster.shutdown().await;
    fleet.shutdown().await;
    let Some(ticks) = ticks else { return Ok(None) };
    let summary = Summary::collect(store.as_ref(), (plan.from, plan.to), ticks, watch.elapsed()).await?;
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
    /// At each instant, in order: prices, ticks, questions, closing, scoring, leaderboard. Returns the instants ticked;
    /// `None` when it was told to stop.
    async fn run(mut self, shutdown: &CancellationToken) -> anyhow::Result<Option<u64>> {
        let interval = self.plan.config.prices.interval;
        let progress = Progress::new(self.plan, interval);
        let mut ticks = 0;
        let mut at = self.plan.from;
        while at <= self.plan.to {
            if shutdown.is_cancelled() {
                self.worker.flush().await;
                self.scoring.finish().await?.give_back().await?;
                return Ok(None);
            }
            self.clock.set(at);
            self.play(at).await?;
            ticks += 1;
            progress.advance(at);
            at = at + interval;
        }
        let mut scorer = self.scoring.finish().await?;
        scorer.rank(self.plan.to).await.context("cannot write the leaderboard")?;
        scorer.give_back().await?;
        progress.finish();
        Ok(Some(ticks))
    }

    async fn play(&mut self, at: Timestamp) -> anyhow::Result<()> {
        self.worker.take_prices(at).await;
        if at < self.plan.to {
            for round in self.worker.open_slot(at).await {
                round.await.context("a round was lost in flight")?;
            }
            self.worker.idle().await;
        }
        self.worker.flush().await;
        self.scoring.begin(at).await
    }
}

/// The score worker, at work on one instant while the next one is played: scores and ranks as of an instant depend on
/// nothing that is later.
struct Scoring {
    clock: Arc<SimulatedClock>,
    /// Gives the worker back when the instant is done.
    instant: JoinHandle<anyhow::Result<ScoreWorker>>,
}

impl Scoring {
    fn new(settings: ScoreSettings, store: Arc<dyn Store>, from: Timestamp) -> Self {
        let clock = Arc::new(SimulatedClock::at(from));
        let worker = ScoreWorker::new(settings, store, Arc::clone(&clock) as Arc<dyn Clock>);
        Scoring { clock, instant: tokio::spawn(async { Ok(worker) }) }
    }

    /// Waits for the instant before, and begins with this one.
    async fn begin(&mut self, at: Timestamp) -> anyhow::Result<()> {
        let mut worker = self.finish().await?;
        self.clock.set(at);
        self.instant = tokio::spawn(async move {
            worker.run_once().await.with_context(|| format!("cannot score at {at}"))?;
            Ok(worker)
        });
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<ScoreWorker> {
        (&mut self.instant).await.context("the score worker failed")?
    }
}

/// A bar on a terminal, a plain line every tenth otherwise.
struct Progress {
    bar: ProgressBar,
    from: Timestamp,
    total: Span,
    interval: Span,
}

impl Progress {
    fn new(plan: &Plan, interval: Span) -> Self {
        let seconds = plan.to.since(plan.from).as_secs().min(u64::from(u32::MAX)) as u32;
        let total = Span::seconds(seconds);
        let bar = ProgressBar::new(total.divided_by(interval) as u64);
        let style = ProgressStyle::with_template("replay {bar:40} {percent:>3} %  {msg}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress { bar, from: plan.from, total, interval }
    }

    fn advance(&self, at: Timestamp) {
        let done = Span::seconds(at.since(self.from).as_secs() as u32).divided_by(self.interval) as u64;
        self.bar.set_position(done);
        if at.timestamp() % 3600 == 0 {
            self.bar.set_message(at.format("%Y-%m-%d %H:%M").to_string());
        }
        let total = self.total.divided_by(self.interval).max(1) as u64;
        let tenth = done * 10 / total;
        if self.bar.is_hidden() && tenth > done.saturating_sub(1) * 10 / total {
            eprintln!("replay: {} % ({at})", tenth * 10);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
