//! `/healthz`, `/readyz` and `/metrics` of the workers that have no HTTP interface of their own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http_serve::{Limits, OpenDoor};
use monitoring::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What a worker says about itself: whether it can do its own work, and details for the operator.
#[async_trait::async_trait]
pub trait Readiness: Send + Sync {
    /// True and details, or false and what is wrong.
    async fn check(&self) -> (bool, Value);

    /// Brings up to date what its metrics show of this moment.
    fn look(&self) {}
}

#[derive(Clone)]
struct Admin {
    worker: &'static str,
    readiness: Arc<dyn Readiness>,
    metrics: Arc<Registry>,
}

/// The socket for operators, if there is to be one.
pub async fn listen(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another --admin-listen"))?;
    Ok(Some(listener))
}

/// Serves until `shutdown`; does nothing without an address.
pub async fn serve(
    listen: Option<SocketAddr>,
    worker: &'static str,
    readiness: Arc<dyn Readiness>,
    metrics: Registry,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(listener) = self::listen(listen).await? else { return Ok(()) };
    tracing::info!(worker, address = %listener.local_addr()?, "admin interface");
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(Admin { worker, readiness, metrics: Arc::new(metrics) });
    tokio::spawn(http_serve::serve(
        "admin interface",
        listener,
        router,
        OpenDoor,
        Limits::FOR_OPERATORS,
        shutdown,
    ));
    Ok(())
}

async fn healthz(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "worker": admin.worker, "alive": true }))
}

async fn show_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    admin.readiness.look();
    ([(header::CONTENT_TYPE, monitoring::CONTENT_TYPE)], admin.metrics.text())
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, Json<Value>) {
    let (ready, details) = admin.readiness.check().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "details": details })))
}
