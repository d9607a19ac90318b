//! `condor up`: everything on this machine, each part a process of its own.

mod data_dir;
mod supervisor;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::{Clock, Leaderboard, SystemClock, TimestampExt};
use storage::Store;
use tokio_util::sync::CancellationToken;

use super::replay::{Plan, replay};
use super::{UsageError, predict};
use crate::cli::{ReplayModels, UpArgs};
use crate::config::{Config, PriceSource, SecurityConfig};
use crate::reload::log_refused;
use crate::signals::Hangups;
use crate::store;
use data_dir::{DataDir, Setup};
use supervisor::{Part, Reloads, Supervisor};

/// How long a part may take to stop beyond the end of its rounds in flight.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// The predict worker waits no longer than this for the orchestrator.
const ORCHESTRATOR_LISTENS: Duration = Duration::from_secs(10);
const ORCHESTRATOR_ANSWERS: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts all of it, and stops all of it on `shutdown`.
pub async fn run(args: UpArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let hangups = Hangups::listen(shutdown.clone())?;
    check_port(args.port, "--port")?;
    check_port(args.orchestrator_port, "--orchestrator-port")?;
    check_port(args.deploy_port, "--deploy-port")?;
    let data = DataDir::open(&args)?;
    let config = data.config()?;
    check_security(&config, &data)?;
    let store = store::open(&config.database.url).await?;
    store.migrate().await?;
    let mut supervisor = Supervisor::new(patience(&config))?;
    let reloads = supervisor.reloads();
    let outcome = tokio::select! {
        outcome = run_parts(&args, &data, &config, store, &mut supervisor, &shutdown) => outcome,
        never = pass_on(hangups, &data, reloads) => match never {},
    };
    supervisor.stop().await;
    outcome
}

/// How long a part may take to stop: until its rounds in flight are closed, and some.
fn patience(config: &Config) -> Duration {
    config.models.call_timeout.as_duration() + STOP_GRACE
}

/// Has the workers read the configuration again at each SIGHUP, if it can be read: else one process says what is wrong with it
/// and not three.
async fn pass_on(mut hangups: Hangups, data: &DataDir, reloads: Reloads) -> Infallible {
    loop {
        hangups.next().await;
        match data.config() {
            Ok(config) => reloads.pass_on(patience(&config)),
            Err(error) => log_refused("condor.toml", &error),
        }
    }
}

async fn run_parts(
    args: &UpArgs,
    data: &DataDir,
    config: &Config,
    store: Arc<dyn Store>,
    supervisor: &mut Supervisor,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let parts = Parts::choose(args, data, config)?;
    supervisor.start(parts.report.clone());
    eprintln!("page         http://127.0.0.1:{} (prices: {})", args.port, describe(&config.prices.sources));
    if let Some(setup) = data.setup_to_do(args) {
        if !warm_up(&setup, config, Arc::clone(&store), shutdown.clone()).await? {
            eprintln!("stopped during the warm-up: it will begin again");
            return Ok(());
        }
        data.note_set_up()?;
    }
    parts.print_addresses(args);
    // Stopped in the opposite order: the predict worker first, so that its rounds in flight still find their models.
    supervisor.start(parts.orchestrator);
    supervisor.start(parts.score);
    shutdown.run_until_cancelled(orchestrator_listens(args.deploy_port)).await;
    supervisor.start(parts.predict);
    tokio::select! {
        () = announce_ready(store.as_ref()) => shutdown.cancelled().await,
        () = shutdown.cancelled() => {}
    }
    eprintln!("stopping: the rounds in flight are closed and stored first");
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
    fn choose(args: &UpArgs, data: &DataDir, config: &Config) -> anyhow::Result<Self> {
        let (predict_admin, score_admin) = (free_port()?, free_port()?);
        // Named on the command line, which nothing in the environment overrides.
        let (file, database) = (data.config_file().display().to_string(), config.database.url.as_str());
        let worker = |name: &'static str, listen: &str, port: u16| {
            let address = loopback(port);
            Part::new(name, [name, "--config", &file, "--database", database, listen, &address]).reloading()
        };
        let models = data.models_file().display().to_string();
        let orchestrator_address = loopback(args.orchestrator_port);
        let (submissions, deploy_address) =
            (data.submissions().display().to_string(), loopback(args.deploy_port));
        let mut orchestrator = vec!["orchestrator", "--models", &models, "--listen", &orchestrator_address];
        orchestrator.extend(["--submissions", &submissions, "--deploy-listen", &deploy_address]);
        orchestrator.extend(["--base-class", &config.models.base_class]);
        let orchestrator_url = ("CONDOR_ORCHESTRATOR__URL", format!("ws://{orchestrator_address}"));
        let journal = ("CONDOR_PREDICT__JOURNAL", data.journal().display().to_string());
        Ok(Parts {
            report: worker("report", "--listen", args.port),
            orchestrator: Part::new("orchestrator", orchestrator),
            predict: worker("predict", "--admin-listen", predict_admin)
                .with_env(orchestrator_url)
                .with_env(journal),
            score: worker("score", "--admin-listen", score_admin),
            predict_admin,
            score_admin,
        })
    }

    fn print_addresses(&self, args: &UpArgs) {
        eprintln!("orchestrator ws://127.0.0.1:{}/condor", args.orchestrator_port);
        eprintln!("deploy API   http://127.0.0.1:{}/models", args.deploy_port);
        eprintln!("predict      http://127.0.0.1:{}/readyz", self.predict_admin);
        eprintln!("score        http://127.0.0.1:{}/readyz", self.score_admin);
    }
}

/// The models that are started here speak no TLS: a predict worker that wants it would refuse them all.
fn check_security(config: &Config, data: &DataDir) -> Result<(), UsageError> {
    if config.orchestrator.security == (SecurityConfig::Plain {}) {
        return Ok(());
    }
    let file = data.config_file();
    Err(UsageError(format!(
        "{}: [orchestrator.security]: the models of `condor up` run on this machine without TLS: write kind = \"plain\" there \
         (CONDOR_ORCHESTRATOR__SECURITY__KIND goes before it); for an orchestrator with TLS start `condor predict`, `condor \
         score` and `condor report` instead",
        file.display()
    )))
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Said before the warm-up rather than after it.
fn check_port(port: u16, flag: &str) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(UsageError(format!("port {port}: {error}: choose another {flag}")).into()),
    }
}

/// Waits until the orchestrator has its ports, so that the predict worker need not warn that there is nobody. One that
/// does not come up is the predict worker's to report.
async fn orchestrator_listens(deploy_port: u16) {
    let url = format!("http://127.0.0.1:{deploy_port}/models");
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(ORCHESTRATOR_ANSWERS).build() else {
        return;
    };
    let listens = async {
        // it answers once both of its ports are bound
        while client.get(&url).send().await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // without an answer it goes on all the same
    let _ = tokio::time::timeout(ORCHESTRATOR_LISTENS, listens).await;
}

/// A port that is free now; a part that finds it taken a moment later says so and is started again.
fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    Ok(listener.local_addr()?.port())
}

fn describe(sources: &[PriceSource]) -> String {
    match sources {
        [PriceSource::Simulated { seed, .. }] => format!("simulated market, seed {seed}"),
        [PriceSource::Files { dir, shift }] => format!("recorded in {}, moved by {shift}", dir.display()),
        _ => format!("live, {}", sources.iter().map(PriceSource::name).collect::<Vec<_>>().join(", ")),
    }
}

/// Replays the last days up to now, so that the leaderboard is full before live operation begins. False when it was
/// told to stop.
async fn warm_up(
    setup: &Setup,
    config: &Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> anyhow::Result<bool> {
    let to = SystemClock.now().floor_to(config.prices.interval);
    let from = to - setup.warm_up;
    eprintln!("warm-up      {} of rounds, from {from}", setup.warm_up);
    let models = ReplayModels { orchestrator: None, models: setup.models, add_model: Vec::new(), yes: false };
    let assets = config.schedules()?.assets();
    let plan = Plan { config: config.clone(), feed: predict::feed(config)?, assets, models, from, to };
    let Some(summary) = replay(&plan, store, shutdown).await.context("the warm-up failed")? else {
        return Ok(false);
    };
    let (rounds, predictions, wall_s) = (summary.rounds, summary.predictions, summary.wall_s);
    eprintln!("warm-up      {rounds} rounds, {predictions} predictions in {wall_s:.1} s");
    Ok(true)
}

/// Prints one line once the anchor window of the leaderboard is full.
async fn announce_ready(store: &dyn Store) {
    loop {
        if let Ok(Some(leaderboard)) = store.latest_leaderboard().await
            && is_full(&leaderboard)
        {
            let scored: u64 = leaderboard.entries.iter().map(|entry| entry.windows.anchor.predictions).sum();
            println!(
                "ready: leaderboard over {} models, {scored} scored predictions",
                leaderboard.entries.len()
            );
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn is_full(leaderboard: &Leaderboard) -> bool {
    !leaderboard.entries.is_empty() && leaderboard.entries.iter().all(|entry| entry.windows.anchor.full)
}
