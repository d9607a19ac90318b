//! One model: who it is, and how it did over time. No front end but the page needs it; the stage has what it takes.

use domain::{DeploymentId, Model, Span};
use serde_json::{Value, json};

use crate::stage::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_shown_with_its_deployment_and_its_scores_by_asset_and_horizon() {
    for stage in Stage::all().await {
        stage.save_models(&["a", "b", "new"]).await;
        let standings = standings(&["a".to_owned(), "b".to_owned()], last_hour());
        stage.save_leaderboard(&standings, 1, &stage.ranking_lease().await).await;

        let model = stage.json("/api/v1/models/b").await;
        assert_eq!(model["model_name"], "the b");
        assert_eq!(model["deployment_id"], "deployment-b");
        assert_eq!(model["first_scored_at"], "2026-01-21T12:00:00Z");
        let parameters = model["parameters"].as_array().unwrap();
        let of = |index: usize, field: &str| parameters[index][field].as_str().unwrap();
        assert_eq!((of(0, "asset"), of(0, "horizon")), ("BTC", "1h"));
        assert_eq!((of(1, "asset"), of(1, "horizon")), ("ETH", "24h"));
        let recent = standings.models[1].windows.recent;
        assert_eq!(parameters[0]["windows"]["recent"]["score"], json!(recent.score));
        assert_eq!(parameters[0]["windows"]["recent"]["raw_score"], json!(recent.raw));

        let new = stage.json("/api/v1/models/new").await;
        assert_eq!((&new["parameters"], &new["first_scored_at"]), (&json!([]), &Value::Null));
        assert_eq!(stage.text("/api/v1/models/nobody").await.0, 404);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_models_history_is_a_bounded_number_of_hours_and_the_last_one() {
    for stage in Stage::all().await {
        stage.save_models(&["a", "b", "new"]).await;
        let lease = stage.ranking_lease().await;
        let mut standings = standings(&["a".to_owned(), "b".to_owned()], last_hour());
        for hour in 0..200 {
            standings.as_of = last_hour() - Span::hours(hour);
            stage.store.save_snapshot(&standings, &lease).await.unwrap();
        }

        let history = stage.json("/api/v1/models/b/history?from=2026-01-30T09:30:00Z").await;
        let points = history["points"].as_array().unwrap();
        let instants: Vec<&str> = points.iter().map(|point| point["as_of"].as_str().unwrap()).collect();
        assert_eq!(instants, ["2026-01-30T10:00:00Z", "2026-01-30T11:00:00Z", "2026-01-30T12:00:00Z"]);
        let windows = standings.models[1].windows;
        let steady = points[0]["steady"].as_f64().unwrap();
        assert_eq!(steady as f32, windows.steady.score.unwrap() as f32);

        let week = stage.json("/api/v1/models/b/history").await;
        let points = week["points"].as_array().unwrap();
        assert_eq!(points.len(), 84, "every second hour of 7 days");
        assert_eq!(points.last().unwrap()["as_of"], "2026-01-30T12:00:00Z");

        let (_, csv) = stage.text("/api/v1/models/b/history?from=2026-01-30T11:30:00Z&format=csv").await;
        assert!(csv.starts_with("as_of,recent,steady,anchor\r\n2026-01-30T12:00:00Z,0."), "{csv}");
        assert_eq!(stage.json("/api/v1/models/new/history").await["points"], json!([]));
        assert_eq!(stage.text("/api/v1/models/nobody/history").await.0, 404);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_models_deployments_are_listed_the_last_first() {
    for stage in Stage::all().await {
        for (deployment, hour) in [("one", 0), ("two", 3), ("two", 5), ("three", 6)] {
            let deployment_id = DeploymentId::new(deployment).unwrap();
            let last_connected_at = last_hour() - Span::days(1) + Span::hours(hour);
            stage
                .store
                .save_models(&[Model { deployment_id, last_connected_at, ..model("a") }])
                .await
                .unwrap();
        }
        let path = "/api/v1/models/a/deployments";
        let first = stage.json(&format!("{path}?limit=2")).await;
        assert_eq!(
            first["deployments"],
            json!([
                {"deployment_id": "three", "first_seen_at": "2026-01-29T18:00:00Z", "last_seen_at": "2026-01-29T18:00:00Z"},
                {"deployment_id": "two", "first_seen_at": "2026-01-29T15:00:00Z", "last_seen_at": "2026-01-29T17:00:00Z"},
            ])
        );
        let cursor = first["next"].as_str().unwrap();
        let rest = stage.json(&format!("{path}?limit=2&cursor={cursor}")).await;
        assert_eq!((&rest["deployments"][0]["deployment_id"], &rest["next"]), (&json!("one"), &Value::Null));
        let (_, csv) = stage.text(&format!("{path}?limit=1&format=csv")).await;
        assert_eq!(
            csv,
            "deployment_id,first_seen_at,last_seen_at\r\nthree,2026-01-29T18:00:00Z,2026-01-29T18:00:00Z\r\n"
        );
        assert_eq!(stage.text("/api/v1/models/nobody/deployments").await.0, 404);
        assert_eq!(stage.text(&format!("{path}?cursor=bQ")).await.0, 400);
        stage.end().await;
    }
}
