//! `GET /reports/models/global`: window scores over time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::range::{Range, RangeParams};
use super::rounded_score;
use super::series::Series;
use super::time::ReportTime;
use crate::ask::Ask;
use crate::body::Body;
use crate::charts::snapshots::Snapshot;
use crate::openapi::Unchanged;
use crate::problem::Problem;
use crate::{App, ReportSettings, schema};

/// Up to 200 bytes each with the ids that there are, so below 2 MB.
const MAX_ROWS: usize = 10_000;

/// A model's mean relative scores as of one instant, 0 to 1 to six decimals, higher is better; null without a valid answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportGlobal)]
pub(crate) struct Row<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    /// Over the 24 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_recent: Option<f64>,
    /// Over the 72 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_steady: Option<f64>,
    /// Over the 168 h before.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_anchor: Option<f64>,
    /// A full hour: rounds resolved up to here count.
    performed_at: ReportTime,
}

/// Window scores over time, oldest first
///
/// As of full hours, at most 10,000 rows and 121 instants: at the shortest stride (1, 2, 3, 4, 6, 8 or 12 hours, or whole
/// days, since the epoch) that keeps both bounds, and the last hour of the span. Two instants are shown in any case.
#[utoipa::path(
    get,
    path = "/reports/models/global",
    tag = "reports",
    params(RangeParams),
    responses((status = 200, description = "The scores.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(State(app): State<Arc<App>>, range: Range, ask: Ask) -> Result<Response, Problem> {
    SERIES.answer(&app, range, ask).await
}

const SERIES: Series = Series {
    path: "/reports/models/global",
    max_rows: MAX_ROWS,
    rows_in: |snapshot, range| snapshot.overall.iter().filter(|(id, _)| range.holds(id)).count(),
    render: |snapshots, range, settings| Body::json(&rows(snapshots, range, settings)),
};

fn rows<'a>(snapshots: &'a [Arc<Snapshot>], range: &Range, settings: &ReportSettings) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for snapshot in snapshots {
        let performed_at = ReportTime::new(snapshot.as_of, settings);
        for (id, windows) in snapshot.overall.iter().filter(|(id, _)| range.holds(id)) {
            rows.push(Row {
                model_id: id.as_str(),
                score_recent: rounded_score(&windows.recent),
                score_steady: rounded_score(&windows.steady),
                score_anchor: rounded_score(&windows.anchor),
                performed_at,
            });
        }
    }
    rows
}
