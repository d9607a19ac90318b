//! `condor up`: everything on this machine, each part a process of its own.

mod data_dir;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::{Clock, Leaderboard, Span, SystemClock, TimestampExt};
use storage::Store;
use tokio_util::sync::CancellationToken;

use super::predict;
use super::replay::{Plan, replay};
use crate::cli::{ReplayModels, UpArgs};
use crate::config::{Config, PriceSource};
use crate::store;
use data_dir::DataDir;
use supervisor::{Part, Supervisor};

/// Starts all of it, and stops all of it on `shutdown`.
pub async fn run(args: UpArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let data = DataDir::open(&args)?;
    let config = data.config()?;
    let store = store::open(&config.database.url).await?;
    store.migrate().await?;
    let supervisor = Supervisor::new(shutdown.clone())?;
    let parts = Parts::choose(&args, &data)?;
    supervisor.start(parts.report.clone());
    eprintln!("page         http://127.0.0.1:{} (prices: {})", args.port, describe(config.price_source()?));
    if !data.is_warmed_up() {
        warm_up(&args, &config, Arc::clone(&store), shutdown.clone()).await?;
        data.note_warmed_up()?;
    }
    parts.print_addresses(&args);
    for part in [parts.orchestrator, parts.predict, parts.score] {
        supervisor.start(part);
    }
    tokio::select! {
        announced = announce_ready(store.as_ref()) => announced?,
        () = shutdown.cancelled() => {}
    }
    shutdown.cancelled().await;
    eprintln!("stopping: the rounds in flight are closed and stored first");
    supervisor.wait().await;
    Ok(())
}

/// The processes, with the ports that were picked for them.
struct Parts {
    report: Part,
    orchestrator: Part,
    predict: Part,
    score: Part,
    predict_admin: u16,
    score_admin: u16,
}

impl Parts {
    fn choose(args: &UpArgs, data: &DataDir) -> anyhow::Result<Self> {
        let (predict_admin, score_admin) = (free_port()?, free_port()?);
        let config = data.config_file().display().to_string();
        let with_config = |command: &str| vec![command.to_owned(), "--config".into(), config.clone()];
        let loopback = |port: u16| format!("127.0.0.1:{port}");
        let with_admin = |command: &str, port: u16| {
            let mut line = with_config(command);
            line.extend(["--admin-listen".into(), loopback(port)]);
            line
        };
        let mut report = with_config("report");
        report.extend(["--listen".into(), loopback(args.port)]);
        let orchestrator = vec![
            "orchestrator".into(),
            "--models".into(),
            data.models_file().display().to_string(),
            "--listen".into(),
            loopback(args.orchestrator_port),
        ];
        let orchestrator_url =
            ("CONDOR_ORCHESTRATOR__URL", format!("ws://{}", loopback(args.orchestrator_port)));
        Ok(Parts {
            report: Part::new("report", report),
            orchestrator: Part::new("orchestrator", orchestrator),
            predict: Part::new("predict", with_admin("predict", predict_admin)).with_env(orchestrator_url),
            score: Part::new("score", with_admin("score", score_admin)),
            predict_admin,
            score_admin,
        })
    }

    fn print_addresses(&self, args: &UpArgs) {
        eprintln!("orchestrator ws://127.0.0.1:{}/condor", args.orchestrator_port);
        eprintln!("predict      http://127.0.0.1:{}/readyz", self.predict_admin);
        eprintln!("score        http://127.0.0.1:{}/readyz", self.score_admin);
    }
}

/// A port that is free now; a part that finds it taken a moment later says so and is started again.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    Ok(listener.local_addr()?.port())
}

fn describe(source: &PriceSource) -> String {
    match source {
        PriceSource::Simulated { seed, .. } => format!("simulated market, seed {seed}"),
        PriceSource::Files { dir, shift } => format!("recorded in {}, moved by {shift}", dir.display()),
    }
}

/// Replays the last days up to now, so that the leaderboard is full before live operation begins.
async fn warm_up(
    args: &UpArgs,
    config: &Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let to = SystemClock.now().floor_to(config.prices.interval);
    let assets = config.schedules()?.assets();
    let feed = predict::feed(config)?;
    let models = ReplayModels { orchestrator: None, models: args.models, add_model: Vec::new(), yes: false };
    let from = to - args.warm_up;
    eprintln!("warm-up      {} of rounds, from {from}", args.warm_up);
    let plan = Plan { config: config.clone(), feed, assets, models, from, to };
    let summary = replay(&plan, store, shutdown).await.context("the warm-up failed")?;
    eprintln!(
        "warm-up      {} rounds, {} predictions in {:.1} s",
        summary.rounds, summary.predictions, summary.wall_s
    );
    Ok(())
}

/// Prints one line once the anchor window of the leaderboard is full.
async fn announce_ready(store: &dyn Store) -> anyhow::Result<()> {
    loop {
        if let Ok(Some(leaderboard)) = store.latest_leaderboard().await
            && is_full(&leaderboard)
        {
            let scored: u64 = leaderboard.entries.iter().map(|entry| entry.windows.anchor.predictions).sum();
            println!(
                "ready: leaderboard over {} models, {scored} scored predictions",
                leaderboard.entries.len()
            );
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn is_full(leaderboard: &Leaderboard) -> bool {
    !leaderboard.entries.is_empty() && leaderboard.entries.iter().all(|entry| entry.windows.anchor.full)
}

/// Prices begin this long before the warm-up, so that models have seen some when they are first asked.
const PRICES_BEFORE_WARM_UP: Span = Span::days(1);
