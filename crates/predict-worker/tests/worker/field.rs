//! Who is asked, and how those count who cannot be.

use std::time::Duration;

use domain::PredictionStatus::{Absent, Failed, Success, Timeout};
use protocol::{Value, status};
use storage::ModelRepository;
use testkit::{Behaviour, FakeModel, Reply, soon, stopped};

use crate::world::{
    Worker, World, assert_outcome, closed, cluster_config, field, four_densities, good, of, told,
};

fn setup_status(code: &'static str) -> Reply {
    Reply::Status { code, message: "why".into() }
}

/// A model whose constructor replies so, announced.
async fn with_setup(world: &World, id: &str, reply: Reply) -> FakeModel {
    let model = FakeModel::start(good()).await;
    model.on_setup(reply);
    world.orchestrator.announce([model.running(id, &format!("{id}-d1"))]);
    model
}

fn held() -> Reply {
    Reply::Held(Box::new(Reply::Value(Value::None)))
}

/// Waits until so many models run, announced ones that are not set up yet included.
async fn running(worker: &Worker, count: usize) {
    let status = worker.status();
    let announced = async {
        while status.running_models() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the announcement arrives", announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_announced_but_cannot_be_reached_is_absent_with_the_cause() {
    let world = World::new().await;
    let _good = world.model("good", good()).await;
    let gone = FakeModel::start(good()).await;
    gone.stop().await;
    world.orchestrator.announce([gone.running("gone", "gone-d1")]);
    let worker = world.worker().await;
    let round = worker.play_one(0).await;
    assert_outcome(&round.predictions, "gone", Absent, "cannot be reached: cannot connect to");
    assert_eq!(of(&round.predictions, "good").status, Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_model_that_does_not_run_is_absent_until_it_leaves_the_field() {
    let world = World::new().await;
    let _models = [world.model("stays", good()).await, world.model("stops", good()).await];
    let worker = world.worker().await;
    worker.play(0).await;
    world.orchestrator.announce([stopped("stops", "stops-d1")]);
    running(&worker, 1).await;
    for minute in [2, 4] {
        let round = worker.play_one(minute).await;
        assert_outcome(&round.predictions, "stops", Absent, "the orchestrator does not run it");
    }
    // It was connected last in minute 0, and models leave after five minutes.
    assert_eq!(field(&worker.play_one(6).await.predictions), ["stays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_in_the_field_is_still_known_after_a_restart() {
    let world = World::new().await;
    let _stays = world.model("stays", good()).await;
    {
        let _stops = world.model("stops", good()).await;
        let worker = world.worker().await;
        worker.play(0).await;
        world.orchestrator.announce([stopped("stops", "stops-d1")]);
    }
    world.clock.set(crate::world::at(1));
    let worker = world.worker().await;
    let round = worker.play_one(2).await;
    assert_outcome(&round.predictions, "stops", Absent, "the orchestrator does not run it");
    assert_eq!(of(&round.predictions, "stays").status, Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_raises_is_a_failure_with_its_reason() {
    let world = World::new().await;
    let _good = world.model("good", good()).await;
    let _raises = with_setup(&world, "raises", setup_status(status::SETUP_FAILED)).await;
    let _missing = with_setup(&world, "missing", setup_status(status::BAD_IMPLEMENTATION)).await;
    let worker = world.worker().await;
    let round = worker.play_one(0).await;
    assert_outcome(&round.predictions, "raises", Failed, "set-up raised (SETUP_FAILED): why");
    assert_outcome(&round.predictions, "missing", Failed, "bad implementation: why");
    assert_eq!(of(&round.predictions, "good").status, Success);
    soon("nothing is left to do", worker.idle()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_the_node_refuses_as_our_fault_leaves_the_model_out() {
    let world = World::new().await;
    let _good = world.model("good", good()).await;
    let _refuses = with_setup(&world, "refuses", setup_status(status::INVALID_ARGUMENT)).await;
    let worker = world.worker().await;
    assert_eq!(field(&worker.play_one(0).await.predictions), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_set_up_of_a_newcomer_keeps_it_out_of_the_field_and_nobody_else_from_being_asked() {
    let mut world = World::new().await;
    world.settings.join_grace = domain::Span::minutes(3);
    let _good = world.model("good", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    let newcomer = with_setup(&world, "newcomer", held()).await;
    newcomer.received(1).await;
    assert_eq!(field(&worker.play_one(2).await.predictions), ["good"]);
    newcomer.release();
    newcomer.received(2).await;
    let round = worker.play_one(4).await;
    assert_eq!(of(&round.predictions, "newcomer").status, Success);
    assert_eq!(told(&newcomer), ["Setup", "tick BTC -8..2", "tick BTC 3..4", "predict BTC"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_that_takes_longer_than_the_grace_is_absent() {
    let mut world = World::new().await;
    world.settings.join_grace = domain::Span::minutes(3);
    let _good = world.model("good", good()).await;
    let worker = world.worker().await;
    let slow = with_setup(&world, "slow", held()).await;
    slow.received(1).await;
    assert_eq!(field(&worker.play_one(2).await.predictions), ["good"]);
    let round = worker.play_one(4).await;
    assert_outcome(&round.predictions, "slow", Absent, "its set-up has not finished after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_model_whose_new_deployment_is_not_set_up_yet_is_absent() {
    let world = World::new().await;
    let _old = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    world.orchestrator.announce([stopped("m", "m-d1")]);
    let new = FakeModel::start(good()).await;
    new.on_setup(held());
    world.orchestrator.announce([new.running("m", "m-d2")]);
    new.received(1).await;
    let round = worker.play_one(2).await;
    assert_outcome(&round.predictions, "m", Absent, "its set-up has not finished after");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_new_deployment_is_set_up_the_old_one_answers() {
    let world = World::new().await;
    let old = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    let new = FakeModel::start(good()).await;
    new.on_setup(held());
    world.orchestrator.announce([new.running("m", "m-d2")]);
    new.received(1).await;
    let by = |round: &predict_worker::ClosedRound| {
        let prediction = of(&round.predictions, "m");
        assert_eq!(prediction.status, Success);
        prediction.deployment_id.as_ref().map(ToString::to_string)
    };
    assert_eq!(by(&worker.play_one(2).await).as_deref(), Some("m-d1"));
    assert_eq!(told(&old).last().unwrap(), "predict BTC");
    new.release();
    new.received(2).await;
    assert_eq!(by(&worker.play_one(4).await).as_deref(), Some("m-d2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deployment_is_on_record_with_when_it_was_seen_first_and_last() {
    let world = World::new().await;
    let _old = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    worker.play(2).await;
    let new = FakeModel::start(good()).await;
    world.orchestrator.announce([new.running("m", "m-d2")]);
    new.received(2).await;
    worker.play(4).await;
    world.orchestrator.announce([stopped("m", "m-d1"), stopped("m", "m-d2")]);
    running(&worker, 0).await;
    let id = domain::ModelId::new("m").unwrap();
    let minute = |at: domain::Timestamp| (at - crate::world::at(0)).num_minutes();
    let on_record = async || -> Vec<(String, i64, i64)> {
        let deployments = world.store.deployments(&id, None, 9).await.unwrap();
        let shown =
            |it: storage::Deployment| (it.id.to_string(), minute(it.first_seen_at), minute(it.last_seen_at));
        deployments.into_iter().map(shown).collect()
    };
    let expected = [("m-d2".to_owned(), 2, 4), ("m-d1".to_owned(), 0, 2)];
    let recorded = async {
        while on_record().await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the record is complete", recorded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_whose_setup_raises_fails_at_once_with_the_reason() {
    let mut world = World::new().await;
    world.settings.call_timeout = domain::Span::minutes(1);
    let model = world.model("m", good()).await;
    model.require_setup();
    let worker = world.worker().await;
    worker.play(0).await;
    soon("the lane is idle", worker.idle()).await;
    model.restart().await;
    model.on_setup(setup_status(status::SETUP_FAILED));
    for minute in [2, 4] {
        let round = worker.play_one(minute).await;
        assert_outcome(&round.predictions, "m", Failed, "set-up raised (SETUP_FAILED): why");
        soon("the lane is idle", worker.idle()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_replaced_in_flight_still_answers_by_its_old_deployment() {
    let mut world = World::new().await;
    world.settings.call_timeout = domain::Span::minutes(1);
    let answer = Reply::Value(Value::Json(four_densities()));
    let old = world
        .model("m", Behaviour::new(move |_, _| Reply::Held(Box::new(answer.clone()))).only_on("predict"))
        .await;
    let worker = world.worker().await;
    let rounds = worker.open(0).await;
    old.received(3).await;
    let new = FakeModel::start(good()).await;
    world.orchestrator.announce([new.running("m", "m-d2")]);
    new.received(2).await;
    old.release();
    let round = &closed(rounds).await[0];
    let prediction = of(&round.predictions, "m");
    assert_eq!(prediction.status, Success);
    assert_eq!(prediction.deployment_id.as_ref().map(|id| id.as_str()), Some("m-d1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_gone_is_not_called_any_more() {
    let world = World::new().await;
    let model = world.model("m", Behaviour::never_answer().only_on("tick")).await;
    let worker = world.worker().await;
    model.received(2).await;
    let rounds = worker.open(0).await;
    world.orchestrator.announce([stopped("m", "m-d1")]);
    running(&worker, 0).await;
    let round = &closed(rounds).await[0];
    assert_outcome(&round.predictions, "m", Timeout, "went away before it answered");
    // What the lane had begun when it lost its model ends with the patience of a call.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    model.release();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(told(&model), ["Setup", "tick BTC -10..0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_cools_down_and_every_outcome_says_why() {
    let world = World::new().await;
    let hangs = world.model("hangs", Behaviour::never_answer().only_on("predict")).await;
    let _good = world.model("good", good()).await;
    let worker = world.worker().await;
    let hung = |round: &predict_worker::ClosedRound| {
        assert_eq!(of(&round.predictions, "good").status, Success);
        let prediction = of(&round.predictions, "hangs");
        (prediction.status, prediction.reason.clone().unwrap_or_default())
    };
    let mut outcomes = Vec::new();
    for minute in [0, 2, 4] {
        outcomes.push(hung(&worker.play_one(minute).await));
        // A round closes at its deadline, and the lane finds that out by itself.
        soon("the lane has counted it", worker.idle()).await;
    }
    let expected = [
        (Timeout, "no answer"),
        (Timeout, "busy with predict"),
        (Absent, "cooling down after 2 timeouts in a row, next try in 1 round"),
    ];
    for ((status, reason), (expected_status, expected_reason)) in outcomes.iter().zip(expected) {
        assert_eq!(*status, expected_status, "{outcomes:?}");
        assert!(reason.contains(expected_reason), "{outcomes:?}");
    }
    hangs.release();
    hangs.behave(good());
    assert_eq!(hung(&worker.play_one(6).await).0, Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_answers_are_refused_again_and_again_is_reported_and_then_absent_with_the_cause() {
    let world = World::new().await;
    let model = world.model("bad", Behaviour::answer("[]")).await;
    let mut config = cluster_config(&world.orchestrator);
    config.report_failures = true;
    config.health.max_consecutive_failures = 1;
    let worker = world.worker_of(config).await;
    for minute in [0, 2] {
        let round = worker.play_one(minute).await;
        assert_eq!(of(&round.predictions, "bad").status, Failed);
    }
    world.orchestrator.reported(1).await;
    let report = world.orchestrator.reports().remove(0);
    assert_eq!(report.failure_code, "MULTIPLE_FAILED");
    assert!(report.failure_reason.unwrap().starts_with("predict failed 2 times in a row, at last: "));
    running(&worker, 0).await;
    let round = worker.play_one(4).await;
    assert_outcome(
        &round.predictions,
        "bad",
        Absent,
        "the orchestrator does not run it: reported as MULTIPLE_FAILED: predict failed",
    );
    assert_eq!(model.methods().iter().filter(|method| *method == "predict").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_every_question_leaves_some_rounds_and_then_fails() {
    let world = World::new().await;
    let wrong = Reply::Status { code: status::INVALID_ARGUMENT, message: "no".into() };
    let _refuses = world.model("m", Behaviour::new(move |_, _| wrong.clone()).only_on("predict")).await;
    let mut config = cluster_config(&world.orchestrator);
    config.health.max_consecutive_failures = 2;
    let worker = world.worker_of(config).await;
    for minute in [0, 2] {
        assert!(worker.play_one(minute).await.predictions.is_empty(), "our fault, as far as we know");
    }
    let round = worker.play_one(4).await;
    assert_outcome(&round.predictions, "m", Failed, "more often than is excused: no");
}
