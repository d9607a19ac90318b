//! How long after a slot its round is durable: the predict worker itself, with its journal, over a real database.
//!
//! ```text
//! cargo run -p predict-worker --release --example slots -- ws://127.0.0.1:9091/condor URL FOLDER --horizon 86400 --step 300
//! ```
//!
//! URL is the address of a database that may be written to, FOLDER where the journal lies. Each slot is played as the worker
//! plays it live, one after the other without the minutes between them: prices are taken and stored, the round is marked as
//! asked, every model is ticked and asked, answers are checked, packed and journaled, the round is closed and stored. It prints
//! for each round, as JSON, how long after the slot the questions were out, the last outcome was there, and everything was in
//! the database; and the processor time that the worker took until then. A round in which any model gave no valid answer is no measurement and ends it. Use it on test fleets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use domain::{
    Asset, CrunchId, Markets, Method, PredictionStatus, Schedule, Schedules, SimulatedClock, Span, Stopwatch,
    Target, Timestamp, TimestampExt,
};
use feeds::SimulatedMarket;
use journal::{Journal, Owner};
use model_client::{Cluster, ClusterConfig};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use predict_worker::{Candidate, Leadership, Metrics, PredictSettings, PredictWorker};
use scoring::Limits;
use storage::Store;
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// The distance of prices, and of slots.
const MINUTE: Span = Span::minutes(1);

/// Rounds that do not count: buffers grow to their size in them.
const WARM_UP: usize = 3;

#[derive(Parser)]
struct Options {
    /// ws://HOST:PORT/CRUNCH
    orchestrator: String,
    /// sqlite://FILE or postgres://…
    database: String,
    /// Where the journal lies
    folder: String,
    /// Seconds that are forecast
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    horizon: u32,
    /// Seconds between the densities of an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    step: u32,
    /// Rounds that are measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: usize,
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let options = Options::parse();
    let (url, crunch_id) = options.orchestrator.rsplit_once('/').ok_or("no crunch in the address")?;
    let crunch_id: CrunchId = crunch_id.parse()?;
    let store = open(&options.database).await?;
    let begin = begin(store.as_ref()).await?;
    let clock = Arc::new(SimulatedClock::at(begin));
    let owner = Owner { crunch_id: crunch_id.clone(), database: "a benchmark's".to_owned() };
    let path = Path::new(&options.folder).join("journal.db");
    let journal = Journal::open(&path, &owner, journal::DEFAULT_MAX_BYTES).await?;
    let leadership = match is_shared(&options.database) {
        true => Candidate::new(store, Arc::clone(&clock) as _, "benchmark").stand_by(&journal).await,
        false => Leadership::sole(store),
    };
    let settings = settings(crunch_id, &options)?;
    let feed = Arc::new(SimulatedMarket::new(1, begin - Span::days(1), &settings.schedules.assets()));
    let mut config = ClusterConfig::new(url, settings.crunch_id.as_str());
    config.report_failures = false;
    let (cluster, events) = Cluster::start(config);
    let worker = PredictWorker::lead(
        leadership,
        settings,
        Some(journal),
        Arc::clone(&clock) as _,
        feed,
        events,
        Metrics::default(),
    )
    .await?;
    worker.wait_until_started().await;
    let models = worker.status().running_models();
    let mut rounds = Vec::new();
    let mut slot = begin;
    for _ in 0..WARM_UP + options.rounds {
        slot = slot + MINUTE;
        clock.set(slot);
        rounds.push(play(&worker, slot, models).await?);
    }
    let of = |part: fn(&Played) -> f64| -> Vec<f64> { rounds[WARM_UP..].iter().map(part).collect() };
    let line = serde_json::json!({
        "models": models,
        "asked_ms": of(|round| round.asked_ms),
        "closed_ms": of(|round| round.closed_ms),
        "stored_ms": of(|round| round.stored_ms),
        "cpu_ms": of(|round| round.cpu_ms),
    });
    println!("{line}");
    cluster.shutdown().await;
    Ok(())
}

async fn open(url: &str) -> Result<Arc<dyn Store>, Fault> {
    let store: Arc<dyn Store> = if is_shared(url) {
        Arc::new(PostgresStore::open(url).await?)
    } else {
        Arc::new(SqliteStore::open(url).await?)
    };
    store.migrate().await?;
    Ok(store)
}

/// Whether others may lead over the same database.
fn is_shared(url: &str) -> bool {
    !url.starts_with("sqlite://")
}

/// After whatever an earlier measurement has left.
async fn begin(store: &dyn Store) -> Result<Timestamp, Fault> {
    let prices = store.ledger_since(Timestamp::UNIX_EPOCH).await?;
    let newest = prices.iter().map(|price| price.point.at).max();
    Ok(newest.or(Timestamp::from_unix_seconds(1_747_699_200)).ok_or("an instant")?)
}

/// A question about BTC in every slot.
fn settings(crunch_id: CrunchId, options: &Options) -> Result<PredictSettings, Fault> {
    let schedule = Schedule {
        assets: vec![Asset::new("BTC")?],
        horizon: Span::seconds(options.horizon),
        steps: vec![Span::seconds(options.step)],
        every: MINUTE,
        phase: Span::ZERO,
        method: Method::Predict,
        target: Target::LogReturn,
    };
    Ok(PredictSettings {
        crunch_id,
        schedules: Schedules::new(vec![schedule], MINUTE)?,
        markets: Markets::default(),
        only_assets: None,
        base_class: "crunch_synth.tracker.TrackerBase".to_owned(),
        call_timeout: Span::seconds(50),
        setup_timeout: Span::seconds(50),
        open_grace: PredictSettings::OPEN_GRACE,
        join_grace: Span::seconds(50),
        history: Span::HOUR,
        leave_after: Span::HOUR,
        limits: Limits::default(),
    })
}

/// Milliseconds from the slot, and those of processor time.
struct Played {
    asked_ms: f64,
    closed_ms: f64,
    stored_ms: f64,
    cpu_ms: f64,
}

async fn play(worker: &PredictWorker, slot: Timestamp, models: usize) -> Result<Played, Fault> {
    let (watch, cpu) = (Stopwatch::start(), processor_time()?);
    let ms = || watch.elapsed().as_secs_f64() * 1e3;
    worker.take_prices(slot).await;
    let mut opened = worker.open_slot(slot).await;
    let asked_ms = ms();
    let closed = opened.pop().ok_or("the slot was not asked")?.await?;
    let closed_ms = ms();
    worker.flush().await;
    let stored_ms = ms();
    let cpu_ms = (processor_time()? - cpu).as_secs_f64() * 1e3;
    let successes =
        closed.predictions.iter().filter(|outcome| outcome.status == PredictionStatus::Success).count();
    if successes != models {
        return Err(
            format!("{successes} of {models} models gave a valid answer in the slot of {slot}").into()
        );
    }
    worker.idle().await;
    Ok(Played { asked_ms, closed_ms, stored_ms, cpu_ms })
}

/// Of all threads so far.
fn processor_time() -> Result<Duration, Fault> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 1000 * time.tv_usec().unsigned_abs() as u32)
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
