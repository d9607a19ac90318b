//! The Python process of a submission.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::frame::{self, Answer, InvalidAnswer, Request};
use super::{Submission, log};

/// It uses the standard library only, and comes with the program.
const SCRIPT: &str = include_str!("../../../../../python/submission_host.py");

/// A pipe that closes is mostly that of a process that ends: how it ended is known this soon.
const END_GRACE: Duration = Duration::from_secs(1);
/// Its last words are read for this long; descendants may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A running Python process. Dropping it kills it and all of its process group.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    requests: ChildStdin,
    answers: ChildStdout,
    log: JoinHandle<()>,
}

impl Process {
    /// Starts the interpreter; nothing of the submission runs before the first request. It is killed when the thread that
    /// calls this ends, which has to live as long as the host: that of a runtime, not of its pool for blocking work.
    pub(super) fn start(submission: &Submission) -> std::io::Result<Self> {
        let mut child = command(submission).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(requests), Some(answers), Some(output)) = pipes else {
            return Err(std::io::Error::other("the process has no pipes"));
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let log = tokio::spawn(log::follow(output, |line| tracing::info!("the submission says: {line}")));
        Ok(Process { child, group, requests, answers, log })
    }

    /// How the process ended, in words, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(in_words(status)),
            Err(error) => Some(format!("the model's process cannot be watched: {error}")),
        }
    }

    /// Sends a request and waits for the answer, or for the reason, in words, why there will be none: the process is of no
    /// use then.
    pub(super) async fn ask(&mut self, request: &Request, largest_value: usize) -> Result<Answer, String> {
        let exchange = async {
            // what is not taken is told by the answer that does not come
            let _ = request.send(&mut self.requests).await;
            frame::receive(&mut self.answers, request.id(), largest_value).await
        };
        let answered = tokio::select! {
            biased;
            answered = exchange => answered,
            status = self.child.wait() => return Err(end_in_words(status)),
        };
        match answered {
            Ok(answer) => Ok(answer),
            Err(InvalidAnswer::Ended) => Err(self.why_silent().await),
            Err(invalid) => Err(format!("the model wrote into the pipe to its host: {invalid}")),
        }
    }

    async fn why_silent(&mut self) -> String {
        match timeout(END_GRACE, self.child.wait()).await {
            Ok(status) => end_in_words(status),
            Err(_) => "the model closed the pipe to its host".to_owned(),
        }
    }

    /// Kills the process, after reading what it printed last.
    pub(super) async fn kill(mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
        let _ = timeout(LAST_WORDS, &mut self.log).await;
    }

    fn kill_group(&self) {
        if let Some(group) = self.group {
            // it may have ended by itself
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        self.log.abort();
    }
}

fn command(submission: &Submission) -> Command {
    let mut command = Command::new(&submission.interpreter);
    command
        // isolated, without stale byte code, UTF-8 everywhere, and a word in the log when it crashes
        .args(["-I", "-B", "-u", "-X", "utf8", "-X", "faulthandler", "-c", SCRIPT])
        .arg(&submission.folder)
        .arg(&submission.base_class)
        .arg(super::LARGEST_VALUE.to_string())
        .current_dir(&submission.folder)
        .env_clear()
        .env("HOME", &submission.folder)
        .env("LANG", "C.UTF-8")
        .env("TMPDIR", std::env::temp_dir())
        .env("PATH", path(&submission.interpreter))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// The programs of the submission's environment come first.
fn path(interpreter: &Path) -> std::ffi::OsString {
    let own = interpreter.parent().map(Path::as_os_str).unwrap_or_default();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    if own.is_empty() || inherited.is_empty() {
        return if own.is_empty() { inherited } else { own.to_owned() };
    }
    [own, &inherited].join(OsStr::new(":"))
}

fn end_in_words(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => in_words(status),
        Err(error) => format!("the model's process cannot be watched: {error}"),
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => {
            let name = Signal::try_from(number).map(|signal| format!(" ({signal})")).unwrap_or_default();
            format!("the model's process ended with signal {number}{name}")
        }
        (None, Some(code)) => format!("the model's process ended with exit status {code}"),
        (None, None) => format!("the model's process ended with {status}"),
    }
}
