//! `/healthz` and `/readyz` of the workers that have no HTTP interface of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use http_serve::{Limits, OpenDoor};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What a worker says about itself: whether it can do its own work, and details for the operator.
#[async_trait::async_trait]
pub trait Readiness: Send + Sync {
    /// True and details, or false and what is wrong.
    async fn check(&self) -> (bool, Value);
}

/// For an operator and a few probes.
const LIMITS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(20),
    stall: Duration::from_secs(20),
    drain: Duration::from_secs(1),
};

/// Serves until `shutdown`; does nothing without an address.
pub async fn serve(
    listen: Option<SocketAddr>,
    worker: &'static str,
    readiness: Arc<dyn Readiness>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(address) = listen else { return Ok(()) };
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another --admin-listen"))?;
    tracing::info!(worker, address = %listener.local_addr()?, "admin interface");
    let router = Router::new()
        .route("/healthz", get(move || async move { Json(json!({ "worker": worker, "alive": true })) }))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    tokio::spawn(http_serve::serve("admin interface", listener, router, OpenDoor, LIMITS, shutdown));
    Ok(())
}

async fn readyz(State(readiness): State<Arc<dyn Readiness>>) -> (StatusCode, Json<Value>) {
    let (ready, details) = readiness.check().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "details": details })))
}
