//! Leaderboards of before, what became of ranks since, and how models did over the last days.

use domain::{Span, Standings, Timestamp};
use serde_json::{Value, json};

use crate::stage::*;

/// As of `at`, `a` or else `b` is the better.
fn at(at: Timestamp, is_a_better: bool) -> Standings {
    let mut standings = standings(&["a".to_owned(), "b".to_owned()], at);
    if is_a_better == (standings.models[0].windows.anchor.score < standings.models[1].windows.anchor.score) {
        let [a, b] = &mut standings.models[..] else { panic!("two models") };
        std::mem::swap(&mut a.windows, &mut b.windows);
        std::mem::swap(&mut a.parameters, &mut b.parameters);
    }
    standings
}

fn ranks(board: &Value) -> Vec<(&str, Option<u64>, Option<u64>)> {
    let models = board["models"].as_array().unwrap().iter();
    models
        .map(|it| (it["model_id"].as_str().unwrap(), it["rank"].as_u64(), it["rank_before"].as_u64()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderboards_of_before_are_kept_listed_and_compared_with() {
    for stage in Stage::all().await {
        stage.save_models(&["a", "b"]).await;
        let lease = stage.ranking_lease().await;
        let day_before = last_hour() - Span::days(1);
        for (hour, is_a_better) in [(day_before - Span::HOUR, true), (day_before, false), (last_hour(), true)]
        {
            stage.save_leaderboard(&at(hour, is_a_better), 1, &lease).await;
            stage.store.save_snapshot(&at(hour, is_a_better), &lease).await.unwrap();
        }
        for query in ["", "?window=steady", "?asset=ETH", "?horizon=1h&window=recent"] {
            let now = stage.json(&format!("/api/v1/leaderboard{query}")).await;
            assert_eq!(now["before_as_of"], "2026-01-29T12:00:00Z", "{query}");
            assert_eq!(ranks(&now), [("a", Some(1), Some(2)), ("b", Some(2), Some(1))], "{query}");
        }
        let then = stage.json("/api/v1/leaderboard?at=2026-01-29T12:10:00Z").await;
        assert_eq!((&then["as_of"], &then["before_as_of"]), (&json!("2026-01-29T12:00:00Z"), &Value::Null));
        assert_eq!(ranks(&then), [("b", Some(1), None), ("a", Some(2), None)]);

        let instants = ["2026-01-30T12:00:00Z", "2026-01-29T12:00:00Z", "2026-01-29T11:00:00Z"];
        let history = "/api/v1/leaderboard/history";
        let all = stage.json(history).await;
        assert_eq!((&all["instants"], &all["next"]), (&json!(instants), &Value::Null));
        let first = stage.json(&format!("{history}?limit=2")).await;
        assert_eq!(first["instants"], json!(instants[..2]));
        let cursor = first["next"].as_str().unwrap();
        let rest = stage.json(&format!("{history}?limit=2&cursor={cursor}")).await;
        assert_eq!((&rest["instants"], &rest["next"]), (&json!(instants[2..]), &Value::Null));
        let span = stage.json(&format!("{history}?from={}&to={}", instants[1], instants[0])).await;
        assert_eq!(span["instants"], json!([instants[1]]));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trends_are_a_score_every_six_hours_of_the_last_week() {
    for stage in Stage::all().await {
        let lease = stage.ranking_lease().await;
        assert_eq!(stage.json("/api/v1/leaderboard/trends").await["models"], json!([]));
        for hour in 0..200 {
            stage.store.save_snapshot(&at(last_hour() - Span::hours(hour), true), &lease).await.unwrap();
        }
        let newest = at(last_hour(), true);
        stage.save_leaderboard(&newest, 1, &lease).await;
        let trends = loop {
            let trends = stage.json("/api/v1/leaderboard/trends").await;
            if trends["models"] != json!([]) {
                break trends;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let instants = trends["instants"].as_array().unwrap();
        assert_eq!(
            (instants.len(), &instants[0], &instants[1]),
            (29, &json!("2026-01-23T12:00:00Z"), &json!("2026-01-23T18:00:00Z"))
        );
        assert_eq!(instants[28], "2026-01-30T12:00:00Z");
        let scores = |trends: &Value| -> Vec<(String, Vec<Value>)> {
            let models = trends["models"].as_array().unwrap().iter();
            models
                .map(|it| {
                    (it["model_id"].as_str().unwrap().to_owned(), it["scores"].as_array().unwrap().clone())
                })
                .collect()
        };
        let rounded = |place: usize| {
            let score = newest.models[place].windows.recent.score.unwrap();
            (["a", "b"][place].to_owned(), vec![json!((score * 1000.0).round() / 1000.0); 29])
        };
        assert_eq!(scores(&trends), [rounded(0), rounded(1)]);
        // The same over each asset and horizon, in this world.
        let of_eth = stage.json("/api/v1/leaderboard/trends?asset=ETH&limit=1").await;
        assert_eq!(scores(&of_eth), [rounded(0)], "the best one");
        assert_eq!(stage.json("/api/v1/leaderboard/trends?asset=XAU").await["models"], json!([]));
        assert_eq!(stage.text("/api/v1/leaderboard/trends?window=recent").await.0, 400);
        stage.end().await;
    }
}
