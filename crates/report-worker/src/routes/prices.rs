//! `GET /api/v1/prices`: closes of an asset, as many as a chart can show.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, PricePoint, Span, Timestamp, TimestampExt};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::csv::{self, Format, Table};
use crate::openapi::Unchanged;
use crate::params::{Instant, Params};
use crate::problem::Problem;
use crate::{App, schema};

/// How many points there are at most.
const MAX_POINTS: usize = 2000;

/// How many are aimed at when no resolution is asked for.
const USUAL_POINTS: usize = 500;

/// How far back is looked unless it is said.
const USUAL_SPAN: Span = Span::hours(24);

/// How far back can be looked: beyond it spans end.
const LONGEST_SPAN: Span = Span::days(20 * 366);

/// Resolutions that people count in.
const RESOLUTIONS: [Span; 14] = [
    Span::minutes(1),
    Span::minutes(2),
    Span::minutes(5),
    Span::minutes(10),
    Span::minutes(15),
    Span::minutes(30),
    Span::hours(1),
    Span::hours(2),
    Span::hours(4),
    Span::hours(6),
    Span::hours(12),
    Span::days(1),
    Span::days(7),
    Span::days(28),
];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Of what.
    #[param(value_type = schema::Asset, inline)]
    asset: Asset,
    /// Closes after this instant; 24 hours before `to` unless given, and 20 years at most.
    #[param(inline)]
    from: Option<Instant>,
    /// Closes up to this instant; up to now unless given.
    #[param(inline)]
    to: Option<Instant>,
    /// One close, the last, for each such span since the unix epoch; what gives some 500 points unless given, and coarser where
    /// it would give more than 2,000.
    #[param(value_type = Option<schema::Span>, inline)]
    resolution: Option<Span>,
    /// `csv` for a table.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// Closes of an asset.
#[derive(Serialize, ToSchema)]
#[schema(as = Prices)]
pub(crate) struct Answer {
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    /// One close, the last, is here for each such span since the unix epoch.
    #[schema(value_type = schema::Span)]
    resolution: Span,
    /// Oldest first, 2,000 at most.
    points: Vec<Point>,
}

/// The close of a candle.
#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct Point {
    /// When it closed.
    #[schema(value_type = schema::Timestamp)]
    at: Timestamp,
    /// In quote currency.
    price: f64,
}

impl From<PricePoint> for Point {
    fn from(point: PricePoint) -> Self {
        Point { at: point.at, price: point.price.value() }
    }
}

/// Closes of an asset, as many as a chart can show
#[utoipa::path(
    get,
    path = "/api/v1/prices",
    tag = "market",
    params(Query),
    responses(
        (status = 200, description = "The closes.", content((Answer = "application/json"), (String = "text/csv"))),
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let to = query.to.map_or(now, Instant::get).clamp(Timestamp::UNIX_EPOCH, now + Span::days(1));
    let from = query.from.map_or(to - USUAL_SPAN, |from| from.get().max(to - LONGEST_SPAN)).min(to);
    let interval = app.settings().0.schedules.interval();
    let resolution = resolution(interval, from, to, query.resolution);
    let asset = query.asset;
    let points = app.reader.read(|source| source.spaced_closes(&asset, from, to, resolution)).await?;
    let points: Vec<Point> = points.into_iter().map(Point::from).collect();
    let body = match query.format {
        Format::Json => Body::json(&Answer { asset, resolution, points })?,
        Format::Csv => table(&points).into_body(),
    };
    ask.answer(&body).await
}

/// The resolution that is asked for, no finer than prices are; a coarser one where it would give too many points.
fn resolution(interval: Span, from: Timestamp, to: Timestamp, wanted: Option<Span>) -> Span {
    let seconds = to.since(from).as_secs();
    let gives =
        |resolution: Span, points: usize| seconds <= u64::from(resolution.as_secs()) * (points as u64 - 1);
    let (finest, points) = match wanted {
        Some(wanted) => (wanted.max(interval), MAX_POINTS),
        None => (interval, USUAL_POINTS),
    };
    let coarser = RESOLUTIONS.into_iter().filter(|&resolution| resolution > finest);
    let mut candidates = std::iter::once(finest).chain(coarser);
    candidates.find(|&resolution| gives(resolution, points)).unwrap_or(Span::days(28))
}

fn table(points: &[Point]) -> Table {
    let mut table = Table::new(&["at", "price"]);
    for point in points {
        table.cell(csv::instant(point.at));
        table.cell(point.price);
        table.end_row();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_gives_as_many_points_as_a_chart_can_show() {
        let minute = Span::minutes(1);
        let of = |span: Span, wanted: Option<Span>| {
            let to = Timestamp::UNIX_EPOCH + Span::days(20_000);
            resolution(minute, to - span, to, wanted)
        };
        assert_eq!(of(Span::hours(1), None), minute);
        assert_eq!(of(Span::hours(24), None), Span::minutes(5));
        assert_eq!(of(Span::days(7), None), Span::minutes(30));
        assert_eq!(of(Span::days(366), None), Span::days(1));
        assert_eq!(of(Span::hours(24), Some(minute)), minute);
        assert_eq!(of(Span::hours(24), Some(Span::ZERO)), minute, "no finer than prices are");
        assert_eq!(of(Span::hours(24), Some(Span::minutes(7))), Span::minutes(7));
        assert_eq!(of(Span::days(366), Some(minute)), Span::hours(6));
        assert_eq!(of(Span::ZERO, None), minute);
        for days in 1..LONGEST_SPAN.as_secs() / 86_400 {
            let span = Span::days(days);
            let points = u64::from(span.as_secs()) / u64::from(of(span, Some(minute)).as_secs()) + 1;
            assert!(points <= MAX_POINTS as u64, "{points} points for {days} days");
        }
    }
}
