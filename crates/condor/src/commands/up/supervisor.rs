//! Starts processes, starts again those that die, and stops them all.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use domain::Stopwatch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A part that ran this long is not in a crash loop.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// A part that has not stopped by then is killed. Rounds in flight close by their deadline, 50 s after their slot.
const STOP_PATIENCE: Duration = Duration::from_secs(70);

/// One process.
#[derive(Debug, Clone)]
pub struct Part {
    name: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Part {
    /// This program with these arguments.
    pub fn new(name: &'static str, arguments: Vec<String>) -> Self {
        Part { name, arguments, environment: Vec::new() }
    }

    /// The same with a variable set.
    pub fn with_env(mut self, variable: (&'static str, String)) -> Self {
        self.environment.push(variable);
        self
    }
}

/// Keeps parts running until it is told to stop.
pub struct Supervisor {
    program: PathBuf,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Supervisor {
    /// A supervisor of nothing yet.
    pub fn new(shutdown: CancellationToken) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Supervisor { program, tasks: TaskTracker::new(), shutdown })
    }

    /// Starts a part and keeps it running.
    pub fn start(&self, part: Part) {
        self.tasks.spawn(keep_running(self.program.clone(), part, self.shutdown.clone()));
    }

    /// Resolves when every part has stopped.
    pub async fn wait(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn keep_running(program: PathBuf, part: Part, shutdown: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    while !shutdown.is_cancelled() {
        let watch = Stopwatch::start();
        match spawn(&program, &part) {
            Ok(child) => run_until_exit(&part, child, &shutdown).await,
            Err(error) => tracing::error!(part = part.name, %error, "cannot start"),
        }
        if shutdown.is_cancelled() {
            return;
        }
        pause = if watch.elapsed() > HEALTHY_AFTER { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tracing::warn!(part = part.name, restart_in_ms = pause.as_millis() as u64, "starting it again");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// A part ends when its standard input closes, and so with this process, however that ends.
fn spawn(program: &PathBuf, part: &Part) -> std::io::Result<Child> {
    Command::new(program)
        .args(&part.arguments)
        .arg("--exit-with-parent")
        .envs(part.environment.iter().map(|(name, value)| (name, value)))
        // A Ctrl-C meant for this process lets it stop the parts in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}

async fn run_until_exit(part: &Part, mut child: Child, shutdown: &CancellationToken) {
    // Waiting closes the standard input, which would end the part.
    let _stdin = child.stdin.take();
    tokio::select! {
        status = child.wait() => match status {
            Ok(status) => tracing::error!(part = part.name, %status, "ended"),
            Err(error) => tracing::error!(part = part.name, %error, "lost"),
        },
        () = shutdown.cancelled() => stop(part, child).await,
    }
}

async fn stop(part: &Part, mut child: Child) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended by itself in the meantime.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        tracing::warn!(part = part.name, "did not stop in time: killed");
        let _ = child.kill().await;
    }
}
