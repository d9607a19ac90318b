//! Serves an HTTP router: how many connections, from whom, how slow, and how they end.
//!
//! Every HTTP interface of the workers goes through [`serve`], so that none of them forgets a bound.

mod stall;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::stall::StallGuard;

/// What one client, and all together, may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones wait.
    pub connections: usize,
    /// A connection is closed when a request's head is not complete this long after it could begin.
    pub head: Duration,
    /// The size of a request's line and headers together, in bytes; what is larger is answered with 431. Whatever it is, a path
    /// with its query has 65,534 bytes at most.
    pub head_bytes: usize,
    /// A connection is closed when its peer reads nothing for so long.
    pub stall: Duration,
    /// What requests in progress get when the server stops.
    pub drain: Duration,
}

impl Limits {
    /// For an operator and a few probes.
    pub const FOR_OPERATORS: Limits = Limits {
        connections: 64,
        head: Duration::from_secs(20),
        head_bytes: 32 * 1024,
        stall: Duration::from_secs(20),
        drain: Duration::from_secs(1),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            head: Duration::from_secs(20),
            head_bytes: 32 * 1024,
            stall: Duration::from_secs(20),
            drain: Duration::from_secs(5),
        }
    }
}

/// After a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The address that a request came from; with every request, as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Decides who is served, before anything that they send is read.
pub trait Door: Clone + Send + Sync + 'static {
    /// Whether this connection is served; one that is not is closed.
    fn lets_in(&self, stream: &TcpStream) -> impl Future<Output = bool> + Send;
}

/// Whoever reaches the port is served.
#[derive(Debug, Clone, Copy)]
pub struct OpenDoor;

impl Door for OpenDoor {
    async fn lets_in(&self, _: &TcpStream) -> bool {
        true
    }
}

/// Serves those whom `door` lets in until `shutdown`, then lets requests in progress end. `name` says in the log who
/// serves.
pub async fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    door: impl Door,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(name, &listener, &places) => accepted,
        };
        let served = Connection { name, stream, router: router.clone(), limits, _place: place };
        connections.spawn(served.serve(door.clone(), shutdown.clone()));
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("{name}: cut off clients that did not end within {:?}", limits.drain);
    }
}

async fn accept(
    name: &str,
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so that there is always a permit.
    let place = places.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "{name}: cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    name: &'static str,
    stream: TcpStream,
    router: Router,
    limits: Limits,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn serve(self, door: impl Door, shutdown: CancellationToken) {
        if shutdown.run_until_cancelled(door.lets_in(&self.stream)).await != Some(true) {
            return;
        }
        let name = self.name;
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "{name}: cannot set TCP_NODELAY: {error}");
        }
        let peer = self.stream.peer_addr().map(|address| Peer(address.ip())).ok();
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(peer) = peer {
                request.extensions_mut().insert(peer);
            }
            router.call(request)
        });
        let io = TokioIo::new(StallGuard::new(self.stream, self.limits.stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_header_size(self.limits.head_bytes)
            .serve_connection(io, service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "{name}: a connection ended early: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    struct Server {
        address: std::net::SocketAddr,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn start(limits: Limits) -> Server {
        start_behind(OpenDoor, limits).await
    }

    async fn start_behind(door: impl Door, limits: Limits) -> Server {
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/peer", get(|peer: axum::Extension<Peer>| async move { peer.0.0.to_string() }))
            .route("/hang", get(std::future::pending::<&'static str>));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve("a test", listener, router, door, limits, shutdown.clone()));
        Server { address, shutdown, task }
    }

    /// Sends `text` and reads until the server closes.
    async fn exchange(server: &Server, text: &str) -> String {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_never_finishes_its_request_is_cut_off() {
        let server = start(Limits { head: SHORT, stall: LONG, drain: LONG, ..Limits::default() }).await;
        let answer = exchange(&server, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
        assert!(!answer.contains("hello"), "{answer}");
    }

    #[tokio::test]
    async fn requests_say_where_they_come_from() {
        let server = start(Limits::default()).await;
        let answer = exchange(&server, "GET /peer HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_with_an_endless_head_is_refused() {
        let server = start(Limits { head: LONG, stall: LONG, drain: LONG, ..Limits::default() }).await;
        let head = format!("GET / HTTP/1.1\r\nx-long: {}\r\n\r\n", "x".repeat(Limits::default().head_bytes));
        let answer = exchange(&server, &head).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn a_path_may_be_as_long_as_the_head_allows_up_to_64_kilobytes() {
        let large = Limits { head_bytes: 96 * 1024, ..Limits::default() };
        for (limits, length, status) in
            [(Limits::default(), 40_000, "431"), (large, 65_000, "200"), (large, 66_000, "414")]
        {
            let server = start(limits).await;
            let path = "x".repeat(length);
            let answer =
                exchange(&server, &format!("GET /?{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
                    .await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
        }
    }

    #[tokio::test]
    async fn stopping_waits_for_no_idle_connection() {
        let server = start(Limits { head: LONG, stall: LONG, drain: LONG, ..Limits::default() }).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn stopping_waits_for_a_request_that_hangs_only_so_long() {
        let server = start(Limits { head: LONG, stall: LONG, drain: SHORT, ..Limits::default() }).await;
        let mut hanging = TcpStream::connect(server.address).await.unwrap();
        hanging.write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(
            exchange(&server, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await
                .ends_with("hello")
        );
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_served_beyond_the_number_of_connections_until_one_of_them_ends() {
        let limits = Limits { connections: 1, head: LONG, stall: LONG, drain: LONG, ..Limits::default() };
        let server = start(limits).await;
        let mut first = TcpStream::connect(server.address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        first.read_exact(&mut answer).await.unwrap();
        let mut second = TcpStream::connect(server.address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let early = tokio::time::timeout(4 * SHORT, second.read_exact(&mut answer)).await;
        assert!(early.is_err(), "there is no place yet");
        drop(first);
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    #[derive(Clone)]
    struct ClosedDoor;

    impl Door for ClosedDoor {
        async fn lets_in(&self, _: &TcpStream) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn who_is_not_let_in_gets_no_answer() {
        let server = start_behind(ClosedDoor, Limits::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // it may be closed at any point of this
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
}
