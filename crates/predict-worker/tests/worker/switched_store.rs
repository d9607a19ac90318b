//! A database that can be switched off.

use async_trait::async_trait;
use domain::{
    Asset, Leaderboard, LedgerEntry, LedgerPosition, Model, ModelId, Prediction, PricePoint, Question,
    RollUpChanges, RolledRound, RoundId, Standings, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage::{
    Amount, AuditEntry, ChangeNumber, ClaimRepository, Contender, Counts, Expiry, ExportedRound,
    ExportedScore, FeedStatus, Hold, HolderId, Lease, LeaseHolder, LeaseName, LeaseRepository,
    ModelRepository, OperatorRepository, Order, OutdatedRounds, Place, Portion, PriceRepository, Prunable,
    Result, RetentionRepository, RollUpMark, RollUpRepository, RoundRecord, RoundRepository, RoundScores,
    ScoreChange, ScoringChange, SettingChange, SettingsNote, SettingsRepository, StandingsRepository,
    StorageError, Store, StoredRollUps, Unchanged, Unfinished,
};
use tokio::sync::watch;

/// How the database is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// All is well.
    Up,
    /// Every access fails at once.
    Away,
    /// Every access waits until the mode changes.
    Hung,
    /// Every access succeeds, and the caller is told that it failed.
    LosesReplies,
    /// Marks of asked rounds are refused for good.
    RefusesMarks,
    /// Closed rounds are refused for good.
    RefusesClosedRounds,
}

/// Another store behind a switch.
pub struct SwitchedStore {
    inner: Arc<dyn Store>,
    mode: watch::Sender<Mode>,
}

impl SwitchedStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(SwitchedStore { inner, mode: watch::Sender::new(Mode::Up) })
    }

    pub fn switch(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    async fn pass<T>(&self, method: &str, access: impl Future<Output = Result<T>>) -> Result<T> {
        let mut mode = self.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hung).await.unwrap();
        match mode {
            Mode::Away => return Err(StorageError::Unavailable("switched off".into())),
            Mode::RefusesMarks if method == "mark_asked" => {
                return Err(StorageError::Refused("no such column".into()));
            }
            Mode::RefusesClosedRounds if method == "close_round" => {
                return Err(StorageError::Refused("no such column".into()));
            }
            _ => {}
        }
        let result = access.await;
        if mode == Mode::LosesReplies {
            return Err(StorageError::Unavailable("the reply was lost".into()));
        }
        result
    }
}

macro_rules! switched {
    ($trait:ident { $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($other:item)*) => {
        #[async_trait]
        impl $trait for SwitchedStore {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$output> {
                    self.pass(stringify!($method), self.inner.$method($($argument),*)).await
                }
            )*
            $($other)*
        }
    };
}

switched! { PriceRepository {
    append_prices(entries: &[LedgerEntry]) -> ();
    ledger_end() -> LedgerPosition;
    ledger_since(since: Timestamp) -> Vec<LedgerEntry>;
    closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint>;
    newest_close_at(asset: &Asset, up_to: Timestamp) -> Option<Timestamp>;
    feed_status() -> Vec<FeedStatus>;
    awaited_assets() -> BTreeMap<Asset, Timestamp>;
} }

switched! { ModelRepository {
    save_models(models: &[Model]) -> ();
    models() -> Vec<Model>;
    model(id: &ModelId) -> Option<Model>;
} }

switched! { RoundRepository {
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

switched! { ClaimRepository {
    claim_ready(hold: &Hold, limit: usize) -> Vec<Question>;
    claim_outdated(hold: &Hold, rule: &str, resolved_after: Timestamp, limit: usize) -> Vec<Question>;
    outdated_rounds(rule: &str, resolved_after: Timestamp, now: Timestamp) -> OutdatedRounds;
    first_ready(now: Timestamp) -> Option<Timestamp>;
    renew_claims(hold: &Hold) -> ();
    release_claims(by: &HolderId) -> ();
} }

switched! { LeaseRepository {
    take_lease(name: LeaseName, hold: &Hold) -> Option<Lease>;
    succeed_lease(dead: &Lease, hold: &Hold) -> Option<Lease>;
    lease_holder(name: LeaseName, now: Timestamp) -> Option<LeaseHolder>;
    renew_lease(lease: &Lease, hold: &Hold) -> bool;
    release_lease(lease: &Lease) -> ();
} }

switched! { OperatorRepository {
    carry_out(order: &Order) -> std::result::Result<(), Unchanged>;
    audit(limit: usize) -> Vec<AuditEntry>;
    excluded_models() -> BTreeSet<ModelId>;
    pause() -> Option<AuditEntry>;
} }

switched! { RetentionRepository {
    prunable(what: Prunable, expiry: &Expiry) -> Amount;
    prune(what: Prunable, expiry: &Expiry, from: &Place) -> Portion;
    unfinished(asked_before: Timestamp) -> Unfinished;
} }

switched! { SettingsRepository {
    note_settings(note: &SettingsNote) -> Vec<SettingChange>;
} }

switched! { StandingsRepository {
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

switched! { Store {
    migrate() -> ();
    check_schema() -> ();
    ping() -> ();
    counts(active_since: Timestamp) -> Counts;
}
fn led_by(&self, lease: &Lease) -> Arc<dyn Store> {
    Arc::new(SwitchedStore { inner: self.inner.led_by(lease), mode: self.mode.clone() })
} }

switched! { RollUpRepository {
    roll_ups(rule: &str, after: Timestamp) -> Option<StoredRollUps>;
    rolled_rounds(ends: &[Timestamp]) -> Vec<RolledRound>;
    save_roll_ups(changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> ();
    clear_roll_ups(lease: &Lease) -> ();
} }
