//! Lists of rounds, and of a model's predictions.

use serde_json::{Value, json};

use crate::world::{World, asked, later, open, scored};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["round_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rounds_are_listed_newest_first_and_by_what_they_are() {
    let world = World::new().await;
    let [first, second, third] = [asked(), open(), scored()].map(|question| question.id.to_string());
    let all = world.get("/api/v1/rounds").await;
    assert_eq!(ids(&all["rounds"]), [&first, &second, &third]);
    assert_eq!(all["next"], Value::Null);
    let newest = &all["rounds"][2];
    assert_eq!(
        (&newest["asset"], &newest["horizon"], &newest["steps"], &newest["state"], &newest["rule"]),
        (&json!("BTC"), &json!("1h"), &json!(["20m"]), &json!("scored"), &json!("crps/1"))
    );
    let counts = ["success", "failed", "timeout", "absent"].map(|name| newest[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 1, 1]);
    for (query, expected) in [
        ("state=closed", vec![&second]),
        ("asset=ETH", vec![]),
        ("horizon=60m", vec![&first, &second, &third]),
        ("from=2025-05-28T23:30:00Z&to=2025-05-29T00:00:00Z", vec![&second]),
    ] {
        let some = world.get(&format!("/api/v1/rounds?{query}")).await;
        assert_eq!(ids(&some["rounds"]), expected, "{query}");
    }
}

#[tokio::test]
async fn a_list_goes_on_from_its_cursor_and_takes_no_other() {
    let world = World::new().await;
    let first = world.get("/api/v1/rounds?limit=2").await;
    let cursor = first["next"].as_str().unwrap();
    let rest = world.get(&format!("/api/v1/rounds?limit=2&cursor={cursor}")).await;
    assert_eq!(ids(&rest["rounds"]), [scored().id.to_string()]);
    assert_eq!(rest["next"], Value::Null);
    for path in [
        "/api/v1/rounds?cursor=bQ",
        "/api/v1/rounds?limit=0",
        "/api/v1/rounds?state=lost",
        "/api/v1/rounds?page=2",
    ] {
        let (status, detail) = world.problem(path).await;
        assert_eq!(status, 400, "{path}: {detail}");
    }
}

#[tokio::test]
async fn a_models_predictions_come_newest_first_with_scores_where_there_are() {
    let world = World::new().await;
    let path = "/api/v1/models/alpha/predictions";
    let all = world.get(path).await;
    assert_eq!(ids(&all["predictions"]), [open().id.to_string(), scored().id.to_string()]);
    let [newest, oldest] = [&all["predictions"][0], &all["predictions"][1]];
    assert_eq!(
        (&newest["status"], &newest["took_ms"], &newest["raw"]),
        (&json!("SUCCESS"), &json!(1234.5), &Value::Null)
    );
    assert_eq!((&oldest["relative"], &oldest["state"]), (&json!(1.0), &json!("scored")));
    let failed = world.get("/api/v1/models/beta/predictions?status=FAILED&limit=1").await;
    assert_eq!(
        (&failed["predictions"][0]["cause"], &failed["predictions"][0]["reason"]),
        (&json!("refused"), &Value::Null)
    );
    let cursor = failed["next"].as_str().unwrap();
    let next =
        world.get(&format!("/api/v1/models/beta/predictions?status=FAILED&limit=1&cursor={cursor}")).await;
    assert!(next["predictions"][0]["reason"].as_str().unwrap().starts_with("[0].params.scale: must be > 0"));
    assert_eq!(next["next"], Value::Null);
    let none = world.get("/api/v1/models/alpha/predictions?status=TIMEOUT").await;
    assert_eq!(none["predictions"], json!([]));
    assert_eq!(world.problem("/api/v1/models/nobody/predictions").await.0, 404);
}

#[tokio::test]
async fn a_models_predictions_can_be_had_as_a_table() {
    let world = World::new().await;
    world.clock.set(later());
    let response = world.ask("/api/v1/models/alpha/predictions?format=csv&limit=1").await;
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
    let first = response.text().await.unwrap();
    let response = world.ask(next).await;
    assert_eq!(response.headers().get("link"), None);
    let second = response.text().await.unwrap();
    let header = "round_id,asset,horizon,performed_at,resolves_at,state,deployment_id,status,cause,received_at,took_ms,raw,relative";
    let rows: Vec<&str> = first.lines().chain(second.lines()).collect();
    let row = |question: domain::Question, performed: &str, resolves: &str, rest: &str| {
        format!("{},BTC,1h,{performed},{resolves},{rest}", question.id)
    };
    let open = row(
        open(),
        "2025-05-28T23:30:00Z",
        "2025-05-29T00:30:00Z",
        "closed,d-1,SUCCESS,,2025-05-28T23:30:02Z,1234.5,,",
    );
    assert_eq!((rows[0], rows[1], rows[2]), (header, open.as_str(), header));
    assert!(rows[3].starts_with(&scored().id.to_string()) && rows[3].ends_with(",1"), "{}", rows[3]);
}
