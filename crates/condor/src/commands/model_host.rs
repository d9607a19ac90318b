//! `condor model-host`

use anyhow::Context;
use orchestrator::builtin::{BuiltinSpec, SpecError};
use orchestrator::host;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::ModelHostArgs;

/// Serves one built-in model as a gRPC node until `shutdown`.
pub async fn run(args: ModelHostArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let spec: BuiltinSpec = args.builtin.parse().map_err(|error: SpecError| UsageError(error.to_string()))?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("{}", host::announcement(listener.local_addr()?));
    host::serve_builtin(listener, spec.build(), shutdown).await?;
    Ok(())
}
