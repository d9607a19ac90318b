//! Keeps one deployment of a model running: starts it, and starts it again when it dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{DeploymentId, ModelId, Stopwatch};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::models_file::ModelProgram;
use crate::runner::{Instance, Runner};
use crate::status::{Status, Statuses};

/// When a model that dies is started again, and when it is not.
#[derive(Debug, Clone, Copy)]
pub struct RestartPolicy {
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// It grows no longer than this.
    pub longest_pause: Duration,
    /// After that long a model counts as healthy, and its next death as the first.
    pub healthy_after: Duration,
    /// After so many failures in a row it is quarantined: it stays stopped until somebody changes or starts it.
    pub most_failures: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
            most_failures: 5,
        }
    }
}

impl RestartPolicy {
    /// The pause after so many failures in a row, from 1.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first_pause.saturating_mul(doubled).min(self.longest_pause)
    }
}

/// One deployment under supervision.
pub(crate) struct Supervisor {
    pub(crate) model_id: ModelId,
    pub(crate) deployment_id: DeploymentId,
    pub(crate) program: ModelProgram,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) board: Arc<Board>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) restarts: RestartPolicy,
    /// Ends this deployment.
    pub(crate) stop: CancellationToken,
    /// Set when it was given up.
    pub(crate) is_quarantined: Arc<AtomicBool>,
    /// Earlier deployments of the model: they are stopped once this one runs, so that the model is never without one.
    pub(crate) replaced: Vec<CancellationToken>,
}

/// A deployment that ended without being told to.
struct Failure {
    status: Status,
    why: String,
}

impl Supervisor {
    /// Runs the deployment until it is stopped.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            let lifetime = Stopwatch::start();
            let Some(failure) = self.run_once().await else { break };
            let was_healthy = lifetime.elapsed() >= self.restarts.healthy_after;
            failures = if was_healthy { 1 } else { failures + 1 };
            if failures >= self.restarts.most_failures {
                self.quarantine(failures, failure).await;
                break;
            }
            self.pause(failures, failure).await;
        }
        // when it was stopped while it recovered, this is the first word of it
        self.board.stopped(&self.model_id, &self.deployment_id);
        self.note(Status::RunnerStopped, "");
    }

    /// Starts the model and returns when it has ended; `None` when it was told to.
    async fn run_once(&self) -> Option<Failure> {
        self.note(Status::starting(&self.program), "");
        let starting = self.runner.start(&self.model_id, &self.program);
        match self.stop.run_until_cancelled(starting).await? {
            Ok(instance) => self.watch(instance).await,
            Err(error) => {
                Some(Failure { status: Status::not_started(&self.program), why: error.to_string() })
            }
        }
    }

    async fn watch(&self, mut instance: Box<dyn Instance>) -> Option<Failure> {
        let (model_id, deployment_id) = (&self.model_id, &self.deployment_id);
        let address = instance.address();
        tracing::info!(%model_id, %deployment_id, %address, "model {model_id} runs at {address}");
        self.note(Status::RunnerRunning, "");
        self.board.running(model_id, deployment_id, address, self.program.is_baseline());
        self.replaced.iter().for_each(CancellationToken::cancel);
        match self.stop.run_until_cancelled(instance.ended()).await {
            Some(why) => {
                self.board.recovering(model_id, deployment_id);
                Some(Failure { status: Status::RunnerFailed, why })
            }
            None => {
                tracing::info!(%model_id, %deployment_id, "model {model_id} is stopped");
                // announced first, so that nobody calls it any more while it ends
                self.board.stopped(model_id, deployment_id);
                self.note(Status::RunnerStopping, "");
                instance.stop().await;
                None
            }
        }
    }

    async fn pause(&self, failures: u32, Failure { status, why }: Failure) {
        let (model_id, deployment_id) = (&self.model_id, &self.deployment_id);
        let pause = self.restarts.pause(failures);
        let again = format!("started again in {} s", pause.as_secs_f64());
        tracing::warn!(%model_id, %deployment_id, failures, why, "model {model_id} failed and is {again}: {why}");
        self.note(status, &format!("failed, {again}: {why}"));
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }

    /// Leaves the model alone until somebody stops this deployment: to replace it, to start it anew, or for good.
    async fn quarantine(&self, failures: u32, Failure { status, why }: Failure) {
        let (model_id, deployment_id) = (&self.model_id, &self.deployment_id);
        self.is_quarantined.store(true, Ordering::Relaxed);
        let cure = "it stays stopped until what it runs changes or it is started by hand";
        tracing::error!(
            %model_id, %deployment_id, failures, why,
            "model {model_id} is quarantined after {failures} failures in a row, {cure}: {why}"
        );
        self.note(status, &format!("quarantined after {failures} failures in a row, {cure}: {why}"));
        self.board.stopped(model_id, deployment_id);
        self.board.unwant(model_id);
        self.stop.cancelled().await;
    }

    fn note(&self, status: Status, message: &str) {
        self.statuses.set(&self.model_id, &self.deployment_id, status, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u64> = (1..=8).map(|n| RestartPolicy::default().pause(n).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
