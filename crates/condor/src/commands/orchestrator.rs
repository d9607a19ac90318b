//! `condor orchestrator`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use domain::CrunchId;
use orchestrator::deploy::{self, DeployApi, DeployKey};
use orchestrator::limits::{Limits, MIN_MEMORY};
use orchestrator::logs::ModelLogs;
use orchestrator::{LocalOrchestrator, ModelSource, ProcessRunner, RandomIds, SubmissionUsers, Submissions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::UsageError;
use crate::cli::{DeployListen, OrchestratorArgs};

const KEY_FILE: &str = "deploy-key";

/// Runs the models of a models.yml, each in a process of its own, until `shutdown`.
pub async fn run(args: OrchestratorArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    if !args.models.is_file() {
        let path = args.models.display();
        return Err(UsageError(format!("{path}: no such file: name the list of models with --models")).into());
    }
    let crunch = CrunchId::new(&args.crunch).map_err(|error| UsageError(format!("--crunch: {error}")))?;
    let deploy = match args.deploy_listen {
        DeployListen::At(address) => {
            Some((deploy_key(&args, address)?, listen(address, "--deploy-listen").await?))
        }
        DeployListen::Off => None,
    };
    let listener = listen(args.listen, "--listen").await?;
    let folder = submissions_folder(&args.submissions)?;
    let logs = args.logs.clone().unwrap_or_else(|| folder.join(".logs"));
    let logs = ModelLogs::in_folder(logs.clone()).with_context(|| format!("--logs {}", logs.display()))?;
    let runner = runner(&args, folder.clone(), logs.clone())?;
    let source = ModelSource::File(args.models.clone());
    let orchestrator =
        LocalOrchestrator::start(listener, source, crunch.clone(), Arc::new(runner), RandomIds).await?;
    println!("listening on ws://{}/{}", orchestrator.local_addr(), args.crunch);
    if let Some((key, listener)) = deploy {
        println!("deploy API on http://{}", listener.local_addr()?);
        let control = orchestrator.control();
        let api = DeployApi {
            control,
            models_file: args.models,
            submissions: folder,
            logs,
            crunch_id: crunch,
            key,
        };
        deploy::serve(listener, api, shutdown.clone()).await?;
    }
    shutdown.cancelled().await;
    orchestrator.shutdown().await;
    Ok(())
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another {flag}"))
}

/// The key that was given, or that of the file beside the list of models; beyond loopback it must be given.
fn deploy_key(args: &OrchestratorArgs, address: SocketAddr) -> anyhow::Result<DeployKey> {
    if let Some(key) = &args.deploy_key {
        return DeployKey::new(key).map_err(|error| UsageError(format!("--deploy-key: {error}")).into());
    }
    if !address.ip().is_loopback() {
        let refusal = format!(
            "--deploy-listen {address}: everybody who reaches it could run code here: give it a key in CONDOR_DEPLOY_KEY, or \
             listen on 127.0.0.1"
        );
        return Err(UsageError(refusal).into());
    }
    let file = args.models.with_file_name(KEY_FILE);
    let key = DeployKey::from_file(&file).context("the key of the deploy API")?;
    tracing::info!(file = %file.display(), "the key of the deploy API is in {}", file.display());
    Ok(key)
}

/// Made when it is not there: the deploy API fills it.
fn submissions_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)
        .and_then(|()| folder.canonicalize())
        .with_context(|| format!("--submissions {}", folder.display()))
}

fn runner(args: &OrchestratorArgs, folder: PathBuf, logs: ModelLogs) -> anyhow::Result<ProcessRunner> {
    let executable = std::env::current_exe().context("cannot tell where this program is")?;
    let users = SubmissionUsers::choose(args.submission_users, &args.submission_homes, &executable, &folder)
        .map_err(|error| UsageError(format!("--submission-users: {error}")))?;
    match &users {
        SubmissionUsers::Own(_) => tracing::info!("{}", users.describe()),
        SubmissionUsers::Operator(_) => tracing::warn!("{}", users.describe()),
    }
    let limits = Limits::from(args.limits).or(Limits::FOR_SUBMISSIONS);
    if limits.memory.is_some_and(|memory| memory.0 < MIN_MEMORY.0) {
        return Err(UsageError(format!(
            "--max-memory: at least {MIN_MEMORY}, since the host of a model needs some"
        ))
        .into());
    }
    let (python, base_class) = (args.python.clone(), args.base_class.clone());
    let submissions = Submissions { folder, python, base_class, limits, users };
    Ok(ProcessRunner::new(executable, logs).with_submissions(submissions))
}
