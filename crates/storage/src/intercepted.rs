//! A store with something around each access.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    Asset, DeploymentId, Leaderboard, LedgerEntry, LedgerPosition, Model, ModelId, Prediction,
    PriceCorrection, PricePoint, Question, RollUpChanges, RolledRound, RoundId, Span, Standings, Timestamp,
};

use crate::{
    Amount, AuditEntry, BrowseRepository, ChangeNumber, ClaimRepository, Contender, CorrectionRepository,
    Counts, Deployment, DueRounds, Expiry, ExportedRound, ExportedScore, FeedStatus, Hold, HolderId, Hole,
    Lease, LeaseHolder, LeaseName, LeaseRepository, ModelActivity, ModelOutcome, ModelRepository,
    OperationsRepository, OperatorRepository, Order, Outcome, OutcomeFilter, OutdatedRounds, PackedSnapshot,
    Page, Place, Portion, PriceRepository, Prunable, ReportRepository, Result, RetentionRepository,
    RollUpMark, RollUpRepository, RoundFilter, RoundRecord, RoundRepository, RoundScores, ScoreChange,
    ScoredOutcome, ScoredQuestion, ScoringChange, SeenWorker, SettingChange, SettingsNote,
    SettingsRepository, SlotTally, SnapshotMark, StandingsRepository, Store, StoredRollUps, Unchanged,
    Unfinished, WorkerSign,
};

/// What happens around each access to a store.
pub trait Interceptor: Clone + Send + Sync + 'static {
    /// Carries out an access by the method of this name, or does not, or reports something else than came of it. An access
    /// that is dropped before its end is given up: like any write that failed it may have taken place.
    fn intercept<T: Send>(
        &self,
        method: &'static str,
        access: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

/// Another store, each access to which an [`Interceptor`] surrounds; also when it is that of a [leader](Store::led_by).
pub struct InterceptedStore<I> {
    inner: Arc<dyn Store>,
    interceptor: I,
}

impl<I: Interceptor> InterceptedStore<I> {
    /// Surrounds each access to `inner`.
    pub fn new(inner: Arc<dyn Store>, interceptor: I) -> Self {
        InterceptedStore { inner, interceptor }
    }
}

/// Has the interceptor surround every method of a trait; what follows the methods is taken as it is.
macro_rules! intercept {
    ($trait:ident { $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($other:item)*) => {
        #[async_trait]
        impl<I: Interceptor> $trait for InterceptedStore<I> {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$output> {
                    let access = self.inner.$method($($argument),*);
                    self.interceptor.intercept(stringify!($method), access).await
                }
            )*
            $($other)*
        }
    };
}

intercept! { PriceRepository {
    append_prices(entries: &[LedgerEntry], at: Timestamp) -> ();
    ledger_end() -> LedgerPosition;
    ledger_since(since: Timestamp) -> Vec<LedgerEntry>;
    closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint>;
    newest_close_at(asset: &Asset, up_to: Timestamp) -> Option<Timestamp>;
    holes(asset: &Asset, after: Timestamp, up_to: Timestamp, interval: Span) -> Vec<Hole>;
    feed_status() -> Vec<FeedStatus>;
    awaited_assets() -> BTreeMap<Asset, Timestamp>;
} }

intercept! { CorrectionRepository {
    corrections(asset: Option<&Asset>, before: Option<LedgerPosition>, limit: usize) -> Vec<PriceCorrection>;
    corrected_closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PriceCorrection>;
    unapplied_corrections(limit: usize) -> Vec<PriceCorrection>;
    priced_rounds(asset: &Asset, from: Timestamp, to: Timestamp) -> Vec<Question>;
    apply_corrections(applied: &[LedgerPosition], touched: &BTreeMap<RoundId, LedgerPosition>) -> ();
} }

intercept! { ModelRepository {
    save_models(models: &[Model]) -> ();
    models() -> Vec<Model>;
    model(id: &ModelId) -> Option<Model>;
    deployments(model: &ModelId, after: Option<&(Timestamp, DeploymentId)>, limit: usize) -> Vec<Deployment>;
} }

intercept! { RoundRepository {
    mark_asked(questions: &[Question], asked_at: Timestamp) -> Vec<RoundId>;
    close_round(question: &Question, closed_at: Timestamp, predictions: &[Prediction]) -> ();
    record_missed(questions: &[Question], reason: &str, at: Timestamp) -> ();
    interrupt_open_rounds(at: Timestamp, reason: &str) -> Vec<RoundId>;
    withdraw_open_rounds() -> Vec<RoundId>;
    newest_slot() -> Option<Timestamp>;
    defer_scoring(id: RoundId, until: Timestamp) -> ();
    predictions(id: RoundId) -> Vec<Prediction>;
    field(id: RoundId) -> Vec<Contender>;
    store_scores_together(rounds: &[RoundScores]) -> ();
    void_round(id: RoundId, rule: &str, priced_up_to: LedgerPosition, at: Timestamp, reason: &str) -> ();
    score_changes(after: ChangeNumber, resolved_after: Timestamp, rule: &str, limit: usize) -> Vec<ScoreChange>;
    earliest_change(after: ChangeNumber, resolved_after: Timestamp) -> Option<Timestamp>;
    first_scored(models: &[ModelId]) -> Vec<(ModelId, Timestamp)>;
    round(id: RoundId) -> Option<RoundRecord>;
    scored_count(model: &ModelId, after: Timestamp) -> u64;
    export_rounds(from: Timestamp, to: Timestamp, after: Option<RoundId>, limit: usize) -> Vec<ExportedRound>;
    export_scores(id: RoundId) -> Vec<ExportedScore>;
} }

intercept! { ClaimRepository {
    claim_ready(hold: &Hold, limit: usize) -> Vec<Question>;
    claim_outdated(hold: &Hold, rule: &str, resolved_after: Timestamp, limit: usize) -> Vec<Question>;
    outdated_rounds(rule: &str, resolved_after: Timestamp, now: Timestamp) -> OutdatedRounds;
    first_ready(now: Timestamp) -> Option<Timestamp>;
    renew_claims(hold: &Hold) -> ();
    release_claims(by: &HolderId) -> ();
} }

intercept! { LeaseRepository {
    take_lease(name: LeaseName, hold: &Hold) -> Option<Lease>;
    succeed_lease(dead: &Lease, hold: &Hold) -> Option<Lease>;
    lease_holder(name: LeaseName, now: Timestamp) -> Option<LeaseHolder>;
    renew_lease(lease: &Lease, hold: &Hold) -> bool;
    release_lease(lease: &Lease) -> ();
} }

intercept! { OperatorRepository {
    carry_out(order: &Order) -> std::result::Result<(), Unchanged>;
    audit(limit: usize) -> Vec<AuditEntry>;
    excluded_models() -> BTreeSet<ModelId>;
    pause() -> Option<AuditEntry>;
} }

intercept! { StandingsRepository {
    save_leaderboard(leaderboard: &Leaderboard, standings: &Standings, ranked_up_to: ChangeNumber, lease: &Lease) -> ();
    ranked_up_to() -> ChangeNumber;
    latest_leaderboard() -> Option<Leaderboard>;
    leaderboards(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Leaderboard>;
    leaderboard_instants(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Timestamp>;
    latest_standings() -> Option<Standings>;
    save_snapshot(standings: &Standings, lease: &Lease) -> ();
    newest_snapshot_at() -> Option<Timestamp>;
    snapshots(from: Timestamp, to: Timestamp) -> Vec<Standings>;
    record_scoring_change(change: &ScoringChange) -> ();
    scoring_changes() -> Vec<ScoringChange>;
} }

intercept! { ReportRepository {
    snapshot_mark() -> Option<SnapshotMark>;
    packed_snapshots(instants: &[Timestamp]) -> Vec<PackedSnapshot>;
    scored_questions(from: Timestamp, to: Timestamp, limit: usize) -> Vec<ScoredQuestion>;
    scored_outcomes(rounds: &[RoundId], models: &[ModelId]) -> Vec<ScoredOutcome>;
    latest_prices(asset: &Asset, limit: usize) -> Vec<LedgerEntry>;
} }

intercept! { RollUpRepository {
    roll_ups(rule: &str, after: Timestamp) -> Option<StoredRollUps>;
    rolled_rounds(ends: &[Timestamp]) -> Vec<RolledRound>;
    save_roll_ups(changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> ();
    clear_roll_ups(lease: &Lease) -> ();
} }

intercept! { RetentionRepository {
    prunable(what: Prunable, expiry: &Expiry) -> Amount;
    prune(what: Prunable, expiry: &Expiry, from: &Place) -> Portion;
    unfinished(asked_before: Timestamp) -> Unfinished;
} }

intercept! { BrowseRepository {
    list_rounds(filter: &RoundFilter, before: Option<RoundId>, limit: usize) -> Page<RoundRecord>;
    round_outcomes(id: RoundId) -> Vec<Outcome>;
    prediction(id: RoundId, model: &ModelId) -> Option<Prediction>;
    model_outcomes(model: &ModelId, filter: &OutcomeFilter, before: Option<RoundId>, limit: usize) -> Page<ModelOutcome>;
    answered_rounds(from: Timestamp, to: Timestamp) -> Vec<RoundId>;
    activity(rounds: &[RoundId]) -> Vec<ModelActivity>;
    spaced_closes(asset: &Asset, after: Timestamp, up_to: Timestamp, spacing: Span) -> Vec<PricePoint>;
} }

intercept! { SettingsRepository {
    note_settings(note: &SettingsNote) -> Vec<SettingChange>;
} }

intercept! { OperationsRepository {
    note_worker(sign: &WorkerSign, now: Timestamp) -> ();
    forget_worker(instance: &str) -> ();
    workers(now: Timestamp) -> Vec<SeenWorker>;
    slot_tally(after: Timestamp, up_to: Timestamp) -> SlotTally;
    due_rounds(now: Timestamp) -> DueRounds;
} }

intercept! { Store {
    migrate() -> ();
    check_schema() -> ();
    ping() -> ();
    counts(active_since: Timestamp) -> Counts;
}
fn known_schema(&self) -> i64 {
    self.inner.known_schema()
}
fn led_by(&self, lease: &Lease) -> Arc<dyn Store> {
    Arc::new(InterceptedStore::new(self.inner.led_by(lease), self.interceptor.clone()))
} }
