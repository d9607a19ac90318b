//! Window scores, leaderboards and snapshots.

use async_trait::async_trait;
use domain::{Leaderboard, Standings, Timestamp};

use crate::Result;

/// Window scores, leaderboards and snapshots. Only the score worker writes them.
#[async_trait]
pub trait StandingsRepository {
    /// Stores a leaderboard and, as the latest window scores, the standings that it was made from. One of the same
    /// instant is replaced. Window scores as of a later instant stay.
    async fn save_leaderboard(&self, leaderboard: &Leaderboard, standings: &Standings) -> Result<()>;

    /// The newest leaderboard.
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>>;

    /// The newest leaderboards as of `from <= as_of < to`, oldest first, at most `limit` of them.
    async fn leaderboards(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Leaderboard>>;

    /// The window scores behind the newest leaderboard.
    async fn latest_standings(&self) -> Result<Option<Standings>>;

    /// Stores every model's window scores as of a full hour. One of the same hour is replaced.
    async fn save_snapshot(&self, standings: &Standings) -> Result<()>;

    /// When the newest snapshot is as of.
    async fn newest_snapshot_at(&self) -> Result<Option<Timestamp>>;

    /// Snapshots with `from <= as_of < to`, oldest first.
    async fn snapshots(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Standings>>;
}
