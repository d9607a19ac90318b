//! The models that the orchestrator is in charge of: brings what runs in line with what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::{DeploymentId, ModelId};
use protocol::cluster::ModelInfos;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::board::Board;
use crate::models_file::{DesiredState, ModelEntry, ModelProgram};
use crate::runner::Runner;
use crate::status::Statuses;
use crate::submission_id::SubmissionId;
use crate::supervisor::{RestartPolicy, Supervisor};

/// Names each start of a model's code.
pub trait DeploymentIds: Send + 'static {
    /// An id that no deployment had before.
    fn next(&mut self, model_id: &ModelId) -> DeploymentId;
}

/// Random ids: no two orchestrators ever give the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl DeploymentIds for RandomIds {
    fn next(&mut self, _: &ModelId) -> DeploymentId {
        from_uuid(Uuid::new_v4())
    }
}

/// Ids that follow from the model and how often it was started: a replay gives the same ones each time.
#[derive(Debug, Clone, Default)]
pub struct CountedIds(BTreeMap<ModelId, u32>);

impl DeploymentIds for CountedIds {
    fn next(&mut self, model_id: &ModelId) -> DeploymentId {
        let starts = self.0.entry(model_id.clone()).or_default();
        *starts += 1;
        from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{model_id}\n{starts}").as_bytes()))
    }
}

fn from_uuid(uuid: Uuid) -> DeploymentId {
    match DeploymentId::new(&uuid.to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("a UUID is a valid deployment id"),
    }
}

/// A coordinator's wish that a model be stopped; what it leaves out does no harm.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    model_id: ModelId,
    failure_code: Option<String>,
    failure_reason: Option<String>,
}

struct Deployment {
    entry: ModelEntry,
    stop: CancellationToken,
    is_quarantined: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Deployment {
    fn is_of(&self, model_id: &ModelId) -> bool {
        self.entry.model_id == *model_id && !self.stop.is_cancelled()
    }

    /// Whether its program runs or may be started again.
    fn is_alive(&self) -> bool {
        !self.stop.is_cancelled() && !self.is_quarantined.load(Ordering::Relaxed)
    }
}

/// All deployments, and the models that failed.
pub(crate) struct Fleet {
    runner: Arc<dyn Runner>,
    ids: Box<dyn DeploymentIds>,
    board: Arc<Board>,
    statuses: Arc<Statuses>,
    restarts: RestartPolicy,
    /// In the order of starting; a model that is being replaced has several, of which the last one counts.
    deployments: Vec<Deployment>,
    /// What was reported, with the entry that it ran: it stays stopped until that entry changes.
    failed: BTreeMap<ModelId, ModelEntry>,
}

impl Fleet {
    pub(crate) fn new(
        runner: Arc<dyn Runner>,
        ids: Box<dyn DeploymentIds>,
        board: Arc<Board>,
        statuses: Arc<Statuses>,
        restarts: RestartPolicy,
    ) -> Self {
        Fleet { runner, ids, board, statuses, restarts, deployments: Vec::new(), failed: BTreeMap::new() }
    }

    /// Makes `entries` the complete list of models: starts, replaces, renames and stops what differs.
    pub(crate) fn apply(&mut self, entries: Vec<ModelEntry>) {
        self.deployments.retain(|deployment| !deployment.task.is_finished());
        self.failed.retain(|_, failed| entries.contains(failed));
        self.statuses.apply(&entries);
        self.runner.keep_only(&entries);
        let wanted: Vec<ModelEntry> = entries.into_iter().filter(|entry| self.shall_run(entry)).collect();
        let infos: BTreeMap<ModelId, ModelInfos> =
            wanted.iter().map(|entry| (entry.model_id.clone(), entry.infos.clone())).collect();
        let unwanted = self.deployments.iter().filter(|d| !infos.contains_key(&d.entry.model_id));
        unwanted.for_each(|deployment| deployment.stop.cancel());
        self.board.want(infos);
        for entry in wanted {
            self.bring_up(entry);
        }
    }

    fn shall_run(&self, entry: &ModelEntry) -> bool {
        entry.desired_state == DesiredState::Running && !self.failed.contains_key(&entry.model_id)
    }

    /// Starts the model unless it runs the entry's program already.
    fn bring_up(&mut self, entry: ModelEntry) {
        match self.deployments.iter_mut().rev().find(|deployment| deployment.is_of(&entry.model_id)) {
            Some(current) if current.entry.program == entry.program => current.entry = entry,
            _ => self.start(entry),
        }
    }

    fn start(&mut self, entry: ModelEntry) {
        let earlier = self.deployments.iter().filter(|deployment| deployment.is_of(&entry.model_id));
        let (stop, is_quarantined) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let deployment_id = self.ids.next(&entry.model_id);
        self.statuses.deployed(&entry.model_id, &deployment_id);
        let supervisor = Supervisor {
            model_id: entry.model_id.clone(),
            deployment_id,
            program: entry.program.clone(),
            runner: self.runner.clone(),
            board: self.board.clone(),
            statuses: self.statuses.clone(),
            restarts: self.restarts,
            stop: stop.clone(),
            is_quarantined: is_quarantined.clone(),
            replaced: earlier.map(|deployment| deployment.stop.clone()).collect(),
        };
        let task = tokio::spawn(supervisor.run());
        self.deployments.push(Deployment { entry, stop, is_quarantined, task });
    }

    /// Gives a model that shall run and has failed a fresh start now. One that runs is left alone.
    pub(crate) fn start_again(&mut self, model_id: &ModelId) {
        self.failed.remove(model_id);
        let failed = self.statuses.get(model_id).filter(|model| model.status.has_failed());
        let Some(entry) = failed.map(|model| model.entry).filter(|entry| self.shall_run(entry)) else {
            return;
        };
        if let Some(current) = self.deployments.iter().rev().find(|deployment| deployment.is_of(model_id)) {
            current.stop.cancel();
        }
        self.board.want_also(&entry.model_id, entry.infos.clone());
        self.start(entry);
    }

    /// Stops a model that a coordinator reported; it stays stopped until its entry changes.
    pub(crate) fn report(&mut self, report: Report) {
        let model_id = &report.model_id;
        let code = report.failure_code.as_deref().unwrap_or("no code");
        let reason = report.failure_reason.as_deref().unwrap_or("no reason given");
        let Some(current) = self.deployments.iter().rev().find(|deployment| deployment.is_of(model_id))
        else {
            tracing::warn!(%model_id, code, reason, "a failure of {model_id} was reported, which does not run here");
            return;
        };
        tracing::error!(
            %model_id, code, reason,
            "model {model_id} was reported ({code}: {reason}) and stays stopped until its entry in the models file changes or \
             it is started by hand"
        );
        self.failed.insert(model_id.clone(), current.entry.clone());
        let message = format!(
            "reported by a coordinator ({code}: {reason}); it stays stopped until it is changed or started"
        );
        self.statuses.condemn(model_id, message);
        self.board.unwant(model_id);
        let reported = self.deployments.iter().filter(|deployment| deployment.is_of(model_id));
        reported.for_each(|deployment| deployment.stop.cancel());
    }

    /// The submissions that run or are being started, those that are about to be replaced included.
    pub(crate) fn submissions_in_use(&self) -> BTreeSet<SubmissionId> {
        let alive = self.deployments.iter().filter(|deployment| deployment.is_alive());
        let submission = |deployment: &Deployment| match &deployment.entry.program {
            ModelProgram::Submission(id) => Some(id.clone()),
            ModelProgram::Builtin(_) => None,
        };
        alive.filter_map(submission).collect()
    }

    /// Stops every model and waits for its end.
    pub(crate) async fn stop_all(self) {
        self.deployments.iter().for_each(|deployment| deployment.stop.cancel());
        for deployment in self.deployments {
            if let Err(error) = deployment.task.await {
                tracing::error!(%error, "a model's supervisor failed: {error}");
            }
        }
    }
}
