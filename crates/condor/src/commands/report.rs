//! `condor report`

use std::sync::Arc;

use anyhow::Context;
use domain::{Clock, SystemClock};
use report_worker::{PriceOrigin, ReportSettings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::ReportArgs;
use crate::config::{Config, ConfigError, PriceSource, load};
use crate::store;

/// Runs the report worker until `shutdown`.
pub async fn run(args: ReportArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    let listen = args.listen.as_deref().unwrap_or(&config.report.listen);
    let store = store::open_read_only(&config.database.url).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = ReportSettings {
        crunch_id: config.crunch_id.clone(),
        schedules: config.schedules()?,
        weights: config.weights(),
        prices: price_origin(&config)?,
    };
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
    println!("listening on http://{}", listener.local_addr()?);
    report_worker::run(listener, store, clock, settings, shutdown).await?;
    Ok(())
}

fn price_origin(config: &Config) -> Result<PriceOrigin, ConfigError> {
    Ok(match config.price_source()? {
        PriceSource::Simulated { .. } => PriceOrigin::Simulated,
        PriceSource::Files { shift, .. } => PriceOrigin::Recorded(*shift),
    })
}
