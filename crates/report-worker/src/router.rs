//! Which path leads where, and what every answer has in common.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::trace::TraceLayer;

use crate::App;
use crate::problem::Problem;
use crate::routes::{audit, health, leaderboard, metrics, page, ranking, statistics, status};

/// How long an answer may take to begin.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The page loads its own files and asks its own host; nothing else, nothing inline, in nobody's frame.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Every route.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/leaderboard", get(leaderboard::get))
        .route("/model/{model_id}/metrics", get(metrics::get))
        .route("/statistics", get(statistics::get))
        .route("/api/v1/leaderboard", get(ranking::get))
        .route("/api/v1/status", get(status::get))
        .route("/api/v1/audit", get(audit::get))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/", get(page::html))
        .route("/assets/app.css", get(page::css))
        .route("/assets/app.js", get(page::js))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(bound_time))
        .layer(map_response(secure))
        .layer(TraceLayer::new_for_http())
}

async fn unknown_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::not_found(format!("There is nothing at {path}. The page at / links to what there is."))
}

async fn wrong_method(method: Method) -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not answered here: the report worker only reads. Use GET."),
    )
}

async fn bound_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem::unavailable("The answer took too long. Ask again in a few seconds.").into_response()
        }
    }
}

async fn secure(mut response: Response) -> Response {
    response.headers_mut().extend(SECURITY_HEADERS);
    response
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let cause = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    tracing::error!(cause, "report worker: a request failed by a defect: {cause}");
    Problem::internal().into_response()
}
