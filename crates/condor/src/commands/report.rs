//! `condor report`

use std::sync::Arc;

use anyhow::Context;
use domain::{Clock, SystemClock};
use report_worker::ReportSettings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::ReportArgs;
use crate::config::{Config, PriceSource, load};
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
        price_label: Some(price_label(&config, clock.as_ref())?),
    };
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: choose another --listen"))?;
    println!("listening on http://{}", listener.local_addr()?);
    report_worker::run(listener, store, clock, settings, shutdown).await?;
    Ok(())
}

/// What prices these are, in words: nobody must take a made-up or past market for today's.
fn price_label(config: &Config, clock: &dyn Clock) -> anyhow::Result<String> {
    Ok(match config.price_source()? {
        PriceSource::Simulated { .. } => "simulated market".into(),
        PriceSource::Files { shift, .. } if shift.is_zero() => "recorded prices".into(),
        PriceSource::Files { shift, .. } => {
            let recorded = clock.now() - *shift;
            format!("recorded prices of {}", recorded.format("%Y-%m-%d"))
        }
    })
}
