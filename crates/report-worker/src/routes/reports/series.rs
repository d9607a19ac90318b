//! Window scores over time: which snapshots an answer shows, and how it is made.

use std::sync::Arc;

use axum::response::Response;
use domain::Span;
use storage::SnapshotMark;

use super::range::Range;
use crate::ask::Ask;
use crate::body::{Body, off_the_runtime};
use crate::charts::MAX_INSTANTS;
use crate::charts::grid::Hours;
use crate::charts::snapshots::Snapshot;
use crate::problem::Problem;
use crate::reader::Reader;
use crate::{App, ReportSettings};

/// Makes an answer of the models of a range in some snapshots, oldest first.
pub(super) type Render = fn(&[Arc<Snapshot>], &Range, &ReportSettings) -> Result<Body, Problem>;

/// What one endpoint makes of the snapshots.
pub(super) struct Series {
    pub path: &'static str,
    /// How many rows an answer has at most, unless two instants have more.
    pub max_rows: usize,
    pub rows_in: fn(&Snapshot, &Range) -> usize,
    pub render: Render,
}

impl Series {
    pub(super) async fn answer(&self, app: &App, range: Range, ask: Ask) -> Result<Response, Problem> {
        let mark = app.reader.snapshot_mark().await?;
        let (settings, settings_stamp) = app.settings();
        let rows_in = |snapshot: &Snapshot| (self.rows_in)(snapshot, &range);
        let plan = match *mark {
            Some(newest) => Plan::new(&app.reader, newest, &range, self.max_rows, rows_in).await?,
            None => None,
        };
        let Some(plan) = plan else { return ask.answer(&Body::json(&[(); 0])?).await };
        let key = plan.key(self.path, &range);
        let body = async {
            let snapshots = plan.snapshots(rows_in).await?;
            let (render, range) = (self.render, range.clone());
            off_the_runtime(move || render(&snapshots, &range, &settings)).await
        };
        ask.at(key).fetch([mark.stamp, settings_stamp], body).await
    }
}

/// Which snapshots to show. Those of one plan are the same as long as the mark is.
struct Plan<'a> {
    reader: &'a Reader,
    mark: SnapshotMark,
    hours: Hours,
    stride: Span,
    max_rows: usize,
}

impl<'a> Plan<'a> {
    /// The hours of the range, at the stride that keeps the answer below `max_rows`, when `rows_in` says how many rows a
    /// snapshot is; `None` when there are no snapshots in the range. Two instants are shown however many rows they are.
    async fn new(
        reader: &'a Reader,
        mark: SnapshotMark,
        range: &Range,
        max_rows: usize,
        rows_in: impl Fn(&Snapshot) -> usize,
    ) -> Result<Option<Self>, Problem> {
        let Some(hours) = Hours::within((range.start, range.end), (mark.oldest, mark.newest)) else {
            return Ok(None);
        };
        let newest = reader.snapshots(mark, &[hours.last()]).await?;
        let rows = newest.first().map_or(1, |snapshot| rows_in(snapshot)).max(1);
        let stride = hours.stride((max_rows / rows).min(MAX_INSTANTS));
        Ok(Some(Plan { reader, mark, hours, stride, max_rows }))
    }

    /// The key of the answer, for a path and models: spans that show the same instants have the same.
    fn key(&self, path: &str, range: &Range) -> String {
        let instants = self.hours.instants(self.stride);
        let first = instants.first().copied().unwrap_or(self.hours.last());
        let [first, last] = [first, self.hours.last()].map(|at| at.timestamp());
        format!("{path}?{first}-{last}/{} {}", self.stride, range.models_key())
    }

    /// The snapshots, oldest first. Were there more models once than there are now, the stride is doubled until the bound holds.
    async fn snapshots(
        mut self,
        rows_in: impl Fn(&Snapshot) -> usize,
    ) -> Result<Vec<Arc<Snapshot>>, Problem> {
        loop {
            let instants = self.hours.instants(self.stride);
            let snapshots = self.reader.snapshots(self.mark, &instants).await?;
            let rows: usize = snapshots.iter().map(|snapshot| rows_in(snapshot)).sum();
            if rows <= self.max_rows || instants.len() <= 2 {
                return Ok(snapshots);
            }
            self.stride = self.stride.times(2);
        }
    }
}
