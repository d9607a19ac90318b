//! What an operator's monitoring sees of the report worker.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use domain::Stopwatch;
use monitoring::{Counter, Gauge, Histogram, Labelled, Registry, seconds, short_times};

use crate::App;

/// How a request counts whose path leads nowhere.
const NOWHERE: &str = "none";

/// Statuses by their first digit.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The metrics of a report worker. A clone shows and counts the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Labelled<Counter, 2>,
    took: Labelled<Histogram, 1>,
    /// Those of the routes that were asked for: as many as there are routes at most.
    routes: Arc<RwLock<HashMap<String, RouteMetrics>>>,
    pub(crate) kept_answers: Counter,
    pub(crate) rendered_answers: Counter,
    pub(crate) refused_by_rate: Counter,
    pub(crate) events: Counter,
    streams: Gauge,
    is_ready: Gauge,
}

/// Those of one route.
#[derive(Debug, Clone)]
struct RouteMetrics {
    by_class: [Counter; 5],
    took: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Labelled::new(["route", "status"], Counter::default),
            took: Labelled::new(["route"], short_times),
            routes: Arc::default(),
            kept_answers: Counter::default(),
            rendered_answers: Counter::default(),
            refused_by_rate: Counter::default(),
            events: Counter::default(),
            streams: Gauge::default(),
            is_ready: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Has them shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.add_labelled(
            "condor_report_requests",
            "Requests by route, as the OpenAPI document writes its path, and class of status; none is a path to nothing",
            &self.requests,
        );
        registry.add_labelled(
            "condor_report_request_seconds",
            "How long it took until an answer began",
            &self.took,
        );
        registry.add(
            "condor_report_kept_answers",
            "Answers that were there already, rendered for somebody before",
            &self.kept_answers,
        );
        registry.add(
            "condor_report_rendered_answers",
            "Answers that had to be rendered, once for each change of what they show",
            &self.rendered_answers,
        );
        registry.add(
            "condor_report_refused_by_rate",
            "Requests refused because too many came from one address",
            &self.refused_by_rate,
        );
        registry.add("condor_report_events", "Events told to whoever listened", &self.events);
        registry.add("condor_report_streams", "Streams of events that are open", &self.streams);
        registry.add(
            "condor_report_ready",
            "1 while the database answers and has the schema of this program",
            &self.is_ready,
        );
    }

    /// What is shown of this moment.
    pub(crate) fn look(&self, streams: usize, is_ready: bool) {
        self.streams.set(streams as f64);
        self.is_ready.set(f64::from(u8::from(is_ready)));
    }

    fn answered(&self, route: &str, status: StatusCode, took: Duration) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(route) {
            return known.answered(status, took);
        }
        drop(routes);
        self.add_route(route).answered(status, took);
    }

    fn add_route(&self, route: &str) -> RouteMetrics {
        let by_class = CLASSES.map(|class| self.requests.with([route, class]));
        let metrics = RouteMetrics { by_class, took: self.took.with([route]) };
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_insert(metrics).clone()
    }
}

impl RouteMetrics {
    fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.by_class[class].inc();
        self.took.observe(seconds(took));
    }
}

/// Counts a request and how long its answer took to begin, by the template of its route: what clients write is in no label.
pub(crate) async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NOWHERE, MatchedPath::as_str);
    app.metrics.answered(route, response.status(), watch.elapsed());
    response
}
