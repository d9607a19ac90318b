//! Starts processes, starts again those that die, and stops them in order.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use domain::Stopwatch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A part that ran this long is not in a crash loop.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// One process.
#[derive(Debug, Clone)]
pub struct Part {
    name: &'static str,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// It reads its configuration again on SIGHUP.
    reloads: bool,
}

impl Part {
    /// This program with these arguments.
    pub fn new<'a>(name: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Part { name, arguments, environment: Vec::new(), reloads: false }
    }

    /// The same, and it reads its configuration again on SIGHUP.
    pub fn reloading(self) -> Self {
        Part { reloads: true, ..self }
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
    patience: watch::Sender<Duration>,
    running: Vec<(CancellationToken, JoinHandle<()>)>,
}

impl Supervisor {
    /// A supervisor of nothing yet; a part may take `patience` to stop.
    pub fn new(patience: Duration) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Supervisor { program, patience: watch::Sender::new(patience), running: Vec::new() })
    }

    /// Tells the parts to read their configuration again.
    pub fn reloads(&self) -> Reloads {
        Reloads(self.patience.clone())
    }

    /// Starts a part and keeps it running.
    pub fn start(&mut self, part: Part) {
        let stop = CancellationToken::new();
        let (program, patience) = (self.program.clone(), self.patience.subscribe());
        let keeper = Keeper { program, part, stop: stop.clone(), patience };
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

/// Tells parts to read their configuration again.
pub struct Reloads(watch::Sender<Duration>);

impl Reloads {
    /// Passes a SIGHUP on to each part that runs and takes them; the others read their configuration when they start. From now on a
    /// part may take `patience` to stop.
    pub fn pass_on(&self, patience: Duration) {
        self.0.send_replace(patience);
    }
}

/// Keeps one part running.
struct Keeper {
    program: PathBuf,
    part: Part,
    stop: CancellationToken,
    /// How long the part may take to stop; told anew when it is to read its configuration again.
    patience: watch::Receiver<Duration>,
}

impl Keeper {
    async fn run(mut self) {
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

    async fn run_until_exit(&mut self, mut child: Child) {
        // Waiting closes the standard input, which would end the part.
        let _stdin = child.stdin.take();
        let name = self.part.name;
        // It has just read its configuration.
        self.patience.mark_unchanged();
        loop {
            tokio::select! {
                ended = child.wait() => match ended {
                    Ok(status) => return tracing::error!(part = name, %status, "ended"),
                    Err(error) => return tracing::error!(part = name, %error, "lost"),
                },
                () = self.stop.cancelled() => return self.end(child).await,
                Ok(()) = self.patience.changed() => {
                    if self.part.reloads {
                        send(&child, Signal::SIGHUP);
                    }
                }
            }
        }
    }

    async fn end(&self, mut child: Child) {
        send(&child, Signal::SIGTERM);
        let patience = *self.patience.borrow();
        if tokio::time::timeout(patience, child.wait()).await.is_err() {
            tracing::warn!(part = self.part.name, "did not stop in time: killed");
            let _ = child.kill().await;
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended by itself in the meantime.
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// A part ends when its standard input closes, and so with this process, however that ends.
fn spawn(program: &Path, part: &Part) -> std::io::Result<Child> {
    Command::new(program)
        .args(&part.arguments)
        .args(["--exit-with-parent", "--log-as", part.name])
        .envs(part.environment.iter().map(|(name, value)| (name, value)))
        // A Ctrl-C meant for this process lets it stop the parts in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}
