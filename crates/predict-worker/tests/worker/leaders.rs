//! Several predict workers over one database.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, LedgerPosition, PredictionStatus, RoundState, Stopwatch, SystemClock};
use journal::{Journal, Owner};
use model_client::Cluster;
use predict_worker::{Candidate, LEASE, Leadership, Lobby, Metrics, PredictWorker};
use protocol::Value;
use storage::{Hold, HolderId, Lease, LeaseName, LeaseRepository, PriceRepository, RoundRepository, Store};
use testkit::{Behaviour, Reply, soon};
use tokio_util::sync::CancellationToken;

use crate::world::{Worker, World, cluster_config, four_densities, good, of};

/// A journal of its own.
async fn journal(world: &World, name: &str) -> Journal {
    let owner = Owner { crunch_id: world.settings.crunch_id.clone(), database: "a test's".into() };
    let path = world.folder.path().join(format!("{name}.journal"));
    Journal::open(&path, &owner, journal::DEFAULT_MAX_BYTES).await.unwrap()
}

fn candidate(world: &World) -> Candidate {
    Candidate::new(world.store.clone(), Arc::new(SystemClock), "here")
}

/// Stands by, leads, and has its models set up.
async fn lead(world: &World, journal: &Journal) -> (Worker, Leadership) {
    let (cluster, events) = Cluster::start(cluster_config(&world.orchestrator));
    let mut lobby = Lobby::new(events);
    let leadership = lobby.meanwhile(candidate(world).stand_by(journal)).await;
    let worker = PredictWorker::lead(
        leadership.clone(),
        world.settings.clone(),
        Some(journal.clone()),
        world.clock.clone(),
        world.prices.clone(),
        lobby.leave(),
        Metrics::default(),
    );
    let worker = world.alive(worker.await.unwrap(), cluster);
    soon("the models are set up", worker.wait_until_started()).await;
    (worker, leadership)
}

/// Somebody else takes the lead as if the holder had been silent for long.
async fn depose(world: &World) -> Lease {
    let hold = Hold { by: HolderId::random(), now: SystemClock.now(), lasts: LEASE };
    // Of the first holder.
    let held = Lease { name: LeaseName::Predict, token: 1 };
    world.store.succeed_lease(&held, &hold).await.unwrap().expect("the first lease is held")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_connected_to_every_model_and_says_nothing_until_it_leads() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let first = journal(&world, "first").await;
    let (worker, _) = lead(&world, &first).await;
    worker.play_one(0).await;
    let (told, connections) = (model.calls().len(), model.connections());

    let (cluster, events) = Cluster::start(cluster_config(&world.orchestrator));
    let mut lobby = Lobby::new(events);
    let second = journal(&world, "second").await;
    let standing_by = candidate(&world);
    let waiting = lobby.meanwhile(standing_by.stand_by(&second));
    assert!(tokio::time::timeout(Duration::from_secs(2), waiting).await.is_err(), "another leads");
    assert_eq!(model.connections(), connections + 1);
    assert_eq!(model.calls().len(), told, "{:?}", model.methods());

    let stop = CancellationToken::new();
    stop.cancel();
    soon("it stops", predict_worker::run(worker.worker, stop)).await;
    let stopped = Stopwatch::start();
    let leadership = soon("the lead", lobby.meanwhile(standing_by.stand_by(&second))).await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "{:?}", stopped.elapsed());
    let (clock, prices) = (world.clock.clone(), world.prices.clone());
    let starting = PredictWorker::lead(
        leadership,
        world.settings.clone(),
        Some(second),
        clock,
        prices,
        lobby.leave(),
        Metrics::default(),
    );
    let worker = world.alive(starting.await.unwrap(), cluster);
    soon("the models are set up", worker.wait_until_started()).await;
    assert_eq!(worker.play_one(2).await.counts().success, 1);
    assert_eq!(model.connections(), connections + 1, "it uses the connection that it has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_leader_asks_nothing_and_writes_nothing_but_the_outcomes_of_its_rounds() {
    let world = World::new().await;
    let answer = Reply::Value(Value::Json(four_densities()));
    let slow = Reply::After(Duration::from_millis(300), Box::new(answer));
    let model = world.model("m", Behaviour::new(move |_, _| slow.clone()).only_on("predict")).await;
    let journal = journal(&world, "first").await;
    let (worker, leadership) = lead(&world, &journal).await;
    let in_flight = worker.open(0).await;
    soon("the mark and the prices are stored", worker.flush()).await;
    let end = world.store.ledger_end().await.unwrap();
    assert!(end > LedgerPosition::START);

    let lease = depose(&world).await;
    let leader = world.store.led_by(&lease);
    leader.interrupt_open_rounds(world.clock.now(), "it was in flight").await.unwrap();
    assert!(worker.open(2).await.is_empty());
    assert!(leadership.is_lost());
    crate::world::closed(in_flight).await;
    soon("it takes leave", worker.flush()).await;

    assert_eq!(world.store.ledger_end().await.unwrap(), end);
    assert_eq!(world.store.round(world.question("BTC", 2).id).await.unwrap(), None);
    let stored = world.stored("BTC", 0).await;
    assert_eq!(stored.record.state, RoundState::Closed);
    assert_eq!(of(&stored.predictions, "m").status, PredictionStatus::Success);
    assert_eq!(model.methods().iter().filter(|method| *method == "predict").count(), 1);
    assert_eq!(worker.status().refused_writes(), 0, "nothing is set aside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_still_waits_for_its_model_when_the_lead_is_given_back_is_not_put() {
    let mut world = World::new().await;
    world.settings.call_timeout = domain::Span::seconds(20);
    let held = Reply::Held(Box::new(Reply::Value(Value::None)));
    let model = world.model("m", Behaviour::new(move |_, _| held.clone()).only_on("tick")).await;
    let journal = journal(&world, "first").await;
    let (worker, leadership) = lead(&world, &journal).await;
    let in_flight = worker.open(0).await;
    leadership.give_back().await;
    model.release();
    let rounds = soon("the round closes before its deadline", crate::world::closed(in_flight)).await;
    assert!(rounds[0].predictions.is_empty(), "left out, for it is not its fault: {:?}", rounds[0]);
    assert!(
        !model.methods().iter().any(|method| method == "predict"),
        "the next leader may have told it more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_started_again_with_its_journal_leads_at_once_and_another_waits_for_the_lease_to_end()
 {
    let world = World::new().await;
    let (first, second) = (journal(&world, "first").await, journal(&world, "second").await);
    let dead = candidate(&world).stand_by(&first).await;
    drop(dead);
    let watch = Stopwatch::start();
    let again = soon("the lead", candidate(&world).stand_by(&first)).await;
    assert!(watch.elapsed() < Duration::from_secs(1), "{:?}", watch.elapsed());
    drop(again);
    let watch = Stopwatch::start();
    let other = soon("the lead", candidate(&world).stand_by(&second)).await;
    assert!(watch.elapsed() > Duration::from_secs(2), "{:?}", watch.elapsed());
    let late = candidate(&world);
    let waiting = late.stand_by(&first);
    assert!(tokio::time::timeout(Duration::from_secs(1), waiting).await.is_err(), "another has led since");
    other.give_back().await;
    soon("the lead", late.stand_by(&first)).await;
}
