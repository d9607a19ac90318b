//! `condor model-host`

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use orchestrator::builtin::{BuiltinSpec, SpecError};
use orchestrator::host::{self, Environments, Submission};
use orchestrator::limits::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::{ModelHostArgs, SubmissionArgs};

/// Serves one model as a gRPC node until `shutdown`.
pub async fn run(args: ModelHostArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let ModelHostArgs { served, listen, submission } = args;
    if let Some(folder) = served.submission {
        return serve_submission(&folder, submission, listen, shutdown).await;
    }
    let spec = served.builtin.unwrap_or_default();
    let spec: BuiltinSpec = spec.parse().map_err(|error: SpecError| UsageError(error.to_string()))?;
    host::serve_builtin(announced(listen).await?, spec.build(), shutdown).await?;
    Ok(())
}

/// The submission's environment is there before anybody is told where it listens.
async fn serve_submission(
    folder: &Path,
    args: SubmissionArgs,
    listen: SocketAddr,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    if args.call_limit.is_zero() {
        return Err(UsageError("--call-limit must be above 0s".to_owned()).into());
    }
    let unusable = |error| UsageError(format!("--submission {}: {error}", folder.display()));
    let folder = folder.canonicalize().map_err(unusable)?;
    // before anything of the submission's runs: set-up scripts of its packages do, while the environment is built
    Limits::from(args.limits).apply_to_this_process()?;
    let environments = match args.environments {
        Some(folder) => Environments::in_folder(folder),
        None => Environments::beside(&folder),
    };
    let preparing = environments.interpreter(&folder, &args.python);
    let Some(interpreter) = shutdown.run_until_cancelled(preparing).await else { return Ok(()) };
    let submission = Submission {
        folder,
        interpreter: interpreter?,
        base_class: args.base_class,
        call_limit: args.call_limit.as_duration(),
    };
    host::serve_submission(announced(listen).await?, submission, shutdown).await?;
    Ok(())
}

/// Listens, and says where.
async fn announced(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", host::announcement(listener.local_addr()?));
    Ok(listener)
}
