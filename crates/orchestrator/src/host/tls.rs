//! A node with mutual TLS: connections, the certificate that each was shown, and the wallet's word for it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use domain::Clock;
use futures::Stream;
use http::{HeaderMap, Request};
use http_serve::Door as _;
use node_credentials::{CredentialsError, FileChecks, NodeIdentity, Watched};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::security::NodeSecurity;

/// The longest handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes at the same time: one coordinator needs a few.
const MOST_HANDSHAKES: usize = 64;
/// The pause after a connection could not be taken, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For nodes whose files need no looking at.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The node's credentials, as its files say.
pub(super) struct NodeTls {
    identity: Watched<NodeIdentity>,
    checks: FileChecks,
    clock: Arc<dyn Clock>,
}

impl NodeTls {
    pub fn open(
        directory: &Path,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        let identity = NodeIdentity::watch(directory, checks.warn_before)?;
        Ok(NodeTls { identity, checks, clock })
    }

    pub fn refresh(&self) {
        self.identity.refresh(self.clock.now());
    }

    pub fn checked_every(&self) -> Duration {
        self.checks.every
    }

    /// The metadata that goes with the answer: the newest delegation for the certificate that was shown on the request's
    /// connection, which outlives a change of certificate.
    pub fn delegation_for<B>(&self, request: &Request<B>) -> HeaderMap {
        let Some(Shown(Some(shown))) = request.extensions().get() else { return HeaderMap::new() };
        let current = self.identity.current();
        let same = current.public_key == shown.public_key;
        let delegation = if same { &current.delegation } else { &shown.delegation };
        delegation.to_headers().unwrap_or_default()
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<NodeStream> {
        let identity = self.identity.current();
        let accepting = TlsAcceptor::from(identity.config.clone()).accept(stream);
        let stream = timeout(HANDSHAKE_PATIENCE, accepting).await.map_err(io::Error::from)??;
        Ok(NodeStream { io: Either::Right(Box::new(stream)), shown: Shown(Some(identity)) })
    }
}

impl std::fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What a connection was shown; tonic hands it to each request of the connection.
#[derive(Debug, Clone)]
pub(super) struct Shown(Option<Arc<NodeIdentity>>);

/// A connection that was let in.
pub(super) struct NodeStream {
    io: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    shown: Shown,
}

impl Connected for NodeStream {
    type ConnectInfo = Shown;

    fn connect_info(&self) -> Shown {
        self.shown.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Connections as they are let in. Dropping it ends the listening.
pub(super) struct Connections(mpsc::Receiver<NodeStream>);

impl Stream for Connections {
    type Item = io::Result<NodeStream>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

impl Connections {
    pub fn of(listener: TcpListener, security: NodeSecurity) -> Self {
        let (door, connections) = mpsc::channel(MOST_HANDSHAKES);
        tokio::spawn(listen(listener, security, door));
        Connections(connections)
    }
}

async fn listen(listener: TcpListener, security: NodeSecurity, door: mpsc::Sender<NodeStream>) {
    let handshakes = Arc::new(Semaphore::new(MOST_HANDSHAKES));
    let mut checks = interval(security.checked_every().unwrap_or(NEVER).max(Duration::from_millis(1)));
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = door.closed() => return,
            _ = checks.tick() => look_at_files(security.clone()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = handshakes.clone().acquire_owned().await else { return };
                    let (security, door) = (security.clone(), door.clone());
                    tokio::spawn(async move {
                        let _place = place;
                        // nobody takes it when the node stops
                        if let Some(stream) = let_in(stream, &security).await {
                            let _ = door.send(stream).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Reading files may block for a moment.
fn look_at_files(security: NodeSecurity) {
    tokio::task::spawn_blocking(move || security.refresh());
}

/// `None` for whoever is kept out by the door, or cannot show the key that it has to.
async fn let_in(stream: TcpStream, security: &NodeSecurity) -> Option<NodeStream> {
    if !security.door().lets_in(&stream).await {
        return None;
    }
    // without it answers are late, not lost
    let _ = stream.set_nodelay(true);
    let Some(tls) = security.tls() else {
        return Some(NodeStream { io: Either::Left(stream), shown: Shown(None) });
    };
    match tls.handshake(stream).await {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "a caller was turned away in the TLS handshake: {error}; coordinators show a certificate whose key is in coordinator-keys");
            None
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use futures::StreamExt;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::door::Door;
    use crate::runner::UserRange;

    #[tokio::test]
    async fn a_submissions_user_is_not_let_in() {
        let own = nix::unistd::geteuid().as_raw();
        for (user, is_let_in) in [(own, false), (own + 1, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let door = Door::closed_to(UserRange { first: user, last: user });
            let mut connections = Connections::of(listener, NodeSecurity::plain().behind(door));
            let mut client = TcpStream::connect(address).await.unwrap();
            if is_let_in {
                connections.next().await.unwrap().unwrap();
            } else {
                assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0, "the connection is closed");
            }
        }
    }
}
