//! How each model of the list does, for those who ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{DeploymentId, ModelId};
use serde::{Deserialize, Serialize};

use crate::models_file::{ModelEntry, ModelProgram};

/// What a model is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It was never started.
    Created,
    /// Its environment is being built.
    BuilderBuilding,
    /// Its environment cannot be built.
    BuilderFailed,
    /// Its environment is there.
    BuilderSuccess,
    /// Its process is starting.
    RunnerInitializing,
    /// It can be called.
    RunnerRunning,
    /// It is being stopped.
    RunnerStopping,
    /// It was stopped.
    RunnerStopped,
    /// It crashed, is quarantined, or was reported by a coordinator.
    RunnerFailed,
}

impl Status {
    /// While a model's program is started.
    pub(crate) fn starting(program: &ModelProgram) -> Self {
        match program {
            ModelProgram::Builtin(_) => Status::RunnerInitializing,
            ModelProgram::Submission(_) => Status::BuilderBuilding,
        }
    }

    /// When it did not start.
    pub(crate) fn not_started(program: &ModelProgram) -> Self {
        match program {
            ModelProgram::Builtin(_) => Status::RunnerFailed,
            ModelProgram::Submission(_) => Status::BuilderFailed,
        }
    }

    /// Whether the model waits for something to change.
    pub fn has_failed(self) -> bool {
        matches!(self, Status::BuilderFailed | Status::RunnerFailed)
    }
}

/// One model of the list.
#[derive(Debug, Clone)]
pub struct ModelStatus {
    /// Its entry in the list.
    pub entry: ModelEntry,
    /// Its newest start, once there was one.
    pub deployment_id: Option<DeploymentId>,
    /// What that start is doing.
    pub status: Status,
    /// Why, in words; may be empty.
    pub message: String,
    /// Where it stands in the list, from 0.
    place: usize,
    /// A verdict of the fleet's: what the deployment still does on its way out does not change it.
    is_final: bool,
}

/// The status of every model of the list.
#[derive(Default)]
pub(crate) struct Statuses(Mutex<BTreeMap<ModelId, ModelStatus>>);

impl Statuses {
    /// Makes `entries` the list.
    pub(crate) fn apply(&self, entries: &[ModelEntry]) {
        let mut models = self.lock();
        let known = std::mem::take(&mut *models);
        models.extend(entries.iter().enumerate().map(|(place, entry)| {
            let status = match known.get(&entry.model_id) {
                Some(known) => ModelStatus { entry: entry.clone(), place, ..known.clone() },
                None => ModelStatus {
                    entry: entry.clone(),
                    deployment_id: None,
                    status: Status::Created,
                    message: String::new(),
                    place,
                    is_final: false,
                },
            };
            (entry.model_id.clone(), status)
        }));
    }

    /// A model has a new deployment, which counts from now on.
    pub(crate) fn deployed(&self, model_id: &ModelId, deployment_id: &DeploymentId) {
        if let Some(model) = self.lock().get_mut(model_id) {
            model.deployment_id = Some(deployment_id.clone());
            (model.status, model.is_final) = (Status::Created, false);
            model.message.clear();
        }
    }

    /// What a deployment is doing; ignored when another one counts.
    pub(crate) fn set(&self, model_id: &ModelId, deployment: &DeploymentId, status: Status, message: &str) {
        let mut models = self.lock();
        let model = models.get_mut(model_id).filter(|model| model.deployment_id.as_ref() == Some(deployment));
        if let Some(model) = model.filter(|model| !model.is_final) {
            model.status = status;
            message.clone_into(&mut model.message);
        }
    }

    /// A model has failed for good, until something of it changes.
    pub(crate) fn condemn(&self, model_id: &ModelId, message: String) {
        if let Some(model) = self.lock().get_mut(model_id) {
            (model.status, model.message, model.is_final) = (Status::RunnerFailed, message, true);
        }
    }

    pub(crate) fn get(&self, model_id: &ModelId) -> Option<ModelStatus> {
        self.lock().get(model_id).cloned()
    }

    /// All, in the order of the list.
    pub(crate) fn list(&self) -> Vec<ModelStatus> {
        let mut models: Vec<ModelStatus> = self.lock().values().cloned().collect();
        models.sort_by_key(|model| model.place);
        models
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelId, ModelStatus>> {
        // nothing that holds the lock leaves a status half-changed when it panics
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
