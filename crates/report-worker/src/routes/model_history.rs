//! `GET /api/v1/models/{model_id}/history`: a model's window scores over time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{ModelId, Span, Timestamp};
use serde::{Deserialize, Serialize};
use storage::SnapshotMark;
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::charts::MAX_INSTANTS;
use crate::charts::grid::Hours;
use crate::charts::snapshots::Snapshot;
use crate::csv::{self, Format, Table};
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, Instant, Params};
use crate::problem::Problem;
use crate::routes::known_model;
use crate::{App, schema};

/// How far back is looked unless it is said.
const USUAL_SPAN: Span = Span::days(7);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// As of this instant or later; 7 days before `to` unless given.
    #[param(inline)]
    from: Option<Instant>,
    /// As of this instant or earlier; up to now unless given.
    #[param(inline)]
    to: Option<Instant>,
    /// `csv` for a table.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// A model's window scores over time.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelHistory)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    /// Oldest first, 121 at most.
    points: Vec<Point>,
}

/// A model's mean relative scores as of a full hour, 0 to 1, higher is better; null without a scored prediction.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelHistoryPoint)]
pub(crate) struct Point {
    /// Rounds resolved up to here count.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// Over the 24 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    recent: Option<f32>,
    /// Over the 72 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    steady: Option<f32>,
    /// Over the 168 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    anchor: Option<f32>,
}

/// A model's window scores over time, oldest first
///
/// As of full hours at which the model is ranked: at the shortest stride (1, 2, 3, 4, 6, 8 or 12 hours, or whole days, since the
/// epoch) that gives 121 points at most, and the last hour of the span.
#[utoipa::path(
    get,
    path = "/api/v1/models/{model_id}/history",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Whose scores."), Query),
    responses(
        (status = 200, description = "The scores.", content((Answer = "application/json"), (String = "text/csv"))),
        NotFound,
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let id = &known_model(&models, &id)?.id;
    let mark = app.reader.snapshot_mark().await?;
    let snapshots = match *mark {
        Some(mark) => snapshots(&app, mark, &query).await?,
        None => Vec::new(),
    };
    let points: Vec<Point> = snapshots.iter().filter_map(|snapshot| point(snapshot, id)).collect();
    let body = match query.format {
        Format::Json => Body::json(&Answer { model_id: id, points })?,
        Format::Csv => table(&points).into_body(),
    };
    ask.answer(&body).await
}

async fn snapshots(app: &App, mark: SnapshotMark, query: &Query) -> Result<Vec<Arc<Snapshot>>, Problem> {
    let now = app.clock.now();
    let to = query.to.map_or(now, Instant::get).clamp(Timestamp::UNIX_EPOCH, now + Span::days(1));
    let from = query.from.map_or(to - USUAL_SPAN, Instant::get);
    match Hours::within((from, to), (mark.oldest, mark.newest)) {
        Some(hours) => app.reader.snapshots(mark, &hours.instants(hours.stride(MAX_INSTANTS))).await,
        None => Ok(Vec::new()),
    }
}

/// `None` where the model is not in the snapshot.
fn point(snapshot: &Snapshot, id: &ModelId) -> Option<Point> {
    let place = snapshot.overall.binary_search_by(|(model, _)| model.cmp(id)).ok()?;
    let windows = &snapshot.overall[place].1;
    let (recent, steady, anchor) = (windows.recent.score, windows.steady.score, windows.anchor.score);
    Some(Point { as_of: snapshot.as_of, recent, steady, anchor })
}

fn table(points: &[Point]) -> Table {
    let mut table = Table::new(&["as_of", "recent", "steady", "anchor"]);
    for point in points {
        table.cell(csv::instant(point.as_of));
        table.optional(point.recent);
        table.optional(point.steady);
        table.optional(point.anchor);
        table.end_row();
    }
    table
}
