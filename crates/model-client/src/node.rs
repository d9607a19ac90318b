//! One deployment of a model at one address, and the one call at a time that it takes.

use std::ops::DerefMut;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use domain::{DeploymentId, ModelId, Stopwatch};
use protocol::cluster::ModelInfos;
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::DropGuard;

use crate::address::Address;
use crate::call::{EncodedCall, EncodedSetup, Request};
use crate::guard::Guard;
use crate::outcome::{CallOutcome, is_busy_answer};
use crate::security::Security;
use crate::tasks::Tasks;
use crate::transport::{Connection, Fault};

/// What a message may have beyond the value that it carries: its status text above all.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// Pauses before a node that is busy with another caller is asked again.
const FIRST_BUSY_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_BUSY_PAUSE: Duration = Duration::from_millis(500);

/// One deployment of a model at one address.
///
/// It connects by itself when it is called and has no connection. Dropping it closes the connection, and with it any call
/// that is still open.
#[derive(Debug)]
pub struct ModelNode {
    model_id: ModelId,
    deployment_id: DeploymentId,
    infos: Arc<RwLock<ModelInfos>>,
    line: Arc<Line>,
    _hang_up: DropGuard,
}

/// How nodes are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub connect_timeout: Duration,
    pub max_answer_bytes: usize,
}

impl ModelNode {
    pub(crate) fn new(
        model_id: ModelId,
        deployment_id: DeploymentId,
        infos: ModelInfos,
        address: Address,
        limits: Limits,
        security: Security,
        tasks: Tasks,
    ) -> Self {
        let hang_up = tasks.stop_on_drop();
        let infos = Arc::new(RwLock::new(infos));
        let guard = Arc::new(Guard::new(security, model_id.clone(), infos.clone()));
        let line =
            Line { address, limits, guard, tasks, connection: Arc::default(), in_flight: Mutex::default() };
        ModelNode { model_id, deployment_id, infos, line: Arc::new(line), _hang_up: hang_up }
    }

    /// Which model.
    pub fn model_id(&self) -> &ModelId {
        &self.model_id
    }

    /// Which start of its code.
    pub fn deployment_id(&self) -> &DeploymentId {
        &self.deployment_id
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

    /// Makes the model's one instance; on a live instance this changes nothing. Otherwise as [`ModelNode::call`].
    pub async fn setup(&self, setup: &EncodedSetup, patience: Duration) -> CallOutcome {
        self.ask(&setup.0, patience).await
    }

    /// Calls a method, after all calls that were made before it have ended.
    ///
    /// The outcome is there at the latest when `patience` (real time) has passed. A call that was sent by then stays open in
    /// the background until it is answered or broken, its late answer is dropped, and the model stays busy for that long;
    /// one that was not sent never will be. While the node is busy with another caller it is asked again, after short pauses.
    pub async fn call(&self, call: &EncodedCall, patience: Duration) -> CallOutcome {
        self.ask(&call.0, patience).await
    }

    async fn ask(&self, request: &Request, patience: Duration) -> CallOutcome {
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
        CallOutcome::Timeout { message }
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
        Stage::BusyElsewhere => CallOutcome::Timeout {
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
        let method = self.request.method;
        let address = self.turn.line.address.clone();
        // First the turn, so that a caller who has the outcome finds the model free.
        drop(self);
        if answer_to.send(outcome).is_err() {
            tracing::debug!(%address, method, "late answer to {method} from {address} dropped");
        }
    }

    /// Tries until the node takes the call; `None` when the caller has gone before that.
    async fn outcome(&mut self, caller: &mut oneshot::Sender<CallOutcome>) -> Option<CallOutcome> {
        let mut pause = FIRST_BUSY_PAUSE;
        let mut was_replaced = false;
        loop {
            let attempt = self.attempt(caller).await?;
            let max_answer_bytes = self.turn.line.limits.max_answer_bytes;
            match attempt {
                Ok((message, took)) => return Some(CallOutcome::of_answer(message, took, max_answer_bytes)),
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

    /// Connects if need be and sends once; `None` when the caller has gone before the request was sent.
    async fn attempt(
        &mut self,
        caller: &mut oneshot::Sender<CallOutcome>,
    ) -> Option<Result<(Bytes, Duration), Fault>> {
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
        let limit = line.limits.max_answer_bytes + ENVELOPE_BYTES;
        let watch = Stopwatch::start();
        let result = connection.unary(&line.address, &self.request, limit).await;
        if let Err(Fault::Broken(_) | Fault::NotSent(_) | Fault::NoConnection(_) | Fault::Credentials(_)) =
            &result
        {
            *self.turn.connection = None;
        }
        Some(result.map(|message| (message, watch.elapsed())))
    }

    fn enter(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
