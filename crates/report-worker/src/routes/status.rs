//! `GET /api/v1/status`: what is played, on which prices, how much there is and how fresh it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::{Asset, CrunchId, StatusCounts, Timestamp};
use serde::Serialize;
use storage::{AuditEntry, RoundCounts};

use crate::App;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::routes::health::Freshness;
use crate::routes::horizon_key;

#[derive(Serialize)]
struct Answer<'a> {
    crunch_id: &'a CrunchId,
    /// What prices these are, in words.
    price_label: String,
    assets: Vec<Asset>,
    horizons: Vec<String>,
    /// The coordinator's time: what ages are to be reckoned from.
    now: Timestamp,
    /// When this was counted.
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    total_models: u64,
    active_models: u64,
    rounds: RoundCounts,
    predictions: StatusCounts,
    predictions_last_24h: u64,
    freshness: Freshness,
    /// The order by which no round is asked now; null when there is none.
    pause: Option<AuditEntry>,
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    let settings = app.settings();
    let answer = Answer {
        crunch_id: &settings.crunch_id,
        price_label: settings.prices.label(app.clock.now()),
        assets: settings.schedules.assets(),
        horizons: settings.schedules.horizons().into_iter().map(horizon_key).collect(),
        now: app.clock.now(),
        as_of: overview.as_of,
        stale: overview.stale,
        total_models: overview.counts.models,
        active_models: overview.counts.active_models,
        rounds: overview.counts.rounds,
        predictions: overview.counts.predictions,
        predictions_last_24h: overview.counts.recent_predictions,
        freshness: Freshness::read(&app.reader).await,
        pause: app.reader.audit().await?.pause.clone(),
    };
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([no_store], Json(answer)).into_response())
}
