//! What a fleet promises to those who measure against it.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::HashSet;
use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use protocol::cluster::{ClusterMessage, INIT, ModelState, RunState};
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use protocol::dynamic_subclass::{CallRequest, CallResponse, SetupRequest};
use protocol::{CALL_PATH, Value, method, status};
use testkit::{Fleet, FleetOptions, forecast, soon};
use tonic::transport::Channel;

const OPTIONS: FleetOptions = FleetOptions { models: 3, hanging: 0, increments: 288 };

type Client = DynamicSubclassServiceClient<Channel>;

async fn announced(fleet: &Fleet) -> Vec<ModelState> {
    let url = format!("{}/condor", fleet.url());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let init = soon("init", socket.next()).await.unwrap().unwrap();
    let message: ClusterMessage = serde_json::from_str(init.to_text().unwrap()).unwrap();
    assert_eq!(message.event, INIT);
    message.data.into_iter().map(|state| serde_json::from_value(state).unwrap()).collect()
}

async fn clients(fleet: &Fleet) -> Vec<Client> {
    let mut clients = Vec::new();
    for state in announced(fleet).await {
        let (host, port) = state.address().unwrap();
        clients.push(Client::connect(format!("http://{host}:{port}")).await.unwrap());
    }
    clients
}

async fn call(client: &mut Client, method: &str, arguments: &[Value]) -> CallResponse {
    let arguments = (1..).zip(arguments).map(|(position, value)| value.to_argument(position));
    let request = CallRequest {
        method_name: method.to_owned(),
        method_arguments: arguments.collect(),
        method_kw_arguments: Vec::new(),
    };
    soon(method, client.call(request)).await.unwrap().into_inner()
}

fn is_success(response: &CallResponse) -> bool {
    response.status.as_ref().is_some_and(|status| status.code == status::SUCCESS)
}

fn value(response: CallResponse) -> Value {
    Value::from_variant(&response.method_response.unwrap()).unwrap()
}

#[tokio::test]
async fn every_model_is_announced_as_running_at_an_address_of_its_own() {
    let states = announced(&Fleet::start(OPTIONS).await).await;
    let addresses: HashSet<_> = states.iter().map(|state| state.address().unwrap()).collect();
    assert_eq!(addresses.len(), OPTIONS.models);
    assert!(states.iter().all(|state| state.state == RunState::Running));
}

#[tokio::test]
async fn a_question_gets_a_forecast_that_is_not_its_neighbours() {
    let fleet = Fleet::start(OPTIONS).await;
    let mut clients = clients(&fleet).await;
    for (number, client) in clients.iter_mut().enumerate() {
        let question = [Value::String("BTC".into()), Value::Int(86_400), Value::Int(300)];
        let response = call(client, method::PREDICT, &question).await;
        assert!(is_success(&response));
        assert_eq!(value(response), Value::Json(forecast(288, number)));
    }
}

#[tokio::test]
async fn a_setup_and_a_tick_of_several_megabytes_succeed_and_return_nothing() {
    let fleet = Fleet::start(OPTIONS).await;
    let client = &mut clients(&fleet).await[0];
    let setup =
        SetupRequest { class_name: "crunch_synth.tracker.TrackerBase".into(), ..SetupRequest::default() };
    let setup = soon("Setup", client.setup(setup)).await.unwrap().into_inner();
    assert_eq!(setup.status.unwrap().code, status::SUCCESS);
    let history = Value::Json(" ".repeat(3_000_000));
    for prices in [history, Value::Json("{}".into())] {
        let response = call(client, method::TICK, &[prices]).await;
        assert!(is_success(&response));
        assert_eq!(value(response), Value::None);
    }
}

#[tokio::test]
async fn a_hanging_model_takes_ticks_and_no_question() {
    let fleet = Fleet::start(FleetOptions { hanging: 1, ..OPTIONS }).await;
    let mut clients = clients(&fleet).await;
    assert!(is_success(&call(&mut clients[0], method::TICK, &[]).await));
    let mut hanging = clients[0].clone();
    let asked = tokio::spawn(async move { call(&mut hanging, method::PREDICT, &[]).await });
    assert!(is_success(&call(&mut clients[1], method::PREDICT, &[]).await));
    assert!(is_success(&call(&mut clients[0], method::TICK, &[]).await));
    assert!(!asked.is_finished());
    asked.abort();
}

#[tokio::test]
async fn a_message_that_comes_in_pieces_is_understood() {
    let fleet = Fleet::start(OPTIONS).await;
    let states = announced(&fleet).await;
    let (host, port) = states[0].address().unwrap();
    let stream = tokio::net::TcpStream::connect((host, port)).await.unwrap();
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let pieces = [b"\0\0\0\0\x09".as_slice(), b"\x0a", b"\x07pre", b"dict"];
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece))));
    let request = http::Request::post(format!("http://{host}:{port}{}", CALL_PATH))
        .body(StreamBody::new(futures::stream::iter(frames)))
        .unwrap();
    let answer = soon("an answer", client.send_request(request)).await.unwrap();
    let body = soon("its body", answer.into_body().collect()).await.unwrap();
    assert!(body.to_bytes().len() > 80_000);
}
