//! Servers to ask.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::http::Address;

/// How long a server may take to start, in tries.
const TRIES: u32 = 300;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// A server, until this is dropped.
pub struct Served {
    pub address: Address,
    process: Child,
}

impl Served {
    /// Starts it, and waits until it answers `path`.
    pub fn start(mut command: Command, port: u16, path: &str) -> Result<Self> {
        // A group of its own: servers start others.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut served =
            Served { address: Address { port }, process: process.context("cannot start a server")? };
        for _ in 0..TRIES {
            if served.address.get(path, &[]).is_ok() {
                return Ok(served);
            }
            if let Some(status) = served.process.try_wait()? {
                bail!("a server ended at its start: {status}");
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        bail!("a server did not answer {path} in time")
    }

    /// What of its memory is resident.
    pub fn memory_mb(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let mut lines = status.lines().filter_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = lines.next().and_then(|line| line.trim().strip_suffix("kB"));
        let kilobytes = kilobytes.with_context(|| format!("{path} does not say how much is resident"))?;
        Ok(kilobytes.trim().parse::<f64>()? * 1024.0 / 1e6)
    }
}

impl Drop for Served {
    /// Nothing is left running behind an error.
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.process.id() as i32), Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
