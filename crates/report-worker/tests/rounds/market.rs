//! Prices, feeds and the timetable.

use serde_json::{Value, json};

use crate::world::World;

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
    assert_eq!((&feed["newest_at"], &feeds["stale"]), (&json!("2025-05-29T01:49:00Z"), &json!(false)));
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
