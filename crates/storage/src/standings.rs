//! Window scores, leaderboards and snapshots.

use async_trait::async_trait;
use domain::{Leaderboard, Standings, Timestamp};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

use crate::{ChangeNumber, Lease, Result};

/// From when on how predictions were scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScoringChange {
    /// When a score worker first worked so.
    pub at: Timestamp,
    /// The stamp of the scores, such as `crps/1`.
    pub rule: String,
    /// All settings of scoring, as JSON.
    #[serde(serialize_with = "as_json")]
    pub settings: String,
}

fn as_json<S: Serializer>(text: &str, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(S::Error::custom)?;
    value.serialize(serializer)
}

/// Window scores, leaderboards and snapshots, and how they came about. Only the score worker writes them, and leaderboards and
/// snapshots only the one that holds the lease [`LeaseName::Ranking`](crate::LeaseName::Ranking): with a lease that somebody else has taken since,
/// nothing is written, and the error is [`StorageError::LeaseLost`](crate::StorageError::LeaseLost).
#[async_trait]
pub trait StandingsRepository {
    /// Stores a leaderboard and, as the latest window scores, the standings that it was made from. One of the same
    /// instant is replaced. Window scores as of a later instant stay. Every change of scores up to `ranked_up_to` is in the
    /// leaderboards and in the snapshots.
    async fn save_leaderboard(
        &self,
        leaderboard: &Leaderboard,
        standings: &Standings,
        ranked_up_to: ChangeNumber,
        lease: &Lease,
    ) -> Result<()>;

    /// The last change of scores that the leaderboards and the snapshots hold; 0 when there is none.
    async fn ranked_up_to(&self) -> Result<ChangeNumber>;

    /// The newest leaderboard.
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>>;

    /// The newest leaderboards as of `from <= as_of < to`, oldest first, at most `limit` of them.
    async fn leaderboards(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Leaderboard>>;

    /// As of when there are leaderboards with `from <= as_of < to`, the newest first, at most `limit` of them.
    async fn leaderboard_instants(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timestamp>>;

    /// The window scores behind the newest leaderboard.
    async fn latest_standings(&self) -> Result<Option<Standings>>;

    /// Stores every model's window scores as of a full hour. One of the same hour is replaced.
    async fn save_snapshot(&self, standings: &Standings, lease: &Lease) -> Result<()>;

    /// When the newest snapshot is as of.
    async fn newest_snapshot_at(&self) -> Result<Option<Timestamp>>;

    /// Snapshots with `from <= as_of < to`, oldest first.
    async fn snapshots(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Standings>>;

    /// Appends a change of how predictions are scored, unless the newest on record has the same rule and settings.
    async fn record_scoring_change(&self, change: &ScoringChange) -> Result<()>;

    /// Every change of how predictions are scored, in the order in which they were recorded.
    async fn scoring_changes(&self) -> Result<Vec<ScoringChange>>;
}
