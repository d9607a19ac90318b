//! A bound on how long a database may take to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Asset, Leaderboard, LedgerEntry, LedgerPosition, Model, ModelId, Prediction, PricePoint, Question,
    RollUpChanges, RolledRound, RoundId, Standings, Timestamp,
};

use crate::{
    Amount, AuditEntry, ChangeNumber, ClaimRepository, Contender, Counts, Expiry, ExportedRound,
    ExportedScore, FeedStatus, Hold, HolderId, Lease, LeaseHolder, LeaseName, LeaseRepository,
    ModelRepository, OperatorRepository, Order, OutdatedRounds, Place, Portion, PriceRepository, Prunable,
    Result, RetentionRepository, RollUpMark, RollUpRepository, RoundRecord, RoundRepository, RoundScores,
    ScoreChange, ScoringChange, SettingChange, SettingsNote, SettingsRepository, StandingsRepository,
    StorageError, Store, StoredRollUps, Unchanged, Unfinished,
};

/// Another store, of which an access that is not answered in time fails as [`StorageError::Unavailable`]. A connection
/// through which nothing comes any more, as after the loss of a network path, would otherwise be waited for without end.
///
/// Whether a write that was given up has taken place is not known: like any write it may be repeated.
pub struct PatientStore {
    inner: Arc<dyn Store>,
    patience: Duration,
}

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

impl PatientStore {
    /// Waits `patience` for each answer of `inner`. Migrations take as long as they take.
    pub fn new(inner: Arc<dyn Store>, patience: Duration) -> Self {
        PatientStore { inner, patience }
    }

    async fn wait<T>(&self, access: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, access).await {
            Ok(answer) => answer,
            Err(_) => Err(StorageError::Unavailable(Box::new(NoAnswer(self.patience)))),
        }
    }
}

/// Passes every method of a trait on.
macro_rules! patient {
    ($trait:ident { $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* }) => {
        #[async_trait]
        impl $trait for PatientStore {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$output> {
                    self.wait(self.inner.$method($($argument),*)).await
                }
            )*
        }
    };
}

patient! { PriceRepository {
    append_prices(entries: &[LedgerEntry]) -> ();
    ledger_end() -> LedgerPosition;
    ledger_since(since: Timestamp) -> Vec<LedgerEntry>;
    closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint>;
    newest_close_at(asset: &Asset, up_to: Timestamp) -> Option<Timestamp>;
    feed_status() -> Vec<FeedStatus>;
    awaited_assets() -> BTreeMap<Asset, Timestamp>;
} }

patient! { ModelRepository {
    save_models(models: &[Model]) -> ();
    models() -> Vec<Model>;
    model(id: &ModelId) -> Option<Model>;
} }

patient! { RoundRepository {
    mark_asked(questions: &[Question], asked_at: Timestamp) -> Vec<RoundId>;
    close_round(question: &Question, closed_at: Timestamp, predictions: &[Prediction]) -> ();
    record_missed(questions: &[Question], reason: &str, at: Timestamp) -> ();
    interrupt_open_rounds(at: Timestamp, reason: &str) -> Vec<RoundId>;
    newest_slot() -> Option<Timestamp>;
    defer_scoring(id: RoundId, until: Timestamp) -> ();
    predictions(id: RoundId) -> Vec<Prediction>;
    field(id: RoundId) -> Vec<Contender>;
    store_scores_together(rounds: &[RoundScores]) -> ();
    void_round(id: RoundId, rule: &str, at: Timestamp, reason: &str) -> ();
    score_changes(after: ChangeNumber, resolved_after: Timestamp, rule: &str, limit: usize) -> Vec<ScoreChange>;
    earliest_change(after: ChangeNumber, resolved_after: Timestamp) -> Option<Timestamp>;
    first_scored(models: &[ModelId]) -> Vec<(ModelId, Timestamp)>;
    round(id: RoundId) -> Option<RoundRecord>;
    scored_count(model: &ModelId, after: Timestamp) -> u64;
    export_rounds(from: Timestamp, to: Timestamp, after: Option<RoundId>, limit: usize) -> Vec<ExportedRound>;
    export_scores(id: RoundId) -> Vec<ExportedScore>;
} }

patient! { ClaimRepository {
    claim_ready(hold: &Hold, limit: usize) -> Vec<Question>;
    claim_outdated(hold: &Hold, rule: &str, resolved_after: Timestamp, limit: usize) -> Vec<Question>;
    outdated_rounds(rule: &str, resolved_after: Timestamp, now: Timestamp) -> OutdatedRounds;
    first_ready(now: Timestamp) -> Option<Timestamp>;
    renew_claims(hold: &Hold) -> ();
    release_claims(by: &HolderId) -> ();
} }

patient! { LeaseRepository {
    take_lease(name: LeaseName, hold: &Hold) -> Option<Lease>;
    succeed_lease(dead: &Lease, hold: &Hold) -> Option<Lease>;
    lease_holder(name: LeaseName, now: Timestamp) -> Option<LeaseHolder>;
    renew_lease(lease: &Lease, hold: &Hold) -> bool;
    release_lease(lease: &Lease) -> ();
} }

patient! { OperatorRepository {
    carry_out(order: &Order) -> std::result::Result<(), Unchanged>;
    audit(limit: usize) -> Vec<AuditEntry>;
    excluded_models() -> BTreeSet<ModelId>;
    pause() -> Option<AuditEntry>;
} }

patient! { StandingsRepository {
    save_leaderboard(leaderboard: &Leaderboard, standings: &Standings, ranked_up_to: ChangeNumber, lease: &Lease) -> ();
    ranked_up_to() -> ChangeNumber;
    latest_leaderboard() -> Option<Leaderboard>;
    leaderboards(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Leaderboard>;
    latest_standings() -> Option<Standings>;
    save_snapshot(standings: &Standings, lease: &Lease) -> ();
    newest_snapshot_at() -> Option<Timestamp>;
    snapshots(from: Timestamp, to: Timestamp) -> Vec<Standings>;
    record_scoring_change(change: &ScoringChange) -> ();
    scoring_changes() -> Vec<ScoringChange>;
} }

patient! { RollUpRepository {
    roll_ups(rule: &str, after: Timestamp) -> Option<StoredRollUps>;
    rolled_rounds(ends: &[Timestamp]) -> Vec<RolledRound>;
    save_roll_ups(changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> ();
    clear_roll_ups(lease: &Lease) -> ();
} }

patient! { RetentionRepository {
    prunable(what: Prunable, expiry: &Expiry) -> Amount;
    prune(what: Prunable, expiry: &Expiry, from: &Place) -> Portion;
    unfinished(asked_before: Timestamp) -> Unfinished;
} }

patient! { SettingsRepository {
    note_settings(note: &SettingsNote) -> Vec<SettingChange>;
} }

#[async_trait]
impl Store for PatientStore {
    async fn migrate(&self) -> Result<()> {
        self.inner.migrate().await
    }

    async fn check_schema(&self) -> Result<()> {
        self.wait(self.inner.check_schema()).await
    }

    async fn ping(&self) -> Result<()> {
        self.wait(self.inner.ping()).await
    }

    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        self.wait(self.inner.counts(active_since)).await
    }

    fn led_by(&self, lease: &Lease) -> Arc<dyn Store> {
        Arc::new(PatientStore { inner: self.inner.led_by(lease), patience: self.patience })
    }
}
