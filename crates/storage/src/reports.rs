//! What charts over days are made from: chosen snapshots, scored rounds, and single models' outcomes in them.

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, ModelId, PredictionStatus, Question, RoundId, Standings, Timestamp};

use crate::{ChangeNumber, Result, StorageError, decode_standings};

/// Which snapshots there are. As long as it is the same, so are they.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotMark {
    /// When the oldest is as of.
    pub oldest: Timestamp,
    /// When the newest is as of.
    pub newest: Timestamp,
    /// When the newest leaderboard is as of, which is written after the snapshots that the same scores change.
    pub ranked_as_of: Option<Timestamp>,
    /// The last change of scores that leaderboards and snapshots hold.
    pub ranked_up_to: ChangeNumber,
}

/// A snapshot as it is stored: unpacking takes milliseconds, and whoever reads many does it elsewhere than on the
/// threads of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedSnapshot {
    /// Rounds resolved up to here count.
    pub as_of: Timestamp,
    /// Packed.
    pub document: Vec<u8>,
}

impl PackedSnapshot {
    /// Every model's window scores. [`StorageError::Corrupt`] when they cannot be read.
    pub fn unpack(&self) -> Result<Standings> {
        decode_standings(&self.document).map_err(|why| StorageError::Corrupt {
            table: "snapshots",
            column: "document",
            row: self.as_of.to_string(),
            why,
        })
    }
}

/// A round whose scores are known.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredQuestion {
    /// What was asked.
    pub question: Question,
    /// When it was scored.
    pub scored_at: Option<Timestamp>,
}

/// How one model did in one scored round.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredOutcome {
    /// In which round.
    pub round_id: RoundId,
    /// Who.
    pub model_id: ModelId,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// Why a valid answer has no score.
    pub failure: Option<String>,
    /// How the prediction ended, where there is no raw score; `None` when that is no longer stored.
    pub status: Option<PredictionStatus>,
    /// The cause in words, where there is no raw score.
    pub reason: Option<String>,
}

/// What charts over days are made from. Only what has been scored is read here, so nothing of a round that has not resolved.
#[async_trait]
pub trait ReportRepository: Sync {
    /// Which snapshots there are; `None` while there are none.
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>>;

    /// The snapshots as of these instants, where there is one, oldest first.
    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>>;

    /// The first `limit` scored rounds with `from <= performed_at <= to`, in the order of slots and ids.
    async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>>;

    /// How these models did in those of these rounds that are scored, in the order of rounds and model ids. Each is looked up
    /// by its key, so the cost is that of rounds times models.
    async fn scored_outcomes(&self, rounds: &[RoundId], models: &[ModelId]) -> Result<Vec<ScoredOutcome>>;

    /// The last `limit` closes of an asset by their instant, the latest first; of those of one instant the one stored last
    /// comes first.
    async fn latest_prices(&self, asset: &Asset, limit: usize) -> Result<Vec<LedgerEntry>>;
}
