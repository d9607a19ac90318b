//! Models that fail and time out again and again: left alone for a while, looked after, and in the end reported.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BRIEF, Client, PATIENT, json, predict, tick, timeout};
use model_client::{CallOutcome, ClusterConfig, EncodedSetup, ModelNode};
use protocol::status;
use testkit::{Behaviour, FakeModel, Reply, soon, stopped};

fn setup() -> EncodedSetup {
    EncodedSetup::new("crunch_synth.tracker.TrackerBase")
}

/// A client that bears two failures and two timeouts.
async fn strict() -> Client {
    strict_with(|_| {}).await
}

async fn strict_with(change: impl FnOnce(&mut ClusterConfig)) -> Client {
    Client::start_with(|config| {
        config.health.max_consecutive_failures = 2;
        config.health.max_consecutive_timeouts = 2;
        change(config);
    })
    .await
}

async fn hold(client: &mut Client, model: &FakeModel) -> Arc<ModelNode> {
    client.orchestrator.announce([model.running("m", "d1")]);
    client.joined().await
}

/// Waits for so many reports and tells the codes of all.
async fn codes(client: &Client, count: usize) -> Vec<String> {
    client.orchestrator.reported(count).await;
    client.orchestrator.reports().into_iter().map(|report| report.failure_code).collect()
}

fn raising_in_predict() -> Behaviour {
    Behaviour::raise("ValueError: no data").only_on("predict")
}

#[tokio::test]
async fn a_model_that_ticks_well_and_predicts_badly_is_reported_by_the_first_failure_above_the_limit() {
    let model = FakeModel::start(raising_in_predict()).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    for _ in 0..2 {
        node.call(&predict(), PATIENT).await;
        assert!(node.call(&tick(), PATIENT).await.acknowledges());
    }
    tokio::time::sleep(BRIEF).await;
    assert!(client.orchestrator.reports().is_empty(), "two are borne");
    node.call(&predict(), PATIENT).await;
    let reason = "predict failed 3 times in a row, at last: ValueError: no data";
    assert_eq!(client.told().await, format!("-m d1 (reported as MULTIPLE_FAILED: {reason})"));
    client.orchestrator.reported(1).await;
    let report = client.orchestrator.reports().remove(0);
    assert_eq!(
        (report.model_id.as_str(), report.failure_code.as_str(), report.ip.as_str()),
        ("m", "MULTIPLE_FAILED", "127.0.0.1")
    );
    assert_eq!(report.failure_reason.as_deref(), Some(reason));
    assert_eq!(client.cluster.reporting().status().reported, 1);
}

#[tokio::test]
async fn answers_that_the_caller_has_no_use_for_are_failures() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    for _ in 0..3 {
        assert_eq!(json(&node.call(&predict(), PATIENT).await), "[]");
        node.unusable_answer("predict", "no density");
    }
    assert_eq!(codes(&client, 1).await, ["MULTIPLE_FAILED"]);
}

#[tokio::test]
async fn what_setup_shows_is_reported_at_once() {
    let cases = [
        (
            Reply::Status { code: status::BAD_IMPLEMENTATION, message: "no class".into() },
            "BAD_IMPLEMENTATION",
        ),
        (Reply::Status { code: status::SETUP_FAILED, message: "raised".into() }, "MULTIPLE_FAILED"),
        (Reply::Held(Box::new(Reply::Value(protocol::Value::None))), "CONNECTION_FAILED"),
    ];
    for (reply, code) in cases {
        let model = FakeModel::start(Behaviour::answer("[]")).await;
        model.on_setup(reply);
        let mut client = Client::start().await;
        let node = hold(&mut client, &model).await;
        node.setup(&setup(), BRIEF).await;
        assert_eq!(codes(&client, 1).await, [code]);
        assert!(client.told().await.starts_with("-m d1 (reported as"));
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_is_reported_after_the_attempts() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    model.stop().await;
    let mut client = strict_with(|config| {
        config.health.max_connect_attempts = 3;
        config.health.unreachable_for = Duration::ZERO;
    })
    .await;
    let node = hold(&mut client, &model).await;
    for _ in 0..3 {
        assert!(client.orchestrator.reports().is_empty());
        node.call(&predict(), PATIENT).await;
    }
    assert_eq!(codes(&client, 1).await, ["CONNECTION_FAILED"]);
}

#[tokio::test]
async fn a_hung_model_is_asked_for_its_health_and_reported_with_what_it_hangs_in() {
    let model = FakeModel::start(Behaviour::never_answer().only_on("predict")).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    timeout(node.call(&predict(), BRIEF).await);
    model.health_checked(1).await;
    assert!(matches!(node.missed_call("predict"), CallOutcome::Busy { .. }));
    let skipped = node.call(&predict(), PATIENT).await;
    let message = "cooling down after 2 timeouts in a row, next try in 1 round".to_owned();
    assert_eq!(skipped, CallOutcome::CoolingDown { message });
    assert!(client.orchestrator.reports().is_empty(), "a skipped call is no timeout");
    node.call(&predict(), BRIEF).await;
    assert_eq!(codes(&client, 1).await, ["MULTIPLE_TIMEOUT"]);
    let reason = client.orchestrator.reports().remove(0).failure_reason.unwrap();
    assert!(reason.starts_with("predict timed out 3 times in a row, at last: "), "{reason}");
    assert!(reason.contains("still busy with predict since"), "{reason}");
    assert_eq!(model.methods(), ["predict"], "never a second call on top of one that hangs");
}

#[tokio::test]
async fn after_a_cool_down_a_model_that_has_recovered_is_called_as_before() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let mut client = Client::start().await;
    let node = hold(&mut client, &model).await;
    timeout(node.call(&predict(), BRIEF).await);
    node.missed_call("predict");
    model.behave(Behaviour::answer("[1]"));
    model.release();
    assert!(node.is_cooling_down("predict"));
    assert!(matches!(node.call(&predict(), PATIENT).await, CallOutcome::CoolingDown { .. }));
    assert!(!node.is_cooling_down("predict"));
    for _ in 0..3 {
        assert_eq!(json(&node.call(&predict(), PATIENT).await), "[1]");
    }
}

#[tokio::test]
async fn a_node_whose_health_is_bad_is_connected_to_anew() {
    let model = FakeModel::start(Behaviour::never_answer().only_on("predict")).await;
    model.on_health_check(false);
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    timeout(node.call(&predict(), BRIEF).await);
    soon("the hung call is given up", node.until_free()).await;
    model.behave(Behaviour::answer("[2]"));
    model.release();
    assert_eq!(json(&node.call(&predict(), PATIENT).await), "[2]");
    assert_eq!(model.connections(), 3, "the first, the health check's, the new one");
}

#[tokio::test]
async fn a_node_that_refuses_every_call_as_wrong_counts_as_failed_in_the_end() {
    let wrong = Reply::Status { code: status::INVALID_ARGUMENT, message: "no".into() };
    let model = FakeModel::start(Behaviour::new(move |_, _| wrong.clone())).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    let mut excuses = Vec::new();
    for _ in 0..5 {
        match node.call(&predict(), PATIENT).await {
            CallOutcome::OurFault { excused, .. } => excuses.push(excused),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(excuses, [true, true, false, false, false]);
    assert_eq!(codes(&client, 1).await, ["MULTIPLE_FAILED"]);
}

#[tokio::test]
async fn a_model_that_is_announced_again_after_its_report_comes_back_with_nothing_held_against_it() {
    let model = FakeModel::start(raising_in_predict()).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    for _ in 0..3 {
        node.call(&predict(), PATIENT).await;
    }
    assert!(client.told().await.starts_with("-m d1"));
    client.orchestrator.announce([stopped("m", "d1")]);
    client.orchestrator.announce([model.running("m", "d2")]);
    let node = client.joined().await;
    for _ in 0..2 {
        node.call(&predict(), PATIENT).await;
    }
    tokio::time::sleep(BRIEF).await;
    assert_eq!(client.orchestrator.reports().len(), 1, "it starts from zero");
    node.call(&predict(), PATIENT).await;
    assert_eq!(codes(&client, 2).await, ["MULTIPLE_FAILED"; 2]);
}

#[tokio::test]
async fn reports_wait_for_the_orchestrator_and_its_list_does_not_bring_their_models_back() {
    let model = FakeModel::start(raising_in_predict()).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    client.orchestrator.stop().await;
    assert_eq!(client.told().await, "disconnected");
    for _ in 0..3 {
        node.call(&predict(), PATIENT).await;
    }
    assert!(client.told().await.starts_with("-m d1 (reported"), "it leaves at once");
    client.orchestrator.restart().await;
    assert_eq!(client.told().await, "initialised", "the list still has it, and it stays out");
    assert_eq!(codes(&client, 1).await, ["MULTIPLE_FAILED"]);
    // An orchestrator that still runs it after the report wants it so.
    client.orchestrator.drop_connections();
    assert_eq!(client.told().await, "disconnected");
    assert_eq!(client.told().await, "+m d1");
}

#[tokio::test]
async fn a_report_that_waits_does_not_stop_a_newer_deployment() {
    let model = FakeModel::start(raising_in_predict()).await;
    let mut client = strict().await;
    let node = hold(&mut client, &model).await;
    client.orchestrator.stop().await;
    assert_eq!(client.told().await, "disconnected");
    for _ in 0..3 {
        node.call(&predict(), PATIENT).await;
    }
    assert!(client.told().await.starts_with("-m d1"));
    client.orchestrator.announce_silently([model.running("m", "d2")]);
    client.orchestrator.restart().await;
    assert_eq!(client.told().await, "+m d2");
    assert_eq!(client.told().await, "initialised");
    tokio::time::sleep(BRIEF).await;
    assert!(client.orchestrator.reports().is_empty());
}

#[tokio::test]
async fn with_reporting_off_nothing_is_sent_and_the_model_stays() {
    let model = FakeModel::start(raising_in_predict()).await;
    let mut client = strict_with(|config| config.report_failures = false).await;
    let node = hold(&mut client, &model).await;
    for _ in 0..6 {
        node.call(&predict(), PATIENT).await;
    }
    model.behave(Behaviour::answer("[3]"));
    assert_eq!(json(&node.call(&predict(), PATIENT).await), "[3]");
    tokio::time::sleep(BRIEF).await;
    assert!(client.orchestrator.reports().is_empty());
    assert!(client.events.try_recv().is_err());
}

#[tokio::test]
async fn a_fault_that_hits_a_quarter_of_the_fleet_is_ours_and_nobody_is_reported() {
    let mut client = strict_with(|config| config.report_hold = BRIEF).await;
    let mut models = Vec::new();
    for n in 0..6 {
        let model = FakeModel::start(raising_in_predict()).await;
        client.orchestrator.announce([model.running(&format!("m{n}"), "d1")]);
        models.push((model, client.joined().await));
    }
    let reporting = client.cluster.reporting();
    for (_, node) in &models {
        for _ in 0..3 {
            node.call(&predict(), PATIENT).await;
        }
    }
    assert!(reporting.status().is_paused);
    tokio::time::sleep(BRIEF * 3).await;
    assert!(client.orchestrator.reports().is_empty());
    // Most answer again, and one does not.
    for (model, node) in &models[..5] {
        model.behave(Behaviour::answer("[]"));
        node.call(&tick(), PATIENT).await;
        assert!(reporting.status().is_paused, "a good tick tells nothing about predict");
        node.call(&predict(), PATIENT).await;
    }
    for (_, node) in &models[..5] {
        node.call(&predict(), PATIENT).await;
    }
    assert!(!reporting.status().is_paused);
    models[5].1.call(&predict(), PATIENT).await;
    assert_eq!(codes(&client, 1).await, ["MULTIPLE_FAILED"]);
    assert!(client.told().await.starts_with("-m5 d1"));
}
