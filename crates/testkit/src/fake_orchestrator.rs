//! An orchestrator that announces what a test tells it to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{SinkExt, StreamExt};
use protocol::cluster::{ClusterMessage, FailureReport, INIT, ModelState, REPORT_FAILURE, RunState, UPDATE};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::port::{Port, Scope};
use crate::soon;

/// A WebSocket server that speaks as an orchestrator does.
///
/// It sends `init` with the models that run to each new connection, and `update` with each announcement.
#[derive(Debug)]
pub struct FakeOrchestrator {
    port: Port,
    stage: Arc<Stage>,
}

/// What a stopped deployment is announced as.
pub fn stopped(model_id: &str, deployment_id: &str) -> ModelState {
    not_running(model_id, deployment_id, RunState::Stopped)
}

/// What a deployment is announced as whose process has died and is being started again.
pub fn recovering(model_id: &str, deployment_id: &str) -> ModelState {
    not_running(model_id, deployment_id, RunState::Recovering)
}

fn not_running(model_id: &str, deployment_id: &str, state: RunState) -> ModelState {
    ModelState {
        deployment_id: deployment_id.to_owned(),
        model_id: model_id.to_owned(),
        state,
        ip: None,
        port: None,
        infos: None,
        baseline: false,
    }
}

impl FakeOrchestrator {
    /// Starts on a free port with no models.
    pub async fn start() -> Self {
        let stage = Arc::new(Stage {
            running: Mutex::default(),
            commands: broadcast::Sender::new(10_000),
            connections: watch::Sender::new(Vec::new()),
            reports: watch::Sender::new(Vec::new()),
        });
        let port = Port::open(Stage::server(stage.clone())).await;
        FakeOrchestrator { port, stage }
    }

    /// What a coordinator connects to, without the crunch: `ws://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("ws://{}", self.port.address())
    }

    /// Sends one `update`, and keeps the next `init` in step with it.
    pub fn announce(&self, models: impl IntoIterator<Item = ModelState>) {
        let models: Vec<ModelState> = models.into_iter().collect();
        let mut running = lock(&self.stage.running);
        running.retain(|known| models.iter().all(|model| model.deployment_id != known.deployment_id));
        running.extend(models.iter().filter(|model| model.state == RunState::Running).cloned());
        self.stage.command(Command::Send(message(UPDATE, &models)));
    }

    /// Changes the next `init` and says nothing to those who are connected, as if the update had been lost.
    pub fn announce_silently(&self, running: impl IntoIterator<Item = ModelState>) {
        *lock(&self.stage.running) = running.into_iter().collect();
    }

    /// Sends a text as it is to all who are connected.
    pub fn send_raw(&self, text: impl Into<String>) {
        self.stage.command(Command::Send(text.into()));
    }

    /// Cuts all connections, without a farewell.
    pub fn drop_connections(&self) {
        self.stage.command(Command::Cut);
    }

    /// Stops: all connections are cut, and nobody listens on the port.
    pub async fn stop(&self) {
        self.port.close().await;
    }

    /// Listens again on the port that it had.
    pub async fn restart(&self) {
        self.port.close().await;
        self.port.reopen(Stage::server(self.stage.clone())).await;
    }

    /// Waits until at least `count` connections were made since the start, each of which has been sent its `init`.
    ///
    /// # Panics
    /// When they are not made within ten seconds.
    pub async fn connected(&self, count: usize) {
        let mut connections = self.stage.connections.subscribe();
        let what = format!("{count} connections to the orchestrator");
        let _ = soon(&what, connections.wait_for(|paths| paths.len() >= count)).await;
    }

    /// The path of each connection so far, `/CRUNCH_ID`.
    pub fn paths(&self) -> Vec<String> {
        self.stage.connections.borrow().clone()
    }

    /// The failures that were reported so far.
    pub fn reports(&self) -> Vec<FailureReport> {
        self.stage.reports.borrow().clone()
    }

    /// Waits until at least `count` failures were reported.
    ///
    /// # Panics
    /// When they are not reported within ten seconds.
    pub async fn reported(&self, count: usize) {
        let mut reports = self.stage.reports.subscribe();
        let _ = soon(&format!("{count} failure reports"), reports.wait_for(|reports| reports.len() >= count))
            .await;
    }
}

#[derive(Debug, Clone)]
enum Command {
    Send(String),
    Cut,
}

#[derive(Debug)]
struct Stage {
    /// Held while a command is given, so that a new connection gets each announcement once: in its `init` or after it.
    running: Mutex<Vec<ModelState>>,
    commands: broadcast::Sender<Command>,
    connections: watch::Sender<Vec<String>>,
    reports: watch::Sender<Vec<FailureReport>>,
}

impl Stage {
    fn server(
        stage: Arc<Stage>,
    ) -> impl Fn(TcpStream, Scope) -> futures::future::BoxFuture<'static, ()> + Send + 'static {
        move |stream, _| Box::pin(stage.clone().serve(stream))
    }

    /// Nobody hears a command while nobody is connected.
    fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let mut path = String::new();
        #[allow(clippy::result_large_err, reason = "the library's callback type")]
        let note_path = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path().to_owned();
            Ok(response)
        };
        let Ok(mut socket) = accept_hdr_async(stream, note_path).await else { return };
        let (init, mut commands) = {
            let running = lock(&self.running);
            (message(INIT, &running), self.commands.subscribe())
        };
        if socket.send(Message::text(init)).await.is_err() {
            return;
        }
        self.connections.send_modify(|paths| paths.push(path));
        self.talk(&mut socket, &mut commands).await;
    }

    async fn talk(
        &self,
        socket: &mut WebSocketStream<TcpStream>,
        commands: &mut broadcast::Receiver<Command>,
    ) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Ok(Command::Send(text)) => if socket.send(Message::text(text)).await.is_err() { return },
                    Ok(Command::Cut) | Err(_) => return,
                },
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => self.hear(&text),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    fn hear(&self, text: &str) {
        let message: ClusterMessage = serde_json::from_str(text).expect("a message of the protocol");
        if message.event == REPORT_FAILURE {
            let reports = message.data.into_iter().map(serde_json::from_value);
            let reports = reports.collect::<Result<Vec<FailureReport>, _>>().expect("failure reports");
            self.reports.send_modify(|known| known.extend(reports));
        }
    }
}

fn message(event: &str, models: &[ModelState]) -> String {
    serde_json::json!({ "event": event, "data": models }).to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
