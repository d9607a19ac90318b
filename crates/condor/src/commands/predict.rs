//! `condor predict`

use std::sync::Arc;

use domain::{Clock, SystemClock, Timestamp, TimestampExt};
use feeds::{FeedError, PriceFeed, RecordedPrices, SimulatedMarket};
use journal::{Journal, Owner};
use model_client::{Cluster, ClusterConfig, Reporting};
use predict_worker::{PredictSettings, PredictWorker};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::cli::WorkerArgs;
use crate::config::{Config, ConfigError, PriceSource, load};
use crate::waiting::Startup;
use crate::{open_files, store};

/// Runs the predict worker until `shutdown`.
pub async fn run(args: WorkerArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    let feed = feed(&config)?;
    let startup = Arc::new(Startup::default());
    admin::serve(args.admin_listen, "predict", startup.clone(), shutdown.clone()).await?;
    let opening = store::open_for_worker(&config.database, &startup.wait);
    let Some(store) = shutdown.run_until_cancelled(opening).await else { return Ok(()) };
    let store = store?;
    let _lock = store::lock_for_predict(&config.database.url)?;
    let journal = open_journal(&config).await?;
    let cluster_config =
        ClusterConfig { security: config.security()?, ..cluster_config(&config, &config.orchestrator.url) };
    let (cluster, events) = Cluster::start(cluster_config);
    let events = open_files::watch(events);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let starting =
        PredictWorker::start(settings(&config)?, store, Some(journal), Arc::clone(&clock), feed, events);
    let Some(worker) = shutdown.run_until_cancelled(starting).await else { return Ok(()) };
    let worker = worker?;
    startup.is_over(PredictReadiness { status: worker.status(), reporting: cluster.reporting(), clock });
    predict_worker::run(worker, shutdown).await;
    cluster.shutdown().await;
    Ok(())
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

struct PredictReadiness {
    status: predict_worker::Status,
    reporting: Reporting,
    clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Readiness for PredictReadiness {
    /// Ready once the models are set up; how fresh prices are is in the details, and a database that is away does not
    /// count, since writes wait for it in the journal.
    async fn check(&self) -> (bool, Value) {
        let age = |at: Option<Timestamp>| at.map(|at| self.clock.now().since(at).as_secs());
        let reporting = self.reporting.status();
        let details = json!({
            "reporting_paused": reporting.is_paused,
            "models_reported": reporting.reported,
            "reports_withheld": reporting.withheld,
            "models": self.status.running_models(),
            "started": self.status.is_started(),
            "unstored_writes": self.status.unstored_writes(),
            "oldest_unstored_age_s": age(self.status.oldest_unstored_at()),
            "refused_writes": self.status.refused_writes(),
            "journal_fault": self.status.journal_fault().map(|fault| fault.to_string()),
            "newest_price_age_s": age(self.status.newest_price_at()),
        });
        (self.status.is_started(), details)
    }
}
