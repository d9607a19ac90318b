//! What models are told, and when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::PredictionStatus::{Absent, Success, Timeout};
use domain::{Span, Stopwatch};
use protocol::cluster::RunState;
use testkit::{Behaviour, FakeModel, Reply, soon};

use crate::world::{World, assert_outcome, at, closed, good, minutes_told, of, told, witness, witnessed};

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_told_the_history_then_each_new_close_before_the_question_of_its_instant() {
    let world = World::new().await;
    let model = world.model("m", witness(AT_ONCE)).await;
    let worker = world.worker().await;
    for minute in 0..=2 {
        for round in worker.play(minute).await {
            assert_eq!(witnessed(&round.predictions[0]), at(minute));
        }
        soon("the lane is idle", worker.idle()).await;
    }
    assert_eq!(
        told(&model),
        ["Setup", "tick BTC -10..0", "predict BTC", "tick BTC 1", "tick BTC 2", "predict BTC"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_round_of_a_slot_no_later_price_is_known_however_slow_the_model_and_far_the_clock() {
    let mut world = World::new().await;
    world.settings.call_timeout = Span::minutes(10);
    let slow = world.model("slow", witness(Duration::from_millis(300))).await;
    let quick = world.model("quick", witness(AT_ONCE)).await;
    let worker = world.worker().await;
    for model in [&slow, &quick] {
        model.received(2).await;
    }
    let mut rounds = Vec::new();
    // The slow model is still busy with the history when the last of these minutes begins.
    for minute in 0..=5 {
        rounds.extend(worker.open(minute).await);
    }
    assert!(told(&slow).len() < 4, "{:?}", told(&slow));
    for round in closed(rounds).await {
        for prediction in round.predictions.iter() {
            assert_eq!(prediction.status, Success);
            assert_eq!(witnessed(prediction), round.question.performed_at, "{prediction:?}");
        }
    }
    soon("the lanes are idle", worker.idle()).await;
    for model in [&slow, &quick] {
        assert_eq!(minutes_told(model, 0), Vec::from_iter(-10..=5), "{:?}", told(model));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_in_a_tick_times_out_until_it_is_free_and_then_learns_all_that_it_missed() {
    let world = World::new().await;
    let model = world.model("hangs", witness(AT_ONCE)).await;
    let _other = world.model("good", good()).await;
    let worker = world.worker().await;
    worker.play_one(0).await;
    soon("the lanes are idle", worker.idle()).await;
    let before = model.calls().len();
    model.behave(Behaviour::never_answer().only_on("tick"));
    worker.play(1).await;
    model.received(before + 1).await;
    for minute in 2..=4 {
        let watch = Stopwatch::start();
        for round in worker.play(minute).await {
            assert_outcome(&round.predictions, "hangs", Timeout, "busy with tick");
            assert_eq!(of(&round.predictions, "good").status, Success);
            assert!(watch.elapsed() < Duration::from_millis(1500));
        }
    }
    assert_eq!(told(&model)[before..], ["tick BTC 1"], "never a second call on top of one that hangs");
    assert_eq!(model.refused(), 0);

    model.behave(witness(AT_ONCE));
    model.release();
    worker.play(5).await;
    let round = worker.play_one(6).await;
    assert_outcome(
        &round.predictions,
        "hangs",
        Absent,
        "cooling down after 2 timeouts in a row, next try in 1 round",
    );
    let round = worker.play_one(8).await;
    assert_eq!(witnessed(of(&round.predictions, "hangs")), at(8));
    // The tick that hung was not acknowledged, so it comes again, and after it everything else in order.
    assert_eq!(minutes_told(&model, before + 1), Vec::from_iter(1..=8), "{:?}", told(&model));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_raises_in_a_tick_has_been_told() {
    let world = World::new().await;
    let model = world.model("raises", Behaviour::raise("no").only_on("tick")).await;
    let worker = world.worker().await;
    worker.play(0).await;
    worker.play(1).await;
    soon("the lane is idle", worker.idle()).await;
    assert_eq!(told(&model), ["Setup", "tick BTC -10..0", "predict BTC", "tick BTC 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_deployment_starts_from_the_history_and_the_old_one_is_not_called_again() {
    let world = World::new().await;
    let old = world.model("m", witness(AT_ONCE)).await;
    let worker = world.worker().await;
    worker.play(0).await;
    worker.play(1).await;
    soon("the lane is idle", worker.idle()).await;
    let new = FakeModel::start(witness(AT_ONCE)).await;
    world.orchestrator.announce([new.running("m", "m-d2")]);
    new.received(2).await;
    let calls_of_old = old.calls().len();

    let round = worker.play_one(2).await;
    let prediction = of(&round.predictions, "m");
    assert_eq!(prediction.deployment_id.as_ref().map(|id| id.as_str()), Some("m-d2"));
    assert_eq!(witnessed(prediction), at(2));
    assert_eq!(told(&new), ["Setup", "tick BTC -9..1", "tick BTC 2", "predict BTC"]);
    assert_eq!(old.calls().len(), calls_of_old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovered_process_of_the_same_deployment_starts_from_the_history() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    let mut recovering = model.running("m", "m-d1");
    recovering.state = RunState::Recovering;
    world.orchestrator.announce([recovering]);
    model.restart().await;
    world.orchestrator.announce([model.running("m", "m-d1")]);
    model.received(5).await;
    assert_eq!(told(&model)[3..], ["Setup", "tick BTC -10..0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_process_is_set_up_again_gets_the_history_and_still_answers_in_time() {
    let world = World::new().await;
    let model = world.model("m", witness(AT_ONCE)).await;
    model.require_setup();
    let worker = world.worker().await;
    worker.play(0).await;
    soon("the lane is idle", worker.idle()).await;
    model.behave(witness(AT_ONCE));
    model.restart().await;
    let round = worker.play_one(2).await;
    assert_eq!(witnessed(&round.predictions[0]), at(2));
    assert_eq!(told(&model)[3..], ["tick BTC 1..2", "Setup", "tick BTC -8..2", "predict BTC"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_forgotten_its_setup_when_it_is_asked_still_answers_in_time() {
    let world = World::new().await;
    let model = world.model("m", witness(AT_ONCE)).await;
    model.require_setup();
    let worker = world.worker().await;
    model.received(2).await;
    soon("the lane is idle", worker.idle()).await;
    model.restart().await;
    // There is no new price, and so no tick: the question itself finds the fresh process.
    let rounds = worker.open_slot(at(0)).await;
    let round = &closed(rounds).await[0];
    assert_eq!(witnessed(&round.predictions[0]), at(0));
    assert_eq!(told(&model)[2..], ["predict BTC", "Setup", "tick BTC -10..0", "predict BTC"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_broken_connection_a_model_is_told_what_it_missed_and_no_setup_is_sent() {
    let world = World::new().await;
    let model = world.model("m", witness(AT_ONCE)).await;
    let worker = world.worker().await;
    worker.play(0).await;
    soon("the lane is idle", worker.idle()).await;
    model.stop().await;
    for minute in 1..=3 {
        worker.play(minute).await;
    }
    soon("the lane is idle", worker.idle()).await;
    model.restart().await;
    let round = worker.play_one(4).await;
    assert_eq!(witnessed(&round.predictions[0]), at(4));
    assert_eq!(told(&model)[3..], ["tick BTC 1..4", "predict BTC"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_got_lost_on_the_way_goes_again_before_the_question_of_its_instant() {
    let world = World::new().await;
    let model = world.model("m", witness(AT_ONCE)).await;
    let worker = world.worker().await;
    worker.play(0).await;
    soon("the lane is idle", worker.idle()).await;
    let (losses, witness) = (AtomicUsize::new(1), witness(AT_ONCE));
    model.behave(Behaviour::new(move |method, arguments| {
        let lost = losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() {
            return Reply::Grpc(tonic::Status::unavailable("a proxy restarts"));
        }
        witness.reply(method, arguments)
    }));
    let round = worker.play_one(2).await;
    assert_eq!(witnessed(&round.predictions[0]), at(2));
    assert_eq!(told(&model)[3..], ["tick BTC 1..2", "tick BTC 1..2", "predict BTC"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_comes_in_parts_that_the_node_takes() {
    let mut world = World::new().await;
    world.settings.history = Span::hours(24);
    let model = FakeModel::start(witness(AT_ONCE)).await;
    model.limit_messages(20_000);
    world.orchestrator.announce([model.running("m", "m-d1")]);
    let worker = world.worker().await;
    worker.play(0).await;
    let ticks = told(&model).iter().filter(|call| call.starts_with("tick")).count();
    assert!(ticks > 1, "the history is larger than 20 kB");
    assert_eq!(minutes_told(&model, 0), Vec::from_iter(-24 * 60..=0));
}
