//! Runs built-in models within this process and submissions as processes of their own; both are real gRPC nodes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use domain::ModelId;
use orchestrator::models_file::ModelProgram;
use orchestrator::runner::{Instance, Runner, StartError};
use orchestrator::{InProcessRunner, ProcessRunner};

/// Each submission has a runner of its own, since submissions of a replay are in folders anywhere.
pub struct MixedRunner {
    submissions: BTreeMap<ModelId, ProcessRunner>,
    /// The first model that did not come up, and why.
    failure: Mutex<Option<(ModelId, String)>>,
}

impl MixedRunner {
    /// Runs built-in models, and these submissions.
    pub fn new(submissions: BTreeMap<ModelId, ProcessRunner>) -> Self {
        MixedRunner { submissions, failure: Mutex::default() }
    }

    /// The first model that did not come up, and why.
    pub fn failure(&self) -> Option<(ModelId, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn run(&self, model_id: &ModelId, program: &ModelProgram) -> Result<Box<dyn Instance>, StartError> {
        match (program, self.submissions.get(model_id)) {
            (ModelProgram::Submission(_), Some(runner)) => runner.start(model_id, program).await,
            _ => InProcessRunner.start(model_id, program).await,
        }
    }
}

#[async_trait]
impl Runner for MixedRunner {
    async fn start(
        &self,
        model_id: &ModelId,
        program: &ModelProgram,
    ) -> Result<Box<dyn Instance>, StartError> {
        let started = self.run(model_id, program).await;
        if let Err(error) = &started {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (model_id.clone(), error.to_string()));
        }
        started
    }
}
