//! Following the orchestrator: the WebSocket around the roster.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::{DeploymentId, ModelId};
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::bounds::LiveBounds;
use crate::budget::Budget;
use crate::config::ClusterConfig;
use crate::desk::{Complaint, Desk, ReportingStatus};
use crate::node::{Limits, ModelNode};
use crate::outbox::Outbox;
use crate::roster::{Change, Placement, Roster};
use crate::tasks::Tasks;
use crate::transport::in_words;

/// What happened in the cluster, in this order.
#[derive(Debug, Clone)]
pub enum ClusterEvent {
    /// The complete list of running models was applied, for the first time on this connection; what it changed came
    /// before.
    Initialised,
    /// A model runs here from now on. It takes the place of the node that was held of the same model, if any.
    Joined(Arc<ModelNode>),
    /// The names in this node's infos have changed.
    Renamed(Arc<ModelNode>),
    /// A deployment is not to be called at its address any more. When the model has been replaced, its new node's `Joined`
    /// came before this, and may be the same deployment at another address.
    Left {
        /// Which model.
        model_id: ModelId,
        /// Which start of its code.
        deployment_id: DeploymentId,
        /// Where it listened, `host:port`.
        address: String,
        /// Why, in words.
        reason: String,
    },
    /// The orchestrator cannot be heard. Its models stay usable, and the client goes on trying to reach it.
    Disconnected {
        /// Why, in words.
        reason: String,
    },
}

/// A client of one orchestrator. Dropping it ends all its tasks and connections.
#[derive(Debug)]
pub struct Cluster {
    tasks: Tasks,
    desk: Arc<Desk>,
    budget: Arc<Budget>,
    bounds: LiveBounds,
    _stop: tokio_util::sync::DropGuard,
}

impl Cluster {
    /// Starts to follow the orchestrator, for ever: it reconnects after pauses that grow and are spread by chance.
    pub fn start(config: ClusterConfig) -> (Cluster, UnboundedReceiver<ClusterEvent>) {
        let (events, received) = unbounded_channel();
        let tasks = Tasks::default();
        tasks.spawn(config.security.clone().follow_files());
        let bounds = LiveBounds::new(config.bounds());
        let desk = Arc::new(Desk::new(bounds.clone(), config.report_hold));
        let budget = Arc::new(Budget::new(config.max_buffered_answer_bytes, config.answer_patience));
        let follower = Follower {
            budget: budget.clone(),
            bounds: bounds.clone(),
            outbox: Outbox::new(config.max_waiting_reports),
            config: Arc::new(config),
            tasks: tasks.clone(),
            desk: desk.clone(),
            events,
            roster: Roster::default(),
            nodes: HashMap::new(),
        };
        tasks.spawn(follower.run());
        let stop = tasks.stop_on_drop();
        (Cluster { tasks, desk, budget, bounds, _stop: stop }, received)
    }

    /// How the reporting of failures goes.
    pub fn reporting(&self) -> Reporting {
        Reporting(Arc::clone(&self.desk))
    }

    /// What is borne from the models; it may be changed, also after the cluster has moved elsewhere.
    pub fn bounds(&self) -> LiveBounds {
        self.bounds.clone()
    }

    /// How much of [`ClusterConfig::max_buffered_answer_bytes`] is taken by answers that are being read, or that their
    /// callers have not taken yet.
    pub fn buffered_answer_bytes(&self) -> usize {
        self.budget.taken()
    }

    /// Ends all tasks and connections, also those of nodes that are still held, and waits until they have ended.
    pub async fn shutdown(self) {
        self.tasks.stop_and_wait().await;
    }
}

/// Tells how the reporting of failures goes, for as long as it is held.
#[derive(Debug, Clone)]
pub struct Reporting(Arc<Desk>);

impl Reporting {
    /// How it goes now.
    pub fn status(&self) -> ReportingStatus {
        self.0.status()
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Follower {
    budget: Arc<Budget>,
    bounds: LiveBounds,
    config: Arc<ClusterConfig>,
    tasks: Tasks,
    desk: Arc<Desk>,
    outbox: Outbox,
    events: UnboundedSender<ClusterEvent>,
    roster: Roster,
    nodes: HashMap<ModelId, Arc<ModelNode>>,
}

impl Follower {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let reason = self.session().await;
            // Accepting a connection proves nothing; a list does.
            failures = if self.roster.is_initialised() { 1 } else { failures + 1 };
            let pause = self.config.reconnect.pause(failures, chance());
            let url = self.config.target();
            tracing::warn!(
                url,
                reason,
                failures,
                "the orchestrator cannot be heard, next try in {pause:?}: {reason}"
            );
            if failures == 1 {
                self.tell(ClusterEvent::Disconnected { reason });
            }
            self.meanwhile(sleep(pause)).await;
        }
    }

    /// Does something else, and takes what is reported in the meantime.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let desk = self.desk.clone();
        loop {
            tokio::select! {
                done = &mut work => return done,
                complaints = desk.due() => self.report(complaints),
            }
        }
    }

    /// One connection from its beginning to its end; gives the reason of its end.
    async fn session(&mut self) -> String {
        self.roster.connected();
        match self.meanwhile(connect(self.config.clone())).await {
            Ok(socket) => self.listen(socket).await,
            Err(reason) => reason,
        }
    }

    async fn listen(&mut self, mut socket: Socket) -> String {
        let url = self.config.target();
        tracing::info!(url, "connected to the orchestrator at {url}");
        let mut pings = interval(self.config.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unanswered_pings = 0;
        let desk = self.desk.clone();
        loop {
            if let Err(error) = self.send_reports(&mut socket).await {
                return error;
            }
            tokio::select! {
                complaints = desk.due() => self.report(complaints),
                message = socket.next() => {
                    unanswered_pings = 0;
                    match message {
                        Some(Ok(Message::Text(text))) => self.apply(&text),
                        Some(Ok(Message::Close(_))) | None => return "the orchestrator closed the connection".to_owned(),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return format!("the connection broke: {}", in_words(&error)),
                    }
                }
                _ = pings.tick() => {
                    if unanswered_pings == 2 {
                        return format!("silent for {:?}", self.config.ping_every * 2);
                    }
                    unanswered_pings += 1;
                    let ping = Message::Ping(bytes::Bytes::new());
                    if let Err(error) = send(&mut socket, ping, self.config.ping_every).await {
                        return error;
                    }
                }
            }
        }
    }

    fn apply(&mut self, text: &str) {
        let changes = self.roster.apply(text);
        // A model that has ended by itself, or runs anew, must not be stopped for what it was.
        self.outbox.retain(|model_id| self.roster.is_barred(model_id));
        changes.into_iter().for_each(|change| self.follow(change));
    }

    fn follow(&mut self, change: Change) {
        if let Some(event) = self.event(change) {
            self.desk.connected(self.nodes.len());
            self.tell(event);
        }
    }

    /// Reported models leave at once; their reports wait for the connection.
    fn report(&mut self, complaints: Vec<Complaint>) {
        for complaint in complaints {
            let Complaint { model_id, deployment_id, address, code, reason, .. } = &complaint;
            let words = format!("reported as {code}: {reason}");
            let Some(left) = self.roster.report(model_id, deployment_id, address, words) else { continue };
            self.desk.note_reported();
            self.follow(left);
            if let Some(dropped) = self.outbox.put(complaint) {
                tracing::warn!(
                    model = %dropped.model_id,
                    "too many reports wait for the orchestrator: that on model {} is dropped", dropped.model_id
                );
                self.roster.reported(&dropped.model_id);
            }
        }
    }

    /// Sends what waits, once the connection has proved itself by an `init`.
    async fn send_reports(&mut self, socket: &mut Socket) -> Result<(), String> {
        if !self.roster.is_initialised() {
            return Ok(());
        }
        let Some(message) = self.outbox.message() else { return Ok(()) };
        send(socket, Message::text(message), self.config.ping_every).await?;
        self.outbox.sent().for_each(|model_id| self.roster.reported(&model_id));
        Ok(())
    }

    fn event(&mut self, change: Change) -> Option<ClusterEvent> {
        match change {
            Change::Initialised => {
                tracing::info!(
                    models = self.nodes.len(),
                    "the orchestrator runs {} models",
                    self.nodes.len()
                );
                Some(ClusterEvent::Initialised)
            }
            Change::Joined { model_id, placement, infos } => {
                let Placement { deployment_id, address, .. } = &placement;
                tracing::info!(model = %model_id, deployment = %deployment_id, %address, "model {model_id} runs at {address}");
                let connect_timeout = self.config.connect_timeout;
                let (budget, bounds) = (self.budget.clone(), self.bounds.clone());
                let limits = Limits { connect_timeout, budget, bounds };
                let (security, tasks, desk) =
                    (self.config.security.clone(), self.tasks.branch(), self.desk.clone());
                let node = ModelNode::new(model_id.clone(), placement, infos, limits, security, tasks, desk);
                let node = Arc::new(node);
                self.nodes.insert(model_id, node.clone());
                Some(ClusterEvent::Joined(node))
            }
            Change::Renamed { model_id, infos } => {
                let node = self.nodes.get(&model_id)?;
                node.set_infos(infos);
                Some(ClusterEvent::Renamed(node.clone()))
            }
            Change::Left { model_id, placement, reason } => {
                let Placement { deployment_id, address, .. } = placement;
                tracing::info!(model = %model_id, deployment = %deployment_id, %address, reason, "model {model_id} left {address}: {reason}");
                self.forget(&model_id, &deployment_id, address.as_str());
                Some(ClusterEvent::Left { model_id, deployment_id, address: address.to_string(), reason })
            }
        }
    }

    /// Unless another node has taken its place already.
    fn forget(&mut self, model_id: &ModelId, deployment_id: &DeploymentId, address: &str) {
        let is_gone =
            |node: &Arc<ModelNode>| node.deployment_id() == deployment_id && node.address() == address;
        if self.nodes.get(model_id).is_some_and(is_gone) {
            self.nodes.remove(model_id);
        }
    }

    /// Nobody listens any more when the receiver is gone, which is no fault.
    fn tell(&self, event: ClusterEvent) {
        let _ = self.events.send(event);
    }
}

async fn connect(config: Arc<ClusterConfig>) -> Result<Socket, String> {
    let ClusterConfig { connect_timeout, max_message_bytes, .. } = *config;
    let sizes = WebSocketConfig::default()
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let connecting = connect_async_with_config(config.target(), Some(sizes), true);
    match timeout(connect_timeout, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(format!("cannot connect: {}", in_words(&error))),
        Err(_) => Err(format!("no connection within {connect_timeout:?}")),
    }
}

async fn send(socket: &mut Socket, message: Message, patience: Duration) -> Result<(), String> {
    match timeout(patience, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the connection broke: {}", in_words(&error))),
        Err(_) => Err(format!("nothing could be sent for {patience:?}")),
    }
}

/// A number in [0, 1), different in each process and each time: the standard library's own random hash keys.
fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / 2f64.powi(64)
}
