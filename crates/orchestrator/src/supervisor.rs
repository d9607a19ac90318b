//! Keeps one deployment of a model running: starts it, and starts it again when it dies.

use std::sync::Arc;
use std::time::Duration;

use domain::{DeploymentId, ModelId, Stopwatch};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::models_file::ModelProgram;
use crate::runner::{Instance, Runner};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After that long a model counts as healthy, and its next death as the first.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// One deployment under supervision.
pub(crate) struct Supervisor {
    pub(crate) model_id: ModelId,
    pub(crate) deployment_id: DeploymentId,
    pub(crate) program: ModelProgram,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) board: Arc<Board>,
    /// Ends this deployment.
    pub(crate) stop: CancellationToken,
    /// Earlier deployments of the model: they are stopped once this one runs, so that the model is never without one.
    pub(crate) replaced: Vec<CancellationToken>,
}

impl Supervisor {
    /// Runs the deployment until it is stopped.
    pub(crate) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            let lifetime = Stopwatch::start();
            self.run_once().await;
            if lifetime.elapsed() >= HEALTHY_AFTER {
                pause = FIRST_PAUSE;
            }
            let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // when it was stopped while it recovered, this is the first word of it
        self.board.stopped(&self.model_id, &self.deployment_id);
    }

    /// Starts the model and returns when it has ended.
    async fn run_once(&self) {
        let model_id = &self.model_id;
        let starting = self.runner.start(model_id, &self.program);
        match self.stop.run_until_cancelled(starting).await {
            Some(Ok(instance)) => self.watch(instance).await,
            Some(Err(error)) => {
                tracing::error!(%model_id, %error, "model {model_id} does not start: {error}")
            }
            None => {}
        }
    }

    async fn watch(&self, mut instance: Box<dyn Instance>) {
        let (model_id, deployment_id) = (&self.model_id, &self.deployment_id);
        let address = instance.address();
        tracing::info!(%model_id, %deployment_id, %address, "model {model_id} runs at {address}");
        self.board.running(model_id, deployment_id, address);
        self.replaced.iter().for_each(CancellationToken::cancel);
        match self.stop.run_until_cancelled(instance.ended()).await {
            Some(how) => {
                tracing::warn!(%model_id, %deployment_id, how, "model {model_id} died and is started again: {how}");
                self.board.recovering(model_id, deployment_id);
            }
            None => {
                tracing::info!(%model_id, %deployment_id, "model {model_id} is stopped");
                // announced first, so that nobody calls it any more while it ends
                self.board.stopped(model_id, deployment_id);
                instance.stop().await;
            }
        }
    }
}
