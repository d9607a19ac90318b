//! `condor model-host`

use std::sync::Arc;

use anyhow::Context;
use domain::SystemClock;
use model_client::{CredentialsError, FileChecks};
use orchestrator::builtin::{BuiltinSpec, SpecError};
use orchestrator::host::{self, NodeSecurity};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::{ModelHostArgs, NodeSecurityArgs};

/// Serves one built-in model as a gRPC node until `shutdown`.
pub async fn run(args: ModelHostArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let spec: BuiltinSpec = args.builtin.parse().map_err(|error: SpecError| UsageError(error.to_string()))?;
    let security = security(&args.security).map_err(|error| UsageError(error.to_string()))?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("{}", host::announcement(listener.local_addr()?));
    host::serve_builtin(listener, spec.build(), security, shutdown).await?;
    Ok(())
}

fn security(args: &NodeSecurityArgs) -> Result<NodeSecurity, CredentialsError> {
    let (checks, clock) = (FileChecks::default(), Arc::new(SystemClock));
    match (&args.tls_dir, &args.gateway_keys, &args.model_id) {
        (Some(directory), _, _) => NodeSecurity::mutual_tls(directory, checks, clock),
        (None, Some(keys), Some(model_id)) => NodeSecurity::gateway(keys, model_id, checks, clock),
        _ => Ok(NodeSecurity::plain()),
    }
}
