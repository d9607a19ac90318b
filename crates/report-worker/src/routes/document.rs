//! `GET /openapi.json`: this interface, described.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::App;
use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::router::document;

/// This interface as an OpenAPI document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value), Unchanged)
)]
pub(crate) async fn get(
    State(_): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    ask.render([], || Body::json(&document())).await
}
