//! The models that a replay asks: built-in ones as real gRPC servers, or those of an orchestrator.

use std::sync::Arc;

use anyhow::{Context, bail};
use domain::ModelId;
use model_client::ClusterConfig;
use orchestrator::builtin::SpecError;
use orchestrator::{
    BuiltinEntry, CountedIds, InProcessRunner, LocalOrchestrator, ModelEntry, ModelSource, roster,
};
use tokio::net::TcpListener;

use super::super::{FleetAddress, UsageError, predict};
use super::Plan;
use crate::config::{Config, ConfigError};

/// Where the models are.
pub enum ModelFleet {
    /// Started here, each on its own port.
    BuiltIn(LocalOrchestrator),
    /// Announced by an orchestrator that runs already.
    Orchestrator(FleetAddress),
}

impl ModelFleet {
    /// Starts the built-in models, unless there is an orchestrator.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        match &plan.models.orchestrator {
            Some(address) => Ok(ModelFleet::Orchestrator(address.clone())),
            None => built_in(plan).await,
        }
    }

    /// How the models are found.
    pub fn cluster_config(&self, config: &Config) -> Result<ClusterConfig, ConfigError> {
        match self {
            ModelFleet::BuiltIn(orchestrator) => {
                let followed =
                    predict::cluster_config(config, &format!("ws://{}", orchestrator.local_addr()));
                // A replay shows what models do, to the end.
                Ok(ClusterConfig { report_failures: false, ..followed })
            }
            ModelFleet::Orchestrator(address) => address.cluster_config(config),
        }
    }

    /// Stops what was started.
    pub async fn shutdown(self) {
        if let ModelFleet::BuiltIn(orchestrator) = self {
            orchestrator.shutdown().await;
        }
    }
}

async fn built_in(plan: &Plan) -> anyhow::Result<ModelFleet> {
    let mut entries: Vec<ModelEntry> = roster(plan.models.models).into_iter().map(ModelEntry::from).collect();
    for spec in &plan.models.add_model {
        entries.push(added(spec)?.into());
    }
    if entries.is_empty() {
        bail!(UsageError("there is nobody to ask: --models is 0".into()));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let crunch = plan.config.crunch_id.clone();
    let orchestrator = LocalOrchestrator::start(
        listener,
        ModelSource::Fixed(entries),
        crunch,
        Arc::new(InProcessRunner),
        CountedIds::default(),
    )
    .await?;
    orchestrator.all_running().await;
    Ok(ModelFleet::BuiltIn(orchestrator))
}

/// A model that is named as it is described.
fn added(spec: &str) -> anyhow::Result<BuiltinEntry> {
    let parsed = spec.parse().map_err(|error: SpecError| UsageError(format!("--add-model: {error}")))?;
    let model_id = ModelId::new(spec).map_err(|error| UsageError(format!("--add-model: {error}")))?;
    Ok(BuiltinEntry { model_id, model_name: spec.to_owned(), spec: parsed })
}
