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
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::access::{admit, admit_monitoring, share};
use crate::herald::{LeaderboardEvent, ModelEvent, RoundEvent, ScoresEvent};
use crate::metrics::measure;
use crate::openapi;
use crate::problem::{self, Problem};
use crate::rate::limit;
use crate::routes::{
    activity, audit, bands, corrections, deployments, document, events, health, leaderboard,
    leaderboard_history, market, metrics, model, model_history, model_predictions, models, page, predictions,
    prices, prometheus, ranking, reports, rounds, statistics, status, system, trends, why,
};

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

#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(problem::Body, RoundEvent, ScoresEvent, LeaderboardEvent, ModelEvent)))]
struct Shared;

/// The routes that need a key where reading does.
fn data() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(leaderboard::get))
        .routes(routes!(metrics::get))
        .routes(routes!(statistics::get))
        .routes(routes!(ranking::get))
        .routes(routes!(leaderboard_history::get))
        .routes(routes!(trends::get))
        .routes(routes!(status::get))
        .routes(routes!(audit::get))
        .routes(routes!(system::get))
        .routes(routes!(events::get))
        .routes(routes!(rounds::list))
        .routes(routes!(rounds::get))
        .routes(routes!(predictions::get))
        .routes(routes!(why::get))
        .routes(routes!(bands::get))
        .routes(routes!(models::get))
        .routes(routes!(model::get))
        .routes(routes!(deployments::get))
        .routes(routes!(model_history::get))
        .routes(routes!(model_predictions::get))
        .routes(routes!(activity::of_model))
        .routes(routes!(activity::of_all))
        .routes(routes!(prices::get))
        .routes(routes!(corrections::get))
        .routes(routes!(market::schedules))
        .routes(routes!(market::feeds))
        .routes(routes!(reports::models::get))
        .routes(routes!(reports::leaderboard::get))
        .routes(routes!(reports::schema::get))
        .routes(routes!(reports::global::get))
        .routes(routes!(reports::params::get))
        .routes(routes!(reports::predictions::get))
        .routes(routes!(reports::feeds::get))
        .routes(routes!(reports::feeds_tail::get))
}

/// The routes for everybody.
fn service() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(<Shared as utoipa::OpenApi>::openapi())
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(document::get))
}

/// The route for monitoring, which has a setting of its own and is not shared with pages of other hosts.
fn monitoring() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(prometheus::get))
}

/// The OpenAPI document of all of them.
pub(crate) fn document() -> OpenApi {
    openapi::complete(service().merge(monitoring()).merge(data()).into_openapi())
}

/// Every route.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (data, _) = data().route_layer(from_fn_with_state(Arc::clone(&app), admit)).split_for_parts();
    let (service, _) = service().split_for_parts();
    let (monitoring, _) =
        monitoring().route_layer(from_fn_with_state(Arc::clone(&app), admit_monitoring)).split_for_parts();
    data.merge(service)
        .merge(page::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), share))
        .merge(monitoring.method_not_allowed_fallback(wrong_method))
        .with_state(Arc::clone(&app))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&app), limit))
        .layer(from_fn(bound_time))
        .layer(map_response(secure))
        .layer(from_fn_with_state(app, measure))
        .layer(TraceLayer::new_for_http())
}

/// What operators ask on a listener of their own.
pub(crate) fn for_operators(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(prometheus::get))
        .with_state(app)
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
