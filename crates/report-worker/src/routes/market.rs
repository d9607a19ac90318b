//! `GET /api/v1/schedules`: what is asked how often. `GET /api/v1/feeds`: what prices there are, and how fresh they are.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, Method, Schedule, Span, Target, Timestamp, TimestampExt};
use serde::Serialize;
use storage::{FeedStatus, Hole};
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::reader::Overview;
use crate::{App, ReportSettings, schema};

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
    /// Whether it can be asked about.
    state: FeedState,
    /// The first close that should have come and has not; null unless the state is `stale`.
    #[schema(value_type = Option<schema::Timestamp>)]
    stale_since: Option<Timestamp>,
    /// When its market opens next; null unless the state is `closed`, and where that is over a month ahead.
    #[schema(value_type = Option<schema::Timestamp>)]
    closed_until: Option<Timestamp>,
    /// Closes of the last 24 hours that are missing although the market was open, between others that are there, oldest first.
    gaps: Vec<Gap>,
}

/// Whether an asset can be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FeedState {
    /// Its closes come.
    Fresh,
    /// A close that should be there is not: questions about the asset are missed until closes come again.
    Stale,
    /// Its market is closed.
    Closed,
}

/// Closes that are missing, one after the other.
#[derive(Serialize, ToSchema)]
pub(crate) struct Gap {
    /// The first of them.
    #[schema(value_type = schema::Timestamp)]
    from: Timestamp,
    /// The last of them.
    #[schema(value_type = schema::Timestamp)]
    to: Timestamp,
    /// How many they are; a market that was closed meanwhile lacks none.
    #[schema(minimum = 1)]
    missing: usize,
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
    let (settings, stamp) = app.settings();
    let overview = app.reader.overview().await?;
    let assets = overview.feeds.iter().map(|status| status.asset.clone());
    let holes = app.reader.holes(assets, settings.schedules.interval()).await?;
    ask.render([overview.stamp, holes.stamp, stamp], move || {
        let feeds = overview.feeds.iter();
        let feeds =
            feeds.map(|status| feed(status, &overview, holes.get(&status.asset), &settings)).collect();
        Body::json(&Feeds { as_of: overview.as_of, stale: overview.stale || holes.stale, feeds })
    })
    .await
}

fn feed<'a>(
    status: &'a FeedStatus,
    overview: &Overview,
    holes: Option<&Vec<Hole>>,
    settings: &ReportSettings,
) -> Feed<'a> {
    let (asset, newest_at, as_of) = (&status.asset, status.newest_at, overview.as_of);
    let (markets, interval) = (&settings.markets, settings.schedules.interval());
    let missing = |after, before| markets.expected_closes(asset, after, before, interval);
    // The close of the last instant may be on its way.
    let stale_since = missing(newest_at, as_of.floor_to(interval)).next();
    let closed = markets.closed(asset, as_of.floor_to(interval));
    let state = match (closed, stale_since) {
        (Some(_), _) => FeedState::Closed,
        (None, Some(_)) => FeedState::Stale,
        (None, None) => FeedState::Fresh,
    };
    let gap = |hole: &Hole| {
        let missing: Vec<Timestamp> = missing(hole.after, hole.before).collect();
        Some(Gap { from: *missing.first()?, to: *missing.last()?, missing: missing.len() })
    };
    Feed {
        asset,
        source: &status.source,
        count: status.count,
        oldest_at: status.oldest_at,
        newest_at,
        age_s: as_of.since(newest_at).as_secs_f64(),
        state,
        stale_since: stale_since.filter(|_| state == FeedState::Stale),
        closed_until: closed.and_then(|market| market.opens_after(as_of.floor_to(interval))),
        gaps: holes.into_iter().flatten().filter_map(gap).collect(),
    }
}
