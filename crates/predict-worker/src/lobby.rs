//! What a predict worker that does not lead holds ready: the orchestrator's announcements and connections to the models.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::ModelId;
use model_client::{ClusterEvent, ModelNode};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

/// How often connections are looked after: those that broke are made anew.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a model may take to be connected to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the orchestrator and connects to every model that runs, and says nothing to any.
pub struct Lobby {
    events: UnboundedReceiver<ClusterEvent>,
    nodes: BTreeMap<ModelId, Arc<ModelNode>>,
    is_initialised: bool,
}

impl Lobby {
    /// Follows these events; nothing is taken from them yet.
    pub fn new(events: UnboundedReceiver<ClusterEvent>) -> Self {
        Lobby { events, nodes: BTreeMap::new(), is_initialised: false }
    }

    /// Holds everything ready while something else is waited for.
    pub async fn meanwhile<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut waiting => return done,
                Some(event) = self.events.recv() => self.take(event),
                _ = looks.tick() => self.nodes.values().for_each(connect),
            }
        }
    }

    /// The announcements for who leads now: first the models that run, then what comes.
    pub fn leave(mut self) -> UnboundedReceiver<ClusterEvent> {
        let (passed_on, events) = unbounded_channel();
        let initialised = self.is_initialised.then_some(ClusterEvent::Initialised);
        let joined = self.nodes.into_values().map(ClusterEvent::Joined);
        // The receiver is at hand.
        joined.chain(initialised).for_each(|event| drop(passed_on.send(event)));
        tokio::spawn(async move {
            while let Some(event) = self.events.recv().await {
                if passed_on.send(event).is_err() {
                    return;
                }
            }
        });
        events
    }

    fn take(&mut self, event: ClusterEvent) {
        match event {
            ClusterEvent::Initialised => self.is_initialised = true,
            ClusterEvent::Joined(node) => {
                connect(&node);
                self.nodes.insert(node.model_id().clone(), node);
            }
            ClusterEvent::Left { model_id, deployment_id, address, .. } => {
                let is_gone = |node: &Arc<ModelNode>| {
                    *node.deployment_id() == deployment_id && node.address() == address
                };
                if self.nodes.get(&model_id).is_some_and(is_gone) {
                    self.nodes.remove(&model_id);
                }
            }
            // The node itself has its new names, and the client says by itself that it lost the orchestrator.
            ClusterEvent::Renamed(_) | ClusterEvent::Disconnected { .. } => {}
        }
    }
}

fn connect(node: &Arc<ModelNode>) {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        // What cannot be reached now is tried again, and told of by who calls it.
        node.connect(PATIENCE).await;
    });
}
