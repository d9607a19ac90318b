//! Starts processes, starts again those that die, and stops them in order.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use domain::Stopwatch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A part that ran this long is not in a crash loop.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// How long a part may take to stop beyond the end of its rounds in flight.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// One process.
#[derive(Debug, Clone)]
pub struct Part {
    name: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Part {
    /// This program with these arguments.
    pub fn new<'a>(name: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Part { name, arguments, environment: Vec::new() }
    }

    /// The same with a variable set.
    pub fn with_env(mut self, variable: (&'static str, String)) -> Self {
        self.environment.push(variable);
        self
    }
}

/// Keeps parts running until they are stopped.
pub struct Supervisor {
    program: PathBuf,
    /// How long a part may take to stop.
    patience: Duration,
    running: Vec<(CancellationToken, JoinHandle<()>)>,
}

impl Supervisor {
    /// A supervisor of nothing yet.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let patience = config.models.call_timeout.as_duration() + STOP_GRACE;
        Ok(Supervisor { program, patience, running: Vec::new() })
    }

    /// Starts a part and keeps it running.
    pub fn start(&mut self, part: Part) {
        let stop = CancellationToken::new();
        let keeper =
            Keeper { program: self.program.clone(), part, stop: stop.clone(), patience: self.patience };
        self.running.push((stop, tokio::spawn(keeper.run())));
    }

    /// Stops one part after the other, the last started first.
    pub async fn stop(self) {
        for (stop, keeper) in self.running.into_iter().rev() {
            stop.cancel();
            if let Err(error) = keeper.await {
                tracing::error!(%error, "a part was lost");
            }
        }
    }
}

/// Keeps one part running.
struct Keeper {
    program: PathBuf,
    part: Part,
    stop: CancellationToken,
    patience: Duration,
}

impl Keeper {
    async fn run(self) {
        let name = self.part.name;
        let mut pause = FIRST_PAUSE;
        loop {
            let watch = Stopwatch::start();
            match spawn(&self.program, &self.part) {
                Ok(child) => self.run_until_exit(child).await,
                Err(error) => tracing::error!(part = name, %error, "cannot start"),
            }
            pause =
                if watch.elapsed() > HEALTHY_AFTER { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            tracing::warn!(part = name, "starting it again");
        }
    }

    async fn run_until_exit(&self, mut child: Child) {
        // Waiting closes the standard input, which would end the part.
        let _stdin = child.stdin.take();
        let name = self.part.name;
        match self.stop.run_until_cancelled(child.wait()).await {
            Some(Ok(status)) => tracing::error!(part = name, %status, "ended"),
            Some(Err(error)) => tracing::error!(part = name, %error, "lost"),
            None => self.end(child).await,
        }
    }

    async fn end(&self, mut child: Child) {
        if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended by itself in the meantime.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if tokio::time::timeout(self.patience, child.wait()).await.is_err() {
            tracing::warn!(part = self.part.name, "did not stop in time: killed");
            let _ = child.kill().await;
        }
    }
}

/// A part ends when its standard input closes, and so with this process, however that ends.
fn spawn(program: &Path, part: &Part) -> std::io::Result<Child> {
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
