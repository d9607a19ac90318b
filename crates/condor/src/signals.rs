//! When to stop.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
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
