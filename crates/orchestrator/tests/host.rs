//! The model host over real gRPC.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use domain::{Asset, Span};
use orchestrator::builtin::{BuiltinModel, BuiltinSpec, ModelError, Prices};
use orchestrator::host::{MAX_MESSAGE_BYTES, NodeSecurity, serve_builtin};
use protocol::Value;
use protocol::commons::Status;
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use protocol::dynamic_subclass::{CallRequest, SetupRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

type Client = DynamicSubclassServiceClient<Channel>;

const BASE_CLASS: &str = "crunch_synth.tracker.TrackerBase";

struct Host {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

async fn serve(model: Box<dyn BuiltinModel>) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let serving =
        tokio::spawn(
            async move { serve_builtin(listener, model, NodeSecurity::plain(), stop).await.unwrap() },
        );
    Host { address, shutdown, serving }
}

fn random_walk() -> Box<dyn BuiltinModel> {
    "random-walk".parse::<BuiltinSpec>().unwrap().build()
}

impl Host {
    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> Client {
        Client::new(self.channel().await)
            .max_encoding_message_size(2 * MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn ready_client(&self) -> Client {
        let mut client = self.client().await;
        assert_eq!(setup(&mut client, BASE_CLASS).await.code, "SUCCESS");
        client
    }
}

async fn setup(client: &mut Client, class: &str) -> Status {
    let request = SetupRequest { class_name: class.to_owned(), ..Default::default() };
    client.setup(request).await.unwrap().into_inner().status.unwrap()
}

fn request(method: &str, arguments: &[Value]) -> CallRequest {
    let numbered = (1..).zip(arguments).map(|(position, value)| value.to_argument(position));
    CallRequest { method_name: method.to_owned(), method_arguments: numbered.collect(), ..Default::default() }
}

/// The status code, and the value or the status message.
async fn call(client: &mut Client, method: &str, arguments: &[Value]) -> (String, String) {
    let response = client.call(request(method, arguments)).await.unwrap().into_inner();
    let status = response.status.unwrap();
    let text = match response.method_response.as_ref().map(Value::from_variant) {
        Some(Ok(Value::Json(text))) => text,
        Some(Ok(Value::None)) => String::new(),
        Some(other) => panic!("unexpected answer {other:?}"),
        None => status.message,
    };
    (status.code, text)
}

fn question(horizon: i64, step: i64) -> [Value; 3] {
    [Value::String("BTC".into()), Value::Int(horizon), Value::Int(step)]
}

#[tokio::test]
async fn a_coordinator_sets_up_ticks_and_asks() {
    let host = serve(random_walk()).await;
    let mut client = host.ready_client().await;
    let minutes: Vec<String> =
        (0..100).map(|m| format!("[{},{}]", 1_747_699_200 + 60 * m, 100.0 + f64::from(m % 2))).collect();
    let prices = Value::Json(format!("{{\"BTC\":[{}]}}", minutes.join(",")));
    let (_, before) = call(&mut client, "predict", &question(3600, 60)).await;
    assert_eq!(call(&mut client, "tick", &[prices]).await, ("SUCCESS".into(), String::new()));
    assert_eq!(setup(&mut client, BASE_CLASS).await.code, "SUCCESS");
    let (code, after) = call(&mut client, "predict", &question(3600, 60)).await;
    assert_eq!(code, "SUCCESS");
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&after).unwrap().len(), 60);
    assert_ne!(before, after, "a second setup keeps what the tick brought");
    let all = [Value::String("BTC".into()), Value::Int(3600), Value::Json("[60, 300]".into())];
    let (code, all) = call(&mut client, "predict_all", &all).await;
    assert_eq!(code, "SUCCESS");
    assert!(all.starts_with(&format!("{{\"60\":{after}")), "{all}");
    let status = client.rest(()).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.code, "SUCCESS");
}

#[tokio::test]
async fn what_a_caller_does_wrong_has_its_status_and_a_reason() {
    let host = serve(random_walk()).await;
    let mut client = host.client().await;
    let (code, message) = call(&mut client, "predict", &question(3600, 60)).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("FAILED_PRECONDITION", "the model has not been set up: send Setup first")
    );
    let status = setup(&mut client, "some.module.Strategy").await;
    assert_eq!(status.code, "BAD_IMPLEMENTATION");
    assert!(status.message.contains("`some.module.Strategy`"));
    let (code, _) = call(&mut client, "predict", &question(3600, 60)).await;
    assert_eq!(code, "FAILED_PRECONDITION", "a refused setup sets nothing up");

    let mut client = host.ready_client().await;
    let cases: [(&str, Vec<Value>, &str, &str); 6] = [
        ("fly", vec![], "BAD_IMPLEMENTATION", "no method `fly`"),
        ("predict", question(3600, 7).to_vec(), "INVALID_ARGUMENT", "does not divide"),
        (
            "predict",
            vec![Value::Int(1)],
            "INVALID_ARGUMENT",
            "`asset` must be a STRING, got a value of type INT",
        ),
        ("predict", vec![Value::String("BTC".into())], "INVALID_ARGUMENT", "`horizon` is missing"),
        (
            "tick",
            vec![Value::Json("{\"BTC\": [[1, NaN]]}".into())],
            "INVALID_ARGUMENT",
            "the JSON in `prices`",
        ),
        (
            "tick",
            vec![Value::Json("{}".into()), Value::None],
            "INVALID_ARGUMENT",
            "no parameter for argument 2",
        ),
    ];
    for (method, arguments, expected, reason) in cases {
        let (code, message) = call(&mut client, method, &arguments).await;
        assert_eq!(code, expected, "{method}");
        assert!(message.contains(reason), "{method}: {message}");
    }
}

#[tokio::test]
async fn thirty_days_of_many_assets_pass_in_one_message_and_more_than_the_limit_does_not() {
    let host = serve(random_walk()).await;
    let mut client = host.ready_client().await;
    let padding = |bytes: usize| Value::Json(format!("{{{}}}", " ".repeat(bytes)));
    let (code, _) = call(&mut client, "tick", &[padding(60 * 1024 * 1024)]).await;
    assert_eq!(code, "SUCCESS");
    let refused = client.call(request("tick", &[padding(65 * 1024 * 1024)])).await.unwrap_err();
    assert!(refused.message().contains("too large"), "{refused}");
}

/// A model whose ticks wait until they are let go, and whose predictions raise.
struct Stubborn {
    entered: mpsc::Sender<()>,
    leave: mpsc::Receiver<()>,
}

impl BuiltinModel for Stubborn {
    fn tick(&mut self, _: &Prices) -> Result<(), ModelError> {
        self.entered.send(()).unwrap();
        // No built-in model blocks; this one says so to the runtime, as its thread may be the one that watches the sockets.
        tokio::task::block_in_place(|| self.leave.recv()).unwrap();
        Ok(())
    }
    fn predict(&self, _: &Asset, _: Span, _: Span) -> Result<String, ModelError> {
        Err(ModelError::Raised("division by zero".into()))
    }
    fn predict_all(&self, _: &Asset, _: Span, _: &[Span]) -> Result<String, ModelError> {
        panic!("out of range")
    }
}

struct Handles {
    entered: mpsc::Receiver<()>,
    leave: mpsc::Sender<()>,
}

fn stubborn() -> (Box<dyn BuiltinModel>, Handles) {
    let ((enter, entered), (leave, left)) = (mpsc::channel(), mpsc::channel());
    (Box::new(Stubborn { entered: enter, leave: left }), Handles { entered, leave })
}

#[tokio::test]
async fn a_model_that_raises_or_panics_has_failed_and_goes_on() {
    let (model, _handles) = stubborn();
    let host = serve(model).await;
    let mut client = host.ready_client().await;
    let steps = [Value::String("BTC".into()), Value::Int(60), Value::Json("[60]".into())];
    let failed = |message: &str| ("MODEL_FAILED".to_owned(), message.to_owned());
    assert_eq!(call(&mut client, "predict", &question(60, 60)).await, failed("division by zero"));
    assert_eq!(call(&mut client, "predict_all", &steps).await, failed("the model panicked"));
    assert_eq!(call(&mut client, "predict", &question(60, 60)).await, failed("division by zero"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_at_a_time_also_when_its_caller_has_gone_and_the_health_check_answers_meanwhile() {
    let (model, Handles { entered, leave }) = stubborn();
    let host = serve(model).await;
    let mut first = host.ready_client().await;
    let tick = request("tick", &[Value::Json("{}".into())]);
    let hanging = tokio::spawn(async move { first.call(tick).await });
    let entered =
        tokio::task::spawn_blocking(move || entered.recv().map(|()| entered)).await.unwrap().unwrap();

    let mut second = host.client().await;
    let busy = second.call(request("predict", &question(60, 60))).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
    assert!(!busy.message().contains("larger than max"), "that would mean a message over the limit");
    let mut health = HealthClient::new(host.channel().await);
    let checked = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(checked.into_inner().status(), ServingStatus::Serving);

    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    let busy = second.call(request("predict", &question(60, 60))).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted, "the call goes on without its caller");
    leave.send(()).unwrap();
    let freed = async {
        while second.call(request("predict", &question(60, 60))).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
    drop(entered);
}

#[tokio::test]
async fn a_host_stops_when_it_is_told_to_although_somebody_watches_its_health() {
    let host = serve(random_walk()).await;
    let mut health = HealthClient::new(host.channel().await);
    let _watch = health.watch(HealthCheckRequest { service: String::new() }).await.unwrap();
    host.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), host.serving).await.unwrap().unwrap();
}
