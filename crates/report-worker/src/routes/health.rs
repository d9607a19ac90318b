//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::params::{NoParams, Params};
use crate::reader::{Reader, Readiness};
use crate::{App, schema};

const NO_STORE: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The process lives.
#[derive(Serialize, ToSchema)]
pub(crate) struct Live {
    /// `alive`
    status: &'static str,
}

/// Whether the process lives
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    responses((status = 200, description = "It does.", body = Live))
)]
pub(crate) async fn live(Params(NoParams {}): Params<NoParams>) -> Response {
    ([NO_STORE], Json(Live { status: "alive" })).into_response()
}

/// Whether this worker can do its work.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready` or `not ready`
    status: &'static str,
    /// What that depends on: each is `ok`, or says what is wrong.
    checks: Readiness,
    freshness: Freshness,
}

/// How new the newest of everything is; null where there is none or it cannot be read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Freshness {
    #[schema(value_type = Option<schema::Timestamp>)]
    newest_price_at: Option<Timestamp>,
    #[schema(value_type = Option<schema::Timestamp>)]
    newest_round_at: Option<Timestamp>,
    #[schema(value_type = Option<schema::Timestamp>)]
    leaderboard_as_of: Option<Timestamp>,
}

impl Freshness {
    pub(crate) async fn read(reader: &Reader) -> Self {
        let overview = reader.overview().await.ok();
        let leaderboard = reader.leaderboard().await.ok();
        Freshness {
            newest_price_at: overview.as_ref().and_then(|overview| overview.newest_price_at()),
            newest_round_at: overview.as_ref().and_then(|overview| overview.counts.newest_round_at),
            leaderboard_as_of: leaderboard.and_then(|board| board.as_ref().map(|board| board.as_of)),
        }
    }
}

/// Whether this worker can do its work
///
/// Old prices, rounds and scores are the other workers' matter: they are told, and do not make this one unready.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, description = "It can.", body = Ready),
        (status = 503, description = "It cannot; the checks say why.", body = Ready)
    )
)]
pub(crate) async fn ready(State(app): State<Arc<App>>, Params(NoParams {}): Params<NoParams>) -> Response {
    let checks = app.reader.readiness().await;
    let (code, status) = match checks.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let freshness = Freshness::read(&app.reader).await;
    (code, [NO_STORE], Json(Ready { status, checks, freshness })).into_response()
}
