//! `GET /statistics`: how much there is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::{App, schema};

/// How much there is.
#[derive(Serialize, ToSchema)]
#[schema(as = Statistics)]
pub(crate) struct Answer {
    /// Every model ever seen.
    total_models: u64,
    /// Models that gave a valid answer in the last 24 h.
    active_models: u64,
    /// Of any status.
    total_predictions: u64,
    /// In rounds asked in the last 24 h.
    predictions_last_24h: u64,
    /// When this was counted.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
}

/// How much there is
#[utoipa::path(
    get,
    path = "/statistics",
    tag = "service",
    responses((status = 200, description = "The counts.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    ask.render([overview.stamp], move || {
        Body::json(&Answer {
            total_models: overview.counts.models,
            active_models: overview.counts.active_models,
            total_predictions: overview.counts.predictions.total(),
            predictions_last_24h: overview.counts.recent_predictions,
            as_of: overview.as_of,
            stale: overview.stale,
        })
    })
    .await
}
