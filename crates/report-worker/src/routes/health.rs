//! `GET /healthz` and `GET /readyz`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use serde::Serialize;

use crate::App;
use crate::params::{NoParams, Params};
use crate::reader::{Reader, Readiness};

const NO_STORE: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

/// The process lives.
pub(crate) async fn live(Params(NoParams {}): Params<NoParams>) -> Response {
    ([NO_STORE], Json(Live { status: "alive" })).into_response()
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    checks: Readiness,
    freshness: Freshness,
}

/// How new the newest of everything is; null where there is none or it cannot be read.
#[derive(Debug, Serialize)]
pub(crate) struct Freshness {
    newest_price_at: Option<Timestamp>,
    newest_round_at: Option<Timestamp>,
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

/// This worker can do its work. Old prices, rounds and scores are the other workers' matter: they are told, and do not
/// make this one unready.
pub(crate) async fn ready(State(app): State<Arc<App>>, Params(NoParams {}): Params<NoParams>) -> Response {
    let checks = app.reader.readiness().await;
    let (code, status) = match checks.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let freshness = Freshness::read(&app.reader).await;
    (code, [NO_STORE], Json(Ready { status, checks, freshness })).into_response()
}
