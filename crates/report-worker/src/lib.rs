//! The HTTP interface and the web page; reads only.
//!
//! A request passes `http-serve` (connections and their bounds), `router` (what every answer has in common) and one
//! file under `routes`; what it reads comes through `reader`, which asks the database at most once a second,
//! however many clients there are, and goes on serving what it read last when the database is away.
//!
//! To add an endpoint: one file in `routes`, one line in `router`.

mod access;
mod activity;
mod ask;
mod bands;
mod boards;
mod body;
mod browse;
mod cache;
mod charts;
mod csv;
mod departures;
mod events;
mod herald;
mod metrics;
mod openapi;
mod operations;
mod paging;
mod params;
mod presence;
mod problem;
mod process;
mod rate;
mod reader;
mod refused;
mod rendered;
mod rounds;
mod router;
mod routes;
mod schema;
mod source;
mod stamp;
#[cfg(test)]
mod tests;
mod units;
pub mod why;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use domain::{Clock, CrunchId, Markets, Schedules, Span, Timestamp, Weights};
use http_serve::{Limits, OpenDoor};
use monitoring::Registry;
use scoring::{ScoreSettings, SettlementSettings};
use storage::{ChangeSource, ReportStore, Store, WorkerIdentity};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use crate::access::{Access, Key, Role};
use crate::activity::Activity;
use crate::events::Events;
pub use crate::metrics::Metrics;
use crate::operations::Notices;
pub use crate::process::Process;
use crate::rate::Rate;
use crate::reader::Reader;
use crate::rendered::Rendered;
pub use crate::rounds::{AnswersTo, Judging};
use crate::stamp::{Basis, Stamp};

/// A request's line and headers together: the longest path that there is, for lists of models in it, and 32 KiB.
const MAX_HEAD_BYTES: usize = 96 * 1024;

/// What the worker needs to know beside what the database holds.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// The competition.
    pub crunch_id: CrunchId,
    /// The horizons and assets that are asked.
    pub schedules: Schedules,
    /// When the assets are traded: always, unless it is said here.
    pub markets: Markets,
    /// How much each asset and horizon counts in the means over some of them.
    pub weights: Weights,
    /// How long a model may be unconnected before it leaves the field.
    pub leave_after: Span,
    /// What prices these are.
    pub prices: PriceOrigin,
    /// To whom answers are shown once their round has resolved.
    pub answers: AnswersTo,
    /// By what predictions are judged, to explain their scores.
    pub judging: Judging,
    /// Whether times under `/reports/` end with `Z`; the front end that those are for appends it itself.
    pub zone_in_reports: bool,
    /// Who may read.
    pub access: Access,
    /// How many requests one address may make in a second, more for a few seconds after a pause; none is no limit.
    pub requests_per_second: Option<NonZeroU32>,
}

impl ReportSettings {
    /// Everything else as it is unless somebody says otherwise: public, made-up prices, no bound on requests.
    pub fn new(crunch_id: CrunchId, schedules: Schedules) -> Self {
        ReportSettings {
            crunch_id,
            markets: Markets::default(),
            weights: Weights::default(),
            leave_after: Span::days(7),
            prices: PriceOrigin::Simulated,
            answers: AnswersTo::default(),
            judging: Judging {
                scoring: ScoreSettings::default(),
                settlement: SettlementSettings::new(schedules.interval()),
            },
            zone_in_reports: false,
            access: Access::default(),
            requests_per_second: None,
            schedules,
        }
    }
}

/// What prices models are asked about. Nobody must take a made-up or past market for today's: the page says so, and
/// `/api/v1/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriceOrigin {
    /// Made up.
    Simulated,
    /// Of the past, moved forward by this much.
    Recorded(Span),
    /// Those of the real world, now.
    Live,
}

impl PriceOrigin {
    /// In words, at `now`.
    fn label(self, now: Timestamp) -> String {
        match self {
            PriceOrigin::Simulated => "simulated market".to_owned(),
            PriceOrigin::Live => "live prices".to_owned(),
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
    pub(crate) rendered: Arc<Rendered>,
    pub(crate) events: Events,
    pub(crate) activity: Activity,
    pub(crate) rate: Rate,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    pub(crate) notices: Notices,
    pub(crate) identity: WorkerIdentity,
    settings: SettingsInForce,
}

impl App {
    /// Streams of events end with `closing`.
    fn new(
        reader: Reader,
        clock: Arc<dyn Clock>,
        settings: watch::Receiver<Arc<ReportSettings>>,
        identity: WorkerIdentity,
        closing: CancellationToken,
    ) -> Self {
        let metrics = Metrics::default();
        let mut registry = Registry::of_process(&identity.version, identity.started_at);
        metrics.register(&mut registry);
        App {
            reader,
            clock,
            rendered: Arc::new(Rendered::counted_by(&metrics)),
            events: Events::new(closing).counted_by(&metrics),
            activity: Activity::default(),
            rate: Rate::default(),
            metrics,
            registry,
            notices: Notices::default(),
            identity,
            settings: SettingsInForce::new(settings),
        }
    }

    /// The basis of an answer that is read from the database for it. It changes when a change is told, and with the second: rounds
    /// resolve, and later prices count, without being told.
    pub(crate) fn moment(&self) -> Basis {
        [self.reader.changes(), self.settings.get().1, Stamp::of(&self.clock.now().timestamp())].into()
    }

    /// The settings in force, and their stamp.
    pub(crate) fn settings(&self) -> (Arc<ReportSettings>, Stamp) {
        self.settings.get()
    }
}

/// Settings may change while the worker runs.
struct SettingsInForce {
    newest: watch::Receiver<Arc<ReportSettings>>,
    known: Mutex<(Arc<ReportSettings>, Stamp)>,
}

impl SettingsInForce {
    fn new(newest: watch::Receiver<Arc<ReportSettings>>) -> Self {
        let known = (Arc::clone(&newest.borrow()), Stamp::fresh());
        SettingsInForce { newest, known: Mutex::new(known) }
    }

    fn get(&self) -> (Arc<ReportSettings>, Stamp) {
        let newest = self.newest.borrow();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.0, &newest) {
            *known = (Arc::clone(&newest), Stamp::fresh());
        }
        known.clone()
    }
}

/// Answers requests on `listener` until `shutdown`; then requests in progress get a few seconds to end.
///
/// Each answer is by the settings as they are then.
///
/// Works from the start whatever the state of the database: `/readyz` says what is missing.
pub async fn run(
    listener: TcpListener,
    store: Arc<dyn ReportStore>,
    clock: Arc<dyn Clock>,
    settings: watch::Receiver<Arc<ReportSettings>>,
    process: Process,
    shutdown: CancellationToken,
) -> Result<(), ReportError> {
    let address = listener.local_addr().map_err(ReportError::Listener)?;
    tracing::info!(%address, "report worker: listening on http://{address}");
    let reader = Reader::new(Box::new(Arc::clone(&store) as Arc<dyn Store>), clock.clone());
    let Process { identity, admin } = process;
    let app = Arc::new(App::new(reader, clock, settings, identity, shutdown.clone()));
    let router = router::router(Arc::clone(&app));
    let administered = serve_operators(admin, router::for_operators(Arc::clone(&app)), shutdown.clone());
    let counting = tokio::spawn(count_activity(Arc::clone(&app), shutdown.clone()));
    let departures = departures::follow(Arc::clone(&app), shutdown.clone());
    let followed = herald::follow(Arc::clone(&app), store as Arc<dyn ChangeSource>, shutdown.clone());
    let limits = Limits { head_bytes: MAX_HEAD_BYTES, ..Limits::default() };
    let served = http_serve::serve("report worker", listener, router, OpenDoor, limits, shutdown);
    tokio::join!(followed, departures, app.events.beat(), served, administered);
    if let Err(error) = counting.await {
        tracing::error!(%error, "report worker: counting how models answered has ended by a defect: {error}");
    }
    tracing::info!("report worker: stopped");
    Ok(())
}

/// Answers operators until `shutdown`.
async fn serve_operators(listener: Option<TcpListener>, router: Router, shutdown: CancellationToken) {
    let Some(listener) = listener else { return };
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "report worker: admin interface");
    }
    http_serve::serve("admin interface", listener, router, OpenDoor, Limits::FOR_OPERATORS, shutdown).await;
}

/// Counts how models answer until `shutdown`.
async fn count_activity(app: Arc<App>, shutdown: CancellationToken) {
    let counting = app.activity.keep_counting(app.reader.source(), app.clock.as_ref());
    shutdown.run_until_cancelled(counting).await;
}
