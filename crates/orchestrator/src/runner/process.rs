//! Models as processes of their own: `EXECUTABLE model-host …`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use domain::ModelId;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::{Instance, Runner, StartError};
use crate::host::announced_address;
use crate::models_file::ModelProgram;

/// A host that has not said where it listens by then does not come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// After its standard input was closed a host gets this long to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Starts each model as `EXECUTABLE model-host --builtin SPEC --listen 127.0.0.1:0 --exit-with-parent`.
///
/// The host's standard input is a pipe that this process holds: it closes when the model is stopped and when this
/// process dies, and the host ends then. The host runs in a process group of its own, so that a Ctrl-C meant for the
/// orchestrator lets it stop the models in order.
#[derive(Debug, Clone)]
pub struct ProcessRunner {
    /// The program that knows `model-host`: this one.
    pub executable: PathBuf,
}

#[async_trait]
impl Runner for ProcessRunner {
    async fn start(
        &self,
        model_id: &ModelId,
        program: &ModelProgram,
    ) -> Result<Box<dyn Instance>, StartError> {
        let mut child = self
            .command(program)
            .spawn()
            .map_err(|error| StartError(format!("cannot run {}: {error}", self.executable.display())))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(StartError("the host has no pipes".to_owned()));
        };
        let mut lines = BufReader::new(stdout).lines();
        let late = |_| StartError(format!("the host did not come up within {} s", START_TIMEOUT.as_secs()));
        let address = timeout(START_TIMEOUT, come_up(&mut child, &mut lines)).await.map_err(late)??;
        tokio::spawn(log_output(model_id.clone(), lines));
        Ok(Box::new(Process { address, child, stdin: Some(stdin) }))
    }
}

impl ProcessRunner {
    fn command(&self, program: &ModelProgram) -> Command {
        let ModelProgram::Builtin(spec) = program;
        let mut command = Command::new(&self.executable);
        command
            .args(["model-host", "--builtin", &spec.to_string()])
            .args(["--listen", "127.0.0.1:0", "--exit-with-parent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

async fn come_up(
    child: &mut Child,
    lines: &mut Lines<BufReader<ChildStdout>>,
) -> Result<SocketAddr, StartError> {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = announced_address(&line) {
            return Ok(address);
        }
    }
    Err(StartError(format!("the host did not come up: {}", how_ended(child).await)))
}

/// Reads on, so that the host never blocks on a full pipe.
async fn log_output(model_id: ModelId, mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(%model_id, "model {model_id} says: {line}");
    }
}

async fn how_ended(child: &mut Child) -> String {
    match child.wait().await {
        Ok(status) => format!("its process ended with {status}"),
        Err(error) => format!("its process cannot be watched: {error}"),
    }
}

struct Process {
    address: SocketAddr,
    child: Child,
    /// Apart from the child, because waiting for a child closes its standard input, and that ends a host.
    stdin: Option<ChildStdin>,
}

#[async_trait]
impl Instance for Process {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ended(&mut self) -> String {
        how_ended(&mut self.child).await
    }

    async fn stop(&mut self) {
        drop(self.stdin.take());
        if timeout(STOP_GRACE, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "a model host could not be killed: {error}");
        }
    }
}
