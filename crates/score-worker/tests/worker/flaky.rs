//! A store that does at a chosen moment what databases and neighbours do at any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::{
    Asset, Leaderboard, LedgerEntry, LedgerPosition, Model, ModelId, Prediction, PricePoint, Question,
    RollUpChanges, RolledRound, RoundId, Standings, Timestamp,
};
use storage::{
    Amount, AuditEntry, ChangeNumber, ClaimRepository, Contender, Counts, Expiry, ExportedRound,
    ExportedScore, FeedStatus, Hold, HolderId, Lease, LeaseHolder, LeaseName, LeaseRepository,
    ModelRepository, OperatorRepository, Order, OutdatedRounds, Place, Portion, PriceRepository, Prunable,
    Result, RetentionRepository, RollUpMark, RollUpRepository, RoundRecord, RoundRepository, RoundScores,
    ScoreChange, ScoringChange, SettingChange, SettingsNote, SettingsRepository, StandingsRepository,
    StorageError, Store, StoredRollUps, Unchanged, Unfinished,
};
use tokio_util::sync::CancellationToken;

/// What happens.
pub enum Fault {
    /// The connection breaks before the call arrives.
    Unreached,
    /// The connection breaks before the answer to the call arrives.
    Unanswered,
    /// The predict worker stores prices right after the call.
    PricesArrive(Vec<LedgerEntry>),
    /// The worker is told to stop right after the call.
    ToldToStop(CancellationToken),
}

/// Passes every call on to another store, and has a fault at one of them.
pub struct FlakyStore {
    store: Arc<dyn Store>,
    fault: Fault,
    /// At which call, from 0.
    at: usize,
    /// Only calls with this name are counted; all when it is empty.
    counted: &'static str,
    calls: AtomicUsize,
}

impl FlakyStore {
    pub fn new(store: &Arc<dyn Store>, fault: Fault, counted: &'static str, at: usize) -> Self {
        FlakyStore { store: Arc::clone(store), fault, at, counted, calls: AtomicUsize::new(0) }
    }

    /// How many calls were counted.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn is_due(&self, call: &str) -> bool {
        let counts = self.counted.split(' ').any(|counted| counted.is_empty() || counted == call);
        counts && self.calls.fetch_add(1, Ordering::SeqCst) == self.at
    }

    async fn fails_before(&self, call: &str) -> Result<bool> {
        let is_due = self.is_due(call);
        if is_due && matches!(self.fault, Fault::Unreached) { Err(unavailable()) } else { Ok(is_due) }
    }

    async fn fails_after(&self, is_due: bool) -> Result<()> {
        match &self.fault {
            Fault::Unanswered if is_due => Err(unavailable()),
            Fault::PricesArrive(entries) if is_due => self.store.append_prices(entries).await,
            Fault::ToldToStop(shutdown) if is_due => {
                shutdown.cancel();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn unavailable() -> StorageError {
    StorageError::Unavailable("the connection broke".into())
}

macro_rules! pass_on {
    ($trait:ident { $(fn $name:ident($($argument:ident: $type:ty),*) -> $value:ty;)+ } $($other:item)*) => {
        #[async_trait]
        impl $trait for FlakyStore {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$value> {
                let is_due = self.fails_before(stringify!($name)).await?;
                let value = self.store.$name($($argument),*).await?;
                self.fails_after(is_due).await?;
                Ok(value)
            })+
            $($other)*
        }
    };
}

pass_on! { Store {
    fn migrate() -> ();
    fn check_schema() -> ();
    fn ping() -> ();
    fn counts(active_since: Timestamp) -> Counts;
}
/// The predict worker's: nobody here writes as one.
fn led_by(&self, lease: &Lease) -> Arc<dyn Store> {
    self.store.led_by(lease)
} }

pass_on! { PriceRepository {
    fn append_prices(entries: &[LedgerEntry]) -> ();
    fn ledger_end() -> LedgerPosition;
    fn ledger_since(since: Timestamp) -> Vec<LedgerEntry>;
    fn closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint>;
    fn newest_close_at(asset: &Asset, up_to: Timestamp) -> Option<Timestamp>;
    fn feed_status() -> Vec<FeedStatus>;
    fn awaited_assets() -> BTreeMap<Asset, Timestamp>;
} }

pass_on! { RoundRepository {
    fn mark_asked(questions: &[Question], asked_at: Timestamp) -> Vec<RoundId>;
    fn close_round(question: &Question, closed_at: Timestamp, predictions: &[Prediction]) -> ();
    fn record_missed(questions: &[Question], reason: &str, at: Timestamp) -> ();
    fn interrupt_open_rounds(at: Timestamp, reason: &str) -> Vec<RoundId>;
    fn newest_slot() -> Option<Timestamp>;
    fn defer_scoring(id: RoundId, until: Timestamp) -> ();
    fn predictions(id: RoundId) -> Vec<Prediction>;
    fn field(id: RoundId) -> Vec<Contender>;
    fn store_scores_together(rounds: &[RoundScores]) -> ();
    fn void_round(id: RoundId, rule: &str, at: Timestamp, reason: &str) -> ();
    fn score_changes(after: ChangeNumber, resolved_after: Timestamp, rule: &str, limit: usize) -> Vec<ScoreChange>;
    fn earliest_change(after: ChangeNumber, resolved_after: Timestamp) -> Option<Timestamp>;
    fn first_scored(models: &[ModelId]) -> Vec<(ModelId, Timestamp)>;
    fn round(id: RoundId) -> Option<RoundRecord>;
    fn scored_count(model: &ModelId, after: Timestamp) -> u64;
    fn export_rounds(from: Timestamp, to: Timestamp, after: Option<RoundId>, limit: usize) -> Vec<ExportedRound>;
    fn export_scores(id: RoundId) -> Vec<ExportedScore>;
} }

pass_on! { ClaimRepository {
    fn claim_ready(hold: &Hold, limit: usize) -> Vec<Question>;
    fn claim_outdated(hold: &Hold, rule: &str, resolved_after: Timestamp, limit: usize) -> Vec<Question>;
    fn outdated_rounds(rule: &str, resolved_after: Timestamp, now: Timestamp) -> OutdatedRounds;
    fn first_ready(now: Timestamp) -> Option<Timestamp>;
    fn renew_claims(hold: &Hold) -> ();
    fn release_claims(by: &HolderId) -> ();
} }

pass_on! { LeaseRepository {
    fn take_lease(name: LeaseName, hold: &Hold) -> Option<Lease>;
    fn succeed_lease(dead: &Lease, hold: &Hold) -> Option<Lease>;
    fn lease_holder(name: LeaseName, now: Timestamp) -> Option<LeaseHolder>;
    fn renew_lease(lease: &Lease, hold: &Hold) -> bool;
    fn release_lease(lease: &Lease) -> ();
} }

pass_on! { OperatorRepository {
    fn carry_out(order: &Order) -> std::result::Result<(), Unchanged>;
    fn audit(limit: usize) -> Vec<AuditEntry>;
    fn excluded_models() -> BTreeSet<ModelId>;
    fn pause() -> Option<AuditEntry>;
} }

pass_on! { RetentionRepository {
    fn prunable(what: Prunable, expiry: &Expiry) -> Amount;
    fn prune(what: Prunable, expiry: &Expiry, from: &Place) -> Portion;
    fn unfinished(asked_before: Timestamp) -> Unfinished;
} }

pass_on! { ModelRepository {
    fn save_models(models: &[Model]) -> ();
    fn models() -> Vec<Model>;
    fn model(id: &ModelId) -> Option<Model>;
} }

pass_on! { SettingsRepository {
    fn note_settings(note: &SettingsNote) -> Vec<SettingChange>;
} }

pass_on! { StandingsRepository {
    fn save_leaderboard(leaderboard: &Leaderboard, standings: &Standings, ranked_up_to: ChangeNumber, lease: &Lease) -> ();
    fn ranked_up_to() -> ChangeNumber;
    fn latest_leaderboard() -> Option<Leaderboard>;
    fn leaderboards(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Leaderboard>;
    fn latest_standings() -> Option<Standings>;
    fn save_snapshot(standings: &Standings, lease: &Lease) -> ();
    fn newest_snapshot_at() -> Option<Timestamp>;
    fn snapshots(from: Timestamp, to: Timestamp) -> Vec<Standings>;
    fn record_scoring_change(change: &ScoringChange) -> ();
    fn scoring_changes() -> Vec<ScoringChange>;
} }

pass_on! { RollUpRepository {
    fn roll_ups(rule: &str, after: Timestamp) -> Option<StoredRollUps>;
    fn rolled_rounds(ends: &[Timestamp]) -> Vec<RolledRound>;
    fn save_roll_ups(changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> ();
    fn clear_roll_ups(lease: &Lease) -> ();
} }
