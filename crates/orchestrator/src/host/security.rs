//! Who may call a model node, and how it proves who it is: one layer around the gRPC services, whatever the mode.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::Clock;
use futures::future::BoxFuture;
use http::{Request, Response};
use node_credentials::{CredentialsError, FileChecks};
use tokio::net::TcpListener;
use tonic::body::Body;
use tower::{Layer, Service};

use super::gateway::TokenGate;
use super::tls::{Connections, NodeTls};
use crate::door::Door;

/// How a model node talks to coordinators. Cloning shares what was read.
#[derive(Debug, Clone)]
pub struct NodeSecurity {
    mode: Mode,
    door: Door,
}

impl From<Mode> for NodeSecurity {
    fn from(mode: Mode) -> Self {
        NodeSecurity { mode, door: Door::open() }
    }
}

#[derive(Debug, Clone)]
enum Mode {
    Plain,
    MutualTls(Arc<NodeTls>),
    Gateway(Arc<TokenGate>),
}

impl NodeSecurity {
    /// No TLS, and whoever reaches the port may call.
    pub fn plain() -> Self {
        Mode::Plain.into()
    }

    /// Mutual TLS with wallet delegation. `directory` holds `tls.crt` and `tls.key` of the node, for the name
    /// `model-node-MODEL_ID.crunchdao.internal`; `delegation.json`, as `crunch-certificate sign` writes it; and
    /// `coordinator-keys`, a line for each coordinator that may call: the SHA-256 of its certificate's public key (DER
    /// SubjectPublicKeyInfo) in hexadecimal. They are read again when they change. `clock` tells the real time.
    pub fn mutual_tls(
        directory: &Path,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        Ok(Mode::MutualTls(Arc::new(NodeTls::open(directory, checks, clock)?)).into())
    }

    /// A gateway in front of the node ends TLS; each call has to carry a token for `model_id` by one of the keys in the
    /// file `coordinator_keys`, written as above.
    pub fn gateway(
        coordinator_keys: &Path,
        model_id: &str,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        let gate = TokenGate::open(coordinator_keys, model_id, checks, clock)?;
        Ok(Mode::Gateway(Arc::new(gate)).into())
    }

    /// The same behind a door.
    pub fn behind(self, door: Door) -> Self {
        NodeSecurity { door, ..self }
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Looks at the files once and takes what has changed. A node that serves does this by itself.
    pub fn refresh(&self) {
        match &self.mode {
            Mode::Plain => {}
            Mode::MutualTls(tls) => tls.refresh(),
            Mode::Gateway(gate) => gate.refresh(),
        }
    }

    /// How often the files are looked at.
    pub(super) fn checked_every(&self) -> Option<Duration> {
        match &self.mode {
            Mode::Plain => None,
            Mode::MutualTls(tls) => Some(tls.checked_every()),
            Mode::Gateway(gate) => Some(gate.checked_every()),
        }
    }

    pub(super) fn tls(&self) -> Option<&NodeTls> {
        match &self.mode {
            Mode::MutualTls(tls) => Some(tls),
            Mode::Plain | Mode::Gateway(_) => None,
        }
    }

    /// The connections that come to `listener` and are let in.
    pub(super) fn incoming(&self, listener: TcpListener) -> Connections {
        Connections::of(listener, self.clone())
    }

    /// What stands before every service of the node.
    pub(super) fn layer(&self) -> SecurityLayer {
        SecurityLayer(self.clone())
    }
}

/// Puts [`Secured`] around a service.
#[derive(Debug, Clone)]
pub(super) struct SecurityLayer(NodeSecurity);

impl<S> Layer<S> for SecurityLayer {
    type Service = Secured<S>;

    fn layer(&self, inner: S) -> Secured<S> {
        Secured { inner, security: self.0.clone() }
    }
}

/// A service that answers whom it may, and says in each answer who it is.
#[derive(Debug, Clone)]
pub(super) struct Secured<S> {
    inner: S,
    security: NodeSecurity,
}

impl<S> Service<Request<Body>> for Secured<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &self.security.mode {
            Mode::Plain => Box::pin(self.inner.call(request)),
            Mode::Gateway(gate) => match gate.admit(&request) {
                Ok(()) => Box::pin(self.inner.call(request)),
                Err(fault) => {
                    let refusal = tonic::Status::unauthenticated(fault.to_string());
                    Box::pin(ready(Ok(refusal.into_http())))
                }
            },
            Mode::MutualTls(tls) => {
                let delegation = tls.delegation_for(&request);
                let answering = self.inner.call(request);
                Box::pin(async move {
                    let mut answer = answering.await?;
                    answer.headers_mut().extend(delegation);
                    Ok(answer)
                })
            }
        }
    }
}
