//! The list of models, and who leaves.

use futures::StreamExt;

use super::*;
use crate::departures;

/// One in each state, and one that left and is excluded.
fn fake() -> Fake {
    let seen = |id: &str, name: Option<&str>, cruncher: Option<&str>, before| Model {
        joined_at: now() - Span::days(30),
        last_connected_at: now() - before,
        ..model(id, name, cruncher)
    };
    let models = vec![
        seen("good", Some("Good one"), Some("Ann"), Span::minutes(59)),
        seen("idle", Some("Ännchen"), None, Span::hours(3)),
        seen("out", None, Some("GOODMAN"), Span::days(8)),
        Model { is_baseline: true, ..seen("zero", Some(""), None, Span::ZERO) },
    ];
    Fake { models, excluded: [id("out")].into(), ..sample() }
}

async fn ids(router: &Router, query: &str) -> Vec<String> {
    let answer = get(router, &format!("/api/v1/models?{query}")).await.json();
    let models = answer["models"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).iter();
    models.map(|model| model["model_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_model_is_listed_with_its_state_its_rank_and_its_latest_deployment() {
    let (router, _) = start(fake());
    let answer = get(&router, "/api/v1/models?limit=3").await.json();
    let row = |id: &str, state: &str, more: Value| {
        let mut row = json!({
            "model_id": id, "cruncher_id": null, "baseline": false, "state": state, "excluded": false, "rank": null,
            "deployment_id": "d1", "joined_at": "2025-04-29T00:00:07Z", "left_at": null,
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let expected = json!([
        row(
            "good",
            "running",
            json!({"model_name": "Good one", "cruncher_name": "Ann", "rank": 2,
                                      "last_connected_at": "2025-05-28T23:01:07Z"})
        ),
        row(
            "idle",
            "stopped",
            json!({"model_name": "Ännchen", "cruncher_name": null,
                                      "last_connected_at": "2025-05-28T21:00:07Z"})
        ),
        row(
            "out",
            "left",
            json!({"model_name": "out", "cruncher_name": "GOODMAN", "excluded": true,
                                  "last_connected_at": "2025-05-21T00:00:07Z", "left_at": "2025-05-28T00:00:07Z"})
        ),
    ]);
    assert_eq!(answer["models"], expected);
    assert_eq!((&answer["total"], &answer["stale"]), (&json!(4), &json!(false)));
    assert_eq!(
        (&answer["as_of"], &answer["ranked_as_of"]),
        (&json!("2025-05-29T00:00:00Z"), &json!("2025-05-29T00:00:00Z"))
    );
}

#[tokio::test]
async fn models_are_found_by_their_state_and_by_parts_of_names() {
    let (router, _) = start(fake());
    for (query, expected) in [
        ("state=running", vec!["good", "zero"]),
        ("state=stopped", vec!["idle"]),
        ("state=left", vec!["out"]),
        ("search=GOOD", vec!["good", "out"]),
        ("search=%C3%84NN", vec!["idle"]),
        ("search=ZER", vec!["zero"]),
        ("search=good&state=left", vec!["out"]),
        ("search=nobody", vec![]),
    ] {
        assert_eq!(ids(&router, query).await, expected, "{query}");
    }
    let long = "x".repeat(201);
    for query in ["search=", &format!("search={long}"), "state=gone", "cursor=cg"] {
        get(&router, &format!("/api/v1/models?{query}")).await.problem(400);
    }
}

#[tokio::test]
async fn the_list_goes_on_from_its_cursor_as_json_and_as_a_table() {
    let (router, _) = start(fake());
    let first = get(&router, "/api/v1/models?limit=2").await.json();
    let cursor = first["next"].as_str().unwrap();
    let rest = get(&router, &format!("/api/v1/models?limit=2&cursor={cursor}")).await.json();
    assert_eq!(
        (&rest["models"][0]["model_id"], &rest["models"][1]["model_id"]),
        (&json!("out"), &json!("zero"))
    );
    assert_eq!((&rest["next"], &rest["total"]), (&Value::Null, &json!(4)));

    let table = get(&router, "/api/v1/models?limit=2&format=csv").await;
    assert_eq!(
        table.header(header::LINK),
        format!("</api/v1/models?limit=2&format=csv&cursor={cursor}>; rel=\"next\"")
    );
    assert_eq!(
        table.text,
        "as_of,model_id,baseline,state,excluded,rank,deployment_id,joined_at,last_connected_at,left_at\r\n\
         2025-05-29T00:00:00Z,good,false,running,false,2,d1,2025-04-29T00:00:07Z,2025-05-28T23:01:07Z,\r\n\
         2025-05-29T00:00:00Z,idle,false,stopped,false,,d1,2025-04-29T00:00:07Z,2025-05-28T21:00:07Z,\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_leaves_the_field_is_told_of_once() {
    let shared = Arc::new(Mutex::new(fake()));
    let clock = Arc::new(SimulatedClock::at(now()));
    let reader = Reader::new(Box::new(FakeSource(shared)), clock.clone());
    let stop = CancellationToken::new();
    let app = Arc::new(App::new(reader, clock.clone(), in_force(settings()), identity(), stop.clone()));
    let mut stream = std::pin::pin!(app.events.listen().unwrap());
    stream.next().await.unwrap().unwrap();
    let following = tokio::spawn(departures::follow(Arc::clone(&app), stop.clone()));
    let pause = || tokio::time::sleep(std::time::Duration::from_secs(3));
    pause().await;
    clock.set(now() + Span::days(7) - Span::hours(2));
    pause().await;
    clock.set(now() + Span::days(7) - Span::minutes(30));
    pause().await;
    let mut told = Vec::new();
    while let Ok(frame) = tokio::time::timeout(std::time::Duration::from_secs(3), stream.next()).await {
        told.push(String::from_utf8(frame.unwrap().unwrap().to_vec()).unwrap());
    }
    stop.cancel();
    following.await.unwrap();
    let left = |id: &str, name: &str| {
        format!(
            "event: model\ndata: {{\"model_id\":\"{id}\",\"model_name\":\"{name}\",\"change\":\"left\"}}\n\n"
        )
    };
    // The one that had left before is not told of.
    assert_eq!(told, [left("idle", "Ännchen"), left("good", "Good one")]);
}
