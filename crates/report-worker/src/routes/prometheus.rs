//! `GET /metrics`: what monitoring collects.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::params::{NoParams, Params};

/// What monitoring collects: OpenMetrics, as Prometheus reads it
///
/// docs/metrics.md describes each metric. No model and no client is in any. Whether it takes a key is a setting of its own
/// (`[report] metrics`), and no page of another host may read it.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses((
        status = 200,
        description = "The metrics.",
        body = String,
        content_type = "application/openmetrics-text"
    ))
)]
pub(crate) async fn get(State(app): State<Arc<App>>, Params(NoParams {}): Params<NoParams>) -> Response {
    let is_ready = app.reader.readiness().await.is_ready();
    app.metrics.look(app.events.listeners(), is_ready);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(monitoring::CONTENT_TYPE)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, app.registry.text()).into_response()
}
