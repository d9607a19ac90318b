//! Many model nodes in one process that cost next to nothing: for measuring what a client costs.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use protocol::{CALL_PATH, SETUP_PATH, Value, status};
use tokio::net::TcpStream;

use crate::fake_model::{HEALTH_PATH, SERVING, response, running_at};
use crate::fake_orchestrator::FakeOrchestrator;
use crate::forecast::forecast;
use crate::port::{Port, Scope};

/// How many different forecasts there are in a fleet; models take them in turns.
const FORECASTS: usize = 16;

/// What a fleet is made of.
#[derive(Debug, Clone, Copy)]
pub struct FleetOptions {
    /// How many models there are.
    pub models: usize,
    /// How many of them take `predict` and never answer.
    pub hanging: usize,
    /// Densities in an answer to `predict`.
    pub increments: usize,
}

/// An orchestrator and the models that it announces as running, each on a port of its own.
///
/// Answers are encoded beforehand, and of a request no more is looked at than which kind it is: `predict` gets a
/// [`forecast`], everything else gets SUCCESS without a value. Unlike a real node, one of these takes several calls at a
/// time. Each model takes two open files, and one for each connection.
#[derive(Debug)]
pub struct Fleet {
    orchestrator: FakeOrchestrator,
    _models: Vec<Port>,
}

impl Fleet {
    /// Starts all of it; the hanging models come first.
    pub async fn start(options: FleetOptions) -> Self {
        let forecasts: Vec<Bytes> =
            (0..FORECASTS).map(|seed| forecast_answer(options.increments, seed)).collect();
        let orchestrator = FakeOrchestrator::start().await;
        let mut models = Vec::new();
        let mut states = Vec::new();
        for number in 0..options.models {
            let forecast = (number >= options.hanging).then(|| forecasts[number % FORECASTS].clone());
            let model = Port::open(Answers::new(forecast).server()).await;
            states.push(running_at(model.address(), &number.to_string(), &format!("d{number}")));
            models.push(model);
        }
        orchestrator.announce(states);
        Fleet { orchestrator, _models: models }
    }

    /// What a coordinator connects to, without the crunch: `ws://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.orchestrator.url()
    }
}

/// What a request is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Predict,
    Other,
    Health,
    Unknown,
}

/// What one model answers: gRPC messages with their prefix.
#[derive(Debug)]
struct Answers {
    done: Bytes,
    serving: Bytes,
    /// None hangs.
    forecast: Option<Bytes>,
    trailers: HeaderMap,
}

type Answer = Response<WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>>;

impl Answers {
    fn new(forecast: Option<Bytes>) -> Arc<Self> {
        let done = framed(&response(status::SUCCESS, "", Some(Value::None.to_variant())));
        Arc::new(Answers { done, serving: framed(&SERVING), forecast, trailers: grpc_status("0") })
    }

    fn server(self: Arc<Self>) -> impl Fn(TcpStream, Scope) -> BoxFuture<'static, ()> + Send + 'static {
        move |stream, _| Box::pin(self.clone().serve(stream))
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let answers = self.clone();
            async move { Ok::<_, Infallible>(answers.answer(request).await) }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
        // A client may hang up as it likes.
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match kind_of(request).await {
            Kind::Predict => match &self.forecast {
                Some(forecast) => answer(forecast.clone(), self.trailers.clone()),
                None => std::future::pending().await,
            },
            Kind::Other => answer(self.done.clone(), self.trailers.clone()),
            Kind::Health => answer(self.serving.clone(), self.trailers.clone()),
            Kind::Unknown => answer(Bytes::new(), grpc_status("12")),
        }
    }
}

/// Takes all of a request and keeps nothing of it.
async fn kind_of(request: Request<Incoming>) -> Kind {
    let (head, body) = request.into_parts();
    let is_predict = asks_to_predict(body).await;
    match head.uri.path() {
        CALL_PATH if is_predict => Kind::Predict,
        CALL_PATH | SETUP_PATH => Kind::Other,
        HEALTH_PATH => Kind::Health,
        _ => Kind::Unknown,
    }
}

/// Whether the message begins as a call of `predict`: the name of the method is its first field.
async fn asks_to_predict(mut body: Incoming) -> bool {
    const PREFIX: usize = 5;
    const METHOD: &[u8] = b"\x0a\x07predict";
    let mut begin = BytesMut::with_capacity(PREFIX + METHOD.len());
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let missing = PREFIX + METHOD.len() - begin.len();
        begin.put_slice(&data[..missing.min(data.len())]);
    }
    begin.get(PREFIX..) == Some(METHOD)
}

fn answer(message: Bytes, trailers: HeaderMap) -> Answer {
    let mut answer = Response::new(Full::new(message).with_trailers(ready(Some(Ok(trailers)))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

fn forecast_answer(increments: usize, seed: usize) -> Bytes {
    let forecast = Value::Json(forecast(increments, seed));
    framed(&response(status::SUCCESS, "", Some(forecast.to_variant())))
}

/// A message as gRPC sends it: not compressed, its length, and itself.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a message below 4 GiB");
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
    framed.freeze()
}
