//! One model's lane: a queue of ticks and questions, and the task that works it off in order.
//!
//! The order is what keeps a model honest and complete: the tick with a slot's closes is queued before the slot's
//! questions, and a later tick after them, so in the round of slot t no model has seen a price later than t. The cursor
//! moves only when the model has answered a tick, so what was not acknowledged comes again with the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Clock, LedgerPosition, Prediction, PredictionStatus, Timestamp, TimestampExt};
use model_client::{CallOutcome, EncodedSetup, ModelNode, Oversized};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::outcome::{Reply, SetupFault};
use crate::round::Ask;
use crate::settings::{PredictSettings, SettingsInForce};

/// A tick of this many prices stays below 3 MiB of JSON, and so below the 4 MiB that Python nodes take.
const MAX_TICK_ENTRIES: u64 = 75_000;
/// When a node finds even this much too large, its limit is not the reason.
const MIN_TICK_ENTRIES: u64 = 1_000;

const FIRST_SETUP_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_SETUP_PAUSE: Duration = Duration::from_secs(300);

/// What every lane works with.
pub struct LaneContext {
    pub settings: Arc<SettingsInForce>,
    pub setup: EncodedSetup,
    pub ledger: Ledger,
    pub clock: Arc<dyn Clock>,
    /// Cancelled when this worker may ask no more.
    pub asking_is_over: CancellationToken,
}

impl LaneContext {
    /// The settings of the slot that is played: they change between two slots only.
    pub fn settings(&self) -> Arc<PredictSettings> {
        self.settings.current()
    }
}

/// How far a model's set-up has come.
#[derive(Clone)]
pub enum Stage {
    /// Its constructor runs.
    SettingUp { since: Timestamp },
    /// It takes ticks and questions.
    Ready,
    /// It cannot be asked; set-up is tried again after a pause.
    Broken(SetupFault),
}

enum Item {
    Tick { up_to: LedgerPosition },
    Ask(Ask),
    Barrier(oneshot::Sender<()>),
}

impl Item {
    fn is_open_question(&self) -> bool {
        matches!(self, Item::Ask(ask) if ask.is_open())
    }
}

/// The handle of a lane. Dropped, the lane still sees the questions of open rounds through, and ends.
pub struct Lane {
    pub node: Arc<ModelNode>,
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Notify,
    stage: Mutex<Stage>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// Starts a lane; `settled` is told when the set-up has succeeded or failed.
    pub fn start(node: Arc<ModelNode>, context: Arc<LaneContext>, settled: Arc<Notify>) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Notify::new(),
            stage: Mutex::new(Stage::SettingUp { since: context.clock.now() }),
        });
        let task = LaneTask {
            node: Arc::clone(&node),
            context,
            shared: Arc::clone(&shared),
            settled,
            cursor: LedgerPosition::START,
            bound: LedgerPosition::START,
            max_entries: MAX_TICK_ENTRIES,
        };
        tokio::spawn(task.run());
        Lane { node, shared }
    }

    /// Queues what the ledger holds up to `up_to`. A tick that still waits at the end of the queue is extended.
    pub fn push_tick(&self, up_to: LedgerPosition) {
        let mut queue = lock(&self.shared.queue);
        if let Some(Item::Tick { up_to: waiting }) = queue.items.back_mut() {
            *waiting = up_to;
            return;
        }
        queue.items.push_back(Item::Tick { up_to });
        self.shared.arrived.notify_one();
    }

    /// Queues a question.
    pub fn push_ask(&self, ask: Ask) {
        self.push(Item::Ask(ask));
    }

    /// Resolves when everything queued before has been worked off.
    pub fn barrier(&self) -> oneshot::Receiver<()> {
        let (reached, waiting) = oneshot::channel();
        self.push(Item::Barrier(reached));
        waiting
    }

    /// How far the set-up has come.
    pub fn stage(&self) -> Stage {
        lock(&self.shared.stage).clone()
    }

    /// Why the model has not answered yet.
    pub fn why_silent(&self) -> String {
        match self.node.busy_with() {
            Some((method, time)) => format!("no answer by the deadline: busy with {method} for {time:.1?}"),
            None => "no answer by the deadline".to_owned(),
        }
    }

    fn push(&self, item: Item) {
        lock(&self.shared.queue).items.push_back(item);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    /// The next item; `None` when the lane is to end. Nothing is lost when the future is dropped.
    async fn next(&self) -> Option<Item> {
        loop {
            {
                let mut queue = lock(&self.queue);
                if queue.closed && !queue.items.iter().any(Item::is_open_question) {
                    queue.items.clear();
                    return None;
                }
                if let Some(item) = queue.items.pop_front() {
                    return Some(item);
                }
            }
            self.arrived.notified().await;
        }
    }
}

/// What became of a tick.
enum Delivery {
    /// The model knows everything up to the bound.
    Complete,
    /// It comes again with the next question or tick.
    NotAcknowledged,
    /// The process has forgotten its set-up.
    FreshProcess { message: String, excused: bool },
}

struct LaneTask {
    node: Arc<ModelNode>,
    context: Arc<LaneContext>,
    shared: Arc<Shared>,
    settled: Arc<Notify>,
    /// The model has acknowledged everything up to here.
    cursor: LedgerPosition,
    /// The model may know everything up to here.
    bound: LedgerPosition,
    max_entries: u64,
}

impl LaneTask {
    async fn run(mut self) {
        if let Err(fault) = self.set_up().await {
            self.recover(fault).await;
        }
        while let Some(item) = self.shared.next().await {
            match item {
                Item::Tick { up_to } => {
                    self.bound = up_to;
                    self.bring_up_to_date().await;
                }
                Item::Ask(ask) => self.answer(ask).await,
                // Whoever waited may have gone.
                Item::Barrier(reached) => drop(reached.send(())),
            }
        }
    }

    async fn set_up(&mut self) -> Result<(), SetupFault> {
        let patience = self.context.settings().setup_timeout.as_duration();
        let outcome = self.node.setup(&self.context.setup, patience).await;
        let fault = SetupFault::of(outcome);
        *lock(&self.shared.stage) = fault.clone().map_or(Stage::Ready, Stage::Broken);
        self.settled.notify_waiters();
        if let Some(fault) = fault {
            return Err(fault);
        }
        // Whoever was sent Setup starts from the history.
        self.cursor = LedgerPosition::START;
        Ok(())
    }

    /// Tries to set the model up again, after pauses, until that has succeeded or the lane is to end.
    async fn recover(&mut self, mut fault: SetupFault) {
        let mut pause = FIRST_SETUP_PAUSE;
        loop {
            let (model, reason) = (self.node.model_id(), &fault.reason);
            tracing::warn!(%model, address = self.node.address(), reason, retry_in_s = pause.as_secs(), "set-up failed");
            // Ends early when the lane is to end.
            if tokio::time::timeout(pause, self.sit_out(&fault)).await.is_ok() {
                return;
            }
            match self.set_up().await {
                Ok(()) => break,
                Err(again) => fault = again,
            }
            pause = (pause * 2).min(LONGEST_SETUP_PAUSE);
        }
        // Forgotten again at once: the next tick finds out.
        let _ = self.deliver(self.context.settings().call_timeout.as_duration()).await;
    }

    /// Works off the queue without the model, until the lane is to end.
    async fn sit_out(&mut self, fault: &SetupFault) {
        while let Some(item) = self.shared.next().await {
            match item {
                Item::Tick { up_to } => self.bound = up_to,
                Item::Ask(ask) => ask.settle(self.without_it(fault)),
                Item::Barrier(reached) => drop(reached.send(())),
            }
        }
    }

    /// The model's part in a round that it cannot be asked in.
    fn without_it(&self, fault: &SetupFault) -> Option<Prediction> {
        fault.prediction(self.node.model_id(), self.node.deployment_id())
    }

    async fn bring_up_to_date(&mut self) {
        if self.node.is_busy() {
            // A call of ours hangs: these prices come with the next tick or question.
            return;
        }
        let patience = self.context.settings().call_timeout.as_duration();
        if let Delivery::FreshProcess { .. } = self.deliver(patience).await {
            match self.set_up().await {
                // Forgotten again at once: the next tick finds out.
                Ok(()) => _ = self.deliver(patience).await,
                Err(fault) => self.recover(fault).await,
            }
        }
    }

    /// Tells what the model may know and has not acknowledged; each part has `patience`.
    async fn deliver(&mut self, patience: Duration) -> Delivery {
        while let Some((reached, call)) = self.context.ledger.tick(self.cursor, self.bound, self.max_entries)
        {
            let outcome = self.node.call(&call, patience).await;
            match outcome {
                CallOutcome::NotSetUp { message, excused } => {
                    return Delivery::FreshProcess { message, excused };
                }
                CallOutcome::TooLarge { what: Oversized::Request, .. }
                    if self.max_entries > MIN_TICK_ENTRIES =>
                {
                    self.max_entries /= 2;
                }
                outcome if outcome.acknowledges() => {
                    self.note_fault(&outcome);
                    self.cursor = reached;
                }
                outcome => {
                    self.note_fault(&outcome);
                    return Delivery::NotAcknowledged;
                }
            }
        }
        Delivery::Complete
    }

    fn note_fault(&self, outcome: &CallOutcome) {
        if !matches!(outcome, CallOutcome::Answered { .. }) {
            tracing::debug!(model = %self.node.model_id(), ?outcome, "fault in a tick");
        }
    }

    async fn answer(&mut self, ask: Ask) {
        let Some(mut outcome) = self.ask(&ask).await else { return ask.settle(None) };
        if let CallOutcome::NotSetUp { .. } = outcome {
            if let Err(fault) = self.set_up().await {
                // Before the recovery, in which it may be told later prices.
                ask.settle(self.without_it(&fault));
                return self.recover(fault).await;
            }
            let Some(again) = self.ask(&ask).await else { return ask.settle(None) };
            outcome = again;
        }
        ask.arrived();
        let was_answered = matches!(outcome, CallOutcome::Answered { .. });
        let reply = Reply {
            model_id: self.node.model_id().clone(),
            deployment_id: self.node.deployment_id().clone(),
            outcome,
            received_at: self.context.clock.now(),
        };
        let prediction = reply.into_prediction(&ask.question, &self.context.settings().limits).await;
        let refused = prediction.as_ref().filter(|it| was_answered && it.status == PredictionStatus::Failed);
        if let Some(reason) = refused.and_then(|prediction| prediction.reason.as_deref()) {
            self.node.unusable_answer(ask.call.method(), reason);
        }
        ask.settle(prediction);
    }

    /// Puts the question, after what the model may know and has not acknowledged. When its time passes before that, the
    /// question counts as not answered in time. `None` when it may not be put any more: whoever leads now may have told the model
    /// later prices, and that is not the model's fault.
    async fn ask(&mut self, ask: &Ask) -> Option<CallOutcome> {
        match self.try_to_ask(ask).await {
            None if self.context.asking_is_over.is_cancelled() => None,
            outcome => Some(outcome.unwrap_or_else(|| self.node.missed_call(ask.call.method()))),
        }
    }

    async fn try_to_ask(&mut self, ask: &Ask) -> Option<CallOutcome> {
        let patience = self.time_left(ask)?;
        if self.node.is_cooling_down(ask.call.method()) {
            return Some(self.node.call(&ask.call, patience).await);
        }
        // A call that hangs is told of by its own name, and not by the tick that waits behind it.
        tokio::time::timeout(patience, self.node.until_free()).await.ok()?;
        if let Delivery::FreshProcess { message, excused } = self.deliver(self.time_left(ask)?).await {
            return Some(CallOutcome::NotSetUp { message, excused });
        }
        let patience = self.time_left(ask)?;
        Some(self.node.call(&ask.call, patience).await)
    }

    /// `None` when the round has closed, its deadline has come, or this worker may ask no more.
    fn time_left(&self, ask: &Ask) -> Option<Duration> {
        let left = ask.deadline.since(self.context.clock.now());
        let may_ask = ask.is_open() && !self.context.asking_is_over.is_cancelled();
        Some(left).filter(|left| !left.is_zero() && may_ask)
    }
}
