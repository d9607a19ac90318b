//! A database that can be cut off, and at which a process can die.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
use tokio::sync::watch;

/// How the database is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All is well.
    Up,
    /// Every access fails at once.
    Away,
    /// Every access waits until the mode changes.
    Hung,
    /// Every access succeeds, and the caller is told that it failed.
    LosesReplies,
}

/// On which side of an access a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The database has not heard of it.
    Before,
    /// It is carried out, and the process does not learn of it.
    After,
}

/// One process's line to the database, as its surroundings see and handle it.
pub struct Line {
    mode: watch::Sender<Mode>,
    /// After how many more accesses, and on which side of the next, the process is to die.
    fuse: Mutex<Option<(u32, Side)>>,
    has_blown: watch::Sender<bool>,
    /// Accesses so far.
    count: AtomicUsize,
    /// Those that the database is working on, and what else takes real time.
    active: AtomicUsize,
    /// By what the process holds claims and leases.
    holder: Mutex<Option<HolderId>>,
    lease: Mutex<Option<Lease>>,
}

impl Line {
    pub fn new(mode: Mode) -> Arc<Self> {
        Arc::new(Line {
            mode: watch::Sender::new(mode),
            fuse: Mutex::default(),
            has_blown: watch::Sender::new(false),
            count: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            holder: Mutex::default(),
            lease: Mutex::default(),
        })
    }

    pub fn switch(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// At the access after so many more, the process stops in its tracks: see [`Line::has_blown`].
    pub fn light_fuse(&self, accesses: u32, side: Side) {
        *self.fuse.lock().unwrap() = Some((accesses, side));
    }

    /// Takes that back.
    pub fn put_fuse_out(&self) {
        *self.fuse.lock().unwrap() = None;
    }

    /// True when the process is to be killed now.
    pub fn has_blown(&self) -> bool {
        *self.has_blown.borrow()
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Until the result is dropped, simulated time stands still.
    pub fn begin_work(self: &Arc<Self>) -> Work {
        self.active.fetch_add(1, Ordering::SeqCst);
        Work(Arc::clone(self))
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst) > 0
    }

    /// Ends claims and lease of a process that has died, as their time does on a database that has its own clock.
    pub async fn expire(self: Arc<Self>, store: Arc<dyn Store>) {
        let (holder, lease) = (self.holder.lock().unwrap().take(), self.lease.lock().unwrap().take());
        if let Some(holder) = holder {
            store.release_claims(&holder).await.unwrap();
        }
        if let Some(lease) = lease {
            store.release_lease(&lease).await.unwrap();
        }
    }

    /// The side on which the process dies at this access, if it does.
    fn burn(&self) -> Option<Side> {
        let mut fuse = self.fuse.lock().unwrap();
        match *fuse {
            Some((0, side)) => Some(side),
            Some((left, side)) => {
                *fuse = Some((left - 1, side));
                None
            }
            None => None,
        }
    }

    async fn die(&self) {
        self.has_blown.send_replace(true);
        std::future::pending().await
    }
}

/// A database behind a [`Line`].
pub struct SwitchedStore {
    inner: Arc<dyn Store>,
    line: Arc<Line>,
}

/// Something that takes real time; it may be given up.
pub struct Work(Arc<Line>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SwitchedStore {
    pub fn new(inner: Arc<dyn Store>, line: Arc<Line>) -> Self {
        SwitchedStore { inner, line }
    }

    async fn pass<T>(&self, access: impl Future<Output = Result<T>>) -> Result<T> {
        let line = &self.line;
        let mut mode = line.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hung).await.unwrap();
        line.count.fetch_add(1, Ordering::SeqCst);
        let death = line.burn();
        if death == Some(Side::Before) {
            line.die().await;
        }
        if mode == Mode::Away {
            return Err(StorageError::Unavailable("cut off".into()));
        }
        let work = line.begin_work();
        let result = access.await;
        drop(work);
        if death == Some(Side::After) {
            line.die().await;
        }
        match mode {
            Mode::LosesReplies => Err(StorageError::Unavailable("the reply was lost".into())),
            _ => result,
        }
    }
}

macro_rules! switched {
    ($trait:ident { $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($other:item)*) => {
        #[async_trait]
        impl $trait for SwitchedStore {
            $(
                async fn $method(&self, $($argument: $type),*) -> Result<$output> {
                    self.pass(self.inner.$method($($argument),*)).await
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

#[async_trait]
impl ClaimRepository for SwitchedStore {
    async fn claim_ready(&self, hold: &Hold, limit: usize) -> Result<Vec<Question>> {
        self.note_holder(hold);
        self.pass(self.inner.claim_ready(hold, limit)).await
    }

    async fn claim_outdated(
        &self,
        hold: &Hold,
        rule: &str,
        resolved_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<Question>> {
        self.note_holder(hold);
        self.pass(self.inner.claim_outdated(hold, rule, resolved_after, limit)).await
    }

    async fn outdated_rounds(
        &self,
        rule: &str,
        resolved_after: Timestamp,
        now: Timestamp,
    ) -> Result<OutdatedRounds> {
        self.pass(self.inner.outdated_rounds(rule, resolved_after, now)).await
    }

    async fn first_ready(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        self.pass(self.inner.first_ready(now)).await
    }

    async fn renew_claims(&self, hold: &Hold) -> Result<()> {
        self.pass(self.inner.renew_claims(hold)).await
    }

    async fn release_claims(&self, by: &HolderId) -> Result<()> {
        self.pass(self.inner.release_claims(by)).await
    }
}

#[async_trait]
impl LeaseRepository for SwitchedStore {
    async fn take_lease(&self, name: LeaseName, hold: &Hold) -> Result<Option<Lease>> {
        self.note_holder(hold);
        let access = async {
            let lease = self.inner.take_lease(name, hold).await?;
            // Whoever dies on the other side of this has it all the same.
            self.line.lease.lock().unwrap().clone_from(&lease);
            Ok(lease)
        };
        self.pass(access).await
    }

    async fn succeed_lease(&self, dead: &Lease, hold: &Hold) -> Result<Option<Lease>> {
        self.pass(self.inner.succeed_lease(dead, hold)).await
    }

    async fn lease_holder(&self, name: LeaseName, now: Timestamp) -> Result<Option<LeaseHolder>> {
        self.pass(self.inner.lease_holder(name, now)).await
    }

    async fn renew_lease(&self, lease: &Lease, hold: &Hold) -> Result<bool> {
        self.pass(self.inner.renew_lease(lease, hold)).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        self.pass(self.inner.release_lease(lease)).await
    }
}

impl SwitchedStore {
    fn note_holder(&self, hold: &Hold) {
        *self.line.holder.lock().unwrap() = Some(hold.by.clone());
    }
}

switched! { OperatorRepository {
    carry_out(order: &Order) -> std::result::Result<(), Unchanged>;
    audit(limit: usize) -> Vec<AuditEntry>;
    excluded_models() -> BTreeSet<ModelId>;
    pause() -> Option<AuditEntry>;
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
    Arc::new(SwitchedStore { inner: self.inner.led_by(lease), line: Arc::clone(&self.line) })
} }

switched! { RollUpRepository {
    roll_ups(rule: &str, after: Timestamp) -> Option<StoredRollUps>;
    rolled_rounds(ends: &[Timestamp]) -> Vec<RolledRound>;
    save_roll_ups(changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> ();
    clear_roll_ups(lease: &Lease) -> ();
} }

switched! { RetentionRepository {
    prunable(what: Prunable, expiry: &Expiry) -> Amount;
    prune(what: Prunable, expiry: &Expiry, from: &Place) -> Portion;
    unfinished(asked_before: Timestamp) -> Unfinished;
} }

switched! { SettingsRepository {
    note_settings(note: &SettingsNote) -> Vec<SettingChange>;
} }
