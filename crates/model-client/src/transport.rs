//! One gRPC call at a time over one HTTP/2 connection, as plain bytes.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::{StatusCode, Version, header};
use node_credentials::{is_about_credentials, tls_fault};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::address::Address;
use crate::budget::Budget;
use crate::call::Request;
use crate::guard::{Distrust, Guard, Peer, speaks_tls};
use crate::reception::{Answer, grpc_status, receive};
use crate::stream::{Heard, Inlet};
use crate::tasks::Tasks;

/// How much of an answer a node may send before it is taken in.
const WINDOW_BYTES: u32 = 128 * 1024;

/// Metadata has names and signatures, of some hundred bytes each; gRPC's own limit is the same.
const MAX_METADATA_BYTES: usize = 8 * 1024;

/// So much is read at a time before we know how large an answer is: its metadata, the beginning of its message, and what
/// HTTP/2 has to say.
const FIRST_BYTES: usize = MAX_METADATA_BYTES + 4 * 1024;

/// A host that is gone without a word is noticed after about a minute, by TCP's means: Python nodes close a connection
/// that sends HTTP/2 pings while a call runs.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Why there is no answer to read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The node cannot be connected to.
    NoConnection(String),
    /// The node is not who it has to be, or does not accept who we are. Nothing of an answer was used.
    Credentials(String),
    /// The connection was dead already, or the node has said that it did not look at the request.
    NotSent(String),
    /// The request was sent, and the connection or the stream broke.
    Broken(String),
    /// The node answered with a gRPC status.
    Refused(Status),
    /// The answer announces more than the limit.
    TooLarge {
        /// The size that it announces.
        bytes: usize,
    },
    /// What came is no gRPC.
    Malformed(String),
}

/// A request without a response.
struct BrokenConnection {
    why: h2::Error,
    /// The node may have looked at it.
    was_sent: bool,
}

/// A connection to a model node.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    closed: CancellationToken,
    guard: Arc<Guard>,
    peer: Peer,
    heard: Arc<Heard>,
    inlet: Arc<Inlet>,
}

impl Connection {
    /// Connects within `patience`, to the node that `guard` lets pass; the fault is told in words.
    pub async fn open(
        address: &Address,
        patience: Duration,
        guard: &Arc<Guard>,
        tasks: &Tasks,
    ) -> Result<Self, Fault> {
        match timeout(patience, Self::handshake(address, guard, tasks)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(Distrust::Credentials(words))) => {
                Err(Fault::Credentials(format!("no trusted connection to {address}: {words}")))
            }
            Ok(Err(Distrust::Connection(words))) => {
                Err(Fault::NoConnection(format!("cannot connect to {address}: {words}")))
            }
            Err(_) => Err(Fault::NoConnection(format!("no connection to {address} within {patience:?}"))),
        }
    }

    async fn handshake(address: &Address, guard: &Arc<Guard>, tasks: &Tasks) -> Result<Self, Distrust> {
        let failed = |error: &dyn Error| Distrust::Connection(in_words(error));
        let stream = connect(address).await.map_err(|error| failed(&error))?;
        let (stream, peer) = guard.secure(address, stream).await?;
        let (heard, inlet) = (stream.heard(), stream.inlet());
        let (requests, driver) = client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(MAX_METADATA_BYTES as u32)
            .enable_push(false)
            .handshake(stream)
            .await
            .map_err(|error| failed(&error))?;
        let closed = CancellationToken::new();
        let close = closed.clone().drop_guard();
        // whoever uses the connection is told of its faults
        tasks.spawn(driver.map(|_| drop(close)));
        Ok(Connection { requests, closed, guard: guard.clone(), peer, heard, inlet })
    }

    /// True when the other side has gone.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Sends a request and reads the one message that answers it, of at most `limit` bytes. Once `unwanted` is done the
    /// answer is read without being kept, and there is none.
    pub async fn unary(
        &mut self,
        address: &Address,
        request: &Request,
        limit: usize,
        budget: &Budget,
        unwanted: impl Future<Output = ()>,
    ) -> Result<Option<Answer>, Fault> {
        let head = request_head(address, request, &self.guard)?;
        // Open between calls, in which nothing may be missed: a node's farewell above all.
        let inlet = self.inlet.narrow(FIRST_BYTES);
        let response = match inlet.until(self.send(head, request.framed.clone())).await {
            Ok(response) => response,
            Err(broken) => {
                let words = format!("the connection to {address} broke: {}", in_words(&broken.why));
                let fault = if broken.was_sent { Fault::Broken(words) } else { Fault::NotSent(words) };
                return Err(self.explained(address, fault).await);
            }
        };
        let status = grpc_status(response.headers().clone());
        self.guard
            .accept(&mut self.peer, request.path, response.headers(), status.as_ref())
            .map_err(|why| Fault::Credentials(format!("the node at {address} is not accepted: {why}")))?;
        receive(body_of(response, status)?, limit, budget, inlet, unwanted).await
    }

    /// Sends a request and waits for the head of its response. The bytes are shared with all others who send them.
    async fn send(
        &mut self,
        head: http::Request<()>,
        body: Bytes,
    ) -> Result<http::Response<RecvStream>, BrokenConnection> {
        let not_sent = |why| BrokenConnection { why, was_sent: false };
        let broke = |why| BrokenConnection { was_sent: !was_never_looked_at(&why), why };
        poll_fn(|context| self.requests.poll_ready(context)).await.map_err(not_sent)?;
        let (response, mut sending) = self.requests.send_request(head, false).map_err(not_sent)?;
        sending.send_data(body, true).map_err(broke)?;
        response.await.map_err(broke)
    }

    /// What a connection that broke before any answer tells of the node's mode and of credentials.
    async fn explained(&self, address: &Address, fault: Fault) -> Fault {
        let is_silent = self.heard.is_nothing();
        if let Some(error) = self.heard.tls_error().filter(|error| is_silent && is_about_credentials(error)) {
            return Fault::Credentials(format!("no trusted connection to {address}: {}", tls_fault(error)));
        }
        if self.guard.is_plain() && (self.heard.is_tls() || is_silent && speaks_tls(address).await) {
            return Fault::NoConnection(format!(
                "the node at {address} speaks TLS and was called without: set security to mutual TLS or gateway"
            ));
        }
        match fault {
            Fault::Broken(words) | Fault::NotSent(words) if is_silent && self.guard.shows_certificate() => {
                Fault::Broken(format!(
                    "{words}; it hung up right after the TLS handshake, as nodes do that refuse our certificate"
                ))
            }
            fault => fault,
        }
    }
}

/// True when the server has said by HTTP/2's own means that it did not begin with the request: its GOAWAY, as it closes an
/// idle connection say, names earlier requests only, or it refused the stream.
fn was_never_looked_at(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

async fn connect(address: &Address) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address.socket()).await?;
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    Ok(stream)
}

/// Everything of a request but its message.
fn request_head(address: &Address, request: &Request, guard: &Guard) -> Result<http::Request<()>, Fault> {
    let (scheme, authority) = guard.origin(address);
    let mut message = http::Request::post(format!("{scheme}://{authority}{}", request.path))
        .version(Version::HTTP_2)
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, concat!("condor/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| Fault::NotSent(format!("cannot make a request for {address}: {error}")))?;
    guard.sign(message.headers_mut()).map_err(Fault::NotSent)?;
    Ok(message)
}

/// The body of a response that may hold a message.
fn body_of(response: http::Response<RecvStream>, status: Option<Status>) -> Result<RecvStream, Fault> {
    if let Some(status) = status {
        // A status in the head means that nothing follows.
        return Err(refused(status));
    }
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(http_fault(status)),
    }
}

/// What a proxy in front of the node answers by itself says nothing of the model.
fn http_fault(status: StatusCode) -> Fault {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Fault::Credentials(format!("the node's gateway refused the call: HTTP status {status}"))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Fault::Broken(format!("the node's gateway has no answer: HTTP status {status}"))
        }
        _ => Fault::Malformed(format!("HTTP status {status}: this is no model node")),
    }
}

/// A call that ended well has a message before its status.
fn refused(status: Status) -> Fault {
    match status.code() {
        Code::Ok => Fault::Malformed("the answer holds no message".to_owned()),
        _ => Fault::Refused(status),
    }
}

/// An error with its causes.
pub(crate) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
