//! `condor predict`

mod readiness;
mod reins;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock};
use journal::{Journal, Owner};
use model_client::{Cluster, ClusterConfig, Reporting};
use monitoring::Registry;
use predict_worker::{Candidate, Leadership, Lobby, Metrics, PredictSettings, PredictWorker, StartError};
use storage::{Store, WorkerRole};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::readiness::{PredictReadiness, Role};
use self::reins::{Prices, Reins};
use crate::admin;
use crate::cli::WorkerArgs;
use crate::config::{Config, ConfigError, Worker, load};
use crate::presence::{self, Presence};
use crate::reload::Reload;
use crate::signals::Hangups;
use crate::waiting::Startup;
use crate::{open_files, store};

/// A pause before the next attempt to lead when one failed for a reason that may pass.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs the predict worker until `shutdown`.
pub async fn run(args: WorkerArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let hangups = Hangups::listen(shutdown.clone())?;
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    let prices = Prices::open(&config)?;
    let startup = Arc::new(Startup::default());
    let (identity, metrics) = (presence::identity(WorkerRole::Predict), Metrics::default());
    let mut registry = Registry::of_process(&identity.version, identity.started_at);
    metrics.register(&mut registry);
    admin::serve(args.admin_listen, "predict", startup.clone(), registry, shutdown.clone()).await?;
    let opening = store::open_for_worker(&config.database, &startup.wait);
    let Some(store) = shutdown.run_until_cancelled(opening).await else { return Ok(()) };
    let store = store?;
    let _lock = store::lock_for_predict(&config.database.url)?;
    let post = Post {
        is_shared: store::is_shared(&config.database.url),
        journal: open_journal(&config).await?,
        reins: Arc::new(Reins::new(config.clone(), prices)),
        store: Arc::clone(&store),
        clock: Arc::new(SystemClock),
        role: watch::Sender::default(),
        metrics,
    };
    let readiness = Arc::new(post.readiness());
    startup.is_over(Arc::clone(&readiness) as _);
    let presence = Presence::start(identity, &config.database.url, readiness).await?;
    let watch = tokio::spawn(store::watch_schema(Arc::clone(&store), shutdown.clone()));
    let reload = Reload::new(Worker::Predict, &args.settings, config, hangups, Some(store));
    let reins = Arc::clone(&post.reins);
    let _reload = reload.follow(move |config| reins.apply(config));
    while !shutdown.is_cancelled() {
        post.serve_once(&shutdown).await?;
    }
    presence.end().await;
    Ok(watch.await??)
}

/// What a predict worker works with, whether it leads or stands by.
struct Post {
    reins: Arc<Reins>,
    store: Arc<dyn Store>,
    /// Others may lead over the same database.
    is_shared: bool,
    journal: Journal,
    clock: Arc<dyn Clock>,
    role: watch::Sender<Role>,
    metrics: Metrics,
}

impl Post {
    fn readiness(&self) -> PredictReadiness {
        PredictReadiness {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            role: self.role.subscribe(),
            journal: self.journal.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Stands by until this worker leads, and leads until it is told to stop or another worker leads.
    async fn serve_once(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let config = self.reins.config();
        let cluster_config = ClusterConfig {
            security: config.security()?,
            ..cluster_config(&config, &config.orchestrator.url)
        };
        let (cluster, events) = Cluster::start(cluster_config);
        self.reins.connected(cluster.bounds());
        let mut lobby = Lobby::new(open_files::watch(events));
        let Some(leadership) = shutdown.run_until_cancelled(lobby.meanwhile(self.stand_by())).await else {
            return Ok(());
        };
        let outcome = self.lead(leadership.clone(), lobby, cluster.reporting(), shutdown).await;
        self.reins.stands_by();
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
        if !self.is_shared {
            return Leadership::sole(Arc::clone(&self.store));
        }
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Candidate::new(store, clock, &presence::machine()).stand_by(&self.journal).await
    }

    async fn lead(
        &self,
        leadership: Leadership,
        lobby: Lobby,
        reporting: Reporting,
        shutdown: &CancellationToken,
    ) -> Result<(), LeadError> {
        self.role.send_replace(Role::Starting);
        let awaited = self.store.awaited_assets().await.map_err(StartError::from)?;
        let (settings, feed) = self.reins.start(awaited.into_keys())?;
        let (journal, clock) = (Some(self.journal.clone()), Arc::clone(&self.clock));
        let metrics = self.metrics.clone();
        let starting =
            PredictWorker::lead(leadership, settings, journal, clock, feed, lobby.leave(), metrics);
        let Some(worker) = shutdown.run_until_cancelled(starting).await else { return Ok(()) };
        let worker = worker?;
        self.reins.leads(worker.reloadable())?;
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
        markets: config.markets()?,
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
