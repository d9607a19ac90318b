//! Leaderboards and what they are compared with: as of now or of an instant before, and as of a day before that.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    Leaderboard, ModelStanding, Selection, Span, Standings, Timestamp, TimestampExt, Weights, rank,
};
use storage::PackedSnapshot;

use crate::cache::Unavailable;
use crate::problem::Problem;
use crate::reader::Reader;
use crate::source::Source;
use crate::stamp::Stamp;

/// How long before a leaderboard the one lies that it is compared with.
const BEFORE: Span = Span::days(1);

/// A leaderboard and the one of a day before.
pub(crate) struct Boards {
    pub(crate) board: Moment,
    pub(crate) before: Moment,
    /// True when the database cannot be read and this is what was read last.
    pub(crate) stale: bool,
}

/// A leaderboard, and the window scores by asset and horizon of its time where they are needed.
#[derive(Default)]
pub(crate) struct Moment {
    board: Arc<Option<Leaderboard>>,
    standings: Arc<Option<Standings>>,
}

impl Moment {
    /// The ranking by some of the parameters; by all of them it is the leaderboard.
    pub(crate) fn ranking(&self, selection: &Selection, weights: &Weights) -> Option<Cow<'_, Leaderboard>> {
        let board = (*self.board).as_ref()?;
        if selection.is_all() {
            return Some(Cow::Borrowed(board));
        }
        let mut standings = (*self.standings).as_ref()?.over(selection, weights);
        let is_included = |model: &ModelStanding| !board.excluded.contains(&model.model_id);
        standings.models.retain(is_included);
        let (rescoring, excluded) = (board.rescoring, board.excluded.clone());
        Some(Cow::Owned(Leaderboard { rescoring, excluded, ..rank(&standings, &board.rule) }))
    }
}

impl Boards {
    /// Those as of now, and the stamps of what they were read from. The window scores come along where the ranking is by
    /// some of the parameters.
    pub(crate) async fn current(
        reader: &Reader,
        selection: &Selection,
    ) -> Result<(Self, Vec<Stamp>), Unavailable> {
        let board = reader.leaderboard().await?;
        let mut stamps = vec![board.stamp];
        let mut boards = Boards {
            board: Moment { board: board.value(), ..Moment::default() },
            before: Moment::default(),
            stale: board.stale,
        };
        let Some(then) = board.as_ref().map(|board| board.as_of - BEFORE) else {
            return Ok((boards, stamps));
        };
        let before = reader.earlier_leaderboard(then).await?;
        stamps.push(before.stamp);
        boards.before.board = before.value();
        if !selection.is_all() {
            let (standings, earlier) = (reader.standings().await?, reader.earlier_standings(then).await?);
            stamps.extend([standings.stamp, earlier.stamp]);
            boards.board.standings = standings.value();
            boards.before.standings = earlier.value();
            boards.stale |= standings.stale;
        }
        Ok((boards, stamps))
    }

    /// Those as of an instant.
    pub(crate) async fn past(reader: &Reader, at: Timestamp, selection: &Selection) -> Result<Self, Problem> {
        let read = async |source| {
            let board = moment(source, at, selection).await?;
            let before = match &*board.board {
                Some(found) => moment(source, found.as_of - BEFORE, selection).await?,
                None => Moment::default(),
            };
            Ok(Boards { board, before, stale: false })
        };
        reader.read(read).await
    }
}

async fn moment(source: &dyn Source, at: Timestamp, selection: &Selection) -> storage::Result<Moment> {
    let board = leaderboard_at(source, at).await?;
    let standings = if selection.is_all() { None } else { standings_at(source, at).await? };
    Ok(Moment { board: Arc::new(board), standings: Arc::new(standings) })
}

/// The newest leaderboard as of `at` or before.
pub(crate) async fn leaderboard_at(
    source: &dyn Source,
    at: Timestamp,
) -> storage::Result<Option<Leaderboard>> {
    let end = at + TimeDelta::microseconds(1);
    Ok(source.leaderboards(Timestamp::UNIX_EPOCH, end, 1).await?.pop())
}

/// The window scores as of the last full hour up to `at`: of no other instant they are kept.
pub(crate) async fn standings_at(source: &dyn Source, at: Timestamp) -> storage::Result<Option<Standings>> {
    let packed = source.packed_snapshots(&[at.floor_to(Span::HOUR)]).await?;
    packed.first().map(PackedSnapshot::unpack).transpose()
}
