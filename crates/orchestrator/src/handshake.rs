//! From a TCP connection to a WebSocket, or to an HTTP answer that says why not.

use std::time::Duration;

use domain::CrunchId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};

/// Who does not send a whole request within this time is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A connection that became no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("no complete request came within {} s and {MAX_HEAD_BYTES} bytes", PATIENCE.as_secs())]
    NoRequest,
    #[error("a web page asked: pages in a browser are kept out")]
    FromBrowser,
    #[error("the request asks for no WebSocket: {0}")]
    NoWebSocket(#[from] tungstenite::Error),
}

/// Accepts a WebSocket; returns it with the path that was asked for. Plain HTTP is answered with 426 Upgrade Required.
///
/// Requests that name an `Origin` come from pages in a browser, which may connect to any port of the machine that the
/// browser runs on. No coordinator does that, so such requests are refused.
pub(crate) async fn accept(
    mut stream: TcpStream,
) -> Result<(WebSocketStream<TcpStream>, String), HandshakeError> {
    let _ = stream.set_nodelay(true);
    let mut received = Vec::new();
    let request = match tokio::time::timeout(PATIENCE, read_request(&mut stream, &mut received)).await {
        Ok(read) => read,
        Err(_) => return Err(HandshakeError::NoRequest),
    };
    match request.and_then(checked) {
        Ok((path, response)) => {
            stream.write_all(&response).await?;
            let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES));
            let socket =
                WebSocketStream::from_partially_read(stream, received, Role::Server, Some(config)).await;
            Ok((socket, path))
        }
        Err(error) => {
            refuse(&mut stream, &error).await?;
            Err(error)
        }
    }
}

/// Reads the head of a request; what came after it stays in `received`.
async fn read_request(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<Request, HandshakeError> {
    while received.len() < MAX_HEAD_BYTES {
        if stream.read_buf(received).await? == 0 {
            return Err(HandshakeError::NoRequest);
        }
        if let Some((length, request)) = Request::try_parse(received)? {
            received.drain(..length);
            return Ok(request);
        }
    }
    Err(HandshakeError::NoRequest)
}

/// The path that is asked for, and the bytes of the answer.
fn checked(request: Request) -> Result<(String, Vec<u8>), HandshakeError> {
    if request.headers().contains_key("origin") {
        return Err(HandshakeError::FromBrowser);
    }
    let mut bytes = Vec::new();
    write_response(&mut bytes, &create_response(&request)?)?;
    Ok((request.uri().path().to_owned(), bytes))
}

async fn refuse(stream: &mut TcpStream, error: &HandshakeError) -> std::io::Result<()> {
    let (status, text) = match error {
        HandshakeError::Io(_) | HandshakeError::NoRequest => return Ok(()),
        HandshakeError::FromBrowser => ("403 Forbidden", "Pages in a browser are kept out."),
        HandshakeError::NoWebSocket(tungstenite::Error::Protocol(ProtocolError::HttparseError(_))) => {
            ("400 Bad Request", "This is no HTTP request.")
        }
        HandshakeError::NoWebSocket(_) => {
            ("426 Upgrade Required", "Connect with a WebSocket client to /CRUNCH_ID.")
        }
    };
    let length = text.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n{text}\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Checks that a path asks for `crunch`; else says what to ask for.
pub(crate) fn check_path(path: &str, crunch: &CrunchId) -> Result<(), String> {
    match path.trim_matches('/') {
        "" => Err(format!("the path names no crunch: connect to /{crunch}")),
        asked if asked == crunch.as_str() => Ok(()),
        asked => {
            let asked: String = asked.chars().take(100).collect();
            Err(format!("there is no crunch `{asked}` here: connect to /{crunch}"))
        }
    }
}
