//! Window scores over time: which snapshots an answer shows.

use std::sync::Arc;

use domain::Span;
use storage::SnapshotMark;

use super::range::Range;
use crate::charts::MAX_INSTANTS;
use crate::charts::grid::Hours;
use crate::charts::snapshots::Snapshot;
use crate::problem::Problem;
use crate::reader::Reader;

/// Which snapshots to show. Those of one plan are the same as long as the mark is.
pub(super) struct Plan<'a> {
    reader: &'a Reader,
    mark: SnapshotMark,
    hours: Hours,
    stride: Span,
    max_rows: usize,
}

impl<'a> Plan<'a> {
    /// The hours of the range, at the stride that keeps the answer below `max_rows`, when `rows_in` says how many rows a
    /// snapshot is; `None` when there are no snapshots in the range. Two instants are shown however many rows they are.
    pub(super) async fn new(
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
    pub(super) fn key(&self, path: &str, range: &Range) -> String {
        let instants = self.hours.instants(self.stride);
        let first = instants.first().copied().unwrap_or(self.hours.last());
        let [first, last] = [first, self.hours.last()].map(|at| at.timestamp());
        format!("{path}?{first}-{last}/{} {}", self.stride, range.models_key())
    }

    /// The snapshots, oldest first. Were there more models once than there are now, the stride is doubled until the bound holds.
    pub(super) async fn snapshots(
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
