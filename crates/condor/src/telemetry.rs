//! Logs go to standard error, one line each; `RUST_LOG` sets what is shown.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging at `info`, or as `RUST_LOG` says.
pub fn start(default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
