//! Window scores over time.

use domain::{Span, Standings, Timestamp};
use serde_json::{Value, json};

use crate::stage::*;

const GLOBAL: &str = "/reports/models/global";
const PARAMS: &str = "/reports/models/params";

/// Answers are to stay below this.
const MAX_BYTES: usize = 2_000_000;

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("model-{:05}", 7919 * i % 100_000)).collect()
}

async fn save_hours(stage: &Stage, ids: &[String], hours: u32) {
    let lease = stage.ranking_lease().await;
    let mut standings = standings(ids, last_hour());
    for hour in 0..hours {
        standings.as_of = last_hour() - Span::hours(hour);
        stage.store.save_snapshot(&standings, &lease).await.unwrap();
    }
}

fn are_in_the_order_of_time(rows: &[Value]) -> bool {
    rows.is_sorted_by_key(|row| row["performed_at"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_of_300_models_is_a_bounded_number_of_points_below_2_megabytes() {
    for stage in Stage::all().await {
        let ids = ids(300);
        save_hours(&stage, &ids, 720).await;
        let span = format!(
            "projectIds={}&start=2025-12-31T12:15:07.123Z&end=2026-01-30T12:15:07.123Z",
            ids.join(",")
        );

        let (status, text) = stage.text(&format!("{GLOBAL}?{span}")).await;
        assert_eq!(status, 200);
        assert!(text.len() < MAX_BYTES, "{} bytes", text.len());
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(rows.len(), 31 * 300, "every midnight and the last full hour");
        assert_eq!(values(&rows, "model_id").len(), 300);
        let instants = values(&rows, "performed_at");
        assert_eq!(instants.len(), 31);
        assert_eq!(instants.first(), Some(&"2026-01-01T00:00:00.000"));
        assert_eq!(instants.last(), Some(&"2026-01-30T12:00:00.000"));
        assert!(are_in_the_order_of_time(&rows));

        let (status, text) = stage.text(&format!("{PARAMS}?{span}")).await;
        assert_eq!(status, 200);
        assert!(text.len() < MAX_BYTES, "{} bytes", text.len());
        let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(rows.len() <= 8_000 && rows.len() > 4_000, "{} rows", rows.len());
        assert_eq!(values(&rows, "param"), ["BTC-3600-60", "ETH-86400-300"].into());

        let one = stage.rows(&format!("{GLOBAL}?projectIds={}&start=2025-12-31T12:15:07Z", ids[7])).await;
        assert_eq!(one.len(), 120, "the fewer models, the more points: every 6 hours");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_asks_again_every_half_minute_gets_the_same_answer_until_the_next_hour() {
    for stage in Stage::all().await {
        save_hours(&stage, &ids(3), 720).await;
        let month = async |end: &str| {
            let start = end.replace("2026-01-30", "2025-12-31");
            stage.text(&format!("{GLOBAL}?start={start}&end={end}")).await
        };
        let first = month("2026-01-30T12:15:07.123Z").await;
        assert_eq!(month("2026-01-30T12:15:37.456Z").await, first);
        assert_eq!(month("2026-01-30T12:59:59.999Z").await, first);
        assert_ne!(month("2026-01-30T11:59:59.999Z").await, first);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_joined_by_commas_or_repeated() {
    for stage in Stage::all().await {
        save_hours(&stage, &["7", "12", "a,b"].map(str::to_owned), 3).await;
        let asked = async |query: &str| stage.rows(&format!("{GLOBAL}?{query}")).await;
        let joined = asked("projectIds=7,12").await;
        assert_eq!(values(&joined, "model_id"), ["12", "7"].into());
        assert_eq!(asked("projectIds=7%2C12").await, joined);
        assert_eq!(asked("projectIds=12&projectIds=7").await, joined);
        assert_eq!(asked("projectIds=12,nobody&projectIds=7,12,").await, joined);
        assert_eq!(values(&asked("projectIds=7").await, "model_id"), ["7"].into());
        assert_eq!(asked("projectIds=nobody").await, Vec::<Value>::new());
        assert_eq!(values(&asked("projectIds=").await, "model_id").len(), 3, "none named: all");
        assert_eq!(asked("").await, asked("projectIds=").await);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_models_can_be_named_as_a_path_has_room_for() {
    for stage in Stage::all().await {
        let ids: Vec<String> = (0..1700).map(|i| format!("{i:08}-0000-4000-8000-000000000000")).collect();
        save_hours(&stage, &ids[..1], 1).await;
        let rows = stage.rows(&format!("{GLOBAL}?projectIds={}", ids.join(","))).await;
        assert_eq!(values(&rows, "model_id"), [ids[0].as_str()].into());
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_say_what_the_window_scores_were_and_null_without_one() {
    for stage in Stage::all().await {
        let mut known = standings(&["7".to_owned()], last_hour());
        known.models[0].windows.recent.score = Some(0.123_456_789);
        known.models[0].windows.steady.score = None;
        known.models[0].windows.anchor.score = Some(1.0);
        known.models[0].parameters[0].windows.anchor.score = None;
        stage.store.save_snapshot(&known, &stage.ranking_lease().await).await.unwrap();
        let at = "2026-01-30T12:00:00.000";
        assert_eq!(
            json!(stage.rows(GLOBAL).await),
            json!([{"model_id": "7", "score_recent": 0.123457, "score_steady": null, "score_anchor": 1.0, "performed_at": at}])
        );
        let rows = stage.rows(PARAMS).await;
        assert_eq!(rows.len(), 2);
        let mut expected = json!({"model_id": "7", "param": "BTC-3600-60", "asset": "BTC", "horizon": 3600, "step": 60,
                                  "score_recent": 0.0, "score_steady": 0.0, "score_anchor": null, "performed_at": at});
        expected["score_recent"] = rows[0]["score_recent"].clone();
        expected["score_steady"] = rows[0]["score_steady"].clone();
        assert_eq!(rows[0], expected);
        assert_eq!((&rows[1]["param"], &rows[1]["step"]), (&json!("ETH-86400-300"), &json!(300)));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_asked_has_no_step() {
    for stage in Stage::all().await {
        let mut known = standings(&["7".to_owned()], last_hour());
        known.models[0].parameters.truncate(1);
        known.models[0].parameters[0].parameter.asset = asset("DOGE");
        stage.store.save_snapshot(&known, &stage.ranking_lease().await).await.unwrap();
        let rows = stage.rows(PARAMS).await;
        assert_eq!((&rows[0]["param"], &rows[0]["step"]), (&json!("DOGE-3600"), &Value::Null));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_written_again_is_shown_anew_and_so_is_a_new_one() {
    for stage in Stage::all().await {
        let lease = stage.ranking_lease().await;
        let scored = |hour: Timestamp, score: f64| {
            let mut known = standings(&["7".to_owned()], hour);
            known.models[0].windows.recent.score = Some(score);
            known
        };
        let save = async |known: &Standings, ranked_up_to: i64| {
            stage.store.save_snapshot(known, &lease).await.unwrap();
            stage.save_leaderboard(&scored(last_hour(), 0.1), ranked_up_to, &lease).await;
        };
        let shown = async || -> Vec<f64> {
            let rows = stage.rows(GLOBAL).await;
            rows.iter().map(|row| row["score_recent"].as_f64().unwrap()).collect()
        };
        let eventually = async |expected: &[f64]| {
            for _ in 0..200 {
                if shown().await == expected {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            assert_eq!(shown().await, expected);
        };
        save(&scored(last_hour() - Span::HOUR, 0.25), 1).await;
        eventually(&[0.25]).await;
        save(&scored(last_hour(), 0.5), 2).await;
        eventually(&[0.25, 0.5]).await;
        save(&scored(last_hour() - Span::HOUR, 0.75), 3).await;
        eventually(&[0.75, 0.5]).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_without_snapshots_are_empty_and_odd_ones_are_refused() {
    for stage in Stage::all().await {
        for path in [GLOBAL, PARAMS, "/reports/predictions"] {
            assert_eq!(stage.rows(path).await, Vec::<Value>::new(), "an empty database");
        }
        save_hours(&stage, &ids(3), 3).await;
        for path in [GLOBAL, PARAMS, "/reports/predictions"] {
            let asked = async |query: &str| stage.text(&format!("{path}?{query}")).await;
            assert_eq!(asked("end=2020-01-01").await, (200, "[]".to_owned()));
            assert_eq!(asked("start=2020-01-01&end=-9999-01-01T00:00:00Z").await.0, 400);
            for query in
                ["start=soon", "start=2026-01-30&end=2026-01-29", "end=1&end=2", "projectId=7", "limit=3"]
            {
                let (status, text) = asked(query).await;
                assert_eq!(status, 400, "{query}: {text}");
                assert!(serde_json::from_str::<Value>(&text).unwrap()["detail"].is_string());
            }
        }
        stage.end().await;
    }
}
