//! What the journal is for: nothing is lost or doubled whatever happens to the worker, the database or the disk.

use std::time::Duration;

use domain::{PredictionStatus, RoundState, Stopwatch};
use storage::RoundRepository;
use testkit::{Behaviour, soon};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::switched_store::{Mode, switched};
use crate::world::{Worker, World, at, closed, good, of, witness};

/// Room for the tables and little more.
const TINY: u64 = 160 * 1024;

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, wait).await;
}

/// Plays rounds that the database does not take until the journal has no room for more; returns the next minute.
async fn play_until_full(worker: &Worker) -> i64 {
    let mut minute = 0;
    while worker.status().journal_fault().is_none() {
        closed(worker.open(minute).await).await;
        minute += 2;
        assert!(minute < 2000, "the journal never fills");
    }
    minute
}

/// A runtime of its own is a process that can be killed: whatever runs in it ends wherever it is.
fn life() -> Runtime {
    Runtime::new().unwrap()
}

#[test]
fn rounds_that_the_database_did_not_get_are_stored_once_by_the_next_start_however_often_it_is_killed() {
    let outside = life();
    let world = outside.block_on(World::new());
    let _model = outside.block_on(world.model("m", witness(Duration::ZERO)));
    let (store, switch) = switched(world.store.clone());
    let modes = [Mode::Away, Mode::Away, Mode::LosesReplies, Mode::Up, Mode::Hung];
    let mut minute = 0;
    for mode in modes {
        let life = life();
        switch.to(Mode::Up);
        let worker = life.block_on(world.worker_on(store.clone()));
        switch.to(mode);
        for _ in 0..3 {
            life.block_on(async {
                let rounds = closed(worker.open(minute).await).await;
                assert!(mode == Mode::Hung || rounds.len() == 1, "minute {minute}");
                // The record of a closed round follows it at once.
                until("all is in the journal", || worker.status().writes_in_memory() == 0).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            });
            minute += 2;
        }
        life.shutdown_background();
        drop(worker);
    }
    switch.to(Mode::Up);
    outside.block_on(async {
        let worker = world.worker_on(store.clone()).await;
        soon("everything is stored", worker.flush()).await;
        for minute in (0..minute).step_by(2) {
            let stored = world.stored("BTC", minute).await;
            assert_eq!(stored.record.state, RoundState::Closed, "minute {minute}");
            assert_eq!(stored.predictions.len(), 1);
            assert_eq!(crate::world::witnessed(&stored.predictions[0]), at(minute));
        }
    });
}

#[test]
fn a_round_in_flight_when_the_worker_is_killed_is_closed_with_the_outcomes_that_had_arrived() {
    for mode in [Mode::Up, Mode::Away] {
        let outside = life();
        let world = outside.block_on(World::new());
        let _models = outside.block_on(async {
            let silent = Behaviour::never_answer().only_on("predict");
            (world.model("quick", good()).await, world.model("silent", silent).await)
        });
        let (store, switch) = switched(world.store.clone());
        let life = life();
        let worker = life.block_on(world.worker_on(store.clone()));
        switch.to(mode);
        life.block_on(async {
            let _in_flight = worker.open(0).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        });
        life.shutdown_background();
        drop(worker);
        outside.block_on(async {
            let _worker = world.starting_worker_on(world.store.clone()).await;
            let stored = world.stored("BTC", 0).await;
            assert_eq!(stored.record.state, RoundState::Closed, "{mode:?}");
            assert_eq!(crate::world::field(&stored.predictions), ["quick"], "{mode:?}");
            assert_eq!(of(&stored.predictions, "quick").status, PredictionStatus::Success);
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_in_the_journal_within_100_ms_of_its_arrival() {
    let mut world = World::new().await;
    world.settings.call_timeout = domain::Span::seconds(20);
    let silent = Behaviour::never_answer().only_on("predict");
    let _models = (world.model("quick", good()).await, world.model("silent", silent).await);
    let journal = world.journal(journal::DEFAULT_MAX_BYTES).await;
    let worker = world.worker_with(world.store.clone(), journal.clone()).await;
    for minute in [0, 2, 4] {
        let _rounds = worker.open(minute).await;
        let id = world.question("BTC", minute).id;
        let arrived = Stopwatch::start();
        while journal.outcomes(id).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // The answer itself takes some of this time.
            assert!(arrived.elapsed() < Duration::from_millis(100), "minute {minute}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_everything_waits_in_the_journal_and_nothing_in_memory() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let journal = world.journal(journal::DEFAULT_MAX_BYTES).await;
    let worker = world.worker_with(store.clone(), journal.clone()).await;
    switch.to(Mode::Away);
    for minute in 0..200 {
        closed(worker.open(minute).await).await;
        assert!(worker.status().writes_in_memory() <= 10, "{}", worker.status().writes_in_memory());
    }
    let status = worker.status();
    assert!(status.unstored_writes() >= 400, "{} wait", status.unstored_writes());
    assert!(status.oldest_unstored_at().is_some());
    assert_eq!(status.journal_fault(), None);
    switch.to(Mode::Up);
    soon("everything is stored", worker.flush()).await;
    until("nothing waits", || worker.status().unstored_writes() == 0).await;
    assert_eq!(status.oldest_unstored_at(), None);
    for minute in (0..200).step_by(2) {
        let stored = world.stored("BTC", minute).await;
        assert_eq!((stored.record.state, stored.predictions.len()), (RoundState::Closed, 1));
    }
    let is_empty = async {
        while journal.end().await.unwrap() != journal::Seq(0) || !journal.rounds().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("what is stored is removed", is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_rounds_go_on_while_the_database_can_be_reached_and_are_missed_when_it_cannot() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_with(store.clone(), world.journal(TINY).await).await;
    switch.to(Mode::Away);
    let full_at = play_until_full(&worker).await;
    for minute in [full_at, full_at + 2] {
        assert!(worker.open(minute).await.is_empty(), "neither takes the mark");
    }
    let fault = worker.status().journal_fault().unwrap().to_string();
    assert!(fault.contains("full"), "{fault}");
    switch.to(Mode::Up);
    soon("everything is stored", worker.flush()).await;
    assert_eq!(worker.play_one(full_at + 4).await.counts().success, 1);
    for minute in (0..full_at - 2).step_by(2) {
        assert_eq!(world.stored("BTC", minute).await.record.state, RoundState::Closed, "minute {minute}");
    }
    for minute in [full_at, full_at + 2] {
        let missed = world.stored("BTC", minute).await.record;
        assert_eq!(missed.state, RoundState::Missed, "minute {minute}");
        let reason = missed.reason.unwrap();
        assert!(reason.starts_with("the journal cannot be written: ") && reason.contains("full"), "{reason}");
    }
    assert_eq!(worker.status().journal_fault(), None, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_neither_journal_nor_database_takes_anything_no_answer_waits_in_memory() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_with(store.clone(), world.journal(TINY).await).await;
    switch.to(Mode::Away);
    let mut minute = play_until_full(&worker).await;
    let questions = || model.methods().iter().filter(|method| *method == "predict").count();
    let (asked, waiting) = (questions(), worker.status().writes_in_memory());
    for _ in 0..50 {
        assert!(worker.open(minute).await.is_empty(), "neither takes the mark");
        minute += 2;
    }
    assert_eq!(questions(), asked, "nobody is asked for what could be lost");
    // Of each slot that it was missed, and its two prices.
    let grown = worker.status().writes_in_memory() - waiting;
    assert!((50..=150).contains(&grown), "{grown} more wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_room_rounds_are_stored_directly() {
    let world = World::new().await;
    let _model = world.model("m", Behaviour::answer(garbage())).await;
    let (store, switch) = switched(world.store.clone());
    // room for the empty tables and nothing more
    let worker = world.worker_with(store.clone(), world.journal(TINY / 4).await).await;
    for minute in [0, 2, 4] {
        assert_eq!(worker.play_one(minute).await.counts().failed, 1);
        let stored = world.stored("BTC", minute).await;
        assert_eq!((stored.record.state, stored.predictions.len()), (RoundState::Closed, 1));
    }
    switch.to(Mode::Away);
    closed(worker.open(6).await).await;
    until("nothing takes what was refused", || worker.status().journal_fault().is_some()).await;
    switch.to(Mode::Up);
    soon("it is stored", worker.flush()).await;
    assert_eq!(world.stored("BTC", 6).await.record.state, RoundState::Closed);
}

/// What is kept of an answer that was refused is long, and no compression shortens it by much.
fn garbage() -> String {
    let letters = (b'a'..=b'z').map(char::from).collect::<Vec<_>>();
    let mut state = 1_u64;
    let letter = || {
        state = state * 48_271 % 2_147_483_647;
        letters[state as usize % letters.len()]
    };
    std::iter::repeat_with(letter).take(20_000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_for_good_is_kept_and_holds_up_nothing() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let journal = world.journal(journal::DEFAULT_MAX_BYTES).await;
    let worker = world.worker_with(store.clone(), journal.clone()).await;
    switch.to(Mode::RefusesClosedRounds);
    worker.play_one(0).await;
    switch.to(Mode::Up);
    worker.play_one(2).await;
    assert_eq!(world.stored("BTC", 0).await.record.state, RoundState::Asked);
    assert_eq!(world.stored("BTC", 2).await.record.state, RoundState::Closed);
    // The record and its outcome.
    assert_eq!(journal.refused().await.unwrap(), 2);
    assert_eq!(worker.status().refused_writes(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_database_is_away_takes_seconds_and_the_next_start_stores_the_rest() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let (store, switch) = switched(world.store.clone());
    let worker = world.worker_on(store.clone()).await;
    switch.to(Mode::Away);
    closed(worker.open(0).await).await;
    let stop = CancellationToken::new();
    stop.cancel();
    soon("it stops", predict_worker::run(worker.worker, stop)).await;
    assert!(world.store.round(world.question("BTC", 0).id).await.unwrap().is_none());
    switch.to(Mode::Up);
    let _worker = world.starting_worker_on(world.store.clone()).await;
    let stored = world.stored("BTC", 0).await;
    assert_eq!((stored.record.state, stored.predictions.len()), (RoundState::Closed, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_stored_with_the_outcomes_that_no_model_gave() {
    let world = World::new().await;
    let silent = Behaviour::never_answer().only_on("predict");
    let _model = world.model("silent", silent).await;
    let worker = world.worker().await;
    worker.play_one(0).await;
    let stored = world.stored("BTC", 0).await;
    assert_eq!(of(&stored.predictions, "silent").status, PredictionStatus::Timeout);
}
