//! Which slots are asked, also over restarts.

use std::sync::Arc;
use std::time::Duration;

use domain::PredictionStatus::Success;
use domain::{RoundState, Stopwatch};
use storage::{Action, OperatorRepository, Order};
use testkit::{Behaviour, FakeModel, soon};

use crate::prices::Trouble;
use crate::world::{World, at, field, good, of, open, told};

#[tokio::test(flavor = "multi_thread")]
async fn slots_before_the_first_list_of_models_are_missed() {
    let world = World::new().await;
    world.orchestrator.stop().await;
    let worker = world.starting_worker_on(world.store.clone()).await;
    assert!(worker.play(0).await.is_empty());
    let stored = world.stored("BTC", 0).await;
    assert_eq!(stored.record.state, RoundState::Missed);
    assert!(stored.record.reason.unwrap().starts_with("starting"));
    world.orchestrator.restart().await;
    soon("the list arrives", worker.wait_until_started()).await;
    worker.play_one(2).await;
    assert_eq!(world.stored("BTC", 2).await.record.state, RoundState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_missed_until_the_first_models_are_set_up() {
    let world = World::new().await;
    let slow = FakeModel::start(good()).await;
    slow.on_setup(testkit::Reply::Held(Box::new(testkit::Reply::Value(protocol::Value::None))));
    world.orchestrator.announce([slow.running("slow", "slow-d1")]);
    let worker = world.starting_worker_on(world.store.clone()).await;
    slow.received(1).await;
    assert!(worker.play(0).await.is_empty());
    assert_eq!(world.stored("BTC", 0).await.record.state, RoundState::Missed);
    slow.release();
    soon("the model is set up", worker.wait_until_started()).await;
    assert_eq!(worker.play_one(2).await.counts().success, 1);
}

/// The round about ETH is missed for this reason, while the one about BTC is asked without much ado.
async fn eth_alone_is_missed(trouble: Trouble, reason: &str) {
    let world = World::with_two_assets().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    world.prices.trouble("ETH", trouble);
    let watch = Stopwatch::start();
    let rounds = worker.play(2).await;
    assert!(watch.elapsed() < Duration::from_secs(2), "the grace is a second");
    assert_eq!(rounds.len(), 1);
    assert_eq!(of(&rounds[0].predictions, "m").status, Success);
    let missed = world.stored("ETH", 2).await;
    assert_eq!(missed.record.state, RoundState::Missed);
    assert_eq!(missed.record.reason.as_deref(), Some(reason));
    world.prices.mend();
    assert_eq!(worker.play(4).await.len(), 2);
    let last_tick = told(&model).into_iter().rfind(|call| call.starts_with("tick"));
    assert_eq!(last_tick.as_deref(), Some("tick BTC 3..4, ETH 1..4"));
}

const STALE: &str = "no fresh price: the newest close of ETH is of 2025-05-20 00:00:00 UTC";

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_without_a_fresh_price_is_missed_while_the_other_is_asked() {
    eth_alone_is_missed(Trouble::Silent, STALE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_whose_source_fails_is_missed_while_the_other_is_asked() {
    eth_alone_is_missed(Trouble::Fails, STALE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_whose_source_hangs_is_missed_while_the_other_is_asked() {
    eth_alone_is_missed(Trouble::Hangs, STALE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_opened_after_its_deadline_is_missed() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    world.clock.set(at(0) + domain::Span::seconds(2));
    assert!(worker.open_slot(at(0)).await.is_empty());
    worker.flush().await;
    let stored = world.stored("BTC", 0).await;
    assert_eq!(stored.record.state, RoundState::Missed);
    assert_eq!(stored.record.reason.as_deref(), Some("overrun: opened 2.0 s late, after its deadline"));
    soon("the lane is idle", worker.idle()).await;
    assert_eq!(told(&model), ["Setup", "tick BTC -10..0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_never_asked_twice_over_a_restart() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play_one(0).await;
    let before = world.stored("BTC", 0).await;
    drop(worker);

    let worker = world.worker().await;
    assert!(worker.play(0).await.is_empty());
    let after = world.stored("BTC", 0).await;
    assert_eq!((after.record, after.predictions), (before.record, before.predictions));
    soon("the lane is idle", worker.idle()).await;
    let questions = told(&model).into_iter().filter(|call| call.starts_with("predict"));
    assert_eq!(questions.count(), 1);
    assert_eq!(field(&worker.play_one(2).await.predictions), ["m"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_in_flight_at_a_crash_are_interrupted_with_the_time_and_never_asked_again() {
    let world = Arc::new(World::new().await);
    let model = world.model("m", Behaviour::never_answer().only_on("predict")).await;
    // A runtime that ends takes everything in it along, as a killed process does.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let crashing = Arc::clone(&world);
    process.spawn(async move {
        let worker = crashing.worker_on(Arc::new(open(&crashing.folder).await)).await;
        worker.play(0).await;
    });
    model.received(3).await;
    process.shutdown_background();

    world.clock.set(at(1));
    model.restart().await;
    let worker = world.worker().await;
    let stored = world.stored("BTC", 0).await;
    assert_eq!(stored.record.state, RoundState::Interrupted);
    assert_eq!(stored.record.closed_at, Some(at(1)));
    let reason = stored.record.reason.unwrap();
    assert_eq!(reason, "the predict worker ended while it was in flight");
    assert!(stored.predictions.is_empty());
    model.behave(good());
    assert_eq!(worker.play_one(2).await.counts().success, 1);
    worker.play(0).await;
    assert_eq!(world.stored("BTC", 0).await.record.state, RoundState::Interrupted);
}

#[tokio::test]
async fn while_an_operator_has_paused_all_slots_are_missed_and_say_by_whom_and_why() {
    let world = World::new().await;
    world.model("m", good()).await;
    let worker = world.worker().await;
    assert_eq!(worker.play(0).await.len(), 1);
    let order =
        |action| Order { at: at(2), by: "ann".to_owned(), action, reason: "the exchange is down".to_owned() };
    world.store.carry_out(&order(Action::Pause)).await.unwrap().unwrap();
    assert!(worker.play(2).await.is_empty());
    let missed = world.stored("BTC", 2).await.record;
    assert_eq!(missed.state, RoundState::Missed);
    assert_eq!(missed.reason.as_deref(), Some("paused by ann: the exchange is down"));
    world.store.carry_out(&order(Action::Resume)).await.unwrap().unwrap();
    assert_eq!(worker.play(4).await.len(), 1);
}
