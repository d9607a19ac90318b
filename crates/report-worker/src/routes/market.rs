//! `GET /api/v1/schedules`: what is asked how often. `GET /api/v1/feeds`: what prices there are, and how fresh they are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, Method, Schedule, Span, Target, Timestamp, TimestampExt};
use serde::Serialize;
use storage::FeedStatus;
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::{App, schema};

/// What is asked how often.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedules)]
pub(crate) struct Timetable<'a> {
    /// The spacing of prices, and so of the instants at which a question can lie.
    #[schema(value_type = schema::Span)]
    price_interval: Span,
    /// In the order in which questions of one instant are asked.
    schedules: Vec<Line<'a>>,
}

/// One line of the timetable.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct Line<'a> {
    /// The assets asked, in order; their questions are spread over `every`.
    #[schema(value_type = Vec<schema::Asset>)]
    assets: &'a [Asset],
    /// How far ahead is forecast.
    #[schema(value_type = schema::Span)]
    horizon: Span,
    /// The spacings of the answers within the horizon.
    #[schema(value_type = Vec<schema::Span>)]
    steps: &'a [Span],
    /// How often each asset is asked.
    #[schema(value_type = schema::Span)]
    every: Span,
    /// Where in `every`, counted from the unix epoch, the first asset is asked.
    #[schema(value_type = schema::Span)]
    phase: Span,
    #[schema(value_type = schema::Method)]
    method: Method,
    #[schema(value_type = schema::Target)]
    target: Target,
}

impl<'a> From<&'a Schedule> for Line<'a> {
    fn from(schedule: &'a Schedule) -> Self {
        Line {
            assets: &schedule.assets,
            horizon: schedule.horizon,
            steps: &schedule.steps,
            every: schedule.every,
            phase: schedule.phase,
            method: schedule.method,
            target: schedule.target,
        }
    }
}

/// What is asked how often
#[utoipa::path(
    get,
    path = "/api/v1/schedules",
    tag = "market",
    responses((status = 200, description = "The timetable.", body = Timetable), Unchanged)
)]
pub(crate) async fn schedules(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let (settings, stamp) = app.settings();
    ask.render([stamp], move || {
        Body::json(&Timetable {
            price_interval: settings.schedules.interval(),
            schedules: settings.schedules.iter().map(Line::from).collect(),
        })
    })
    .await
}

/// What prices there are.
#[derive(Serialize, ToSchema)]
#[schema(as = Feeds)]
pub(crate) struct Feeds<'a> {
    /// When this was looked up.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// In the order of assets.
    feeds: Vec<Feed<'a>>,
}

/// What prices there are of an asset.
#[derive(Serialize, ToSchema)]
pub(crate) struct Feed<'a> {
    #[schema(value_type = schema::Asset)]
    asset: &'a Asset,
    /// Where the newest entry is from.
    source: &'a str,
    /// Entries on record, corrections included.
    count: u64,
    /// The oldest close.
    #[schema(value_type = schema::Timestamp)]
    oldest_at: Timestamp,
    /// The newest close.
    #[schema(value_type = schema::Timestamp)]
    newest_at: Timestamp,
    /// How old that was at `as_of`, in seconds.
    #[schema(minimum = 0.0)]
    age_s: f64,
}

/// What prices there are, and how fresh they are
#[utoipa::path(
    get,
    path = "/api/v1/feeds",
    tag = "market",
    responses((status = 200, description = "The feeds.", body = Feeds), Unchanged)
)]
pub(crate) async fn feeds(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    ask.render([overview.stamp], move || {
        let feed = |status| feed(status, overview.as_of);
        let feeds = overview.feeds.iter().map(feed).collect();
        Body::json(&Feeds { as_of: overview.as_of, stale: overview.stale, feeds })
    })
    .await
}

fn feed(status: &FeedStatus, as_of: Timestamp) -> Feed<'_> {
    Feed {
        asset: &status.asset,
        source: &status.source,
        count: status.count,
        oldest_at: status.oldest_at,
        newest_at: status.newest_at,
        age_s: as_of.since(status.newest_at).as_secs_f64(),
    }
}
