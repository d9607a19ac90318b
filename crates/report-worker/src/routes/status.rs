//! `GET /api/v1/status`: what is played, on which prices, how much there is and how fresh it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::{Asset, CrunchId, StatusCounts, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::routes::health::Freshness;
use crate::routes::{Order, horizon_key};
use crate::{App, schema};

/// What is played, on which prices, how much there is and how fresh it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = String)]
    crunch_id: &'a CrunchId,
    /// What prices these are, in words.
    price_label: String,
    /// What is asked about.
    #[schema(value_type = Vec<schema::Asset>)]
    assets: Vec<Asset>,
    /// How far ahead: in whole hours, else minutes, such as `24h`; the shortest first.
    horizons: Vec<String>,
    /// The coordinator's time: what ages are to be reckoned from.
    #[schema(value_type = schema::Timestamp)]
    now: Timestamp,
    /// When this was counted.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// Every model ever seen.
    total_models: u64,
    /// Models that gave a valid answer in the last 24 h.
    active_models: u64,
    /// By state.
    rounds: RoundCounts,
    /// By status.
    predictions: PredictionCounts,
    /// In rounds asked in the last 24 h.
    predictions_last_24h: u64,
    freshness: Freshness,
    /// The order by which no round is asked now; null when there is none.
    pause: Option<Order<'a>>,
}

/// Rounds by state.
#[derive(Serialize, ToSchema)]
struct RoundCounts {
    /// In flight.
    asked: u64,
    /// Waiting to resolve or to be scored.
    closed: u64,
    scored: u64,
    /// Could not be scored, or was voided by an operator.
    void: u64,
    /// The worker stopped while it was in flight.
    interrupted: u64,
    /// Never asked.
    missed: u64,
}

impl From<storage::RoundCounts> for RoundCounts {
    fn from(counts: storage::RoundCounts) -> Self {
        let storage::RoundCounts { asked, closed, scored, void, interrupted, missed } = counts;
        RoundCounts { asked, closed, scored, void, interrupted, missed }
    }
}

/// Predictions by status.
#[derive(Serialize, ToSchema)]
pub(crate) struct PredictionCounts {
    /// Valid answers in time.
    success: u64,
    /// Errors and invalid answers.
    failed: u64,
    /// No answer by the deadline.
    timeout: u64,
    /// Not asked, because the model does not run or cannot be reached.
    absent: u64,
}

impl From<StatusCounts> for PredictionCounts {
    fn from(counts: StatusCounts) -> Self {
        let StatusCounts { success, failed, timeout, absent } = counts;
        PredictionCounts { success, failed, timeout, absent }
    }
}

/// What is played, how much there is and how fresh it is
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "service",
    responses((status = 200, description = "The status.", body = Answer))
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    let (settings, _) = app.settings();
    let record = app.reader.audit().await?;
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
        rounds: overview.counts.rounds.into(),
        predictions: overview.counts.predictions.into(),
        predictions_last_24h: overview.counts.recent_predictions,
        freshness: Freshness::read(&app.reader).await,
        pause: record.pause.as_ref().map(Order::from),
    };
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([no_store], Json(answer)).into_response())
}
