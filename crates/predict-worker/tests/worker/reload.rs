//! Settings that change while the worker runs.

use std::sync::Arc;
use std::time::Duration;

use domain::PredictionStatus::{Failed, Success};
use domain::{Asset, RoundState, Schedule, Schedules, Span};
use predict_worker::{Change, PredictSettings};
use scoring::Limits;
use storage::PriceRepository;
use testkit::{Behaviour, soon};

use crate::world::{World, assert_outcome, at, closed, four_densities, good, of, open, told};

/// The same but for the schedules.
fn asking(before: &PredictSettings, change: impl Fn(&mut Vec<Schedule>)) -> PredictSettings {
    let mut schedules: Vec<Schedule> = before.schedules.iter().cloned().collect();
    change(&mut schedules);
    let schedules = Schedules::new(schedules, before.schedules.interval()).unwrap();
    PredictSettings { schedules, ..before.clone() }
}

fn is_of(schedule: &Schedule, asset: &str) -> bool {
    schedule.assets == [Asset::new(asset).unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_timetable_holds_from_the_next_slot_on_and_rounds_in_flight_close_as_they_were_asked() {
    let mut world = World::with_two_assets().await;
    world.settings.call_timeout = Span::seconds(20);
    let slow = world.model("m", Behaviour::answer_late(Duration::from_millis(200), four_densities())).await;
    let worker = world.worker().await;
    let in_flight = worker.open(0).await;
    assert_eq!(in_flight.len(), 2);
    slow.received(3).await;

    let changed = asking(&world.settings, |schedules| {
        schedules.retain(|schedule| is_of(schedule, "BTC"));
        schedules[0].every = Span::minutes(3);
    });
    worker.reloadable().change(Change { settings: changed, feed: world.prices.clone() });
    let rounds = closed(in_flight).await;
    assert!(rounds.iter().all(|round| of(&round.predictions, "m").status == Success));

    worker.adopt_changes(at(2));
    let mut asked = Vec::new();
    for minute in 2..=9 {
        let rounds = worker.open(minute).await;
        asked.extend(closed(rounds).await.iter().map(|round| (minute, round.question.asset.to_string())));
    }
    assert_eq!(asked, [(3, "BTC".to_owned()), (6, "BTC".to_owned()), (9, "BTC".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_asked_any_more_is_priced_until_its_last_round_has_resolved() {
    let world = World::with_two_assets().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    let changed = asking(&world.settings, |schedules| schedules.retain(|schedule| is_of(schedule, "BTC")));
    worker.reloadable().change(Change { settings: changed.clone(), feed: world.prices.clone() });
    worker.adopt_changes(at(2));
    for minute in 2..=3 {
        worker.play(minute).await;
    }
    // A worker that starts in the middle of it knows as well.
    drop(worker);
    let world = World { settings: changed, store: Arc::new(open(&world.folder).await), ..world };
    let worker = world.worker().await;
    for minute in 4..=9 {
        worker.play(minute).await;
    }
    let newest = async |asset: &str| {
        world.store.newest_close_at(&Asset::new(asset).unwrap(), at(99)).await.unwrap().unwrap()
    };
    assert_eq!(newest("BTC").await, at(9));
    // The round of minute 0 resolves with minute 4: one close after it, and no more.
    assert_eq!(newest("ETH").await, at(5));
    let last_tick = told(&model).into_iter().rfind(|call| call.starts_with("tick"));
    assert!(last_tick.unwrap().starts_with("tick BTC"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_asset_is_asked_with_its_history_told() {
    let mut world = World::with_two_assets().await;
    let both = world.settings.clone();
    world.settings = asking(&both, |schedules| schedules.retain(|schedule| is_of(schedule, "BTC")));
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play_one(0).await;
    worker.reloadable().change(Change { settings: both, feed: world.prices.clone() });
    worker.adopt_changes(at(2));
    assert_eq!(worker.play(2).await.len(), 2);
    assert!(told(&model).contains(&"tick BTC 1..2, ETH -8..2".to_owned()), "{:?}", told(&model));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_limits_hold_for_the_answers_of_the_next_slot() {
    let world = World::new().await;
    let _model = world.model("m", good()).await;
    let worker = world.worker().await;
    assert_eq!(of(&worker.play_one(0).await.predictions, "m").status, Success);
    let limits = Limits { max_answer_bytes: 10, ..Limits::default() };
    let changed = PredictSettings { limits, ..world.settings.clone() };
    worker.reloadable().change(Change { settings: changed, feed: world.prices.clone() });
    worker.adopt_changes(at(2));
    assert_outcome(&worker.play_one(2).await.predictions, "m", Failed, "bytes");
    assert_eq!(world.stored("BTC", 2).await.record.state, RoundState::Closed);
    worker.reloadable().change(Change { settings: world.settings.clone(), feed: world.prices.clone() });
    worker.adopt_changes(at(4));
    assert_eq!(of(&soon("a round", worker.play_one(4)).await.predictions, "m").status, Success);
}
