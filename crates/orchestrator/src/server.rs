//! The WebSocket server that coordinators connect to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::CrunchId;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http_serve::Door as _;
use protocol::cluster::REPORT_FAILURE;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::door::Door;
use crate::fleet::Report;
use crate::handshake::{HandshakeError, accept, check_path};

/// A client that does not take a message within this time is dropped.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a connection could not be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

type Socket = WebSocketStream<TcpStream>;

/// What every client's task needs.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) crunch: CrunchId,
    pub(crate) board: Arc<Board>,
    /// Whoever gets in learns where all models are, and can have them stopped.
    pub(crate) door: Door,
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) stop: CancellationToken,
}

impl Server {
    /// Serves clients, each in a task of its own, until it is stopped; returns when all have been told the last news.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        clients.spawn(self.clone().serve(stream, peer));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
        while clients.join_next().await.is_some() {}
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let accepted = self.stop.run_until_cancelled(self.let_in(stream)).await;
        let (socket, path) = match accepted.flatten() {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => return tracing::info!(%peer, %error, "{peer} was not let in: {error}"),
            None => return,
        };
        let (sink, stream) = socket.split();
        let mut client = Client { peer, sink };
        match check_path(&path, &self.crunch) {
            Ok(()) => {
                tracing::info!(%peer, "coordinator {peer} connected");
                self.converse(&mut client, stream).await;
                tracing::info!(%peer, "coordinator {peer} left");
            }
            Err(error) => {
                client.send(json!({ "error": error }).to_string().into()).await;
            }
        }
        client.close().await;
    }

    /// The WebSocket and the path that it asks for; `None` for those whom the door keeps out.
    async fn let_in(&self, stream: TcpStream) -> Option<Result<(Socket, String), HandshakeError>> {
        if self.door.lets_in(&stream).await { Some(accept(stream).await) } else { None }
    }

    /// Tells the client everything from `init` on, and hears its reports, until either side ends it.
    async fn converse(&self, client: &mut Client, mut stream: SplitStream<Socket>) {
        let (init, mut updates) = self.board.subscribe();
        let mut connected = client.send(init).await;
        while connected {
            tokio::select! {
                biased; // what was announced before the stop is still told
                update = updates.recv() => connected = match update {
                    Ok(update) => client.send(update).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => client.fell_behind(),
                    Err(broadcast::error::RecvError::Closed) => false,
                },
                message = stream.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(client.peer, &text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => connected = false,
                    Some(Ok(_)) => {}
                },
                () = self.stop.cancelled() => connected = false,
            }
        }
    }

    /// Takes what a client says. Whatever cannot be read is logged and passed over.
    async fn hear(&self, peer: SocketAddr, text: &str) {
        let passed_over =
            |why: &str| tracing::warn!(%peer, why, "a message of {peer} was passed over: {why}");
        let message: Value = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return passed_over(&error.to_string()),
        };
        let Some(REPORT_FAILURE) = message.get("event").and_then(Value::as_str) else {
            return passed_over("its event is not `report_failure`");
        };
        let Some(entries) = message.get("data").and_then(Value::as_array) else {
            return passed_over("its data is no list");
        };
        for entry in entries {
            match Report::deserialize(entry) {
                // the receiver is gone only when we stop
                Ok(report) => drop(self.reports.send(report).await),
                Err(error) => passed_over(&error.to_string()),
            }
        }
    }
}

struct Client {
    peer: SocketAddr,
    sink: SplitSink<Socket, Message>,
}

impl Client {
    /// Sends a message; false when the client is gone.
    async fn send(&mut self, text: Utf8Bytes) -> bool {
        matches!(timeout(SEND_TIMEOUT, self.sink.send(Message::Text(text))).await, Ok(Ok(())))
    }

    fn fell_behind(&self) -> bool {
        let peer = self.peer;
        tracing::warn!(%peer, "coordinator {peer} does not keep up with the updates: it may connect anew");
        false
    }

    async fn close(&mut self) {
        // the other side may be gone already
        let _ = timeout(SEND_TIMEOUT, self.sink.close()).await;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio_tungstenite::connect_async;

    use super::*;
    use crate::runner::UserRange;

    #[tokio::test]
    async fn a_submissions_user_neither_sees_the_models_nor_has_one_stopped() {
        let own = nix::unistd::geteuid().as_raw();
        for (user, is_let_in) in [(own, false), (own + 1, true)] {
            let (reports, mut reported) = mpsc::channel(1);
            let server = Server {
                crunch: CrunchId::new("condor").unwrap(),
                board: Arc::new(Board::new()),
                door: Door::closed_to(UserRange { first: user, last: user }),
                reports,
                stop: CancellationToken::new(),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("ws://{}/condor", listener.local_addr().unwrap());
            let (stop, serving) = (server.stop.clone(), tokio::spawn(server.run(listener)));
            let connected = connect_async(url).await;
            assert_eq!(connected.is_ok(), is_let_in);
            if let Ok((mut socket, _)) = connected {
                let report = r#"{"event": "report_failure", "data": [{"model_id": "rival"}]}"#;
                socket.send(Message::text(report)).await.unwrap();
                reported.recv().await.unwrap();
            }
            stop.cancel();
            serving.await.unwrap();
            assert!(reported.recv().await.is_none());
        }
    }
}
