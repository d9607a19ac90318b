//! The predict worker, one instant at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, Clock, ModelId, Prediction, Question, Timestamp, TimestampExt};
use feeds::PriceFeed;
use journal::Journal;
use model_client::{ClusterEvent, EncodedSetup};
use storage::{StorageError, Store};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, ModelState};
use crate::intake::Intake;
use crate::lane::LaneContext;
use crate::leadership::Leadership;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::pause::PauseWatch;
use crate::recorder::{JournalFault, Recorder};
use crate::repair;
use crate::round::{ClosedRound, Collector};
use crate::settings::{PredictSettings, Reloadable, SettingsInForce};

/// How long asking waits for the mark in the database.
const MARK_PATIENCE: Duration = Duration::from_secs(1);
/// How long the start waits for the history; what has not come by then comes with a later slot.
const HISTORY_PATIENCE: Duration = Duration::from_secs(60);

/// Why the predict worker cannot start.
#[derive(Debug, thiserror::Error)]
#[error("the predict worker cannot start: {0}")]
pub struct StartError(#[from] StorageError);

impl StartError {
    /// True when another attempt may succeed: the database was away for a moment, or another worker has the lead by now.
    pub fn may_pass(&self) -> bool {
        self.0.is_transient() || matches!(self.0, StorageError::LeaseLost(_))
    }
}

/// A round in flight; resolves when it is closed and on its way to the database. It closes whether or not anybody waits.
pub type OpenRound = JoinHandle<ClosedRound>;

/// Takes prices, ticks and asks models, and records what they say.
pub struct PredictWorker {
    pub(crate) context: Arc<LaneContext>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) recorder: Recorder,
    pub(crate) intake: Intake,
    pub(crate) leadership: Leadership,
    pause: PauseWatch,
    metrics: Metrics,
    follower: JoinHandle<()>,
    before: Before,
}

/// What is on record of earlier runs.
pub(crate) struct Before {
    /// The newest slot.
    pub(crate) newest_slot: Option<Timestamp>,
    /// The newest close: some worker ran when it came.
    pub(crate) newest_close: Option<Timestamp>,
}

impl PredictWorker {
    /// Starts over a database that is this worker's alone; otherwise as [`PredictWorker::lead`].
    pub async fn start(
        settings: PredictSettings,
        store: Arc<dyn Store>,
        journal: Option<Journal>,
        clock: Arc<dyn Clock>,
        feed: Arc<dyn PriceFeed>,
        events: UnboundedReceiver<ClusterEvent>,
    ) -> Result<Self, StartError> {
        Self::lead(Leadership::sole(store), settings, journal, clock, feed, events, Metrics::default()).await
    }

    /// Resumes from what is stored: what an earlier run left in the journal, the ledger, the known models. Rounds that
    /// were in flight when it died are closed with the outcomes that the journal holds of them; those without any are
    /// marked as interrupted.
    ///
    /// A replay needs no journal: its database is on the same machine and may be slow, its clock waits for what is to be
    /// stored, and a replay that was killed plays again what was not. `metrics` go on from an earlier term of leading.
    pub async fn lead(
        leadership: Leadership,
        settings: PredictSettings,
        journal: Option<Journal>,
        clock: Arc<dyn Clock>,
        feed: Arc<dyn PriceFeed>,
        events: UnboundedReceiver<ClusterEvent>,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let (now, store) = (clock.now(), leadership.store());
        if let Some(journal) = &journal {
            Recorder::recover(journal, &leadership, &clock).await;
        }
        let interrupted =
            store.interrupt_open_rounds(now, "the predict worker ended while it was in flight").await?;
        if !interrupted.is_empty() {
            tracing::warn!(
                rounds = interrupted.len(),
                "rounds in flight when the predict worker ended: interrupted"
            );
        }
        let ledger =
            Ledger::resume(store.ledger_since(now - settings.history).await?, store.ledger_end().await?);
        let known = store.models().await?;
        let newest_slot = store.newest_slot().await?;
        let before = Before { newest_slot, newest_close: ledger.newest_close_at() };
        let awaited = store.awaited_assets().await?;
        let pause = PauseWatch::start(Arc::clone(&store)).await?;
        let recorder =
            Recorder::start(leadership.clone(), journal, Arc::clone(&clock), newest_slot, metrics.clone())
                .await;
        let setup = EncodedSetup::new(&settings.base_class);
        let settings = Arc::new(SettingsInForce::new(settings));
        let asking_is_over = leadership.over();
        let context = Arc::new(LaneContext { settings, setup, ledger, clock, asking_is_over });
        let fleet = Arc::new(Fleet::new(Arc::clone(&context), recorder.clone(), known));
        let intake = Intake::new(Arc::clone(&context), recorder.clone(), feed, awaited);
        // Before any model joins, so that each is told the history at once and not with its first question.
        intake.take_all(now, HISTORY_PATIENCE).await;
        let follower = tokio::spawn(Arc::clone(&fleet).follow(events));
        Ok(PredictWorker { context, fleet, recorder, intake, leadership, pause, metrics, follower, before })
    }

    /// Waits until the orchestrator has announced its models and each is set up, has failed, or had its time.
    pub async fn wait_until_started(&self) {
        self.fleet.wait_until_started().await;
    }

    /// Takes what the feed has up to `up_to` into the ledger, waiting for no asset longer than a question may be held up
    /// for it. An asset whose source fails stays stale.
    pub async fn take_prices(&self, up_to: Timestamp) {
        self.intake.take_all(up_to, self.context.settings().open_grace.as_duration()).await;
    }

    /// Looks whether an operator has paused the competition. [`run`](crate::run) sees to it by itself.
    pub async fn look_for_pause(&self) {
        self.pause.look().await;
    }

    /// Ticks every model and opens the rounds of the slot at `at`; slots that cannot be asked are recorded as missed. Does
    /// nothing when another worker leads.
    pub async fn open_slot(&self, at: Timestamp) -> Vec<OpenRound> {
        if !self.leadership.may_ask().await {
            return Vec::new();
        }
        let now = self.context.clock.now();
        self.fleet.note_connected(now);
        let up_to = self.context.ledger.end();
        self.fleet.push_tick(up_to);
        let deadline = at + self.context.settings().call_timeout;
        let questions = self.askable(at, deadline);
        if questions.is_empty() {
            return Vec::new();
        }
        let fresh = match self.recorder.asked(&questions, MARK_PATIENCE).await {
            Ok(fresh) => fresh,
            Err(reason) => {
                self.recorder.missed(questions, reason);
                return Vec::new();
            }
        };
        let mut rounds: Vec<Collector> = questions
            .into_iter()
            .filter(|question| fresh.contains(&question.id))
            .map(|question| Collector::new(question, deadline))
            .collect();
        self.fleet.ask(&mut rounds, now);
        self.metrics.asked(rounds.len(), self.late_by(at));
        rounds.into_iter().map(|round| self.watch(round)).collect()
    }

    /// Resolves when every model has worked off its queue.
    pub async fn idle(&self) {
        self.fleet.idle().await;
    }

    /// Resolves when everything is stored that was there to store at the time of this call.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + use<> {
        self.recorder.flush()
    }

    /// What an operator asks about; stays valid while the worker runs.
    pub fn status(&self) -> Status {
        Status {
            fleet: Arc::clone(&self.fleet),
            recorder: self.recorder.clone(),
            context: Arc::clone(&self.context),
        }
    }

    /// Takes changes of settings while the worker runs.
    pub fn reloadable(&self) -> Reloadable {
        Reloadable::new(Arc::clone(&self.context.settings))
    }

    /// Puts changes that were handed in in force, before anything of the slot at `slot` is done. [`run`](crate::run) sees to it by
    /// itself.
    pub fn adopt_changes(&self, slot: Timestamp) {
        if let Some((feed, before)) = self.context.settings.adopt() {
            self.intake.adopt(feed, &before, slot);
            tracing::info!(first_slot = %slot, "the changed settings are in force from the slot of {slot} on");
        }
    }

    /// What was on record of earlier runs when this one began.
    pub(crate) fn before(&self) -> &Before {
        &self.before
    }

    /// The questions of the slot at `at` about assets that are asked here.
    pub(crate) fn questions_at(&self, at: Timestamp) -> Vec<Question> {
        let settings = self.context.settings();
        let questions = settings.schedules.questions_at(&settings.crunch_id, at);
        questions.into_iter().filter(|question| settings.is_asked(&question.asset)).collect()
    }

    /// The questions of a slot that can be asked; the others are recorded as missed.
    fn askable(&self, at: Timestamp, deadline: Timestamp) -> Vec<Question> {
        let questions = self.questions_at(at);
        if questions.is_empty() {
            return questions;
        }
        if let Some(reason) = self.pause.reason() {
            self.recorder.missed(questions, reason);
            return Vec::new();
        }
        if !self.fleet.is_started() {
            self.recorder.missed(questions, "starting: the models are not set up yet");
            return Vec::new();
        }
        if self.context.clock.now() >= deadline {
            let late = self.late_by(at).as_secs_f64();
            self.recorder.missed(questions, format!("overrun: opened {late:.1} s late, after its deadline"));
            return Vec::new();
        }
        let settings = self.context.settings();
        let (open, closed): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|question| settings.markets.expects_close(&question.asset, at));
        self.miss_closed(closed, at);
        let (fresh, stale) =
            open.into_iter().partition(|question| self.intake.has_fresh_price(&question.asset, at));
        self.miss_stale(stale);
        fresh
    }

    fn miss_closed(&self, closed: Vec<Question>, at: Timestamp) {
        let settings = self.context.settings();
        for question in closed {
            let Some(market) = settings.markets.of(&question.asset) else { continue };
            let reason = match market.opens_after(at) {
                Some(opening) => format!("market closed: {} opens at {opening}", market.name),
                None => format!("market closed: {} does not open for a month", market.name),
            };
            self.recorder.missed(vec![question], reason);
        }
    }

    fn miss_stale(&self, stale: Vec<Question>) {
        for question in stale {
            let reason = match self.context.ledger.newest(&question.asset) {
                Some(newest) => {
                    format!("no fresh price: the newest close of {} is of {}", question.asset, newest.at)
                }
                None => format!("no fresh price: there is no price of {} yet", question.asset),
            };
            self.recorder.missed(vec![question], reason);
        }
    }

    fn watch(&self, round: Collector) -> OpenRound {
        let (fleet, recorder) = (Arc::clone(&self.fleet), self.recorder.clone());
        let clock = Arc::clone(&self.context.clock);
        tokio::spawn(async move {
            let id = round.id();
            let arrived = |outcome: &Prediction| recorder.outcome(id, outcome);
            let closed = round.close(clock.as_ref(), |model| fleet.why_silent(model), arrived).await;
            recorder.closed(&closed);
            closed
        })
    }

    /// From a slot to now.
    pub(crate) fn late_by(&self, slot: Timestamp) -> Duration {
        self.context.clock.now().since(slot)
    }
}

/// How a predict worker is doing.
pub struct Status {
    fleet: Arc<Fleet>,
    recorder: Recorder,
    context: Arc<LaneContext>,
}

impl Status {
    /// How many models run.
    pub fn running_models(&self) -> usize {
        self.fleet.running()
    }

    /// The running models whose set-up has failed, and why.
    pub fn broken_models(&self) -> Vec<(ModelId, String)> {
        self.fleet.broken()
    }

    /// How many models of the field are in which state.
    pub fn models(&self) -> BTreeMap<ModelState, usize> {
        self.fleet.count(self.context.clock.now())
    }

    /// False until the orchestrator's models are set up, have failed, or had their time.
    pub fn is_started(&self) -> bool {
        self.fleet.is_started()
    }

    /// How many writes wait for the database.
    pub fn unstored_writes(&self) -> usize {
        self.recorder.depth()
    }

    /// How many writes and outcomes are in memory alone.
    pub fn writes_in_memory(&self) -> usize {
        self.recorder.in_memory()
    }

    /// Since when the oldest write waits for the database.
    pub fn oldest_unstored_at(&self) -> Option<Timestamp> {
        self.recorder.oldest_at()
    }

    /// How long ago the database took something last, or how long it has taken nothing since the start.
    pub fn database_silence(&self) -> Duration {
        self.recorder.database_silence()
    }

    /// How many writes the database has refused for good; they are kept in the journal.
    pub fn refused_writes(&self) -> u64 {
        self.recorder.refused()
    }

    /// Since when and why the journal cannot be written.
    pub fn journal_fault(&self) -> Option<JournalFault> {
        self.recorder.journal_fault()
    }

    /// The oldest among the newest closes of the assets whose markets are open: how stale the prices are at worst.
    pub fn newest_price_at(&self) -> Option<Timestamp> {
        let open = self.open_markets(self.context.clock.now()).into_iter();
        let assets = open.filter_map(|(asset, is_open)| is_open.then_some(asset));
        assets.map(|asset| self.context.ledger.newest(&asset).map(|newest| newest.at)).min().flatten()
    }

    /// The newest close of each asset that is asked about and has any.
    pub fn newest_prices(&self) -> Vec<(Asset, Timestamp)> {
        let assets = self.context.settings().asked_assets().into_iter();
        assets
            .filter_map(|asset| self.context.ledger.newest(&asset).map(|newest| (asset, newest.at)))
            .collect()
    }

    /// How many closes of the last day are missing of each asset that is asked about, between others that are there.
    pub fn missing_prices(&self, now: Timestamp) -> Vec<(Asset, usize)> {
        let missing = |asset| {
            let gaps = repair::gaps(&self.context, &asset, now);
            (asset, gaps.iter().map(|gap| gap.missing.len()).sum())
        };
        self.context.settings().asked_assets().into_iter().map(missing).collect()
    }

    /// Whether the market of each asset that is asked about is open, and was when a close ended that can be there by now.
    pub fn open_markets(&self, now: Timestamp) -> Vec<(Asset, bool)> {
        let settings = self.context.settings();
        let interval = settings.schedules.interval();
        // The close of the last full interval may be on its way.
        let newest_due = now.floor_to(interval) - interval;
        let is_open = |asset: Asset| {
            let is_open = settings.markets.expects_close(&asset, newest_due);
            (asset, is_open)
        };
        settings.asked_assets().into_iter().map(is_open).collect()
    }
}

impl Drop for PredictWorker {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
