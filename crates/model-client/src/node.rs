//! One deployment of a model at one address, and the one call at a time that it takes.

use std::ops::DerefMut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use domain::{DeploymentId, ModelId, Stopwatch};
use protocol::cluster::ModelInfos;
use tokio::sync::{Notify, OwnedMutexGuard, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use crate::address::Address;
use crate::bounds::LiveBounds;
use crate::budget::Budget;
use crate::call::{EncodedCall, EncodedSetup, Request};
use crate::check_up::check_up;
use crate::desk::{Complaint, Desk};
use crate::guard::Guard;
use crate::health::{FailureCode, Finding, Health, Verdict};
use crate::outcome::{CallOutcome, is_busy_answer};
use crate::reception::Answer;
use crate::roster::Placement;
use crate::security::Security;
use crate::tasks::Tasks;
use crate::transport::{Connection, Fault};

/// What a message may have beyond the value that it carries: its status text above all.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// Answers above this take longer to decode than other tasks should wait; the budget bounds how many there are at once.
const DECODE_ELSEWHERE_BYTES: usize = 1024 * 1024;

/// The longest reason for a report; it is also the cause of each absence after it.
const MAX_REASON_BYTES: usize = 1024;

/// Pauses before a node that is busy with another caller is asked again.
const FIRST_BUSY_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(500);

/// One deployment of a model at one address.
///
/// It connects by itself when it is called and has no connection. Dropping it closes the connection, and with it any call
/// that is still open.
///
/// It keeps count of what becomes of its calls, for each method by itself. After timeouts it skips some calls
/// ([`CallOutcome::CoolingDown`]), asks the node's health now and then, and connects anew when that is bad. A model that is
/// past the [limits](crate::HealthLimits) is reported to the orchestrator and leaves the cluster.
#[derive(Debug)]
pub struct ModelNode {
    infos: Arc<RwLock<ModelInfos>>,
    line: Arc<Line>,
    care: Arc<Care>,
    _hang_up: DropGuard,
}

/// How nodes are called.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub connect_timeout: Duration,
    /// Shared by all nodes.
    pub budget: Arc<Budget>,
    /// Shared by all nodes.
    pub bounds: LiveBounds,
}

impl ModelNode {
    pub(crate) fn new(
        model_id: ModelId,
        placement: Placement,
        infos: ModelInfos,
        limits: Limits,
        security: Security,
        tasks: Tasks,
        desk: Arc<Desk>,
    ) -> Self {
        let hang_up = tasks.stop_on_drop();
        let Placement { deployment_id, address, is_baseline } = placement;
        let infos = Arc::new(RwLock::new(infos));
        let health = Mutex::new(Health::new(limits.bounds.get().health));
        let line = Arc::new(Line {
            address,
            limits,
            guard: Arc::new(Guard::new(security, model_id.clone(), infos.clone())),
            tasks,
            connection: Arc::default(),
            in_flight: Mutex::default(),
            cut: Notify::new(),
        });
        let care = Care {
            model_id,
            deployment_id,
            is_baseline,
            line: Arc::clone(&line),
            desk,
            health,
            is_checked: AtomicBool::new(false),
            is_past_limits: AtomicBool::new(false),
        };
        ModelNode { infos, line, care: Arc::new(care), _hang_up: hang_up }
    }

    /// Which model.
    pub fn model_id(&self) -> &ModelId {
        &self.care.model_id
    }

    /// Which start of its code.
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.care.deployment_id
    }

    /// The orchestrator says that it is one of its own, to compare with, and no participant's.
    pub fn is_baseline(&self) -> bool {
        self.care.is_baseline
    }

    /// Who is behind it, as last announced.
    pub fn infos(&self) -> ModelInfos {
        self.infos.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_infos(&self, infos: ModelInfos) {
        *self.infos.write().unwrap_or_else(PoisonError::into_inner) = infos;
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> &str {
        self.line.address.as_str()
    }

    /// True while a call is open, also one whose caller has lost patience.
    pub fn is_busy(&self) -> bool {
        self.line.in_flight().is_some()
    }

    /// The method of the call that is open, and for how long it has been.
    pub fn busy_with(&self) -> Option<(&'static str, Duration)> {
        self.line.in_flight().map(|InFlight { method, since }| (method, since.elapsed()))
    }

    /// Opens the connection that the next call will need, unless there is one, and says nothing on it. Counts as nothing: what
    /// is wrong shows when the model is called. True when there is a connection within `patience`.
    pub async fn connect(&self, patience: Duration) -> bool {
        let connecting = async { self.line.clone().turn("connect").await.connection().await.is_ok() };
        timeout(patience, connecting).await.unwrap_or(false)
    }

    /// Waits until no call is open; see [`ModelNode::is_busy`].
    pub async fn until_free(&self) {
        drop(self.line.connection.lock().await);
    }

    /// True when the next call of `method` will be skipped.
    pub fn is_cooling_down(&self, method: &str) -> bool {
        self.care.health().is_cooling_down(method)
    }

    /// Makes the model's one instance; on a live instance this changes nothing. Otherwise as [`ModelNode::call`].
    pub async fn setup(&self, setup: &EncodedSetup, patience: Duration) -> CallOutcome {
        self.ask(&setup.0, patience).await
    }

    /// Calls a method, after all calls that were made before it have ended.
    ///
    /// The outcome is there at the latest when `patience` (real time) has passed. A call that was sent by then stays open in
    /// the background until it is answered or broken, its late answer is dropped, and the model stays busy for that long;
    /// one that was not sent never will be. While the node is busy with another caller it is asked again, after short pauses.
    ///
    /// A model that cools down for this method is not called: the outcome is there at once, and counts as nothing.
    pub async fn call(&self, call: &EncodedCall, patience: Duration) -> CallOutcome {
        if let Some(cool_down) = self.care.health().cool_down(call.method()) {
            return CallOutcome::CoolingDown { message: cool_down.to_string() };
        }
        self.ask(&call.0, patience).await
    }

    /// Gives up a call of `method` whose time passed before the model was free for it: counts as a timeout, and says what
    /// the model is busy with.
    pub fn missed_call(&self, method: &'static str) -> CallOutcome {
        let outcome = self.line.still_busy(method);
        self.care.note(method, &outcome);
        outcome
    }

    /// Says that the latest answer to `method` is of no use, for the reason given: counts as a failure.
    pub fn unusable_answer(&self, method: &'static str, reason: &str) {
        let verdict = self.care.health().unusable_answer(method, reason);
        self.care.act_on(verdict, method);
    }

    async fn ask(&self, request: &Request, patience: Duration) -> CallOutcome {
        let mut outcome = self.exchange(request, patience).await;
        // What ends with the client tells nothing about the model.
        if !self.line.tasks.is_stopped() {
            if let Some(excused) = outcome.refusal() {
                *excused = self.care.health().excuses_refusal(request.method);
            }
            self.care.note(request.method, &outcome);
        }
        outcome
    }

    async fn exchange(&self, request: &Request, patience: Duration) -> CallOutcome {
        let waited = Stopwatch::start();
        let Ok(turn) = timeout(patience, self.line.clone().turn(request.method)).await else {
            return self.line.still_busy(request.method);
        };
        let stage = Arc::new(Mutex::new(Stage::Connecting));
        let (answer_to, answer) = oneshot::channel();
        let exchange = Exchange { turn, request: request.clone(), stage: stage.clone() };
        self.line.tasks.spawn(exchange.run(answer_to));
        match timeout(patience.saturating_sub(waited.elapsed()), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => CallOutcome::Unreachable { message: "the client was shut down".to_owned() },
            Err(_) => out_of_time(*lock(&stage), request.method, &self.line.address, patience),
        }
    }
}

/// Whoever keeps count of a model's calls, and what that leads to.
#[derive(Debug)]
struct Care {
    model_id: ModelId,
    deployment_id: DeploymentId,
    is_baseline: bool,
    line: Arc<Line>,
    desk: Arc<Desk>,
    health: Mutex<Health>,
    /// A health check is under way.
    is_checked: AtomicBool,
    /// With reporting off, this was logged already.
    is_past_limits: AtomicBool,
}

impl Care {
    /// The record, by the limits as they are now.
    fn health(&self) -> MutexGuard<'_, Health> {
        let mut health = lock(&self.health);
        health.limits = self.line.limits.bounds.get().health;
        health
    }

    fn note(self: &Arc<Self>, method: &'static str, outcome: &CallOutcome) {
        let Some(finding) = outcome.finding() else { return };
        let (was_sound, verdict) = {
            let mut health = self.health();
            (health.is_sound(), health.note(method, finding, self.desk.now()))
        };
        // One good answer is not enough: its caller may find it unusable, or it may be a tick's.
        if finding == Finding::Good && was_sound {
            self.is_past_limits.store(false, Ordering::Relaxed);
            self.desk.answered(&self.model_id);
        }
        self.act_on(verdict, method);
    }

    fn act_on(self: &Arc<Self>, verdict: Verdict, method: &'static str) {
        match verdict {
            Verdict::Ok => {}
            Verdict::CheckUp => {
                if !self.is_checked.swap(true, Ordering::SeqCst) {
                    self.line.tasks.spawn(Arc::clone(self).check_up(method));
                }
            }
            Verdict::Report(code, reason) => self.complain(code, reason),
        }
    }

    fn complain(&self, code: FailureCode, mut reason: String) {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        if !self.desk.is_open() {
            if !self.is_past_limits.swap(true, Ordering::Relaxed) {
                let model = &self.model_id;
                tracing::warn!(%model, %code, reason, "model {model} is past its limits ({code}) and stays, reporting is off: {reason}");
            }
            return;
        }
        self.desk.hand_in(Complaint {
            model_id: self.model_id.clone(),
            deployment_id: self.deployment_id.clone(),
            address: self.line.address.to_string(),
            host: self.line.address.socket().0.to_owned(),
            code,
            reason,
        });
    }

    /// Asks the node's health after timeouts of `method`; when it is bad, the connection is made anew.
    async fn check_up(self: Arc<Self>, method: &'static str) {
        let Line { address, limits, guard, tasks, .. } = &*self.line;
        let health = check_up(address, limits.connect_timeout, guard, &limits.budget, tasks).await;
        self.is_checked.store(false, Ordering::SeqCst);
        let Err(reason) = health else { return };
        tracing::warn!(model = %self.model_id, %address, reason, "model {} is connected to anew: {reason}", self.model_id);
        let verdict = self.health().not_serving(method, &reason, self.desk.now());
        self.line.hang_up();
        self.act_on(verdict, method);
    }
}

/// The connection to a node, and what is on it.
#[derive(Debug)]
struct Line {
    address: Address,
    limits: Limits,
    guard: Arc<Guard>,
    tasks: Tasks,
    /// Held by the call in flight.
    connection: Arc<tokio::sync::Mutex<Option<Connection>>>,
    in_flight: Mutex<Option<InFlight>>,
    /// Told when the call in flight is to be given up.
    cut: Notify,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    method: &'static str,
    since: Stopwatch,
}

impl Line {
    /// Waits until the model is free, first come, first served.
    async fn turn(self: Arc<Self>, method: &'static str) -> Turn {
        let connection = self.connection.clone().lock_owned().await;
        *self.in_flight() = Some(InFlight { method, since: Stopwatch::start() });
        Turn { connection, line: self }
    }

    fn in_flight(&self) -> impl DerefMut<Target = Option<InFlight>> {
        lock(&self.in_flight)
    }

    /// Gives the connection up; the next call makes a new one.
    fn hang_up(&self) {
        match self.connection.try_lock() {
            Ok(mut connection) => *connection = None,
            Err(_) => self.cut.notify_waiters(),
        }
    }

    fn still_busy(&self, wanted: &str) -> CallOutcome {
        let message = match *self.in_flight() {
            Some(InFlight { method, since }) => {
                format!(
                    "{wanted} was not sent: still busy with {method} since {} s",
                    since.elapsed().as_secs()
                )
            }
            None => format!("{wanted} was not sent: the model was busy"),
        };
        CallOutcome::Busy { message }
    }
}

/// The right to call the model: at most one exists.
struct Turn {
    connection: OwnedMutexGuard<Option<Connection>>,
    line: Arc<Line>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.line.in_flight() = None;
    }
}

impl Turn {
    /// The open connection, or a new one in the place of none or a dead one.
    async fn connection(&mut self) -> Result<&mut Connection, Fault> {
        let Line { address, limits, guard, tasks, .. } = &*self.line;
        let connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => Connection::open(address, limits.connect_timeout, guard, tasks).await?,
        };
        Ok(self.connection.insert(connection))
    }
}

/// How far a call has come.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Connecting,
    Sent,
    BusyElsewhere,
}

fn out_of_time(stage: Stage, method: &str, address: &Address, patience: Duration) -> CallOutcome {
    match stage {
        Stage::Connecting => {
            CallOutcome::Unreachable { message: format!("no connection to {address} within {patience:?}") }
        }
        Stage::Sent => CallOutcome::Timeout { message: format!("no answer to {method} within {patience:?}") },
        Stage::BusyElsewhere => CallOutcome::Busy {
            message: format!("the node did not take {method} within {patience:?}: busy with another caller"),
        },
    }
}

/// A call from its turn to its end; it outlives its caller's patience once it was sent.
struct Exchange {
    turn: Turn,
    request: Request,
    stage: Arc<Mutex<Stage>>,
}

impl Exchange {
    async fn run(mut self, mut answer_to: oneshot::Sender<CallOutcome>) {
        let Some(outcome) = self.outcome(&mut answer_to).await else { return };
        // First the turn, so that a caller who has the outcome finds the model free.
        drop(self);
        // The caller may have gone just now.
        let _ = answer_to.send(outcome);
    }

    /// Tries until the node takes the call; `None` when the caller has gone before there was an outcome.
    async fn outcome(&mut self, caller: &mut oneshot::Sender<CallOutcome>) -> Option<CallOutcome> {
        let mut pause = FIRST_BUSY_PAUSE;
        let mut was_replaced = false;
        loop {
            let attempt = self.attempt(caller).await?;
            let max_answer_bytes = self.turn.line.limits.bounds.get().max_answer_bytes;
            match attempt {
                Ok((answer, took)) => return Some(decoded(answer, took, max_answer_bytes).await),
                Err(Fault::Refused(status)) if is_busy_answer(&status) => {
                    self.enter(Stage::BusyElsewhere);
                    tokio::select! {
                        () = caller.closed() => return None,
                        () = sleep(pause) => pause = (pause * 2).min(LONGEST_BUSY_PAUSE),
                    }
                }
                Err(Fault::NotSent(_)) if !was_replaced => {
                    was_replaced = true;
                    self.enter(Stage::Connecting);
                }
                Err(fault) => return Some(CallOutcome::of_fault(fault, max_answer_bytes)),
            }
        }
    }

    /// Connects if need be and sends once; `None` when the caller has gone before the request was sent or answered.
    async fn attempt(
        &mut self,
        caller: &mut oneshot::Sender<CallOutcome>,
    ) -> Option<Result<(Answer, Duration), Fault>> {
        let line = self.turn.line.clone();
        let connection = tokio::select! {
            biased;
            () = caller.closed() => return None,
            connection = self.turn.connection() => connection,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(fault) => return Some(Err(fault)),
        };
        *lock(&self.stage) = Stage::Sent;
        let limit = line.limits.bounds.get().max_answer_bytes + ENVELOPE_BYTES;
        let watch = Stopwatch::start();
        let given_up = || Fault::Broken("given up: the node's health is bad".to_owned());
        let budget = &line.limits.budget;
        let result = tokio::select! {
            result = connection.unary(&line.address, &self.request, limit, budget, caller.closed()) => result,
            () = line.cut.notified() => Err(given_up()),
        };
        if let Err(Fault::Broken(_) | Fault::NotSent(_) | Fault::NoConnection(_) | Fault::Credentials(_)) =
            &result
        {
            *self.turn.connection = None;
        }
        match result {
            Ok(Some(answer)) => Some(Ok((answer, watch.elapsed()))),
            Ok(None) => {
                let (method, address) = (self.request.method, &line.address);
                tracing::debug!(%address, method, "late answer to {method} from {address} dropped");
                None
            }
            Err(fault) => Some(Err(fault)),
        }
    }

    fn enter(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }
}

/// Reads an answer: a large one away from the runtime's threads.
async fn decoded(answer: Answer, took: Duration, max_answer_bytes: usize) -> CallOutcome {
    let is_large = answer.message.len() > DECODE_ELSEWHERE_BYTES;
    let decode = move || CallOutcome::of_answer(answer, took, max_answer_bytes);
    let outcome = if is_large { spawn_blocking(decode).await } else { Ok(decode()) };
    outcome.unwrap_or_else(|error| CallOutcome::BadAnswer {
        message: format!("the answer could not be read: {error}"),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
