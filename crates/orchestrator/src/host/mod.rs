//! The model host: serves one model as a gRPC node, as live model nodes do.

mod arguments;
mod builtin;
mod gateway;
mod parent;
mod reply;
mod security;
mod submission;
mod tls;

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use protocol::dynamic_subclass::dynamic_subclass_service_server::{
    DynamicSubclassService, DynamicSubclassServiceServer,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

pub use parent::wait_for_parent_exit;
pub use security::NodeSecurity;
pub(crate) use submission::installers_see;
pub use submission::{AfterDeath, EnvironmentError, Environments, Submission};

use crate::builtin::BuiltinModel;
use builtin::Node;
use submission::SubmissionNode;

/// The largest message that a host takes and sends: thirty days of prices of many assets in one piece.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Calls in progress and open health watches get this long when the host stops.
const GRACE: Duration = Duration::from_secs(3);

/// Why a host has ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It could not serve.
    #[error("the model host failed: {0}")]
    Serving(#[from] tonic::transport::Error),
    /// The process of its submission has died, and [`AfterDeath::End`] is what it does then; in words.
    #[error("{0}")]
    ModelDied(String),
}

/// Serves `model` on `listener` until `shutdown`: the model's own service and the gRPC health check on one port, one
/// call at a time, to those whom `security` lets in. The call in progress gets a few seconds to end.
pub async fn serve_builtin(
    listener: TcpListener,
    model: Box<dyn BuiltinModel>,
    security: NodeSecurity,
    shutdown: CancellationToken,
) -> Result<(), HostError> {
    serve(listener, Node::new(model), security, shutdown).await
}

/// Serves a Python submission as [`serve_builtin`] serves a built-in model, or until its process dies if the submission says
/// so. Its process has ended when this returns.
pub async fn serve_submission(
    listener: TcpListener,
    submission: Submission,
    security: NodeSecurity,
    shutdown: CancellationToken,
) -> Result<(), HostError> {
    let stop = CancellationToken::new();
    let (dies, death) = oneshot::channel();
    let node = SubmissionNode::new(submission, stop.clone(), dies);
    let end = node.end();
    let ending = shutdown.child_token();
    let mut serving = pin!(serve(listener, node, security, ending.clone()));
    let served = tokio::select! {
        served = &mut serving => served,
        Ok(how) = death => {
            // the call in progress is still answered, with the same words
            ending.cancel();
            serving.await.and(Err(HostError::ModelDied(how)))
        }
    };
    stop.cancel();
    end.await;
    served
}

/// The one place where the gRPC server is built.
async fn serve(
    listener: TcpListener,
    node: impl DynamicSubclassService,
    security: NodeSecurity,
    shutdown: CancellationToken,
) -> Result<(), HostError> {
    let (_, health) = tonic_health::server::health_reporter();
    let node = DynamicSubclassServiceServer::new(node)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let incoming = security.incoming(listener);
    let serving = Server::builder()
        .layer(security.layer())
        .add_service(node)
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    tokio::select! {
        served = serving => Ok(served?),
        () = patience_ends(shutdown) => Ok(()),
    }
}

async fn patience_ends(shutdown: CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

const ANNOUNCEMENT: &str = "listening on ";

/// The line that a host prints on standard output once it serves; the orchestrator waits for it.
pub fn announcement(address: SocketAddr) -> String {
    format!("{ANNOUNCEMENT}{address}")
}

/// The address in a line that [`announcement`] made; `None` for any other line.
pub fn announced_address(line: &str) -> Option<SocketAddr> {
    line.trim().strip_prefix(ANNOUNCEMENT)?.parse().ok()
}
