//! How models answered, hour by hour.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

/// The answer once everything is counted.
async fn counted(world: &World, path: &str) -> Value {
    loop {
        let answer = world.get(path).await;
        if answer["complete_since"] == "2025-05-22T01:00:00Z" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn answers_are_counted_by_hour_and_model() {
    let world = World::new().await;
    let beta = counted(&world, "/api/v1/models/beta/activity").await;
    let answers = json!({"success": 0, "failed": 1, "timeout": 0, "absent": 0, "mean_ms": 1234.5, "longest_ms": 1234.5});
    let expected = json!([
        {"hour": "2025-05-28T20:00:00Z", "answers": answers},
        {"hour": "2025-05-28T23:00:00Z", "answers": answers},
    ]);
    assert_eq!((&beta["hours"], &beta["since"]), (&expected, &json!("2025-05-28T01:00:00Z")));
    let lately = world.get("/api/v1/models/beta/activity?hours=2").await;
    assert_eq!(lately["hours"], json!([expected[1]]));
    let all = world.get("/api/v1/activity").await;
    let models: Vec<&Value> =
        all["models"].as_array().unwrap().iter().map(|model| &model["model_id"]).collect();
    assert_eq!(models, ["alpha", "beta", "coarse", "delta", "late"]);
    assert_eq!(all["models"][3]["answers"]["absent"], 2);
    assert_eq!(all["models"][3]["answers"]["mean_ms"], Value::Null);
    let table = world.ask("/api/v1/activity?format=csv&hours=168").await.text().await.unwrap();
    assert!(table.contains("\r\nbeta,0,2,0,0,1234.5,1234.5\r\n"), "{table}");
    let table = world.ask("/api/v1/models/late/activity?format=csv").await.text().await.unwrap();
    assert!(table.ends_with("2025-05-28T23:00:00Z,0,0,1,0,,\r\n"), "{table}");
    assert_eq!(world.problem("/api/v1/activity?hours=169").await.0, 400);
    assert_eq!(world.problem("/api/v1/models/nobody/activity").await.0, 404);
}
