//! What an operator's monitoring sees.

use std::time::Duration;

use domain::{Clock, Timestamp};
use model_client::Cluster;
use monitoring::Registry;
use predict_worker::{Leadership, Metrics, PredictWorker, Role};
use testkit::{Behaviour, soon, stopped};

use crate::prices::Trouble;
use crate::world::{Worker, World, at, cluster_config, good};

/// A worker whose models are set up, that counts with `metrics`.
async fn worker(world: &World, metrics: &Metrics) -> Worker {
    let (cluster, events) = Cluster::start(cluster_config(&world.orchestrator));
    let journal = world.journal(journal::DEFAULT_MAX_BYTES).await;
    let worker = PredictWorker::lead(
        Leadership::sole(world.store.clone()),
        world.settings.clone(),
        Some(journal),
        world.clock.clone(),
        world.prices.clone(),
        events,
        metrics.clone(),
    );
    let worker = world.alive(worker.await.unwrap(), cluster);
    soon("the models are set up", worker.wait_until_started()).await;
    worker
}

fn shown(metrics: &Metrics) -> String {
    let mut registry = Registry::of_process("", Timestamp::default());
    metrics.register(&mut registry);
    registry.text()
}

#[track_caller]
fn check(metrics: &Metrics, lines: &[&str]) {
    let text = shown(metrics);
    for line in lines {
        assert!(text.lines().any(|it| it == *line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_slots_and_of_models_is_counted_over_terms_of_leading() {
    let world = World::with_two_assets().await;
    let _models = [world.model("good", good()).await, world.model("bad", Behaviour::answer("7")).await];
    let metrics = Metrics::default();
    let first = worker(&world, &metrics).await;
    first.play(0).await;
    world.prices.trouble("ETH", Trouble::Silent);
    first.play(2).await;
    drop(first);
    world.prices.mend();
    let second = worker(&world, &metrics).await;
    second.play(4).await;
    check(
        &metrics,
        &[
            "condor_predict_slots_total{outcome=\"asked\",cause=\"\"} 5",
            "condor_predict_slots_total{outcome=\"missed\",cause=\"no_fresh_price\"} 1",
            "condor_predict_slots_total{outcome=\"missed\",cause=\"paused\"} 0",
            "condor_predict_rounds_closed_total 5",
            "condor_predict_outcomes_total{status=\"SUCCESS\"} 5",
            "condor_predict_outcomes_total{status=\"FAILED\"} 5",
            "condor_predict_slot_to_asked_seconds_count 3",
            "condor_predict_slot_to_durable_seconds_count 5",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_prices_and_what_waits_are_those_of_the_moment_and_of_a_leader_alone() {
    let world = World::new().await;
    let _models = [world.model("leaving", good()).await, world.model("staying", good()).await];
    let metrics = Metrics::default();
    let worker = worker(&world, &metrics).await;
    worker.play(0).await;
    world.orchestrator.announce([stopped("leaving", "leaving-d1")]);
    let status = worker.status();
    let left = async {
        // when it was last seen is stored as it leaves
        while status.running_models() > 1 || status.unstored_writes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    soon("the model has left", left).await;
    soon("everything is stored", worker.flush()).await;
    world.clock.set(at(1));
    metrics.look(Role::Leading, Some(&status), world.clock.as_ref());
    check(
        &metrics,
        &[
            "condor_predict_role{role=\"leading\"} 1.0",
            "condor_predict_role{role=\"standing_by\"} 0.0",
            "condor_predict_models{state=\"ready\"} 1.0",
            "condor_predict_models{state=\"not_running\"} 1.0",
            "condor_predict_waiting_writes 0.0",
            "condor_predict_price_age_seconds{asset=\"BTC\"} 60.0",
        ],
    );
    assert!(status.database_silence() < Duration::from_secs(30), "at {}", world.clock.now());
    metrics.look(Role::StandingBy, None, world.clock.as_ref());
    check(&metrics, &["condor_predict_role{role=\"standing_by\"} 1.0"]);
    let text = shown(&metrics);
    assert!(!text.contains("condor_predict_models{") && !text.contains("BTC"), "{text}");
}
