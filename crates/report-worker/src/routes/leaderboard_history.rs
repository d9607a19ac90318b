//! `GET /api/v1/leaderboard/history`: as of when there are leaderboards.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::paging::Cursor;
use crate::params::{Instant, Limit, Params};
use crate::problem::Problem;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// As of this instant or later.
    #[param(inline)]
    from: Option<Instant>,
    /// As of an instant before this one.
    #[param(inline)]
    to: Option<Instant>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<Timestamp>>,
}

/// As of when there are leaderboards.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaderboardHistory)]
pub(crate) struct Answer {
    /// Newest first.
    #[schema(value_type = Vec<schema::Timestamp>)]
    instants: Vec<Timestamp>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// As of when there are leaderboards, newest first
///
/// `/api/v1/leaderboard?at=` shows each. Those of all minutes are kept for some days, and of older ones the first of each hour.
#[utoipa::path(
    get,
    path = "/api/v1/leaderboard/history",
    tag = "leaderboard",
    params(Query),
    responses((status = 200, description = "A part of the list.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let latest = app.clock.now() + Span::days(1);
    let bound = |at: Timestamp| at.clamp(Timestamp::UNIX_EPOCH, latest);
    let from = query.from.map_or(Timestamp::UNIX_EPOCH, |from| bound(from.get()));
    let behind = query.cursor.map_or(latest, |Cursor(at)| bound(at));
    let to = query.to.map_or(latest, |to| bound(to.get())).min(behind);
    let limit = query.limit.get();
    let read = app.reader.read(|source| source.leaderboard_instants(from, to, limit + 1));
    let mut instants = read.await?;
    let next = Cursor::cut(&mut instants, limit, |last| *last);
    ask.answer(&Body::json(&Answer { instants, next })?).await
}
