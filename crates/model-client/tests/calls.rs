//! Calls to models of every kind, over real connections.

mod common;

use std::time::Duration;

use common::{BRIEF, Client, PATIENT, broken, busy, json, predict, tick, timeout, unreachable_since};
use model_client::{CallOutcome, EncodedCall, EncodedSetup, ModelNode, Oversized};
use protocol::{Value, method, status};
use testkit::{Behaviour, FakeModel, Reply, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a `predict` to a model that behaves so.
async fn outcome_of(behaviour: Behaviour) -> CallOutcome {
    let model = FakeModel::start(behaviour).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    nodes[0].call(&predict(), PATIENT).await
}

fn status_reply(code: &'static str) -> Behaviour {
    Behaviour::new(move |_, _| Reply::Status { code, message: "why".into() })
}

fn grpc_reply(status: tonic::Status) -> Behaviour {
    Behaviour::new(move |_, _| Reply::Grpc(status.clone()))
}

async fn until_free(node: &ModelNode) {
    let free = async {
        while node.is_busy() {
            tokio::task::yield_now().await;
        }
    };
    soon("the model is free", free).await;
}

#[tokio::test]
async fn an_answer_comes_back_with_the_time_that_it_took() {
    let pause = Duration::from_millis(50);
    let outcome = outcome_of(Behaviour::answer_late(pause, "[1, NaN]")).await;
    assert_eq!(json(&outcome), "[1, NaN]");
    let CallOutcome::Answered { took, .. } = outcome else { unreachable!() };
    assert!(took >= pause && took < PATIENT, "{took:?}");
}

#[tokio::test]
async fn arguments_arrive_as_they_were_given() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let arguments = [
        Value::String("BTC".into()),
        Value::Int(-5),
        Value::Double(0.1),
        Value::Json("[60]".into()),
        Value::None,
    ];
    nodes[0].call(&EncodedCall::new(method::PREDICT_ALL, &arguments), PATIENT).await;
    assert_eq!(model.calls()[0].method, "predict_all");
    assert_eq!(model.calls()[0].arguments, arguments);
}

#[tokio::test]
async fn a_call_of_several_megabytes_arrives_whole() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let history = "7".repeat(5_000_000);
    let call = EncodedCall::with_json(method::TICK, history.clone().into());
    assert!(matches!(nodes[0].call(&call, PATIENT).await, CallOutcome::Answered { .. }));
    assert_eq!(model.calls()[0].arguments, [Value::Json(history)]);
}

#[tokio::test]
async fn a_model_that_raises_is_quoted() {
    let outcome = outcome_of(Behaviour::raise("ValueError: no data")).await;
    let raised = CallOutcome::Raised { code: "MODEL_FAILED".into(), message: "ValueError: no data".into() };
    assert_eq!(outcome, raised);
}

#[tokio::test]
async fn the_nodes_own_status_codes_are_told_apart() {
    let of = |code| outcome_of(status_reply(code));
    let message = || "why".to_owned();
    assert_eq!(of(status::BAD_IMPLEMENTATION).await, CallOutcome::BadImplementation { message: message() });
    assert_eq!(
        of(status::FAILED_PRECONDITION).await,
        CallOutcome::NotSetUp { message: message(), excused: true }
    );
    assert_eq!(
        of(status::INVALID_ARGUMENT).await,
        CallOutcome::OurFault { message: message(), excused: true }
    );
}

#[tokio::test]
async fn a_failed_setup_tells_why() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    model.require_setup();
    let (_client, nodes) = Client::holding(&[&model]).await;
    assert!(matches!(nodes[0].call(&tick(), PATIENT).await, CallOutcome::NotSetUp { .. }));
    let setup = EncodedSetup::new("crunch_synth.tracker.TrackerBase");
    let done = nodes[0].setup(&setup, PATIENT).await;
    assert!(matches!(done, CallOutcome::Answered { value: Value::None, .. }), "{done:?}");
    assert!(nodes[0].call(&tick(), PATIENT).await.acknowledges());
    let base_class = Value::String("crunch_synth.tracker.TrackerBase".into());
    assert_eq!(model.calls()[1].arguments, [base_class]);
}

#[tokio::test]
async fn values_of_a_wrong_kind_come_back_as_what_they_are() {
    let outcome = outcome_of(Behaviour::text("up")).await;
    assert!(matches!(outcome, CallOutcome::Answered { value: Value::String(text), .. } if text == "up"));
    assert!(json(&outcome_of(Behaviour::nan()).await).contains("NaN"));
}

#[tokio::test]
async fn garbage_is_a_bad_answer_and_the_connection_goes_on() {
    let model = FakeModel::start(Behaviour::garbage()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let outcome = nodes[0].call(&predict(), PATIENT).await;
    assert!(matches!(outcome, CallOutcome::BadAnswer { .. }), "{outcome:?}");
    model.behave(Behaviour::answer("[]"));
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    assert_eq!(model.connections(), 1);
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_at_once_and_the_connection_goes_on() {
    let model = FakeModel::start(Behaviour::huge(100_000_000)).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let outcome = nodes[0].call(&predict(), PATIENT).await;
    let CallOutcome::TooLarge { what: Oversized::Answer, message } = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("more than the 1000000 that are allowed"), "{message}");
    model.behave(Behaviour::answer("[]"));
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    assert_eq!(model.connections(), 1);
}

#[tokio::test]
async fn an_answer_of_exactly_the_limit_is_taken() {
    assert_eq!(json(&outcome_of(Behaviour::huge(1_000_000)).await).len(), 1_000_000);
    let above = outcome_of(Behaviour::huge(1_000_001)).await;
    assert!(matches!(above, CallOutcome::TooLarge { what: Oversized::Answer, .. }));
}

#[tokio::test]
async fn a_request_that_the_node_finds_too_large_is_not_taken_for_a_busy_node() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    model.limit_messages(10);
    let (_client, nodes) = Client::holding(&[&model]).await;
    let outcome = nodes[0].call(&tick(), PATIENT).await;
    assert!(matches!(outcome, CallOutcome::TooLarge { what: Oversized::Request, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_node_without_the_service_is_no_model_node() {
    let words = broken(outcome_of(grpc_reply(tonic::Status::unimplemented("no such"))).await);
    assert_eq!(words, "the node answered Unimplemented: no such");
}

#[tokio::test]
async fn calls_reach_the_model_in_the_order_in_which_they_were_made() {
    let model = FakeModel::start(Behaviour::answer_late(Duration::from_millis(5), "[]")).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let (tick, predict) = (tick(), predict());
    let ordered = tokio::join!(
        biased;
        nodes[0].call(&tick, PATIENT),
        nodes[0].call(&predict, PATIENT),
        nodes[0].call(&tick, PATIENT),
        nodes[0].call(&predict, PATIENT),
    );
    assert!(ordered.3.acknowledges());
    assert_eq!(model.methods(), ["tick", "predict", "tick", "predict"]);
    assert_eq!(model.refused(), 0, "never two at a time");
}

#[tokio::test]
async fn nothing_is_sent_to_a_model_that_has_not_answered() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    assert_eq!(timeout(nodes[0].call(&predict(), BRIEF).await), "no answer to predict within 100ms");
    assert!(nodes[0].is_busy());
    for _ in 0..2 {
        let message = busy(nodes[0].call(&tick(), BRIEF).await);
        assert_eq!(message, "tick was not sent: still busy with predict since 0 s");
    }
    assert_eq!((model.methods(), model.refused()), (vec!["predict".to_owned()], 0));
}

#[tokio::test]
async fn a_model_is_free_again_once_its_late_answer_has_come() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    timeout(nodes[0].call(&predict(), BRIEF).await);
    model.behave(Behaviour::answer("[2]"));
    let next = predict();
    let next = nodes[0].call(&next, PATIENT);
    model.release();
    assert_eq!(json(&next.await), "[2]", "the late answer is not taken for this one's");
    assert!(!nodes[0].is_busy());
    assert_eq!((model.methods().len(), model.refused(), model.connections()), (2, 0, 1));
}

#[tokio::test]
async fn a_late_answer_that_is_too_large_frees_the_model_too() {
    let late = Reply::Held(Box::new(Reply::Huge(20_000_000)));
    let model = FakeModel::start(Behaviour::new(move |_, _| late.clone())).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    timeout(nodes[0].call(&predict(), BRIEF).await);
    model.release();
    until_free(&nodes[0]).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_call_open() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let call = predict();
    tokio::select! {
        _ = nodes[0].call(&call, PATIENT) => panic!("it never answers"),
        () = model.received(1) => {}
    }
    assert!(nodes[0].is_busy());
    model.release();
    until_free(&nodes[0]).await;
    assert_eq!(model.methods(), ["predict"]);
}

#[tokio::test]
async fn a_hanging_model_delays_no_other() {
    let hanging = FakeModel::start(Behaviour::never_answer()).await;
    let good = FakeModel::start(Behaviour::answer("[]")).await;
    let (_client, nodes) = Client::holding(&[&hanging, &good]).await;
    let call = predict();
    let hang = nodes[0].call(&call, PATIENT);
    let others = async {
        hanging.received(1).await;
        for _ in 0..20 {
            assert!(nodes[1].call(&call, PATIENT).await.acknowledges());
        }
    };
    tokio::select! {
        outcome = hang => panic!("{outcome:?}"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_node_that_is_busy_with_another_caller_is_asked_again_until_it_is_free() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let (_other_client, other_nodes) = Client::holding(&[&model]).await;
    timeout(other_nodes[0].call(&tick(), BRIEF).await);
    model.behave(Behaviour::answer("[3]"));
    let refusals = async {
        while model.refused() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        model.release();
    };
    let call = predict();
    let (outcome, ()) = tokio::join!(nodes[0].call(&call, PATIENT), soon("two refusals", refusals));
    assert_eq!(json(&outcome), "[3]");
    assert_eq!(model.methods(), ["tick", "predict"]);
}

#[tokio::test]
async fn a_node_that_stays_busy_with_another_caller_times_out_and_is_not_asked_after_that() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let (_other_client, other_nodes) = Client::holding(&[&model]).await;
    timeout(other_nodes[0].call(&tick(), BRIEF).await);
    let message = busy(nodes[0].call(&predict(), BRIEF).await);
    assert_eq!(message, "the node did not take predict within 100ms: busy with another caller");
    until_free(&nodes[0]).await;
    assert_eq!(model.methods(), ["tick"]);
}

#[tokio::test]
async fn a_node_that_is_killed_and_started_again_is_called_again_by_itself() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    model.stop().await;
    let message = unreachable_since(nodes[0].call(&predict(), PATIENT).await);
    assert!(message.contains(nodes[0].address()), "{message}");
    model.restart().await;
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    assert_eq!(model.methods(), ["predict", "predict"], "no Setup, and nothing twice");
}

#[tokio::test]
async fn a_call_whose_node_is_killed_is_not_sent_again() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    let call = predict();
    let kill = async {
        model.received(1).await;
        model.stop().await;
        model.restart().await;
    };
    let (outcome, ()) = tokio::join!(nodes[0].call(&call, PATIENT), kill);
    let message = broken(outcome);
    assert!(message.contains("broke"), "{message}");
    assert!(!nodes[0].is_busy());
    assert_eq!(model.methods().len(), 1);
}

#[tokio::test]
async fn a_call_that_was_not_sent_in_time_is_never_sent() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (_client, nodes) = Client::holding(&[&model]).await;
    timeout(nodes[0].call(&predict(), BRIEF).await);
    busy(nodes[0].call(&tick(), BRIEF).await);
    model.behave(Behaviour::answer("[]"));
    model.release();
    assert!(nodes[0].call(&predict(), PATIENT).await.acknowledges());
    assert_eq!(model.methods(), ["predict", "predict"], "the tick in between is gone");
}

#[tokio::test]
async fn a_server_that_accepts_and_stays_silent_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::start().await;
    let port = listener.local_addr().unwrap().port();
    client.orchestrator.send_raw(format!(
        r#"{{"event":"update","data":[{{"model_id":"1","deployment_id":"d","state":"RUNNING","ip":"127.0.0.1","port":"{port}"}}]}}"#
    ));
    let node = client.joined().await;
    timeout(node.call(&predict(), BRIEF).await);
    drop(listener);
    until_free(&node).await;
}

#[tokio::test]
async fn a_server_that_speaks_something_else_breaks_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = Client::start().await;
    client.orchestrator.send_raw(format!(
        r#"{{"event":"update","data":[{{"model_id":"1","deployment_id":"d","state":"RUNNING","ip":"127.0.0.1","port":{port}}}]}}"#
    ));
    let node = client.joined().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let call = predict();
    let (outcome, _stream) = tokio::join!(node.call(&call, PATIENT), server);
    broken(outcome);
}

#[tokio::test]
async fn a_call_that_a_closing_server_never_looked_at_is_made_again() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = Client::start().await;
    client.orchestrator.send_raw(format!(
        r#"{{"event":"update","data":[{{"model_id":"1","deployment_id":"d","state":"RUNNING","ip":"127.0.0.1","port":{port}}}]}}"#
    ));
    let node = client.joined().await;
    let server = tokio::spawn(async move {
        let (mut closing, _) = listener.accept().await.unwrap();
        go_away_from_the_first_request(&mut closing).await.unwrap();
        let (mut ours, _) = listener.accept().await.unwrap();
        let mut theirs = TcpStream::connect(model.address()).await.unwrap();
        tokio::io::copy_bidirectional(&mut ours, &mut theirs).await
    });
    assert_eq!(json(&node.call(&predict(), PATIENT).await), "[]");
    server.abort();
}

/// As grpcio closes a connection that it finds idle while the request is on its way: the last request that it has looked
/// at is none.
async fn go_away_from_the_first_request(stream: &mut TcpStream) -> std::io::Result<()> {
    const PREFACE_BYTES: usize = 24;
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GO_AWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    stream.write_all(&SETTINGS).await?;
    stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        if kind == HEADERS {
            return stream.write_all(&GO_AWAY).await;
        }
    }
}

#[tokio::test]
async fn after_the_shutdown_calls_end_at_once() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (client, nodes) = Client::holding(&[&model]).await;
    let call = predict();
    let shutdown = async {
        model.received(1).await;
        client.cluster.shutdown().await;
    };
    let (outcome, ()) = tokio::join!(nodes[0].call(&call, PATIENT), shutdown);
    assert_eq!(unreachable_since(outcome), "the client was shut down");
    assert_eq!(unreachable_since(nodes[0].call(&call, PATIENT).await), "the client was shut down");
    assert!(!nodes[0].is_busy());
}
