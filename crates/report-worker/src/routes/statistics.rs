//! `GET /statistics`: how much there is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::Timestamp;
use serde::Serialize;

use crate::App;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::respond::tagged_json;

#[derive(Serialize)]
struct Answer {
    total_models: u64,
    /// Models that gave a valid answer in the last 24 h.
    active_models: u64,
    /// Of any status.
    total_predictions: u64,
    /// In rounds asked in the last 24 h.
    predictions_last_24h: u64,
    /// When this was counted.
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    let answer = Answer {
        total_models: overview.counts.models,
        active_models: overview.counts.active_models,
        total_predictions: overview.counts.predictions.total(),
        predictions_last_24h: overview.counts.recent_predictions,
        as_of: overview.as_of,
        stale: overview.stale,
    };
    tagged_json(&headers, &answer)
}
