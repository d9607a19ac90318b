//! When to stop, and when to read the configuration again.

use std::fs::{File, read_to_string};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cancelled on the first Ctrl-C or SIGTERM, or when standard input closes if `with_parent`. A second signal ends the
/// process at once.
pub fn shutdown(with_parent: bool) -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = token.clone();
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count > 0 {
                eprintln!("stopping at once, as asked twice");
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    if with_parent {
        let stop = token.clone();
        tokio::spawn(async move {
            orchestrator::host::wait_for_parent_exit().await;
            stop.cancel();
        });
    }
    Ok(token)
}

/// The SIGHUPs that ask to read the configuration again. A SIGHUP because the terminal was closed asks to stop, as ever.
pub struct Hangups {
    signal: Signal,
    /// A SIGHUP may mean that it is closed.
    has_terminal: bool,
    shutdown: CancellationToken,
}

impl Hangups {
    /// From now on a SIGHUP ends the process no more.
    pub fn listen(shutdown: CancellationToken) -> anyhow::Result<Self> {
        // Before listening, which ends what `nohup` has set.
        let has_terminal = is_terminal_open() && !is_hangup_ignored();
        let signal = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
        Ok(Hangups { signal, has_terminal, shutdown })
    }

    /// Waits for the next. Several that come at once are one.
    pub async fn next(&mut self) {
        while self.signal.recv().await.is_some() {
            if !self.has_terminal || is_terminal_open() {
                return;
            }
            self.shutdown.cancel();
        }
        std::future::pending().await
    }
}

/// Whether this process has a terminal that can be spoken to.
fn is_terminal_open() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether the process was started with `nohup`: it is to outlive its terminal. Only Linux tells.
fn is_hangup_ignored() -> bool {
    const HANGUP: u64 = 1;
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & HANGUP != 0)
}
