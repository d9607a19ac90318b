//! `GET /api/v1/events`: what is new, as it comes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::params::{NoParams, Params};
use crate::problem::Problem;

/// What is new, as it comes: server-sent events
///
/// `round` (its data: `RoundEvent`), `scores` (`ScoresEvent`), `leaderboard` (`LeaderboardEvent`) and `model` (`ModelEvent`), each
/// within two seconds of its being stored, or of a model's leaving. Events say what to ask for again, and are no record: who was cut off, for
/// reading too slowly too, comes again and asks for everything it shows. A comment every 15 seconds shows that the stream lives.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "service",
    responses((status = 200, description = "Events without end.", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx keeps what comes slowly unless told
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(app.events.listen()?)).into_response())
}
