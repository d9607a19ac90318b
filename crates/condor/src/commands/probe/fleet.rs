//! The models of an orchestrator, called all at once, round after round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use domain::{ModelId, Stopwatch};
use model_client::{Cluster, ClusterConfig, ClusterEvent, EncodedSetup, ModelNode};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::action::{Action, Fault};
use crate::open_files;

/// The models of the orchestrator's first list.
pub struct Fleet {
    cluster: Cluster,
    models: Vec<Model>,
    patience: Duration,
}

struct Model {
    node: Arc<ModelNode>,
    /// Why it is not called any more.
    unusable: Option<Fault>,
}

/// One call to every model.
pub struct Round {
    /// From the first call until every model had an outcome.
    pub wall: Duration,
    /// How many models were called, or would have been.
    pub models: usize,
    /// Those whose call did not succeed.
    pub faults: BTreeMap<ModelId, Fault>,
}

impl Fleet {
    /// Connects to the orchestrator and takes its list of models; calls to them will have `patience` each.
    pub async fn join(config: ClusterConfig, patience: Duration) -> anyhow::Result<Self> {
        let (cluster, events) = Cluster::start(config);
        let listing = listed(open_files::watch(events));
        let nodes = tokio::time::timeout(patience, listing)
            .await
            .with_context(|| format!("the orchestrator sent no list of models within {patience:?}"))??;
        if nodes.is_empty() {
            bail!("the orchestrator runs no model: there is nobody to call");
        }
        let models = nodes.into_values().map(|node| Model { node, unusable: None }).collect();
        Ok(Fleet { cluster, models, patience })
    }

    /// How many models there are.
    pub fn size(&self) -> usize {
        self.models.len()
    }

    /// Connects to every model and sets it up. Where that does not succeed, the model is not called in later rounds, whose
    /// fault is this one.
    pub async fn set_up(&mut self, setup: EncodedSetup) -> Round {
        let round = self.round(Action::SetUp(setup)).await;
        for model in &mut self.models {
            model.unusable = round.faults.get(model.node.model_id()).cloned();
        }
        round
    }

    /// Does the same to all models at once, and waits for all outcomes.
    pub async fn round(&self, action: Action) -> Round {
        let watch = Stopwatch::start();
        let mut faults = BTreeMap::new();
        let mut calls = JoinSet::new();
        for Model { node, unusable } in &self.models {
            if let Some(fault) = unusable {
                faults.insert(node.model_id().clone(), fault.clone());
                continue;
            }
            let (node, action, patience) = (Arc::clone(node), action.clone(), self.patience);
            calls.spawn(async move {
                let outcome = action.perform(&node, patience).await;
                outcome.map_err(|fault| (node.model_id().clone(), fault))
            });
        }
        faults.extend(calls.join_all().await.into_iter().filter_map(Result::err));
        Round { wall: watch.elapsed(), models: self.models.len(), faults }
    }

    /// Ends all connections, also those whose calls hang.
    pub async fn shutdown(self) {
        self.cluster.shutdown().await;
    }
}

/// Every model of the list joins before the list is complete; of two deployments of a model the later is the one in use.
async fn listed(
    mut events: UnboundedReceiver<ClusterEvent>,
) -> anyhow::Result<BTreeMap<ModelId, Arc<ModelNode>>> {
    let mut nodes = BTreeMap::new();
    loop {
        match events.recv().await.context("the client has ended")? {
            ClusterEvent::Joined(node) => drop(nodes.insert(node.model_id().clone(), node)),
            ClusterEvent::Initialised => return Ok(nodes),
            ClusterEvent::Disconnected { reason } => bail!("the orchestrator cannot be heard: {reason}"),
            ClusterEvent::Renamed(_) | ClusterEvent::Left { .. } => {}
        }
    }
}
