//! What the system stores, as interfaces of the domain.
//!
//! # How repositories behave
//!
//! - Each method is one transaction: all of it is stored, or nothing.
//! - Writes are idempotent: repeated with the same arguments they change nothing and succeed, so that a caller who does
//!   not know whether a write arrived just writes again.
//! - Lookups return `Result<Option<T>>`; lists come in a stated order.
//! - A stored value that the program cannot read is [`StorageError::Corrupt`] and names table, column and row.
//! - [`StorageError::Unavailable`] may pass: try again later. Every other error stays until somebody acts.
//!
//! - Instants are exact to the microsecond; floating-point numbers keep every bit; in free texts a NUL becomes U+FFFD.
//!
//! Two databases implement them, SQLite and PostgreSQL; `conformance` (a feature, for tests only) is the one set of
//! tests that both pass.

mod browse;
mod changes;
mod claims;
mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
mod corrections;
mod error;
mod export;
mod intercepted;
mod leases;
mod models;
mod operations;
mod operator;
mod packed_standings;
mod patience;
mod prices;
mod pruning;
mod reports;
mod retention;
mod roll_ups;
mod rounds;
mod settings;
mod standings;
mod varint;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

pub use browse::{
    BrowseRepository, ModelActivity, ModelOutcome, Outcome, OutcomeFilter, OutcomeScore, PORTION, Page,
    RoundFilter,
};
pub use changes::{ChangeSource, ChangeWatch, ReportStore, Topic};
pub use claims::{ClaimRepository, OutdatedRounds};
pub use codec::{
    decode_document, decode_steps, decode_text, encode_document, encode_steps, encode_text, storable_text,
};
pub use corrections::{CorrectionRepository, may_correct};
pub use error::{Result, StorageError, without_secrets};
pub use export::{ExportedPrediction, ExportedRound, ExportedScore, RoundPages};
pub use intercepted::{InterceptedStore, Interceptor};
pub use leases::{Hold, HolderId, Lease, LeaseHolder, LeaseName, LeaseRepository};
pub use models::{Deployment, ModelRepository, deployments_of};
pub use operations::{
    DueRounds, FORGOTTEN_AFTER, OperationsRepository, SeenWorker, SlotTally, WorkerFacts, WorkerIdentity,
    WorkerRole, WorkerSign,
};
pub use operator::{Action, AuditEntry, BY_HAND, OperatorRepository, Order, Unchanged};
pub use packed_standings::{decode_standings, encode_standings};
pub use patience::Patience;
pub use prices::{FeedStatus, Hole, PriceRepository};
pub use pruning::{Pruned, Pruning};
pub use reports::{PackedSnapshot, ReportRepository, ScoredOutcome, ScoredQuestion, SnapshotMark};
pub use retention::{
    Amount, Expiry, InvalidKeep, Keep, KeptTooShort, Place, Portion, Prunable, Retention,
    RetentionRepository, Unfinished,
};
pub use roll_ups::{RollUpMark, RollUpRepository, StoredRollUps, decode_roll_up, encode_roll_up};
pub use rounds::{
    ChangeNumber, Contender, PackedOutcome, PackedOutcomes, RoundRecord, RoundRepository, RoundScores,
    ScoreChange, ScoreRecord, StepScore, Storing,
};
pub use settings::{CHANGE_SETTING, SettingChange, SettingsNote, SettingsRepository};
pub use standings::{ScoringChange, StandingsRepository};

use domain::{StatusCounts, Timestamp};

/// A database with everything in it. Object-safe: workers take `Arc<dyn Store>`.
#[async_trait]
pub trait Store:
    PriceRepository
    + CorrectionRepository
    + RoundRepository
    + ClaimRepository
    + LeaseRepository
    + ModelRepository
    + StandingsRepository
    + ReportRepository
    + RollUpRepository
    + OperatorRepository
    + RetentionRepository
    + SettingsRepository
    + BrowseRepository
    + OperationsRepository
    + Send
    + Sync
{
    /// Brings the schema up to date. Safe to run from several processes at once.
    /// Fails with [`StorageError::SchemaTooNew`] when the database was made by a newer program.
    async fn migrate(&self) -> Result<()>;

    /// Checks that the schema is the one this program was made for.
    async fn check_schema(&self) -> Result<()>;

    /// The newest migration that this program knows.
    fn known_schema(&self) -> i64;

    /// The same database for the holder of the lease [`LeaseName::Predict`]: what the one leader writes (prices, marks of
    /// rounds as asked, missed or interrupted, and models) fails with [`StorageError::LeaseLost`] once somebody else has
    /// taken the lease. Rounds are closed by anybody: the outcomes of a leader that was deposed meanwhile count.
    fn led_by(&self, lease: &Lease) -> Arc<dyn Store>;

    /// One round trip to the database.
    async fn ping(&self) -> Result<()>;

    /// What is stored, counted. `active_since`: models that gave a valid answer at or after it are active, and
    /// predictions of rounds asked at or after it are recent.
    async fn counts(&self, active_since: Timestamp) -> Result<Counts>;
}

/// What is stored, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Every model ever seen.
    pub models: u64,
    /// Models that answered lately.
    pub active_models: u64,
    /// Rounds by state.
    pub rounds: RoundCounts,
    /// Predictions by status.
    pub predictions: StatusCounts,
    /// Predictions of any status in rounds asked lately.
    pub recent_predictions: u64,
    /// Ledger entries.
    pub prices: u64,
    /// The first slot on record.
    pub oldest_round_at: Option<Timestamp>,
    /// The last slot on record.
    pub newest_round_at: Option<Timestamp>,
    /// The size of the database.
    pub size_bytes: u64,
    /// The newest migration applied.
    pub schema_version: i64,
}

/// Rounds by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs, reason = "the states of domain::RoundState")]
pub struct RoundCounts {
    pub asked: u64,
    pub closed: u64,
    pub scored: u64,
    pub void: u64,
    pub interrupted: u64,
    pub missed: u64,
}

impl RoundCounts {
    /// Sets the count of one state.
    pub fn set(&mut self, state: domain::RoundState, count: u64) {
        use domain::RoundState::*;
        *match state {
            Asked => &mut self.asked,
            Closed => &mut self.closed,
            Scored => &mut self.scored,
            Void => &mut self.void,
            Interrupted => &mut self.interrupted,
            Missed => &mut self.missed,
        } = count;
    }
}
