//! A client between a fake orchestrator and fake models.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use model_client::{Backoff, CallOutcome, Cluster, ClusterConfig, ClusterEvent, EncodedCall, ModelNode};
use protocol::Value;
use testkit::{FakeModel, FakeOrchestrator, soon};
use tokio::sync::mpsc::UnboundedReceiver;

/// Long enough for anything that goes well.
pub const PATIENT: Duration = Duration::from_secs(10);
/// Short, for what never comes.
pub const BRIEF: Duration = Duration::from_millis(100);

pub struct Client {
    pub orchestrator: FakeOrchestrator,
    pub cluster: Cluster,
    pub events: UnboundedReceiver<ClusterEvent>,
}

pub fn config(orchestrator: &FakeOrchestrator) -> ClusterConfig {
    let quick = Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(50) };
    ClusterConfig {
        max_answer_bytes: 1_000_000,
        reconnect: quick,
        report_hold: Duration::from_millis(20),
        ..ClusterConfig::new(orchestrator.url(), "condor")
    }
}

impl Client {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A client with other settings.
    pub async fn start_with(change: impl FnOnce(&mut ClusterConfig)) -> Self {
        let orchestrator = FakeOrchestrator::start().await;
        let mut config = config(&orchestrator);
        change(&mut config);
        let (cluster, events) = Cluster::start(config);
        let mut client = Client { orchestrator, cluster, events };
        assert_eq!(client.told().await, "initialised");
        client
    }

    /// A client that holds one node for each of these models.
    pub async fn holding(models: &[&FakeModel]) -> (Self, Vec<Arc<ModelNode>>) {
        let mut client = Client::start().await;
        let announced = models.iter().enumerate();
        client.orchestrator.announce(announced.map(|(n, model)| model.running(&format!("m{n}"), "d1")));
        let mut nodes = Vec::new();
        for _ in models {
            nodes.push(client.joined().await);
        }
        (client, nodes)
    }

    pub async fn event(&mut self) -> ClusterEvent {
        soon("an event of the cluster", self.events.recv()).await.expect("a live cluster")
    }

    pub async fn joined(&mut self) -> Arc<ModelNode> {
        match self.event().await {
            ClusterEvent::Joined(node) => node,
            other => panic!("expected a join, got {other:?}"),
        }
    }

    /// The next event in short words.
    pub async fn told(&mut self) -> String {
        match self.event().await {
            ClusterEvent::Initialised => "initialised".into(),
            ClusterEvent::Joined(node) => format!("+{} {}", node.model_id(), node.deployment_id()),
            ClusterEvent::Renamed(node) => {
                format!("~{} {}", node.model_id(), node.infos().model_name.unwrap_or_default())
            }
            ClusterEvent::Left { model_id, deployment_id, reason, .. } => {
                format!("-{model_id} {deployment_id} ({reason})")
            }
            ClusterEvent::Disconnected { .. } => "disconnected".into(),
        }
    }
}

pub fn predict() -> EncodedCall {
    EncodedCall::new(
        protocol::method::PREDICT,
        &[Value::String("BTC".into()), Value::Int(3600), Value::Int(60)],
    )
}

pub fn tick() -> EncodedCall {
    EncodedCall::with_json(protocol::method::TICK, bytes::Bytes::from_static(br#"{"BTC": [[60, 1.5]]}"#))
}

pub fn json(outcome: &CallOutcome) -> &str {
    match outcome {
        CallOutcome::Answered { value: Value::Json(text), .. } => text,
        other => panic!("expected JSON, got {other:?}"),
    }
}

pub fn timeout(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::Timeout { message } => message,
        other => panic!("expected a timeout, got {other:?}"),
    }
}

pub fn busy(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::Busy { message } => message,
        other => panic!("expected a busy model, got {other:?}"),
    }
}

pub fn broken(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::Broken { message } => message,
        other => panic!("expected a broken call, got {other:?}"),
    }
}

pub fn unreachable_since(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::Unreachable { message } => message,
        other => panic!("expected an unreachable node, got {other:?}"),
    }
}
