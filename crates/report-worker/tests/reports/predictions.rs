//! Predictions over time, and their failures.

use domain::{PredictionStatus, Span, Timestamp};
use serde_json::{Value, json};

use crate::stage::*;

const PREDICTIONS: &str = "/reports/predictions";

fn hours_ago(hours: u32) -> Timestamp {
    last_hour() - Span::hours(hours)
}

/// An alert shows by these two.
fn alerts(row: &Value) -> bool {
    row["score_failed"] == json!(true)
        && row["score_failed_reason"].as_str().is_some_and(|text| !text.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_scored_prediction_has_a_row_and_a_failure_says_why() {
    for stage in Stage::all().await {
        stage.save_models(&["7", "12"]).await;
        stage
            .score(
                hours_ago(3),
                &[answered("7"), timed_out("12")],
                vec![scored("7", Some(0.75)), scored("12", None)],
            )
            .await;
        assert_eq!(
            json!(stage.rows(PREDICTIONS).await),
            json!([
                {"model_id": "12", "param": "BTC-3600-60", "asset": "BTC", "horizon": 3600, "step": 60,
                 "score_value": 0.0, "score_failed": true, "score_failed_reason": "TIMEOUT: no answer within 60 s",
                 "scored_at": "2026-01-30T10:00:03.000", "performed_at": "2026-01-30T09:00:00.000",
                 "predictions": 1, "failures": 1},
                {"model_id": "7", "param": "BTC-3600-60", "asset": "BTC", "horizon": 3600, "step": 60,
                 "score_value": 0.75, "score_failed": false, "score_failed_reason": null,
                 "scored_at": "2026-01-30T10:00:03.000", "performed_at": "2026-01-30T09:00:00.000",
                 "predictions": 1, "failures": 0},
            ])
        );
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_without_a_cause_on_record_still_alerts() {
    for stage in Stage::all().await {
        stage.save_models(&["7", "12"]).await;
        let silent = domain::Prediction { reason: None, ..timed_out("7") };
        let scores = vec![scored("7", None), scored("12", None)];
        // There is no prediction of 12: it was removed before its score.
        stage.score(hours_ago(3), &[silent], scores).await;
        let rows = stage.rows(PREDICTIONS).await;
        assert!(rows.len() == 2 && rows.iter().all(alerts), "{rows:?}");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_round_that_is_not_scored_nothing_is_shown() {
    for stage in Stage::all().await {
        stage.save_models(&["7"]).await;
        let refused = domain::Prediction {
            status: PredictionStatus::Failed,
            reason: Some("the density `secret` is unknown".to_owned()),
            ..timed_out("7")
        };
        stage.close(hours_ago(0), &[refused]).await;
        stage.close(hours_ago(2), &[answered("7")]).await;
        assert_eq!(stage.rows(PREDICTIONS).await, Vec::<Value>::new());
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_those_of_the_models_and_the_span_in_the_order_of_time() {
    for stage in Stage::all().await {
        stage.save_models(&["7", "12"]).await;
        for hours in [5, 3, 8, 4] {
            let scores = vec![scored("7", Some(0.5)), scored("12", Some(0.25))];
            stage.score(hours_ago(hours), &[answered("7"), answered("12")], scores).await;
        }
        let rows = stage
            .rows(&format!("{PREDICTIONS}?projectIds=12&start=2026-01-30T07:00:00Z&end=2026-01-30T08:00:59Z"))
            .await;
        let shown: Vec<_> = rows.iter().map(|row| (&row["model_id"], &row["performed_at"])).collect();
        let at = |hour: u32| json!(format!("2026-01-30T{hour:02}:00:00.000"));
        assert_eq!(shown, [(&json!("12"), &at(7)), (&json!("12"), &at(8))]);
        let rows = stage.rows(PREDICTIONS).await;
        assert_eq!(rows.len(), 8);
        assert!(rows.is_sorted_by_key(|row| row["performed_at"].as_str().unwrap()));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_predictions_than_rows_are_means_over_periods_and_no_failure_is_lost() {
    for stage in Stage::all().await {
        let ids: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        stage.save_models(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        // A round a minute, of which every 70th fails for one model.
        let rounds: u32 = 650;
        for minute in 0..rounds {
            let fails = |id: &str| id == "7" && minute % 70 == 13;
            let outcomes: Vec<_> =
                ids.iter().map(|id| if fails(id) { timed_out(id) } else { answered(id) }).collect();
            let scores = ids.iter().map(|id| scored(id, (!fails(id)).then_some(0.5))).collect();
            stage.score(hours_ago(1) - Span::minutes(minute), &outcomes, scores).await;
        }
        let rows = stage.rows(PREDICTIONS).await;
        assert!(rows.len() <= 6_000 && rows.len() >= 440, "{} rows", rows.len());
        let sum = |field: &str| rows.iter().map(|row| row[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("predictions"), sum("failures")), (10 * u64::from(rounds), 10));
        let failed: Vec<&Value> = rows.iter().filter(|row| row["failures"] != json!(0)).collect();
        assert!(failed.iter().all(|row| alerts(row)));
        assert_eq!(
            failed[0]["score_failed_reason"],
            json!("1 of 15 failed, the last: TIMEOUT: no answer within 60 s")
        );
        assert_eq!(failed[0]["score_value"], json!(0.466667), "a failure counts 0");
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_to_be_looked_up_is_shown_as_means_over_days_with_their_failures() {
    for stage in Stage::all().await {
        let ids: Vec<String> = (0..1100).map(|i| format!("m{i}")).collect();
        stage.save_models(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for minute in 0..19 {
            stage.score(hours_ago(9) - Span::minutes(minute), &[], Vec::new()).await;
        }
        let lease = stage.ranking_lease().await;
        let mut known = standings(&ids[..300], last_hour());
        for day in 0..30 {
            known.as_of = "2026-01-30T00:00:00Z".parse::<Timestamp>().unwrap() - Span::days(day);
            stage.store.save_snapshot(&known, &lease).await.unwrap();
        }
        let rows = stage.rows(PREDICTIONS).await;
        assert_eq!(rows.len(), 6 * 600, "of 300 models and two parameters");
        assert!(rows.is_sorted_by_key(|row| row["performed_at"].as_str().unwrap()));
        assert!(rows.iter().all(|row| (row["failures"] == json!(0)) != alerts(row)));
        let failed = rows.iter().find(|row| row["failures"] == json!(2)).unwrap();
        assert_eq!(failed["predictions"], json!(168));
        assert_eq!(
            failed["score_failed_reason"],
            json!("2 of 168 failed of those that resolved in the 7 days before")
        );
        let few = stage.rows(&format!("{PREDICTIONS}?projectIds={}", ids[..18].join(","))).await;
        assert_eq!(few, Vec::<Value>::new(), "few enough to be looked up, and there are none");
        stage.end().await;
    }
}
