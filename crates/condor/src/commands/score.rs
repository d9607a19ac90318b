//! `condor score`

mod explain;
mod table;

use std::sync::Arc;

use anyhow::{Context, bail};
use domain::{Clock, SystemClock};
use monitoring::Registry;
use score_worker::{Metrics, Progress, ScoreSettings, ScoreWorker};
use serde_json::{Value, json};
use storage::{StorageError, Store, WorkerFacts, WorkerRole};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::cli::ScoreArgs;
use crate::config::{Config, ConfigError, Worker, load};
use crate::presence::{self, Account, Presence};
use crate::reload::Reload;
use crate::signals::Hangups;
use crate::store;
use crate::waiting::Startup;
pub use explain::settlement;

/// Runs the score worker until `shutdown`, or once.
pub async fn run(args: ScoreArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config =
        load(args.worker.settings.config.as_deref(), args.worker.settings.database.as_deref())?.config;
    if let Some(id) = &args.explain {
        let explained = shutdown.run_until_cancelled(explain::run(id, args.json, &config)).await;
        return explained.unwrap_or_else(|| bail!("stopped"));
    }
    let startup = Arc::new(Startup::default());
    let (identity, metrics) = (presence::identity(WorkerRole::Score), Metrics::default());
    let mut registry = Registry::of_process(&identity.version, identity.started_at);
    metrics.register(&mut registry);
    admin::serve(args.worker.admin_listen, "score", startup.clone(), registry, shutdown.clone()).await?;
    let opening = store::open_for_worker(&config.database, &startup.wait);
    let Some(store) = shutdown.run_until_cancelled(opening).await else { return Ok(()) };
    let store = store?;
    let hangups = Hangups::listen(shutdown.clone())?;
    let mut worker = ScoreWorker::new(settings(&config)?, Arc::clone(&store), Arc::new(SystemClock))
        .counted_by(metrics.clone());
    if let Some(threads) = config.scoring.threads {
        worker = worker.with_threads(threads).context("cannot start the threads of scoring.threads")?;
    }
    if args.once {
        let progress = shutdown.run_until_cancelled(worker.run_once()).await;
        worker.give_back().await?;
        let Some(progress) = progress else {
            bail!("stopped: what was scored so far is stored");
        };
        let progress = progress?;
        let Progress { scored, void, rescored, waiting, .. } = progress;
        println!("scored {scored}, void {void}, scored again {rescored}, waiting for prices {waiting}");
        return Ok(());
    }
    let worker = worker.pruning(config.retention.clone());
    let readiness = Arc::new(ScoreReadiness { store: Arc::clone(&store), status: worker.status(), metrics });
    startup.is_over(Arc::clone(&readiness) as _);
    let presence = Presence::start(identity, &config.database.url, readiness).await?;
    let reloadable = worker.reloadable();
    let apply = move |config: &Config| {
        reloadable.weigh(config.weights());
        Ok(())
    };
    let watch = tokio::spawn(store::watch_schema(Arc::clone(&store), shutdown.clone()));
    let reload = Reload::new(Worker::Score, &args.worker.settings, config, hangups, Some(store));
    let _reload = reload.follow(apply);
    score_worker::run(worker, shutdown.clone()).await?;
    presence.end().await;
    shutdown.cancel();
    Ok(watch.await??)
}

/// What the score worker needs of the configuration.
pub fn settings(config: &Config) -> Result<ScoreSettings, ConfigError> {
    let scoring = scoring::ScoreSettings {
        rule: config.rule()?,
        aggregation: config.scoring.aggregation,
        asset_scales: config.scoring.asset_scales.clone(),
        outlier_cap: config.scoring.outlier_cap,
    };
    let settlement = config.settlement();
    Ok(ScoreSettings { scoring, settlement, weights: config.weights(), retry_after: config.prices.interval })
}

struct ScoreReadiness {
    store: Arc<dyn Store>,
    status: score_worker::Status,
    metrics: Metrics,
}

#[async_trait::async_trait]
impl Readiness for ScoreReadiness {
    /// Ready while the database answers, its schema fits, and the settings are those in force: else it does nothing.
    async fn check(&self) -> (bool, Value) {
        let database = self.store.check_schema().await;
        let stands_by_for = self.status.stands_by_for();
        let details = json!({
            "database": database.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned()),
            "ranks": self.status.is_ranking(),
            "stands_by_for": stands_by_for.as_ref().map(|others| json!({ "rule": others.rule, "since": others.at })),
        });
        (database.is_ok() && stands_by_for.is_none(), details)
    }

    fn look(&self) {
        self.metrics.look(&self.status);
    }
}

#[async_trait::async_trait]
impl Account for ScoreReadiness {
    async fn account(&self, store: &dyn Store) -> Result<(String, WorkerFacts), StorageError> {
        let now = SystemClock.now();
        let due = store.due_rounds(now).await?;
        self.metrics.due(&due, now);
        let facts = WorkerFacts {
            due_rounds: Some(due.rounds),
            scoring_lag_s: Some(due.lag(now).as_secs()),
            ..WorkerFacts::default()
        };
        let state = match (self.status.stands_by_for(), self.status.is_ranking()) {
            (Some(_), _) => "standing by: other settings are in force",
            (None, true) => "scoring and ranking",
            (None, false) => "scoring",
        };
        Ok((state.to_owned(), facts))
    }
}
