//! `condor model-host`

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use domain::SystemClock;
use model_client::{CredentialsError, FileChecks};
use orchestrator::Door;
use orchestrator::builtin::{BuiltinSpec, SpecError};
use orchestrator::host::{self, AfterDeath, Environments, NodeSecurity, Submission};
use orchestrator::limits::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::{ModelHostArgs, NodeSecurityArgs, SubmissionArgs};

/// Serves one model as a gRPC node until `shutdown`.
pub async fn run(args: ModelHostArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let ModelHostArgs { served, listen, security, submission } = args;
    let tls_dir = security.tls_dir.clone();
    let security = node_security(&security).map_err(|error| UsageError(error.to_string()))?;
    if let Some(folder) = served.submission {
        if let Some(directory) = &tls_dir {
            tracing::warn!("{}", shares_key(directory));
        }
        return serve_submission(&folder, submission, listen, security, shutdown).await;
    }
    let spec = served.builtin.unwrap_or_default();
    let spec: BuiltinSpec = spec.parse().map_err(|error: SpecError| UsageError(error.to_string()))?;
    host::serve_builtin(announced(listen).await?, spec.build(), security, shutdown).await?;
    Ok(())
}

/// Reads certificates and keys.
fn node_security(args: &NodeSecurityArgs) -> Result<NodeSecurity, CredentialsError> {
    let (checks, clock) = (FileChecks::default(), Arc::new(SystemClock));
    let security = match (&args.tls_dir, &args.gateway_keys, &args.model_id) {
        (Some(directory), _, _) => NodeSecurity::mutual_tls(directory, checks, clock),
        (None, Some(keys), Some(model_id)) => NodeSecurity::gateway(keys, model_id, checks, clock),
        _ => Ok(NodeSecurity::plain()),
    }?;
    Ok(security.behind(args.closed_to_users.map_or_else(Door::open, Door::closed_to)))
}

/// What the operator is to know, in one sentence.
fn shares_key(directory: &Path) -> String {
    format!(
        "the submission runs as the user of this host and can read {}: whoever has that key can answer in this node's name, so \
         run only code that you trust, on a machine or in a container of its own",
        directory.join("tls.key").display()
    )
}

/// The submission's environment is there before anybody is told where it listens.
async fn serve_submission(
    folder: &Path,
    args: SubmissionArgs,
    listen: SocketAddr,
    security: NodeSecurity,
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
        after_death: if args.exit_with_model { AfterDeath::End } else { AfterDeath::AwaitSetup },
    };
    host::serve_submission(announced(listen).await?, submission, security, shutdown).await?;
    Ok(())
}

/// Listens, and says where.
async fn announced(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    println!("{}", host::announcement(listener.local_addr()?));
    Ok(listener)
}
