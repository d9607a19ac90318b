//! Prices, feeds and the timetable.

use std::collections::BTreeMap;

use domain::{Span, Timestamp};
use serde_json::{Value, json};
use storage::CorrectionRepository;

use crate::world::{World, score, scored};

#[tokio::test]
async fn prices_come_at_the_resolution_that_is_asked_for() {
    let world = World::new().await;
    let path = "/api/v1/prices?asset=BTC&from=2025-05-28T20:00:00Z&to=2025-05-28T21:00:00Z";
    let usual = world.get(path).await;
    assert_eq!((&usual["resolution"], usual["points"].as_array().unwrap().len()), (&json!("1m"), 60));
    let coarse = world.get(&format!("{path}&resolution=20m")).await;
    let points = [("20:20", 102.0), ("20:40", 101.0), ("21:00", 100.0)];
    let expected = points.map(|(at, price)| json!({"at": format!("2025-05-28T{at}:00Z"), "price": price}));
    assert_eq!(coarse["points"], json!(expected));
    let table = world.ask(&format!("{path}&resolution=1h&format=csv")).await.text().await.unwrap();
    assert_eq!(table, "at,price\r\n2025-05-28T21:00:00Z,100\r\n");
    assert_eq!(world.get("/api/v1/prices?asset=NONE").await["points"], json!([]));
    let whole = world
        .get("/api/v1/prices?asset=BTC&from=1900-01-01T00:00:00Z&to=9999-12-31T00:00:00Z&resolution=1m")
        .await;
    assert!((1..=2000).contains(&whole["points"].as_array().unwrap().len()));
    assert_eq!(world.problem("/api/v1/prices").await.0, 400);
}

#[tokio::test]
async fn feeds_say_how_fresh_they_are() {
    let world = World::new().await;
    let feeds = world.get("/api/v1/feeds").await;
    let feed = &feeds["feeds"][0];
    assert_eq!(
        (&feed["asset"], &feed["count"], &feed["source"]),
        (&json!("BTC"), &json!(360), &json!("made up"))
    );
    assert_eq!((&feed["state"], &feed["gaps"]), (&json!("fresh"), &json!([])));
    assert_eq!((&feed["newest_at"], &feeds["stale"]), (&json!("2025-05-29T01:49:00Z"), &json!(false)));
}

#[tokio::test]
async fn corrections_are_listed_the_last_first_and_by_asset() {
    let world = World::new().await;
    assert_eq!(world.get("/api/v1/corrections").await, json!({"corrections": [], "next": null}));
    let at = |minute| "2025-05-28T21:00:00Z".parse::<Timestamp>().unwrap() + Span::minutes(minute);
    world.correct(at(0), 100.5).await;
    world.correct(at(1), 102.0).await;
    world.pass_a_second();
    let listed = world.get("/api/v1/corrections?limit=1").await;
    let expected = json!({
        "asset": "BTC", "at": "2025-05-28T21:01:00Z", "old_price": 101.0, "new_price": 102.0,
        "source": "second look", "recorded_at": "2025-05-29T00:00:07Z",
    });
    assert_eq!(listed["corrections"], json!([expected]));
    let rest = format!("/api/v1/corrections?asset=BTC&cursor={}", listed["next"].as_str().unwrap());
    let rest = world.get(&rest).await;
    assert_eq!((&rest["corrections"][0]["new_price"], &rest["next"]), (&json!(100.5), &Value::Null));
    assert_eq!(world.get("/api/v1/corrections?asset=ETH").await["corrections"], json!([]));
    assert_eq!(world.problem("/api/v1/corrections?cursor=nonsense").await.0, 400);
}

#[tokio::test]
async fn a_round_says_which_corrections_touch_it_and_whether_its_scores_follow() {
    let world = World::new().await;
    let path = format!("/api/v1/rounds/{}", scored().id);
    let before = world.get(&path).await;
    assert_eq!((&before["round"]["corrected"], &before["corrections"]), (&json!(false), &json!([])));

    let touching = world.correct(scored().resolves_at(), 7.0).await;
    world.correct(scored().resolves_at() + Span::minutes(1), 7.0).await;
    let touched = BTreeMap::from([(scored().id, touching)]);
    world.store.apply_corrections(&[touching], &touched).await.unwrap();
    world.pass_a_second();
    let after = world.get(&path).await;
    assert_eq!(after["round"]["corrected"], true);
    let corrections = after["corrections"].as_array().unwrap();
    assert_eq!(corrections.len(), 1, "the other one is after its end: {corrections:?}");
    assert_eq!(
        (&corrections[0]["correction"]["new_price"], &corrections[0]["counts"]),
        (&json!(7.0), &json!(false))
    );

    score(&world.store, &scored()).await;
    world.pass_a_second();
    assert_eq!(world.get(&path).await["corrections"][0]["counts"], true);
}

#[tokio::test]
async fn the_timetable_is_told() {
    let world = World::new().await;
    let timetable = world.get("/api/v1/schedules").await;
    assert_eq!(timetable["price_interval"], "1m");
    let first: &Value = &timetable["schedules"][0];
    let expected = json!({"assets": ["BTC"], "horizon": "1h", "steps": ["1m"], "every": "12m", "phase": "0s",
                          "method": "predict", "target": "log_return"});
    assert_eq!(*first, expected);
}

#[tokio::test]
async fn an_asset_whose_closes_do_not_come_is_stale_and_the_gaps_before_are_told() {
    let world = World::new().await;
    let last = "2025-05-29T01:49:00Z".parse::<Timestamp>().unwrap();
    world.correct(last + Span::minutes(6), 100.0).await;
    world.clock.set(last + Span::minutes(9));
    let feed = &world.get("/api/v1/feeds").await["feeds"][0];
    assert_eq!((&feed["state"], &feed["stale_since"]), (&json!("stale"), &json!("2025-05-29T01:56:00Z")));
    let gap = json!({"from": "2025-05-29T01:50:00Z", "to": "2025-05-29T01:54:00Z", "missing": 5});
    assert_eq!((&feed["gaps"], &feed["closed_until"]), (&json!([gap]), &Value::Null));
}

#[tokio::test]
async fn the_night_of_a_market_is_no_gap_and_no_staleness() {
    let world = World::new().await;
    world.trade_in("Thu 02:00 - Thu 01:52");
    let last = "2025-05-29T01:49:00Z".parse::<Timestamp>().unwrap();
    world.correct(last + Span::minutes(3), 100.0).await;
    world.clock.set(last + Span::minutes(9));
    let feed = &world.get("/api/v1/feeds").await["feeds"][0];
    assert_eq!((&feed["state"], &feed["stale_since"]), (&json!("closed"), &Value::Null));
    assert_eq!(feed["closed_until"], "2025-05-29T02:00:00Z");
    assert_eq!(feed["gaps"][0]["missing"], 2);
    assert_eq!(world.get("/api/v1/system").await["prices"][0]["expected"], false);

    // It has opened, and the first close is to come.
    world.clock.set(last + Span::minutes(11) + Span::seconds(30));
    let feed = &world.get("/api/v1/feeds").await["feeds"][0];
    assert_eq!((&feed["state"], &feed["closed_until"]), (&json!("closed"), &json!("2025-05-29T02:00:00Z")));
}
