//! A model node whose answers a test decides.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, Bytes};
use domain::{Clock, SystemClock, Timestamp};
use http::HeaderMap;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use protocol::cluster::{ModelInfos, ModelState, RunState};
use protocol::commons::{Status, Variant};
use protocol::dynamic_subclass::{CallRequest, CallResponse, SetupRequest};
use protocol::{CALL_PATH, SETUP_PATH, Value, status};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::behaviour::{Behaviour, Delivery, Reply};
use crate::delivery;
use crate::port::{Port, Scope};
use crate::soon;

/// A model node on a port of its own.
///
/// Like the real host it takes one call at a time, answers any other with `RESOURCE_EXHAUSTED`, and goes on with a call whose
/// caller has gone.
#[derive(Debug)]
pub struct FakeModel {
    port: Port,
    node: Arc<Node>,
}

/// A call that a fake model took.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The method; `Setup` for a Setup.
    pub method: String,
    /// Its arguments in the order of their positions; for a Setup the name of the base class.
    pub arguments: Vec<Value>,
}

/// A call that a fake model has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The call.
    pub call: Received,
    /// When it was taken.
    pub asked_at: Timestamp,
    /// When its answer was complete.
    pub at: Timestamp,
}

impl FakeModel {
    /// Starts a model on a free port.
    pub async fn start(behaviour: Behaviour) -> Self {
        let node = Arc::new(Node {
            behaviour: Mutex::new(behaviour),
            on_setup: Mutex::new(Reply::Value(Value::None)),
            received: watch::Sender::new(Vec::new()),
            answered: Mutex::default(),
            refused: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            releases: watch::Sender::new(0),
            wants_setup: AtomicBool::new(false),
            max_message_bytes: AtomicUsize::new(usize::MAX),
            tls: Mutex::new(None),
            hangs_up: AtomicBool::new(false),
            is_serving: AtomicBool::new(true),
            health_checks: watch::Sender::new(0),
        });
        let port = Port::open(Node::server(node.clone())).await;
        FakeModel { port, node }
    }

    /// Behaves differently from the next call on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.node.behaviour) = behaviour;
    }

    /// Replies so to every Setup from the next one on; without this, each succeeds.
    pub fn on_setup(&self, reply: Reply) {
        *lock(&self.node.on_setup) = reply;
    }

    /// Answers a call before the Setup of this run with `FAILED_PRECONDITION`; each restart makes it forget its Setup.
    pub fn require_setup(&self) {
        self.node.wants_setup.store(true, Ordering::SeqCst);
    }

    /// Refuses larger messages in the words of a Python node.
    pub fn limit_messages(&self, max_bytes: usize) {
        self.node.max_message_bytes.store(max_bytes, Ordering::SeqCst);
    }

    /// Speaks TLS from the next connection on.
    pub fn speak_tls(&self, tls: FakeTls) {
        *lock(&self.node.tls) = Some(tls);
    }

    /// Ends each connection after its first answer from the next connection on, with the farewell that HTTP/2 has for it
    /// (`GOAWAY`): as nodes do that limit the age of connections.
    pub fn hang_up_after_each_answer(&self) {
        self.node.hangs_up.store(true, Ordering::SeqCst);
    }

    /// Answers health checks so from the next one on; without this it says that it is serving.
    pub fn on_health_check(&self, is_serving: bool) {
        self.node.is_serving.store(is_serving, Ordering::SeqCst);
    }

    /// How many health checks it has answered.
    pub fn health_checks(&self) -> usize {
        *self.node.health_checks.borrow()
    }

    /// Waits until it has answered at least `count` health checks.
    ///
    /// # Panics
    /// When they do not come within ten seconds.
    pub async fn health_checked(&self, count: usize) {
        let mut checks = self.node.health_checks.subscribe();
        let what = format!("{count} health checks");
        let _ = soon(&what, checks.wait_for(|checks| *checks >= count)).await;
    }

    /// Lets all calls go on that hang at this moment.
    pub fn release(&self) {
        self.node.releases.send_modify(|count| *count += 1);
    }

    /// Stops as a killed process: connections break, calls in progress are lost.
    pub async fn stop(&self) {
        self.port.close().await;
    }

    /// Starts a fresh process on the port that it had; it knows of no Setup. What was received stays on record.
    pub async fn restart(&self) {
        self.port.close().await;
        self.port.reopen(Node::server(self.node.clone())).await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What an orchestrator says of it.
    pub fn running(&self, model_id: &str, deployment_id: &str) -> ModelState {
        running_at(self.address(), model_id, deployment_id)
    }

    /// Every call that it took, refused ones left out, in order, over all its runs.
    pub fn calls(&self) -> Vec<Received> {
        self.node.received.borrow().clone()
    }

    /// The methods of [`FakeModel::calls`].
    pub fn methods(&self) -> Vec<String> {
        self.node.received.borrow().iter().map(|call| call.method.clone()).collect()
    }

    /// Every call that it has answered, in order, over all its runs.
    pub fn answered(&self) -> Vec<Answered> {
        lock(&self.node.answered).clone()
    }

    /// How many calls were refused since it was busy.
    pub fn refused(&self) -> usize {
        self.node.refused.load(Ordering::SeqCst)
    }

    /// How many connections were made to it so far.
    pub fn connections(&self) -> usize {
        self.node.connections.load(Ordering::SeqCst)
    }

    /// Waits until it has taken at least `count` calls since it was made.
    ///
    /// # Panics
    /// When they do not come within ten seconds.
    pub async fn received(&self, count: usize) {
        let mut received = self.node.received.subscribe();
        let what = format!("{count} calls, taken so far: {:?}", self.methods());
        let _ = soon(&what, received.wait_for(|calls| calls.len() >= count)).await;
    }
}

/// What an orchestrator says of a model at this address.
pub(crate) fn running_at(address: SocketAddr, model_id: &str, deployment_id: &str) -> ModelState {
    ModelState {
        deployment_id: deployment_id.to_owned(),
        model_id: model_id.to_owned(),
        state: RunState::Running,
        ip: Some(address.ip().to_string()),
        port: Some(address.port()),
        infos: Some(ModelInfos {
            model_name: Some(format!("model-{model_id}")),
            cruncher_id: Some(format!("cruncher-{model_id}")),
            cruncher_name: Some(format!("Cruncher {model_id}")),
            ..ModelInfos::default()
        }),
        baseline: false,
    }
}

pub(crate) const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";

/// The answers to a health check: 1 and 2 in the first field.
pub(crate) const SERVING: [u8; 2] = [0x08, 1];
const NOT_SERVING: [u8; 2] = [0x08, 2];

/// What stays over restarts.
#[derive(Debug)]
struct Node {
    behaviour: Mutex<Behaviour>,
    on_setup: Mutex<Reply>,
    received: watch::Sender<Vec<Received>>,
    answered: Mutex<Vec<Answered>>,
    refused: AtomicUsize,
    connections: AtomicUsize,
    releases: watch::Sender<usize>,
    wants_setup: AtomicBool,
    max_message_bytes: AtomicUsize,
    tls: Mutex<Option<FakeTls>>,
    hangs_up: AtomicBool,
    is_serving: AtomicBool,
    health_checks: watch::Sender<usize>,
}

/// How a fake model speaks TLS, good or bad.
#[derive(Debug, Clone)]
pub struct FakeTls {
    /// What it shows and demands.
    pub config: Arc<ServerConfig>,
    /// The metadata of each answer.
    pub metadata: HeaderMap,
}

/// One run of the model's process.
#[derive(Debug)]
struct Process {
    node: Arc<Node>,
    turn: Arc<tokio::sync::Mutex<()>>,
    is_set_up: AtomicBool,
}

impl Node {
    fn server(
        node: Arc<Node>,
    ) -> impl Fn(TcpStream, Scope) -> futures::future::BoxFuture<'static, ()> + Send + 'static {
        let process = Arc::new(Process { node, turn: Arc::default(), is_set_up: AtomicBool::new(false) });
        move |stream, scope| {
            process.node.connections.fetch_add(1, Ordering::SeqCst);
            Box::pin(serve(process.clone(), stream, scope))
        }
    }

    async fn health(&self, request: http::Request<Incoming>) -> http::Response<tonic::body::Body> {
        let answer = if self.is_serving.load(Ordering::SeqCst) { SERVING } else { NOT_SERVING };
        let handler = tower::service_fn(move |_: tonic::Request<Bytes>| async move {
            Ok::<_, tonic::Status>(tonic::Response::new(Bytes::copy_from_slice(&answer)))
        });
        let answer = tonic::server::Grpc::new(BytesCodec).unary(handler, request).await;
        self.health_checks.send_modify(|count| *count += 1);
        answer
    }

    fn record(&self, call: Received) {
        self.received.send_modify(|calls| calls.push(call));
    }

    fn note_answered(&self, call: Received, asked_at: Timestamp) {
        lock(&self.answered).push(Answered { call, asked_at, at: SystemClock.now() });
    }
}

async fn serve(process: Arc<Process>, stream: TcpStream, scope: Scope) {
    let tls = lock(&process.node.tls).clone();
    let Some(FakeTls { config, metadata }) = tls else {
        return serve_on(process, stream, HeaderMap::new(), scope).await;
    };
    // A client may think better of it in the handshake.
    if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
        serve_on(process, stream, metadata, scope).await;
    }
}

async fn serve_on(
    process: Arc<Process>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    metadata: HeaderMap,
    scope: Scope,
) {
    let hangs_up = process.node.hangs_up.load(Ordering::SeqCst);
    let answered = Arc::new(Notify::new());
    let is_answered = answered.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (process, metadata, scope) = (process.clone(), metadata.clone(), scope.clone());
        let answered = answered.clone();
        async move {
            let mut answer = route(process, scope, request).await;
            answer.headers_mut().extend(metadata);
            answered.notify_one();
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection =
        pin!(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    if hangs_up {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = is_answered.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
    // A client may hang up as it likes.
    let _ = connection.await;
}

async fn route(
    process: Arc<Process>,
    scope: Scope,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let path = request.uri().path().to_owned();
    if path == HEALTH_PATH {
        return process.node.health(request).await;
    }
    if path != SETUP_PATH && path != CALL_PATH {
        return tonic::Status::unimplemented(path).into_http();
    }
    let is_setup = path == SETUP_PATH;
    let handler = tower::service_fn(move |request: tonic::Request<Bytes>| {
        let (process, scope) = (process.clone(), scope.clone());
        async move { process.take(request.into_inner(), is_setup, scope).await.map(Answer::into_response) }
    });
    let answer = tonic::server::Grpc::new(BytesCodec)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
        .unary(handler, request)
        .await;
    delivery::apply(answer).await
}

/// A message, and how it goes over the wire.
struct Answer {
    message: Bytes,
    manner: Option<delivery::Manner>,
}

impl Answer {
    fn into_response(self) -> tonic::Response<Bytes> {
        let mut response = tonic::Response::new(self.message);
        if let Some(manner) = self.manner {
            response.extensions_mut().insert(manner);
        }
        response
    }

    fn sent(self, delivery: Delivery) -> Self {
        Answer { manner: Some(delivery::Manner::Bad(delivery)), ..self }
    }
}

impl From<Bytes> for Answer {
    fn from(message: Bytes) -> Self {
        Answer { message, manner: None }
    }
}

impl Process {
    /// Takes a call when it is free, and carries it through even if the caller goes away.
    async fn take(
        self: Arc<Self>,
        message: Bytes,
        is_setup: bool,
        scope: Scope,
    ) -> Result<Answer, tonic::Status> {
        let limit = self.node.max_message_bytes.load(Ordering::SeqCst);
        if message.len() > limit {
            let words = format!("Received message larger than max ({} vs. {limit})", message.len());
            return Err(tonic::Status::resource_exhausted(words));
        }
        let Ok(turn) = self.turn.clone().try_lock_owned() else {
            self.node.refused.fetch_add(1, Ordering::SeqCst);
            return Err(tonic::Status::resource_exhausted("the model is busy with another call"));
        };
        let (done, result) = oneshot::channel();
        scope.spawn(async move {
            let result = if is_setup { self.setup(message).await } else { self.call(message).await };
            drop(turn);
            let _ = done.send(result);
        });
        result.await.unwrap_or_else(|_| Err(tonic::Status::unavailable("the process ended")))
    }

    async fn setup(&self, message: Bytes) -> Result<Answer, tonic::Status> {
        let request = SetupRequest::decode(message).map_err(no_protobuf)?;
        let releases = self.node.releases.subscribe();
        let call =
            Received { method: "Setup".to_owned(), arguments: vec![Value::String(request.class_name)] };
        self.node.record(call.clone());
        let asked_at = SystemClock.now();
        let reply = lock(&self.node.on_setup).clone();
        let reply = when_due(reply, releases).await;
        self.node.note_answered(call, asked_at);
        if let Reply::Value(_) = reply {
            self.is_set_up.store(true, Ordering::SeqCst);
        }
        answer_of(reply)
    }

    async fn call(&self, message: Bytes) -> Result<Answer, tonic::Status> {
        let mut request = CallRequest::decode(message).map_err(no_protobuf)?;
        request.method_arguments.sort_by_key(|argument| argument.position);
        let data = request.method_arguments.into_iter().map(|argument| argument.data.unwrap_or_default());
        let arguments = data.map(|variant| Value::from_variant(&variant)).collect::<Result<Vec<_>, _>>();
        let arguments = arguments.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
        // Before the call is on record: whoever sees it there may release it.
        let releases = self.node.releases.subscribe();
        let call = Received { method: request.method_name, arguments };
        self.node.record(call.clone());
        if self.node.wants_setup.load(Ordering::SeqCst) && !self.is_set_up.load(Ordering::SeqCst) {
            return Ok(response(status::FAILED_PRECONDITION, "the model is not set up", None).into());
        }
        let asked_at = SystemClock.now();
        let reply = lock(&self.node.behaviour).reply(&call.method, &call.arguments);
        let answer = answer_of(when_due(reply, releases).await);
        self.node.note_answered(call, asked_at);
        answer
    }
}

/// What is left of a reply after its pauses.
async fn when_due(mut reply: Reply, mut releases: watch::Receiver<usize>) -> Reply {
    loop {
        reply = match reply {
            Reply::Held(then) => {
                let _ = releases.changed().await;
                *then
            }
            Reply::After(pause, then) => {
                tokio::time::sleep(pause).await;
                *then
            }
            due => return due,
        }
    }
}

fn answer_of(reply: Reply) -> Result<Answer, tonic::Status> {
    match reply {
        Reply::Value(value) => Ok(response(status::SUCCESS, "", Some(value.to_variant())).into()),
        Reply::Status { code, message } => Ok(response(code, &message, None).into()),
        Reply::Grpc(status) => Err(status),
        Reply::Raw(bytes) => Ok(bytes.into()),
        Reply::Huge(bytes) => {
            let success = response(status::SUCCESS, "", None);
            Ok(Answer { message: success, manner: Some(delivery::Manner::Blanks(bytes)) })
        }
        Reply::Sent(delivery, reply) => answer_of(*reply).map(|answer| answer.sent(delivery)),
        Reply::Held(_) | Reply::After(..) => unreachable!("a reply that is due"),
    }
}

fn no_protobuf(error: prost::DecodeError) -> tonic::Status {
    tonic::Status::invalid_argument(error.to_string())
}

/// A Setup's response is a call's without a value.
pub(crate) fn response(code: &str, message: &str, value: Option<Variant>) -> Bytes {
    let status = Some(Status { code: code.to_owned(), message: message.to_owned() });
    CallResponse { status, method_response: value }.encode_to_vec().into()
}

/// Messages as bytes, so that a fake can answer what is no message.
#[derive(Debug, Clone, Copy)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = tonic::Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, tonic::Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
