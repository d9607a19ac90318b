//! A bound on how long a database may take to answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Asset, Leaderboard, LedgerEntry, LedgerPosition, Model, ModelId, Prediction, PricePoint, Question,
    RoundId, Standings, Timestamp,
};

use crate::{
    AuditEntry, ChangeNumber, ClaimRepository, Counts, ExportedRound, ExportedScore, FeedStatus, Hold,
    HolderId, Lease, LeaseName, LeaseRepository, ModelRepository, OperatorRepository, Order, OutdatedRounds,
    PriceRepository, Result, RoundRecord, RoundRepository, RoundScores, ScoreChange, ScoringChange,
    StandingsRepository, StorageError, Store, Unchanged,
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
    store_scores(scores: &RoundScores) -> ();
    void_round(id: RoundId, rule: &str, at: Timestamp, reason: &str) -> ();
    score_changes(after: ChangeNumber, resolved_after: Timestamp, rule: &str, limit: usize) -> Vec<ScoreChange>;
    first_scored() -> Vec<(ModelId, Timestamp)>;
    round(id: RoundId) -> Option<RoundRecord>;
    scored_count(model: &ModelId, after: Timestamp) -> u64;
    export_rounds(from: Timestamp, to: Timestamp, after: Option<RoundId>, limit: usize) -> Vec<ExportedRound>;
    export_scores(id: RoundId) -> Vec<ExportedScore>;
} }

patient! { ClaimRepository {
    claim_ready(hold: &Hold, limit: usize) -> Vec<Question>;
    claim_outdated(hold: &Hold, rule: &str, resolved_after: Timestamp, limit: usize) -> Vec<Question>;
    outdated_rounds(rule: &str, resolved_after: Timestamp, now: Timestamp) -> OutdatedRounds;
    renew_claims(hold: &Hold) -> ();
    release_claims(by: &HolderId) -> ();
} }

patient! { LeaseRepository {
    take_lease(name: LeaseName, hold: &Hold) -> Option<Lease>;
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
}
