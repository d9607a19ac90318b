//! `condor predict`

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock, Timestamp, TimestampExt};
use feeds::{FeedError, PriceFeed, RecordedPrices, SimulatedMarket};
use journal::{Journal, Owner};
use model_client::{Cluster, ClusterConfig, Reporting};
use predict_worker::{Candidate, Leadership, Lobby, PredictSettings, PredictWorker, StartError, Status};
use serde_json::{Value, json};
use storage::{LeaseName, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::cli::WorkerArgs;
use crate::config::{Config, ConfigError, PriceSource, load};
use crate::{open_files, store};

/// A pause before the next attempt to lead when one failed for a reason that may pass.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs the predict worker until `shutdown`.
pub async fn run(args: WorkerArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    let feed = feed(&config)?;
    let Some(store) = shutdown.run_until_cancelled(store::open_for_worker(&config.database.url)).await else {
        return Ok(());
    };
    let store = store?;
    let _lock = store::lock_for_predict(&config.database.url)?;
    let journal = open_journal(&config).await?;
    let post =
        Post { config, feed, store, journal, clock: Arc::new(SystemClock), role: watch::Sender::default() };
    admin::serve(args.admin_listen, "predict", Arc::new(post.readiness()), shutdown.clone()).await?;
    while !shutdown.is_cancelled() {
        post.serve_once(&shutdown).await?;
    }
    Ok(())
}

/// What a predict worker works with, whether it leads or stands by.
struct Post {
    config: Config,
    feed: Arc<dyn PriceFeed>,
    store: Arc<dyn Store>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    role: watch::Sender<Role>,
}

impl Post {
    fn readiness(&self) -> PredictReadiness {
        PredictReadiness {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            role: self.role.subscribe(),
        }
    }

    /// Stands by until this worker leads, and leads until it is told to stop or another worker leads.
    async fn serve_once(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let url = &self.config.orchestrator.url;
        let cluster_config =
            ClusterConfig { security: self.config.security()?, ..cluster_config(&self.config, url) };
        let (cluster, events) = Cluster::start(cluster_config);
        let mut lobby = Lobby::new(open_files::watch(events));
        let Some(leadership) = shutdown.run_until_cancelled(lobby.meanwhile(self.stand_by())).await else {
            return Ok(());
        };
        let outcome = self.lead(leadership.clone(), lobby, cluster.reporting(), shutdown).await;
        leadership.give_back().await;
        self.role.send_replace(Role::Standby);
        cluster.shutdown().await;
        match outcome {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "trying again");
                shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// An SQLite database has one predict worker, by a lock.
    async fn stand_by(&self) -> Leadership {
        if !store::is_shared(&self.config.database.url) {
            return Leadership::sole(Arc::clone(&self.store));
        }
        let machine = nix::unistd::gethostname().unwrap_or_default();
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Candidate::new(store, clock, &machine.to_string_lossy()).stand_by(&self.journal).await
    }

    async fn lead(
        &self,
        leadership: Leadership,
        lobby: Lobby,
        reporting: Reporting,
        shutdown: &CancellationToken,
    ) -> Result<(), LeadError> {
        let (journal, clock, feed) = (self.journal.clone(), Arc::clone(&self.clock), Arc::clone(&self.feed));
        let settings = settings(&self.config)?;
        self.role.send_replace(Role::Starting);
        let starting = PredictWorker::lead(leadership, settings, Some(journal), clock, feed, lobby.leave());
        let Some(worker) = shutdown.run_until_cancelled(starting).await else { return Ok(()) };
        let worker = worker?;
        let (status, since) = (worker.status(), self.clock.now());
        self.role.send_replace(Role::Leader { status, reporting, since });
        predict_worker::run(worker, shutdown.clone()).await;
        Ok(())
    }
}

/// Why a predict worker that may lead does not.
#[derive(Debug, thiserror::Error)]
enum LeadError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl LeadError {
    fn may_pass(&self) -> bool {
        matches!(self, LeadError::Start(error) if error.may_pass())
    }
}

async fn open_journal(config: &Config) -> anyhow::Result<Journal> {
    let owner =
        Owner { crunch_id: config.crunch_id.clone(), database: store::identity(&config.database.url)? };
    Ok(Journal::open(&config.journal(), &owner, config.predict.max_journal_bytes).await?)
}

/// What the predict worker needs of the configuration.
pub fn settings(config: &Config) -> Result<PredictSettings, ConfigError> {
    Ok(PredictSettings {
        crunch_id: config.crunch_id.clone(),
        schedules: config.schedules()?,
        only_assets: None,
        base_class: config.models.base_class.clone(),
        call_timeout: config.models.call_timeout,
        setup_timeout: config.models.setup_timeout,
        open_grace: config.prices.open_grace,
        join_grace: config.models.join_grace,
        history: config.prices.history,
        leave_after: config.scoring.leave_after,
        limits: config.models.limits(),
    })
}

/// How the orchestrator at `url` is followed, and its models called without TLS.
pub fn cluster_config(config: &Config, url: &str) -> ClusterConfig {
    let mut cluster = ClusterConfig::new(url, config.crunch_id.as_str());
    let models = &config.models;
    cluster.max_answer_bytes = models.max_answer_bytes;
    cluster.max_buffered_answer_bytes = models.max_buffered_answer_bytes;
    cluster.health.max_consecutive_failures = models.max_consecutive_failures;
    cluster.health.max_consecutive_timeouts = models.max_consecutive_timeouts;
    cluster.report_failures = models.report_failures;
    cluster
}

/// Opens the price source.
pub fn feed(config: &Config) -> Result<Arc<dyn PriceFeed>, ConfigError> {
    let assets = config.schedules()?.assets();
    let unusable = |error: FeedError| ConfigError::Value { key: "prices.sources", fault: error.to_string() };
    Ok(match config.price_source()? {
        PriceSource::Files { dir, shift } => {
            Arc::new(RecordedPrices::load(dir, &assets).map_err(unusable)?.shifted_by(*shift))
        }
        PriceSource::Simulated { seed, origin } => Arc::new(SimulatedMarket::new(*seed, *origin, &assets)),
    })
}

/// What a predict worker is at the moment.
#[derive(Default)]
enum Role {
    /// Another worker leads.
    #[default]
    Standby,
    /// It leads and resumes from what is stored.
    Starting,
    /// It asks.
    Leader { status: Status, reporting: Reporting, since: Timestamp },
}

struct PredictReadiness {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    role: watch::Receiver<Role>,
}

#[async_trait::async_trait]
impl Readiness for PredictReadiness {
    async fn check(&self) -> (bool, Value) {
        match &*self.role.borrow() {
            Role::Leader { status, reporting, since } => return self.check_leader(status, reporting, *since),
            Role::Starting => return (false, json!({ "role": "leader", "started": false })),
            Role::Standby => {}
        }
        self.check_standby().await
    }
}

impl PredictReadiness {
    /// Ready once the models are set up; how fresh prices are is in the details, and a database that is away does not
    /// count, since writes wait for it in the journal.
    fn check_leader(&self, status: &Status, reporting: &Reporting, since: Timestamp) -> (bool, Value) {
        let age = |at: Option<Timestamp>| at.map(|at| self.clock.now().since(at).as_secs());
        let reporting = reporting.status();
        let details = json!({
            "role": "leader",
            "leads_since": since,
            "reporting_paused": reporting.is_paused,
            "models_reported": reporting.reported,
            "reports_withheld": reporting.withheld,
            "models": status.running_models(),
            "started": status.is_started(),
            "unstored_writes": status.unstored_writes(),
            "oldest_unstored_age_s": age(status.oldest_unstored_at()),
            "refused_writes": status.refused_writes(),
            "journal_fault": status.journal_fault().map(|fault| fault.to_string()),
            "newest_price_age_s": age(status.newest_price_at()),
        });
        (status.is_started(), details)
    }

    /// Ready while the database answers: without it nobody can begin to lead.
    async fn check_standby(&self) -> (bool, Value) {
        let leader = self.store.lease_holder(LeaseName::Predict, self.clock.now()).await;
        let (is_ready, database) = match &leader {
            Ok(_) => (true, "ok".to_owned()),
            Err(error) => (false, error.to_string()),
        };
        let leader = leader.ok().flatten();
        let details = json!({
            "role": "standby",
            "leader": leader.as_ref().map(|leader| &leader.holder),
            "leader_since": leader.as_ref().map(|leader| leader.since),
            "database": database,
        });
        (is_ready, details)
    }
}
