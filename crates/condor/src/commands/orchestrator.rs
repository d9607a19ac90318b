//! `condor orchestrator`

use std::sync::Arc;

use anyhow::Context;
use domain::CrunchId;
use orchestrator::{LocalOrchestrator, ModelSource, ProcessRunner, RandomIds};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::OrchestratorArgs;

/// Runs the models of a models.yml, each in a process of its own, until `shutdown`.
pub async fn run(args: OrchestratorArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    if !args.models.is_file() {
        let path = args.models.display();
        return Err(UsageError(format!("{path}: no such file: name the list of models with --models")).into());
    }
    let crunch = CrunchId::new(&args.crunch).map_err(|error| UsageError(format!("--crunch: {error}")))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --listen", args.listen))?;
    let runner =
        ProcessRunner { executable: std::env::current_exe().context("cannot tell where this program is")? };
    let orchestrator = LocalOrchestrator::start(
        listener,
        ModelSource::File(args.models),
        crunch,
        Arc::new(runner),
        RandomIds,
    )
    .await?;
    println!("listening on ws://{}/{}", orchestrator.local_addr(), args.crunch);
    shutdown.cancelled().await;
    orchestrator.shutdown().await;
    Ok(())
}
