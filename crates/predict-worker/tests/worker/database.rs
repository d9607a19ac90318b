//! A database that is slow or away.

use std::time::Duration;

use domain::{LedgerPosition, RoundState, Stopwatch};
use model_client::Cluster;
use predict_worker::PredictWorker;
use storage::{InterceptedStore, Patience, PriceRepository, Store};
use testkit::soon;

use crate::switched_store::{Mode, Switch, switched};
use crate::world::{Worker, World, at, cluster_config, good, witness, witnessed};

/// Plays the minutes while the database does so; every round is asked and closes as if all were well.
async fn play_through(worker: &Worker, switch: &Switch, mode: Mode, minutes: impl Iterator<Item = i64>) {
    switch.to(mode);
    for (n, minute) in minutes.enumerate() {
        let watch = Stopwatch::start();
        let rounds = worker.open(minute).await;
        let patience = if n == 0 { 1500 } else { 100 };
        assert!(
            watch.elapsed() < Duration::from_millis(patience),
            "{:?} in minute {minute}",
            watch.elapsed()
        );
        for round in crate::world::closed(rounds).await {
            assert_eq!(witnessed(&round.predictions[0]), at(minute));
        }
    }
}

async fn stored_once(world: &World, last_minute: i64) {
    for minute in (0..=last_minute).step_by(2) {
        let stored = world.stored("BTC", minute).await;
        assert_eq!(stored.record.state, RoundState::Closed, "minute {minute}");
        assert_eq!(stored.record.counts.success, 1);
        assert_eq!(stored.predictions.len(), 1);
    }
    let ledger = world.store.ledger_since(at(-100)).await.unwrap();
    let minutes: Vec<i64> = (-10..=last_minute).collect();
    assert!(ledger.iter().map(|entry| entry.point.at).eq(minutes.iter().map(|minute| at(*minute))));
    assert!(ledger.iter().map(|entry| entry.position).eq((1..).take(minutes.len()).map(LedgerPosition)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_delays_no_round_and_gets_everything_once_when_it_is_back() {
    let world = World::new().await;
    let _model = world.model("m", witness(Duration::ZERO)).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_on(store.clone()).await;
    play_through(&worker, &switch, Mode::Up, 0..=2).await;
    play_through(&worker, &switch, Mode::Away, 3..=8).await;
    assert!(worker.status().unstored_writes() > 0);
    play_through(&worker, &switch, Mode::Up, 9..=10).await;
    soon("everything is stored", worker.flush()).await;
    stored_once(&world, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_delays_one_slot_by_a_second_and_no_other() {
    let world = World::new().await;
    let _model = world.model("m", witness(Duration::ZERO)).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_on(store.clone()).await;
    play_through(&worker, &switch, Mode::Up, 0..=2).await;
    switch.to(Mode::Hung);
    // The mark of this one is waited for; of a call timeout of a second that leaves nothing.
    soon("a slot", worker.open(4)).await;
    play_through(&worker, &switch, Mode::Hung, 5..=8).await;
    switch.to(Mode::Up);
    soon("everything is stored", worker.flush()).await;
    assert_eq!(world.stored("BTC", 8).await.record.state, RoundState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_connection_that_has_died_silently_nothing_is_waited_for_without_end() {
    let world = World::new().await;
    let (store, switch) = switched(world.store.clone());
    let patient = InterceptedStore::new(store, Patience(Duration::from_millis(50)));
    switch.to(Mode::Hung);
    let error = soon("an answer or none", patient.ping()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().ends_with("no answer within 50ms"), "{error}");
    switch.to(Mode::Up);
    patient.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_the_database_is_away_fails_for_a_reason_that_may_pass() {
    let world = World::new().await;
    let (store, switch) = switched(world.store.clone());
    switch.to(Mode::Away);
    let (_cluster, events) = Cluster::start(cluster_config(&world.orchestrator));
    let (clock, prices, settings) = (world.clock.clone(), world.prices.clone(), world.settings.clone());
    let started = PredictWorker::start(settings, store, None, clock, prices, events).await;
    assert!(started.err().unwrap().may_pass());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_whose_replies_are_lost_are_stored_once_and_every_round_is_asked() {
    let world = World::new().await;
    let _model = world.model("m", witness(Duration::ZERO)).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_on(store.clone()).await;
    play_through(&worker, &switch, Mode::Up, 0..=2).await;
    play_through(&worker, &switch, Mode::LosesReplies, 3..=8).await;
    switch.to(Mode::Up);
    soon("everything is stored", worker.flush()).await;
    stored_once(&world, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_whose_mark_the_database_refuses_is_asked_and_stored_all_the_same() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_on(store.clone()).await;
    switch.to(Mode::RefusesMarks);
    assert_eq!(worker.play_one(0).await.counts().success, 1);
    assert_eq!(world.stored("BTC", 0).await.record.state, RoundState::Closed);
}
