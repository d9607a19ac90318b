//! `condor report`

use std::sync::Arc;

use anyhow::Context;
use domain::{Clock, SystemClock};
use report_worker::{Judging, PriceOrigin, Process, ReportSettings};
use score_worker::ScoreSettings;
use storage::WorkerRole;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::score;
use crate::cli::ReportArgs;
use crate::config::{Config, ConfigError, PriceSource, Worker, load};
use crate::reload::Reload;
use crate::signals::Hangups;
use crate::{admin, presence, store};

/// Runs the report worker until `shutdown`.
pub async fn run(args: ReportArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let hangups = Hangups::listen(shutdown.clone())?;
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    let listen = args.listen.clone().unwrap_or_else(|| config.report.listen.clone());
    let store = store::open_read_only(&config.database.url).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let in_force = watch::Sender::new(Arc::new(settings(&config)?));
    let listener = TcpListener::bind(&listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
    let admin = admin::listen(args.admin_listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let process = Process { identity: presence::identity(WorkerRole::Report), admin };
    let running = report_worker::run(listener, store, clock, in_force.subscribe(), process, shutdown);
    let apply = move |config: &Config| {
        in_force.send_replace(Arc::new(settings(config)?));
        Ok(())
    };
    // It writes nothing, no record either.
    let reload = Reload::new(Worker::Report, &args.settings, config, hangups, None);
    let _reload = reload.follow(apply);
    Ok(running.await?)
}

fn settings(config: &Config) -> Result<ReportSettings, ConfigError> {
    Ok(ReportSettings {
        crunch_id: config.crunch_id.clone(),
        schedules: config.schedules()?,
        markets: config.markets()?,
        weights: config.weights(),
        leave_after: config.scoring.leave_after,
        prices: price_origin(config),
        access: config.report.access()?,
        requests_per_second: config.report.rate(),
        answers: config.report.answers,
        judging: judging(config)?,
        zone_in_reports: config.report.zone_in_reports,
    })
}

/// As the score worker judges.
fn judging(config: &Config) -> Result<Judging, ConfigError> {
    let ScoreSettings { scoring, settlement, .. } = score::settings(config)?;
    Ok(Judging { scoring, settlement })
}

/// Nobody mixes recorded or made-up prices with those of services but to fill a gap.
fn price_origin(config: &Config) -> PriceOrigin {
    match config.prices.sources.as_slice() {
        [PriceSource::Simulated { .. }] => PriceOrigin::Simulated,
        [PriceSource::Files { shift, .. }] => PriceOrigin::Recorded(*shift),
        _ => PriceOrigin::Live,
    }
}
