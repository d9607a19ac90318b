//! `condor up`: everything on this machine, each part a process of its own.

mod data_dir;
mod market;
mod supervisor;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::Leaderboard;
use orchestrator::Adopted;
use storage::Store;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use super::replay::{Plan, replay};
use crate::cli::{ReplayModels, UpArgs};
use crate::config::{Config, PriceSource, SecurityConfig};
use crate::reload::log_refused;
use crate::signals::Hangups;
use crate::store;
use data_dir::{DataDir, Setup};
pub use market::Feed;
use market::Market;
use supervisor::{Part, Reloads, Supervisor};

/// How long a part may take to stop beyond the end of its rounds in flight.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// A part that was started is waited for no longer than this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
const ONE_ANSWER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Starts all of it, and stops all of it on `shutdown`.
pub async fn run(args: UpArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let hangups = Hangups::listen(shutdown.clone())?;
    check_port(args.port, "--port")?;
    check_port(args.orchestrator_port, "--orchestrator-port")?;
    check_port(args.deploy_port, "--deploy-port")?;
    let data = DataDir::open(&args)?;
    let Some(new) = shutdown.run_until_cancelled(set_up(&args, &data)).await else { return Ok(()) };
    let new = new?;
    let config = data.config()?;
    check_security(&config, &data)?;
    let up = Run { args: &args, data: &data, config: &config };
    let store = store::open(&config.database.url).await?;
    store.migrate().await?;
    let mut supervisor = Supervisor::new(patience(&config))?;
    let reloads = supervisor.reloads();
    let outcome = tokio::select! {
        outcome = up.parts(new, store, &mut supervisor, &shutdown) => outcome,
        never = pass_on(hangups, &data, reloads) => match never {},
    };
    supervisor.stop().await;
    outcome
}

/// Fills a folder that is not set up yet; the market that is to be played before it goes live.
async fn set_up(args: &UpArgs, data: &DataDir) -> anyhow::Result<Option<(Setup, Market)>> {
    let Some(setup) = data.setup_to_do(args) else { return Ok(None) };
    let market = Market::choose(args, setup.warm_up).await?;
    data.set_up(&setup, &market)?;
    Ok(Some((setup, market)))
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

/// One run of it.
struct Run<'a> {
    args: &'a UpArgs,
    data: &'a DataDir,
    config: &'a Config,
}

impl Run<'_> {
    /// Starts every part, after the warm-up of a new folder, and waits for `shutdown`.
    async fn parts(
        &self,
        new: Option<(Setup, Market)>,
        store: Arc<dyn Store>,
        supervisor: &mut Supervisor,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        let parts = Parts::choose(self.args, self.data, self.config)?;
        supervisor.start(parts.report.clone());
        eprintln!("page         {}", self.page());
        eprintln!("prices       {}", describe(&self.config.prices.sources));
        if self.args.open {
            tokio::spawn(open_page(self.page()));
        }
        if let Some((setup, market)) = new {
            if !warm_up(&setup, market, self.config, Arc::clone(&store), shutdown.clone()).await? {
                eprintln!("stopped during the warm-up: it will begin again");
                return Ok(());
            }
            self.data.note_set_up()?;
        }
        let submissions = self.data.adopt_submissions()?;
        let (predict_health, summary) = (health(parts.predict_admin), self.summary(&parts, &submissions));
        // Stopped in the opposite order: the predict worker first, so that its rounds in flight still find their models.
        supervisor.start(parts.orchestrator);
        supervisor.start(parts.score);
        let deploy_api = format!("http://{}/models", loopback(self.args.deploy_port));
        // One that does not come up is the predict worker's to report.
        shutdown.run_until_cancelled(answers(&deploy_api)).await;
        supervisor.start(parts.predict);
        shutdown.run_until_cancelled(answers(&predict_health)).await;
        eprint!("{summary}");
        tokio::select! {
            () = announce_ready(store.as_ref()) => shutdown.cancelled().await,
            () = shutdown.cancelled() => {}
        }
        eprintln!("stopping: the rounds in flight are closed and stored first");
        Ok(())
    }

    fn page(&self) -> String {
        format!("http://{}", loopback(self.args.port))
    }

    /// What somebody wants to know who starts it for the first time.
    fn summary(&self, parts: &Parts, submissions: &Adopted) -> String {
        let data = self.data.path().display();
        let lines = [
            ("page", format!("{}   (the API, to be tried: {}/docs)", self.page(), self.page())),
            ("prices", describe(&self.config.prices.sources)),
            ("submissions", describe_submissions(submissions, self.data)),
            ("models", format!("condor models list --url http://{}", loopback(self.args.deploy_port))),
            ("orchestrator", format!("ws://{}/condor", loopback(self.args.orchestrator_port))),
            (
                "health",
                format!("predict {}   score {}", health(parts.predict_admin), health(parts.score_admin)),
            ),
            ("files", format!("{data}; anew with --reset")),
            ("stop", "Ctrl-C; the same command goes on from there".to_owned()),
        ];
        lines.iter().map(|(what, line)| format!("{what:<12} {line}\n")).collect()
    }
}

fn health(port: u16) -> String {
    format!("http://{}/readyz", loopback(port))
}

fn describe_submissions(submissions: &Adopted, data: &DataDir) -> String {
    if submissions.all.is_empty() {
        let folder = data.submissions();
        return format!(
            "none; put a folder with a main.py into {} and start again, or `condor models add`",
            folder.display()
        );
    }
    let name =
        |name: &String| if submissions.new.contains(name) { format!("{name} (new)") } else { name.clone() };
    submissions.all.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Shows the page in the browser of whoever sits here, as soon as it answers.
async fn open_page(page: String) {
    if answers(&format!("{page}/healthz")).await
        && let Err(error) = open::that_detached(&page)
    {
        eprintln!("--open: no browser can be started ({error}): open {page} yourself");
    }
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

/// Waits until there is an answer at `url`; false when none came in time.
async fn answers(url: &str) -> bool {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(ONE_ANSWER).build() else {
        return false;
    };
    let answer = async {
        while client.get(url).send().await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ANSWERS_WITHIN, answer).await.is_ok()
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
    market: Market,
    config: &Config,
    store: Arc<dyn Store>,
    shutdown: CancellationToken,
) -> anyhow::Result<bool> {
    let Market { assets, history: feed, from, to, .. } = market;
    eprintln!("warm-up      {} of rounds, from {from}", setup.warm_up);
    let models = ReplayModels::built_in(setup.models);
    let plan = Plan { config: config.clone(), feed, assets, models, from, to };
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
