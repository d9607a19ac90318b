//! The real binary.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;

/// The binary, built once for each test program and as that was: with optimisations or without.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bin", "condor"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "cargo build --workspace --bin condor failed");
        // target/PROFILE/deps/TEST → target/PROFILE/condor
        let test = std::env::current_exe().unwrap();
        test.parent().and_then(Path::parent).unwrap().join("condor")
    })
}

/// The binary with arguments, in an environment that sets nothing of condor's.
pub fn condor<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program());
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CONDOR_") || name == "DATABASE_URL")
    {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// The same command as a process that finds out by an error, and not by its end, that a file may not grow further.
pub fn told_of_full_disks(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"trap '' XFSZ; exec "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// What the binary prints; it must succeed.
pub fn condor_output<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> String {
    let output: Output = condor(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// One JSON value for each line.
pub fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A running process; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    output: Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
    logging: JoinHandle<()>,
}

/// What a process takes of the machine's memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most that it ever was.
    pub peak: u64,
}

impl Process {
    /// Starts the binary. What it logs is shown when the test fails.
    pub fn start<S: AsRef<std::ffi::OsStr>>(name: &str, arguments: impl IntoIterator<Item = S>) -> Self {
        Self::spawn(name, condor(arguments))
    }

    /// Starts a command.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, output) = channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let (stderr, label) = (child.stderr.take().unwrap(), name.to_owned());
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&log);
        let logging = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                println!("[{label}] {line}");
                kept.lock().unwrap().push(line);
            }
        });
        Process { name: name.to_owned(), child, output, log, logging }
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// From now on no file of its own can be written, as on a full disk; or all can again.
    pub fn fill_disk(&self, is_full: bool) {
        let limit = if is_full { "--fsize=0:" } else { "--fsize=unlimited:" };
        let pid = self.child.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, limit]).status().unwrap();
        assert!(set.success(), "prlimit {limit}: {set}");
    }

    /// It has not ended.
    pub fn check_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} has ended with {status}; at last it said: {:?}", self.name, self.log().last());
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The memory that it takes.
    pub fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            let kilobytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
            kilobytes * 1024
        };
        Memory { resident: bytes("VmRSS"), peak: bytes("VmHWM") }
    }

    /// The rest of the first line on standard output that starts with `prefix`.
    pub fn wait_for_line(&self, prefix: &str, patience: Duration) -> String {
        let what = format!("`{prefix}` from {}", self.name);
        eventually(&what, patience, || {
            let line = self.output.try_recv().ok()?;
            line.strip_prefix(prefix).map(|rest| rest.trim().to_owned())
        })
    }

    /// Kills it as the kernel does when memory runs out.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it where it is, as a machine that is put to sleep.
    pub fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Process::suspend`].
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Sends SIGTERM and does not wait.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends SIGTERM and waits.
    pub fn terminate(mut self, patience: Duration) -> ExitStatus {
        self.stop(patience)
    }

    /// Sends SIGTERM, waits for a good end, and gives all that it has logged.
    pub fn finish(mut self, patience: Duration) -> Vec<String> {
        let status = self.stop(patience);
        assert!(status.success(), "{}: {status}", self.name);
        eventually("the end of its log", patience, || self.logging.is_finished().then_some(()));
        self.log()
    }

    fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let what = format!("{} to stop", self.name);
        eventually(&what, patience, || self.child.try_wait().unwrap())
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) {
        self.signal(Signal::SIGHUP);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
