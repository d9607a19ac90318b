//! What of the database this worker uses: so few methods, and none that writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Asset, Leaderboard, LedgerEntry, Model, ModelId, RoundId, Span, Standings, Timestamp};
use storage::{
    AuditEntry, Counts, DueRounds, FeedStatus, Hole, ModelRepository, OperationsRepository,
    OperatorRepository, PackedSnapshot, PriceRepository, ReportRepository, Result, ScoredOutcome,
    ScoredQuestion, SeenWorker, SlotTally, SnapshotMark, StandingsRepository, Store,
};

use crate::browse::Browse;

/// The reading side of a [`Store`].
#[async_trait]
pub(crate) trait Source: Browse + Send + Sync {
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>>;
    async fn latest_standings(&self) -> Result<Option<Standings>>;
    async fn models(&self) -> Result<Vec<Model>>;
    async fn counts(&self, active_since: Timestamp) -> Result<Counts>;
    async fn feed_status(&self) -> Result<Vec<FeedStatus>>;
    async fn holes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        interval: Span,
    ) -> Result<Vec<Hole>>;
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>>;
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>>;
    async fn pause(&self) -> Result<Option<AuditEntry>>;
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>>;
    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>>;
    async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>>;
    async fn scored_outcomes(&self, rounds: &[RoundId], models: &[ModelId]) -> Result<Vec<ScoredOutcome>>;
    async fn latest_prices(&self, asset: &Asset, limit: usize) -> Result<Vec<LedgerEntry>>;
    async fn workers(&self, now: Timestamp) -> Result<Vec<SeenWorker>>;
    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally>;
    async fn due_rounds(&self, now: Timestamp) -> Result<DueRounds>;
    async fn ping(&self) -> Result<()>;
    async fn check_schema(&self) -> Result<()>;
    fn known_schema(&self) -> i64;
}

#[async_trait]
impl Source for Arc<dyn Store> {
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>> {
        StandingsRepository::latest_leaderboard(&**self).await
    }
    async fn latest_standings(&self) -> Result<Option<Standings>> {
        StandingsRepository::latest_standings(&**self).await
    }
    async fn models(&self) -> Result<Vec<Model>> {
        ModelRepository::models(&**self).await
    }
    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        Store::counts(&**self, active_since).await
    }
    async fn feed_status(&self) -> Result<Vec<FeedStatus>> {
        PriceRepository::feed_status(&**self).await
    }
    async fn holes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        interval: Span,
    ) -> Result<Vec<Hole>> {
        PriceRepository::holes(&**self, asset, after, up_to, interval).await
    }
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        OperatorRepository::audit(&**self, limit).await
    }
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>> {
        OperatorRepository::excluded_models(&**self).await
    }
    async fn pause(&self) -> Result<Option<AuditEntry>> {
        OperatorRepository::pause(&**self).await
    }
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>> {
        ReportRepository::snapshot_mark(&**self).await
    }
    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>> {
        ReportRepository::packed_snapshots(&**self, instants).await
    }
    async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>> {
        ReportRepository::scored_questions(&**self, from, to, limit).await
    }
    async fn scored_outcomes(&self, rounds: &[RoundId], models: &[ModelId]) -> Result<Vec<ScoredOutcome>> {
        ReportRepository::scored_outcomes(&**self, rounds, models).await
    }
    async fn latest_prices(&self, asset: &Asset, limit: usize) -> Result<Vec<LedgerEntry>> {
        ReportRepository::latest_prices(&**self, asset, limit).await
    }
    async fn workers(&self, now: Timestamp) -> Result<Vec<SeenWorker>> {
        OperationsRepository::workers(&**self, now).await
    }
    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally> {
        OperationsRepository::slot_tally(&**self, after, up_to).await
    }
    async fn due_rounds(&self, now: Timestamp) -> Result<DueRounds> {
        OperationsRepository::due_rounds(&**self, now).await
    }
    async fn ping(&self) -> Result<()> {
        Store::ping(&**self).await
    }
    async fn check_schema(&self) -> Result<()> {
        Store::check_schema(&**self).await
    }
    fn known_schema(&self) -> i64 {
        Store::known_schema(&**self)
    }
}
