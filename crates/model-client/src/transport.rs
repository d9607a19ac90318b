//! One gRPC call at a time over one HTTP/2 connection, as plain bytes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use node_credentials::{is_about_credentials, tls_fault};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::address::Address;
use crate::call::{FRAME_HEADER_BYTES, Request};
use crate::guard::{Distrust, Guard, Peer, speaks_tls};
use crate::stream::Heard;
use crate::tasks::Tasks;

/// A usual answer arrives without waiting for permission to send on; it is also all that a flooding node can make us hold
/// before we have looked at it.
const WINDOW_BYTES: u32 = 1024 * 1024;

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
    /// The connection was dead already, or closed by a server that never looked at the request.
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

/// A connection to a model node.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    guard: Arc<Guard>,
    peer: Peer,
    heard: Arc<Heard>,
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
        let heard = stream.heard();
        let (requests, driver) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        tasks.spawn(driver);
        Ok(Connection { requests, guard: guard.clone(), peer, heard })
    }

    /// True when the other side has gone.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Sends a request and reads the one message that answers it, of at most `limit` bytes.
    pub async fn unary(
        &mut self,
        address: &Address,
        request: &Request,
        limit: usize,
    ) -> Result<Bytes, Fault> {
        let message = http_request(address, request, &self.guard)?;
        let response = match self.requests.try_send_request(message).await {
            Ok(response) => response,
            Err(error) => {
                let words = format!("the connection to {address} broke: {}", in_words(error.error()));
                let is_unknown_there = error.message().is_some() || was_never_looked_at(error.error());
                let fault = if is_unknown_there { Fault::NotSent(words) } else { Fault::Broken(words) };
                return Err(self.explained(address, fault).await);
            }
        };
        let status = grpc_status(response.headers().clone());
        self.guard
            .accept(&mut self.peer, request.path, response.headers(), status.as_ref())
            .map_err(|why| Fault::Credentials(format!("the node at {address} is not accepted: {why}")))?;
        read_response(response, status, limit).await
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
fn was_never_looked_at(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let error = causes.find_map(|error| error.downcast_ref::<h2::Error>());
    let says_so =
        |error: &h2::Error| error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_some_and(|error| error.is_remote() && says_so(error))
}

async fn connect(address: &Address) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address.socket()).await?;
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    Ok(stream)
}

fn http_request(
    address: &Address,
    request: &Request,
    guard: &Guard,
) -> Result<http::Request<Full<Bytes>>, Fault> {
    let (scheme, authority) = guard.origin(address);
    let mut message = http::Request::post(format!("{scheme}://{authority}{}", request.path))
        .version(Version::HTTP_2)
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, concat!("condor/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(request.framed.clone()))
        .map_err(|error| Fault::NotSent(format!("cannot make a request for {address}: {error}")))?;
    guard.sign(message.headers_mut()).map_err(Fault::NotSent)?;
    Ok(message)
}

async fn read_response(
    response: http::Response<Incoming>,
    status: Option<Status>,
    limit: usize,
) -> Result<Bytes, Fault> {
    let (head, mut body) = response.into_parts();
    if let Some(status) = status {
        // A status in the head means that nothing follows.
        return Err(refused(status));
    }
    if head.status != StatusCode::OK {
        return Err(http_fault(head.status));
    }
    let mut message = IncomingMessage::new(limit);
    let mut status = None;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::Broken(format!("the answer broke off: {}", in_words(&error))))?;
        match frame.into_data() {
            Ok(data) => message.push(&data)?,
            Err(frame) => status = frame.into_trailers().ok().and_then(grpc_status),
        }
    }
    match status {
        Some(status) if status.code() == Code::Ok => message.finish(),
        Some(status) => Err(refused(status)),
        None => Err(Fault::Broken("the answer ended without a gRPC status".to_owned())),
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

fn grpc_status(mut headers: HeaderMap<HeaderValue>) -> Option<Status> {
    // Details that are no base64 make tonic panic; we have no use for them.
    headers.remove("grpc-status-details-bin");
    Status::from_header_map(&headers)
}

/// A gRPC message as it arrives: refused at its header when it announces more than the limit.
struct IncomingMessage {
    bytes: BytesMut,
    limit: usize,
}

impl IncomingMessage {
    fn new(limit: usize) -> Self {
        IncomingMessage { bytes: BytesMut::new(), limit }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(data);
        let Some(announced) = self.announced()? else { return Ok(()) };
        if announced > self.limit {
            return Err(Fault::TooLarge { bytes: announced });
        }
        if self.bytes.len() > FRAME_HEADER_BYTES + announced {
            return Err(Fault::Malformed("the answer goes on after its message".to_owned()));
        }
        Ok(())
    }

    /// The length in the header, once that is there.
    fn announced(&self) -> Result<Option<usize>, Fault> {
        let Some((header, _)) = self.bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let [flag, length @ ..] = *header;
        if flag != 0 {
            return Err(Fault::Malformed("the answer is compressed, which we did not offer".to_owned()));
        }
        Ok(Some(u32::from_be_bytes(length) as usize))
    }

    fn finish(mut self) -> Result<Bytes, Fault> {
        match self.announced()? {
            Some(announced) if self.bytes.len() == FRAME_HEADER_BYTES + announced => {
                self.bytes.advance(FRAME_HEADER_BYTES);
                Ok(self.bytes.freeze())
            }
            _ => Err(Fault::Malformed("the answer is cut off".to_owned())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_together_whatever_its_pieces() {
        let framed = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for size in 1..=framed.len() {
            let mut message = IncomingMessage::new(3);
            framed.chunks(size).for_each(|piece| message.push(piece).unwrap());
            assert_eq!(message.finish().unwrap(), "abc");
        }
    }

    #[test]
    fn a_huge_message_is_refused_by_its_header_alone() {
        let mut message = IncomingMessage::new(4 * 1024 * 1024);
        let fault = message.push(&[0, 0x06, 0x40, 0, 0]).unwrap_err();
        assert!(matches!(fault, Fault::TooLarge { bytes: 104_857_600 }));
    }

    #[test]
    fn what_is_no_grpc_message_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut message = IncomingMessage::new(100);
            let fault = message.push(bytes).and_then(|()| message.finish().map(drop)).unwrap_err();
            let Fault::Malformed(words) = fault else { panic!("{fault:?}") };
            words
        };
        assert_eq!(refused(b""), "the answer is cut off");
        assert_eq!(refused(&[0, 0, 0, 0, 2, 1]), "the answer is cut off");
        assert_eq!(refused(&[0, 0, 0, 0, 1, 1, 1]), "the answer goes on after its message");
        assert_eq!(refused(&[1, 0, 0, 0, 1, 1]), "the answer is compressed, which we did not offer");
    }

    #[test]
    fn a_status_with_hostile_details_is_read_without_them() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("8"));
        headers.insert("grpc-message", HeaderValue::from_static("busy%20now"));
        headers.insert("grpc-status-details-bin", HeaderValue::from_static("!no base64!"));
        let status = grpc_status(headers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "busy now"));
    }
}
