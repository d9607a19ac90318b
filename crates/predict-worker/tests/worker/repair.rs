//! Closes that a source lacked, and markets that are closed.

use domain::{Asset, Market, Markets, RoundState, Timestamp};
use monitoring::Registry;
use predict_worker::{Metrics, Repair, Role};
use storage::{CorrectionRepository, PriceRepository};
use testkit::soon;

use crate::prices::Trouble;
use crate::world::{World, at, good, minutes_told};

fn btc() -> Asset {
    Asset::new("BTC").unwrap()
}

/// A market of one asset that is open until a minute after midnight of Tuesday, and from Wednesday on.
fn market(asset: &str) -> Markets {
    let market = Market {
        name: "exchange".to_owned(),
        assets: vec![Asset::new(asset).unwrap()],
        zone: "UTC".parse().unwrap(),
        sessions: vec!["Wed 00:00 - Tue 00:02".parse().unwrap()],
        holidays: Vec::new(),
    };
    Markets::new(vec![market]).unwrap()
}

/// The minutes of which the ledger holds closes of BTC, from `from` to `to`.
async fn priced(world: &World, from: i64, to: i64) -> Vec<Timestamp> {
    let closes = world.store.closes(&btc(), at(from - 1), at(to)).await.unwrap();
    closes.into_iter().map(|close| close.at).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_that_a_source_lacked_are_stored_when_it_has_them_and_models_are_told() {
    let world = World::new().await;
    let model = world.model("m", good()).await;
    let worker = world.worker().await;
    worker.play(0).await;
    world.prices.trouble("BTC", Trouble::Lacks { from: at(1), to: at(2) });
    for minute in 1..=4 {
        worker.play(minute).await;
    }
    let mut repair = Repair::default();
    repair.look(&worker).await;
    soon("everything is stored", worker.flush()).await;
    assert_eq!(priced(&world, 0, 4).await, [0, 3, 4].map(at), "the source lacks them still");

    world.prices.mend();
    repair.look(&worker).await;
    soon("everything is stored", worker.flush()).await;
    assert_eq!(priced(&world, 0, 4).await.len(), 3, "it is not asked again at once");
    let calls = model.calls().len();
    worker.play(5).await;
    repair.look(&worker).await;
    worker.play(6).await;
    assert_eq!(priced(&world, 0, 6).await, [0, 1, 2, 3, 4, 5, 6].map(at));
    assert_eq!(minutes_told(&model, calls), [5, 1, 2, 6]);

    let late = world.store.corrections(None, None, 9).await.unwrap();
    let late: Vec<_> = late.into_iter().map(|correction| (correction.at, correction.old)).collect();
    assert_eq!(late, [(at(2), None), (at(1), None)]);
    let before = world.store.ledger_end().await.unwrap();
    world.clock.set(at(6) + domain::Span::hours(1));
    repair.look(&worker).await;
    soon("everything is stored", worker.flush()).await;
    assert_eq!(world.store.ledger_end().await.unwrap(), before, "nothing is taken twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_a_closed_market_are_missed_for_that_while_others_are_asked() {
    let mut world = World::with_two_assets().await;
    world.settings.markets = market("ETH");
    let _model = world.model("m", good()).await;
    let worker = world.worker().await;
    assert_eq!(worker.play(0).await.len(), 2);
    assert_eq!(worker.play(2).await.len(), 2, "the candle that ends with the session counts");
    assert_eq!(worker.play(4).await.len(), 1);
    let missed = world.stored("ETH", 4).await.record;
    let reason = Some("market closed: exchange opens at 2025-05-21 00:00:00 UTC");
    assert_eq!((missed.state, missed.reason.as_deref()), (RoundState::Missed, reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_minutes_count_while_the_market_was_open() {
    let mut world = World::new().await;
    world.settings.markets = market("BTC");
    let _model = world.model("m", good()).await;
    let worker = world.worker().await;
    world.prices.trouble("BTC", Trouble::Lacks { from: at(1), to: at(6) });
    for minute in 0..=8 {
        worker.play(minute).await;
    }
    let (metrics, mut registry) = (Metrics::default(), Registry::of_process("", Timestamp::default()));
    metrics.look(Role::Leading, Some(&worker.status()), world.clock.as_ref());
    metrics.register(&mut registry);
    let text = registry.text();
    for line in
        ["condor_predict_missing_prices{asset=\"BTC\"} 2", "condor_predict_market_open{asset=\"BTC\"} 0"]
    {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line} is not in\n{text}");
    }
}
