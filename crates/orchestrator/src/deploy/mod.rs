//! The deploy API: see, upload, start, stop and remove the models of a local orchestrator over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `GET /models` | every model of the list and how it does |
//! | `POST /models` multipart: `desired_state`, `model_name`, `cruncher_name`, `cruncher_id`, `files` | the new model |
//! | `PATCH /models/{id}` the same, all optional | the model |
//! | `DELETE /models/{id}` | 204 |
//! | `GET /models/logs/{builder or runner}/{job_id}?follow=&from_start=` | text |
//!
//! Whatever changes something needs the key, from this machine too: submissions run here and must not change one another.
//! Submissions that have users of their own are not even heard: what others print is none of their business.
//! When it listens beyond loopback everything needs the key. Errors are `application/problem+json`.

mod guard;
mod key;
mod problem;
mod routes;
mod store;
mod upload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use domain::CrunchId;
use http_serve::Limits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use key::{DeployKey, KeyError};
pub use upload::MAX_UPLOAD_BYTES;

use crate::local::Control;
use crate::logs::ModelLogs;
use guard::Guard;
use store::ModelStore;

/// Connections at once; further ones wait.
const CONNECTIONS: usize = 128;

/// What the deploy API works on.
pub struct DeployApi {
    /// The orchestrator that runs the models of `models_file`.
    pub control: Control,
    /// Its list of models.
    pub models_file: PathBuf,
    /// Its folder of submissions.
    pub submissions: PathBuf,
    /// What its models say.
    pub logs: ModelLogs,
    /// Its competition.
    pub crunch_id: CrunchId,
    /// What whoever changes something must know.
    pub key: DeployKey,
}

/// Serves the API on `listener` until `shutdown`, to whom the orchestrator's runner does not keep out.
pub async fn serve(
    listener: TcpListener,
    api: DeployApi,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let address: SocketAddr = listener.local_addr()?;
    let door = api.control.door();
    let store = ModelStore::new(api.models_file, api.submissions, api.control.clone());
    let guard = Guard::new(api.key, address);
    let state = routes::Api {
        control: api.control,
        store: Arc::new(store),
        logs: api.logs,
        crunch_id: api.crunch_id,
        stop: shutdown.clone(),
    };
    tracing::info!(%address, "the deploy API is at http://{address}");
    let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
    http_serve::serve("deploy API", listener, routes::router(state, guard), door, limits, shutdown).await;
    Ok(())
}
