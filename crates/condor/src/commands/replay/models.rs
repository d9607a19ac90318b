//! The models that a replay asks: built-in ones and submissions as real gRPC servers, or those of an orchestrator.

mod mixed_runner;
mod submission;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use domain::ModelId;
use model_client::ClusterConfig;
use orchestrator::builtin::SpecError;
use orchestrator::logs::ModelLogs;
use orchestrator::{
    BuiltinEntry, CountedIds, LocalOrchestrator, ModelEntry, ModelSource, ProcessRunner, RestartPolicy,
    roster,
};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::super::{FleetAddress, UsageError, predict};
use super::Plan;
use crate::cli::ReplayModels;
use crate::config::{Config, ConfigError};
use mixed_runner::MixedRunner;
pub use submission::Submission;

/// Where the models are.
pub enum ModelFleet {
    /// Started here, each on its own port.
    Local(LocalFleet),
    /// Announced by an orchestrator that runs already.
    Orchestrator(FleetAddress),
}

impl ModelFleet {
    /// Starts the models, unless there is an orchestrator. Returns once each of them runs.
    ///
    /// # Errors
    /// Models that cannot be started: no replay goes without one that was asked for.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        match &plan.models.orchestrator {
            Some(address) => Ok(ModelFleet::Orchestrator(address.clone())),
            None => LocalFleet::start(plan).await.map(ModelFleet::Local),
        }
    }

    /// How the models are found.
    pub fn cluster_config(&self, config: &Config) -> Result<ClusterConfig, ConfigError> {
        match self {
            ModelFleet::Local(fleet) => {
                let address = fleet.orchestrator.local_addr();
                let followed = predict::cluster_config(config, &format!("ws://{address}"));
                // A replay shows what models do, to the end.
                Ok(ClusterConfig { report_failures: false, ..followed })
            }
            ModelFleet::Orchestrator(address) => address.cluster_config(config),
        }
    }

    /// Refuses to go on with submissions whose set-up has failed.
    pub fn check_set_up(&self, broken: &[(ModelId, String)]) -> anyhow::Result<()> {
        match self {
            ModelFleet::Local(fleet) => fleet.submissions.check_set_up(broken),
            ModelFleet::Orchestrator(_) => Ok(()),
        }
    }

    /// Stops what was started.
    pub async fn shutdown(self) {
        if let ModelFleet::Local(fleet) = self {
            fleet.orchestrator.shutdown().await;
        }
    }
}

/// Models that run on this machine for this replay.
pub struct LocalFleet {
    orchestrator: LocalOrchestrator,
    submissions: SubmissionFleet,
}

impl LocalFleet {
    async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let submissions = SubmissionFleet::of(&plan.models)?;
        let entries = entries(&plan.models, &submissions)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
        let runner = Arc::new(MixedRunner::new(submissions.runners(plan)?));
        // How soon a model that died would be back depends on real time, of which a replay has none: it stays away.
        let restarts = RestartPolicy { most_failures: 1, ..RestartPolicy::default() };
        let orchestrator = LocalOrchestrator::start_with(
            listener,
            ModelSource::Fixed(entries),
            plan.config.crunch_id.clone(),
            Arc::clone(&runner) as Arc<_>,
            CountedIds::default(),
            restarts,
        )
        .await?;
        orchestrator.all_running().await;
        match runner.failure() {
            None => Ok(LocalFleet { orchestrator, submissions }),
            Some((model_id, why)) => {
                orchestrator.shutdown().await;
                bail!("{model_id} cannot be started: {why}");
            }
        }
    }
}

/// The built-in models, and the submissions.
fn entries(models: &ReplayModels, submissions: &SubmissionFleet) -> anyhow::Result<Vec<ModelEntry>> {
    let mut entries: Vec<ModelEntry> = roster(models.models).into_iter().map(ModelEntry::from).collect();
    for spec in &models.add_model {
        entries.push(added(spec)?.into());
    }
    for submission in &submissions.submissions {
        if entries.iter().any(|entry| entry.model_id == submission.model_id) {
            bail!(UsageError(format!(
                "--submission: there is a model {} already: give the folder another name",
                submission.model_id
            )));
        }
        entries.push(submission.entry());
    }
    if entries.is_empty() {
        bail!(UsageError("there is nobody to ask: --models is 0".into()));
    }
    Ok(entries)
}

/// A model that is named as it is described.
fn added(spec: &str) -> anyhow::Result<BuiltinEntry> {
    let parsed = spec.parse().map_err(|error: SpecError| UsageError(format!("--add-model: {error}")))?;
    let model_id = ModelId::new(spec).map_err(|error| UsageError(format!("--add-model: {error}")))?;
    Ok(BuiltinEntry { model_id, model_name: spec.to_owned(), spec: parsed })
}

/// The Python submissions of a replay, and where what they print goes.
struct SubmissionFleet {
    submissions: Vec<Submission>,
    logs: ModelLogs,
    /// The logs that nobody wants to keep.
    _temporary: Option<TempDir>,
}

impl SubmissionFleet {
    fn of(models: &ReplayModels) -> anyhow::Result<Self> {
        let submissions = models.submission.iter().map(|path| Submission::at(path));
        let submissions = submissions.collect::<Result<_, _>>()?;
        let (folder, temporary) = log_folder(models).context("cannot make a folder for logs")?;
        let logs = ModelLogs::in_folder(folder.clone());
        let logs = logs.with_context(|| format!("--logs {}", folder.display()))?;
        Ok(SubmissionFleet { submissions, logs, _temporary: temporary })
    }

    fn runners(&self, plan: &Plan) -> anyhow::Result<BTreeMap<ModelId, ProcessRunner>> {
        let (python, base_class) = (&plan.models.python, &plan.config.models.base_class);
        let runner = |it: &Submission| {
            let runner = it.runner(python, base_class, self.logs.clone())?;
            Ok((it.model_id.clone(), runner))
        };
        self.submissions.iter().map(runner).collect()
    }

    fn check_set_up(&self, broken: &[(ModelId, String)]) -> anyhow::Result<()> {
        let is_ours = |id: &ModelId| self.submissions.iter().any(|submission| submission.model_id == *id);
        match broken.iter().find(|(id, _)| is_ours(id)) {
            None => Ok(()),
            Some((model_id, why)) => bail!("{model_id} cannot be set up: {why}; {}", cure(why)),
        }
    }
}

/// What helps where the code of a submission fails before it is asked anything.
fn cure(why: &str) -> &'static str {
    if why.contains("ModuleNotFoundError") {
        "name the package in a requirements.txt beside the code: it is installed at the next start"
    } else {
        "mend that and start again"
    }
}

fn log_folder(models: &ReplayModels) -> std::io::Result<(PathBuf, Option<TempDir>)> {
    match &models.logs {
        Some(folder) => Ok((folder.clone(), None)),
        None => {
            let temporary = tempfile::tempdir()?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}
