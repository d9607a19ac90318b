//! Models as processes of their own: `EXECUTABLE model-host …`.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::ModelId;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::users::{Home, SubmissionUsers, UserRange};
use super::{Instance, Runner, StartError};
use crate::door::Door;
use crate::host::{announced_address, installers_see};
use crate::limits::Limits;
use crate::logs::{LogKind, ModelLogs};
use crate::models_file::{ModelEntry, ModelProgram};
use crate::submission_id::SubmissionId;

/// A host that has not said where it listens by then does not come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for one that builds an environment first: more than it gives its installer.
const BUILD_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// After it was told to stop a host gets this long to end by itself.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long the last words of a host that has ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How much of what a host said last is kept to tell why it ended, in bytes.
const KEPT_WORDS: usize = 4096;
/// A reason is not longer than this, in characters.
const LONGEST_REASON: usize = 2000;

/// Starts each model as `EXECUTABLE model-host … --listen 127.0.0.1:0 --exit-with-parent`.
///
/// The host's standard input is a pipe that this process holds: it closes when the model is stopped and when this
/// process dies, and the host ends then. The host runs in a process group of its own, so that a Ctrl-C meant for the
/// orchestrator lets it stop the models in order. Nothing of this process's environment reaches it but what finds
/// programs and packages. What it says goes into the model's logs.
#[derive(Debug, Clone)]
pub struct ProcessRunner {
    executable: PathBuf,
    logs: ModelLogs,
    submissions: Option<Arc<Submissions>>,
}

/// How Python submissions are run.
#[derive(Debug, Clone)]
pub struct Submissions {
    /// The folder that holds a folder for each.
    pub folder: PathBuf,
    /// The interpreter, or the one to make environments with.
    pub python: PathBuf,
    /// Full name of the base class of their models.
    pub base_class: String,
    /// Of each process. The number of processes is limited only where each has a user of its own: elsewhere the operator's
    /// other processes would count.
    pub limits: Limits,
    /// Under which users.
    pub users: SubmissionUsers,
}

impl ProcessRunner {
    /// A runner of built-in models. `executable` is the program that knows `model-host`: this one.
    pub fn new(executable: PathBuf, logs: ModelLogs) -> Self {
        ProcessRunner { executable, logs, submissions: None }
    }

    /// The same that also runs submissions.
    pub fn with_submissions(self, submissions: Submissions) -> Self {
        ProcessRunner { submissions: Some(Arc::new(submissions)), ..self }
    }

    async fn launch(&self, model_id: &ModelId, program: &ModelProgram) -> Result<Launch, StartError> {
        let mut launch = match program {
            ModelProgram::Builtin(spec) => self.builtin(&spec.to_string()),
            ModelProgram::Submission(id) => self.submission(model_id, id).await?,
        };
        launch
            .command
            .args(["--listen", "127.0.0.1:0", "--exit-with-parent"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(users) = self.submission_users() {
            launch.command.args(["--closed-to-users", &users.to_string()]);
        }
        Ok(launch)
    }

    /// Whom no model answers: only coordinators ask models, not other submissions.
    fn submission_users(&self) -> Option<UserRange> {
        self.submissions.as_deref().and_then(|submissions| submissions.users.told_apart())
    }

    fn host(&self, sees: impl Fn(&OsStr) -> bool) -> Command {
        let mut command = Command::new(&self.executable);
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "RUST_LOG" || sees(name)));
        command.arg("model-host");
        command
    }

    fn builtin(&self, spec: &str) -> Launch {
        let mut command = self.host(|_| false);
        command.args(["--builtin", spec]);
        Launch { command, home: None, timeout: START_TIMEOUT }
    }

    async fn submission(&self, model_id: &ModelId, id: &SubmissionId) -> Result<Launch, StartError> {
        let submissions = self.submissions.as_deref().ok_or_else(|| {
            StartError(format!(
                "submission `{id}`: this orchestrator runs none, start it with --submissions DIR"
            ))
        })?;
        let folder = submissions.find(id)?;
        let mut command = self.host(installers_see);
        // in KiB: what the allocator reserves ahead (1 GiB unless told otherwise) counts as address space of the host
        command.env("MIMALLOC_ARENA_RESERVE", "65536");
        let home = submissions.settle(model_id, id, &folder, &mut command).await?;
        let processes = home.as_ref().and(submissions.limits.processes);
        command
            .arg("--python")
            .arg(&submissions.python)
            .args(["--base-class", &submissions.base_class])
            .arg("--exit-with-model")
            .args(Limits { processes, ..submissions.limits }.to_arguments());
        Ok(Launch { command, home, timeout: BUILD_TIMEOUT })
    }
}

impl Submissions {
    /// The folder of a submission: within the folder of all, whatever links there are.
    fn find(&self, id: &SubmissionId) -> Result<PathBuf, StartError> {
        let folder = self.folder.join(id.as_str());
        let refused = |why: String| StartError(format!("submission `{id}`: {why}"));
        let unusable = |error: std::io::Error| refused(format!("{}: {error}", self.folder.display()));
        let all = self.folder.canonicalize().map_err(unusable)?;
        match folder.canonicalize() {
            Ok(real) if !real.starts_with(&all) => {
                let (folder, real) = (folder.display(), real.display());
                Err(refused(format!("{folder} leads out of the folder of submissions, to {real}: copy it")))
            }
            Ok(real) if real.is_dir() => Ok(real),
            _ => Err(refused(format!("there is no folder {}", folder.display()))),
        }
    }

    /// Says where a submission runs and as whom.
    async fn settle(
        &self,
        model_id: &ModelId,
        id: &SubmissionId,
        folder: &Path,
        command: &mut Command,
    ) -> Result<Option<Home>, StartError> {
        let SubmissionUsers::Own(users) = &self.users else {
            command.arg("--submission").arg(folder);
            return Ok(None);
        };
        let cannot = |error| StartError(format!("submission `{id}` has no home of its own: {error}"));
        let home = users.home(model_id, id, folder).await.map_err(cannot)?;
        command
            .arg("--submission")
            .arg(home.submission())
            .arg("--environments")
            .arg(home.environments())
            .current_dir(&home.path)
            .env("HOME", &home.path)
            .env("TMPDIR", home.temporary())
            // the groups of the operator are left behind as well
            .uid(home.uid)
            .gid(home.uid);
        Ok(Some(home))
    }
}

/// A host that is about to be started.
struct Launch {
    command: Command,
    home: Option<Home>,
    timeout: Duration,
}

#[async_trait]
impl Runner for ProcessRunner {
    async fn start(
        &self,
        model_id: &ModelId,
        program: &ModelProgram,
    ) -> Result<Box<dyn Instance>, StartError> {
        let Launch { mut command, home, timeout: patience } = self.launch(model_id, program).await?;
        let child = command
            .spawn()
            .map_err(|error| StartError(format!("cannot run {}: {error}", self.executable.display())))?;
        let mut host = Host { child, _home: home };
        let pipes = (host.child.stdin.take(), host.child.stdout.take(), host.child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(StartError("the host has no pipes".to_owned()));
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut words = Words::record(self.logs.clone(), model_id.clone(), stderr);
        let late = |_| StartError(format!("the host did not come up within {} s", patience.as_secs()));
        let came_up = timeout(patience, come_up(&mut host, &mut lines, &mut words)).await.map_err(late);
        let address = came_up.and_then(|came_up| came_up)?;
        words.comes_up();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Box::new(Process { address, host: Some(host), stdin: Some(stdin), words }))
    }

    fn keep_only(&self, entries: &[ModelEntry]) {
        if let Some(SubmissionUsers::Own(users)) = self.submissions.as_deref().map(|s| &s.users) {
            users.keep_only(entries);
        }
    }

    fn door(&self) -> Door {
        self.submission_users().map_or_else(Door::open, Door::closed_to)
    }
}

async fn come_up(
    host: &mut Host,
    lines: &mut Lines<BufReader<ChildStdout>>,
    words: &mut Words,
) -> Result<SocketAddr, StartError> {
    while let Ok(Some(line)) = lines.next_line().await {
        match announced_address(&line) {
            Some(address) if address.ip().is_loopback() => return Ok(address),
            Some(address) => {
                return Err(StartError(format!("the host listens on {address}, not on loopback")));
            }
            None => {}
        }
    }
    Err(StartError(format!("the host did not come up: {}", how_ended(host, words).await)))
}

/// How the process ended, and the reason that it gave.
async fn how_ended(host: &mut Host, words: &mut Words) -> String {
    let ending = match host.child.wait().await {
        Ok(status) => format!("its process ended with {status}"),
        Err(error) => format!("its process cannot be watched: {error}"),
    };
    match words.last().await {
        Some(reason) => format!("{ending}: {reason}"),
        None => ending,
    }
}

/// What a host says on standard error: recorded in the model's logs, its end kept.
struct Words {
    is_up: Arc<Notify>,
    kept: Arc<Mutex<Vec<u8>>>,
    recording: JoinHandle<()>,
}

impl Words {
    fn record(logs: ModelLogs, model_id: ModelId, mut stderr: ChildStderr) -> Self {
        let (is_up, kept) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
        let (up, keep) = (is_up.clone(), kept.clone());
        let recording = tokio::spawn(async move {
            let (mut kind, mut buffer) = (LogKind::Builder, vec![0; 16 * 1024]);
            loop {
                tokio::select! {
                    biased; // what was said before it came up is the builder's
                    read = stderr.read(&mut buffer) => {
                        let Ok(count @ 1..) = read else { return };
                        keep_end(&keep, &buffer[..count]);
                        write(&logs, kind, &model_id, buffer[..count].to_vec()).await;
                    }
                    () = up.notified() => kind = LogKind::Runner,
                }
            }
        });
        Words { is_up, kept, recording }
    }

    /// From now on the runner speaks.
    fn comes_up(&self) {
        self.is_up.notify_one();
    }

    /// The error at the end, or else the last line.
    async fn last(&mut self) -> Option<String> {
        if !self.recording.is_finished() {
            // a descendant may hold the pipe open
            let _ = timeout(LAST_WORDS, &mut self.recording).await;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let text = text.trim_end();
        let begins = text.rfind("\nerror: ").map(|at| at + 1).or(text.starts_with("error: ").then_some(0));
        let reason = &text[begins.or(text.rfind('\n').map(|at| at + 1)).unwrap_or(0)..];
        (!reason.is_empty())
            .then(|| reason.trim_start_matches("error: ").chars().take(LONGEST_REASON).collect())
    }
}

fn keep_end(kept: &Mutex<Vec<u8>>, text: &[u8]) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend_from_slice(text);
    let surplus = kept.len().saturating_sub(KEPT_WORDS);
    kept.drain(..surplus);
}

async fn write(logs: &ModelLogs, kind: LogKind, model_id: &ModelId, text: Vec<u8>) {
    let (logs, id) = (logs.clone(), model_id.clone());
    let written = tokio::task::spawn_blocking(move || logs.append(kind, &id, &text)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%model_id, %error, "the {} log of {model_id} cannot be written: {error}", kind.as_str());
    }
}

/// A host's process and the home that it uses. Dropping it kills the process and all of its process group.
struct Host {
    child: Child,
    /// Dropped after the process was killed.
    _home: Option<Home>,
}

impl Host {
    /// Its id, and that of its process group, until it has been waited for.
    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // it may have ended by itself
            let _ = killpg(pid, signal);
        }
    }

    async fn stop(&mut self) {
        // only the host: it ends what it has started
        if let Some(pid) = self.pid() {
            let _ = kill(pid, Signal::SIGTERM);
        }
        if timeout(STOP_GRACE, self.child.wait()).await.is_err() {
            tracing::warn!(pid = self.child.id(), "a model host did not stop in time and is killed");
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

struct Process {
    address: SocketAddr,
    /// `None` once it has ended.
    host: Option<Host>,
    /// Apart from the child, because waiting for a child closes its standard input, and that ends a host.
    stdin: Option<ChildStdin>,
    words: Words,
}

impl Process {
    /// Frees what the host used; its user's last processes are looked for, which takes a moment.
    async fn release(&mut self) {
        let host = self.host.take();
        let _ = tokio::task::spawn_blocking(move || drop(host)).await;
    }
}

#[async_trait]
impl Instance for Process {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ended(&mut self) -> String {
        let Some(host) = &mut self.host else { return "its process has ended".to_owned() };
        let how = how_ended(host, &mut self.words).await;
        self.release().await;
        how
    }

    async fn stop(&mut self) {
        drop(self.stdin.take());
        if let Some(host) = &mut self.host {
            host.stop().await;
        }
        self.release().await;
    }
}
