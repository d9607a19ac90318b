//! The HTTP interface and the web page; reads only.
//!
//! A request passes `http-serve` (connections and their bounds), `router` (what every answer has in common) and one
//! file under `routes`; what it reads comes through `reader`, which asks the database at most once a second,
//! however many clients there are, and goes on serving what it read last when the database is away.
//!
//! To add an endpoint: one file in `routes`, one line in `router`.

mod cache;
mod params;
mod problem;
mod reader;
mod respond;
mod router;
mod routes;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::{Clock, CrunchId, Schedules, Span, Timestamp, Weights};
use http_serve::{Limits, OpenDoor};
use storage::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::reader::Reader;

/// What the worker needs to know beside what the database holds.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// The competition.
    pub crunch_id: CrunchId,
    /// The horizons and assets that are asked.
    pub schedules: Schedules,
    /// How much each asset counts in the means over one horizon.
    pub weights: Weights,
    /// What prices these are.
    pub prices: PriceOrigin,
}

/// What prices models are asked about. Nobody must take a made-up or past market for today's: the page says so, and
/// `/api/v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceOrigin {
    /// Made up.
    Simulated,
    /// Of the past, moved forward by this much.
    Recorded(Span),
}

impl PriceOrigin {
    /// In words, at `now`.
    fn label(self, now: Timestamp) -> String {
        match self {
            PriceOrigin::Simulated => "simulated market".to_owned(),
            PriceOrigin::Recorded(shift) => {
                format!("recorded prices of {}", (now - shift).format("%Y-%m-%d"))
            }
        }
    }
}

/// Why the worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The socket is unusable.
    #[error("the report worker's listening socket is unusable: {0}")]
    Listener(#[source] std::io::Error),
}

/// What all routes share.
pub(crate) struct App {
    pub(crate) reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    /// They may change while the worker runs.
    pub(crate) settings: watch::Receiver<Arc<ReportSettings>>,
}

impl App {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<ReportSettings> {
        Arc::clone(&self.settings.borrow())
    }
}

/// Answers requests on `listener` until `shutdown`; then requests in progress get a few seconds to end.
///
/// Each answer is by the settings as they are then.
///
/// Works from the start whatever the state of the database: `/readyz` says what is missing.
pub async fn run(
    listener: TcpListener,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: watch::Receiver<Arc<ReportSettings>>,
    shutdown: CancellationToken,
) -> Result<(), ReportError> {
    let address = listener.local_addr().map_err(ReportError::Listener)?;
    tracing::info!(%address, "report worker: listening on http://{address}");
    let reader = Reader::new(Box::new(store), clock.clone());
    let app = Arc::new(App { reader, clock, settings });
    let router = router::router(app);
    http_serve::serve("report worker", listener, router, OpenDoor, Limits::default(), shutdown).await;
    tracing::info!("report worker: stopped");
    Ok(())
}
