//! Models, leaderboard, the schema that says how the rows are shown, and times.

use std::sync::Arc;

use domain::{Cruncher, LedgerEntry, LedgerPosition, Model, Price, PricePoint, Span, Standings, Timestamp};
use report_worker::ReportSettings;
use serde_json::{Value, json};
use storage::Lease;

use crate::stage::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_say_who_is_behind_them() {
    for stage in Stage::all().await {
        let nameless = Model { name: None, cruncher: Cruncher::default(), ..model("9") };
        stage.store.save_models(&[model("7"), nameless]).await.unwrap();
        assert_eq!(
            json!(stage.rows("/reports/models").await),
            json!([
                {"model_id": "7", "model_name": "the 7", "cruncher_name": "Ann of 7", "cruncher_id": "c-7",
                 "deployment_id": "deployment-7"},
                {"model_id": "9", "model_name": "9", "cruncher_name": null, "cruncher_id": null,
                 "deployment_id": "deployment-9"},
            ])
        );
        stage.end().await;
    }
}

async fn with_leaderboard(stage: &Stage) -> (Standings, Lease) {
    let gone =
        Model { last_connected_at: now() - Span::days(2), cruncher: Cruncher::default(), ..model("9") };
    stage.store.save_models(&[model("7"), gone, model("8")]).await.unwrap();
    let mut known = standings(&["7", "8", "9"].map(str::to_owned), last_hour());
    known.models[1].windows = Default::default();
    let lease = stage.ranking_lease().await;
    stage.save_leaderboard(&known, 1, &lease).await;
    (known, lease)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaderboard_is_flat_rows_best_first() {
    for stage in Stage::all().await {
        assert_eq!(stage.rows("/reports/leaderboard").await, Vec::<Value>::new());
        let (known, _) = with_leaderboard(&stage).await;
        let mut rows = Vec::new();
        for _ in 0..100 {
            rows = stage.rows("/reports/leaderboard").await;
            // The names may be read anew after the ranking.
            if rows.iter().any(|row| row["username"] == "Ann of 7") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let best = known
            .models
            .iter()
            .max_by(|a, b| a.windows.anchor.score.partial_cmp(&b.windows.anchor.score).unwrap());
        let best = best.unwrap();
        assert_eq!(rows[0]["model_id"], json!(best.model_id.as_str()));
        assert_eq!(rows[0]["score_anchor"].as_f64(), best.windows.anchor.score);
        assert_eq!(
            rows.iter().map(|row| &row["rank"]).collect::<Vec<_>>(),
            [&json!(1), &json!(2), &Value::Null]
        );
        assert_eq!(rows[0]["created_at"], json!("2026-01-30T12:00:00.000"));
        let of = |id: &str| rows.iter().find(|row| row["model_id"] == json!(id)).unwrap();
        assert_eq!((&of("7")["username"], &of("7")["status"]), (&json!("Ann of 7"), &json!("RUNNING")));
        assert_eq!((&of("9")["username"], &of("9")["status"]), (&json!("9"), &json!("STOPPED")));
        assert_eq!((&of("8")["score_recent"], &of("8")["raw_anchor"]), (&Value::Null, &Value::Null));
        for row in &rows {
            assert!(row.as_object().unwrap().values().all(|value| !value.is_object() && !value.is_array()));
        }

        let schema = schema(&stage).await;
        for column in schema["leaderboard_columns"].as_array().unwrap() {
            let property = column["property"].as_str().unwrap();
            assert!(rows.iter().any(|row| !row[property].is_null()), "no row has {property}");
        }
        stage.end().await;
    }
}

async fn schema(stage: &Stage) -> Value {
    let (status, text) = stage.text("/reports/schema").await;
    assert_eq!(status, 200);
    serde_json::from_str(&text).unwrap()
}

fn has_fields(value: &Value, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(fields(value), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_and_charts_are_complete() {
    let stage = Stage::all().await.remove(0);
    let schema = schema(&stage).await;
    has_fields(&schema, &["schema_version", "leaderboard_columns", "metrics_widgets"]);
    assert_eq!(schema["schema_version"], json!("1"));
    let is_format = |text: &str| {
        let decimals = text.strip_prefix("decimal-").is_some_and(|digits| digits.parse::<u8>().is_ok());
        decimals || ["percentage", "integer", "compact", "number"].contains(&text)
    };
    let columns = schema["leaderboard_columns"].as_array().unwrap();
    for column in columns {
        has_fields(
            column,
            &["id", "type", "property", "format", "displayName", "tooltip", "nativeConfiguration", "order"],
        );
        let kind = column["type"].as_str().unwrap();
        assert!(["PROJECT", "USERNAME", "VALUE", "REWARD_RANK"].contains(&kind));
        assert_eq!(column["format"].as_str().map(is_format), (kind == "VALUE").then_some(true));
    }
    let widgets = schema["metrics_widgets"].as_array().unwrap();
    let endpoints: Vec<&str> = widgets.iter().map(|widget| widget["endpointUrl"].as_str().unwrap()).collect();
    assert_eq!(endpoints, ["/reports/models/global", "/reports/models/params", "/reports/predictions"]);
    for widget in widgets {
        has_fields(
            widget,
            &[
                "id",
                "type",
                "displayName",
                "tooltip",
                "order",
                "endpointUrl",
                "projectIdProperty",
                "nativeConfiguration",
            ],
        );
        assert_eq!(widget["type"], json!("CHART"));
        let chart = &widget["nativeConfiguration"];
        has_fields(
            chart,
            &[
                "type",
                "xAxis",
                "yAxis",
                "displayEvolution",
                "displayLegend",
                "groupByProperty",
                "alertConfig",
                "filterConfig",
            ],
        );
        assert_eq!((&chart["type"], &chart["xAxis"]), (&json!("line"), &json!({"name": "performed_at"})));
        has_fields(&chart["yAxis"], &["series", "format"]);
        for line in chart["yAxis"]["series"].as_array().unwrap() {
            has_fields(line, &["name", "label", "color"]);
        }
    }
    let predictions = &widgets[2]["nativeConfiguration"];
    assert_eq!(
        predictions["alertConfig"],
        json!({"field": "score_failed", "reasonField": "score_failed_reason"})
    );
    let filter = |label: &str, property: &str| json!({"type": "select", "label": label, "property": property, "autoSelectFirst": true});
    let filters = json!([filter("Asset", "asset"), filter("Horizon", "horizon"), filter("Step", "step")]);
    assert_eq!(predictions["filterConfig"], filters);
    assert_eq!(widgets[1]["nativeConfiguration"]["filterConfig"], filters);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_that_a_chart_names_is_in_the_rows_of_its_endpoint() {
    for stage in Stage::all().await {
        stage.save_models(&["7"]).await;
        stage.score(last_hour() - Span::hours(3), &[timed_out("7")], vec![scored("7", None)]).await;
        let known = standings(&["7".to_owned()], last_hour());
        stage.store.save_snapshot(&known, &stage.ranking_lease().await).await.unwrap();
        for widget in schema(&stage).await["metrics_widgets"].as_array().unwrap() {
            let chart = &widget["nativeConfiguration"];
            let series = chart["yAxis"]["series"].as_array().unwrap().iter().map(|line| &line["name"]);
            let filters = chart["filterConfig"].as_array().unwrap().iter().map(|filter| &filter["property"]);
            let alerts = ["field", "reasonField"].map(|key| &chart["alertConfig"][key]);
            let named = [&widget["projectIdProperty"], &chart["xAxis"]["name"], &chart["groupByProperty"]];
            let rows = stage.rows(widget["endpointUrl"].as_str().unwrap()).await;
            for field in
                named.into_iter().chain(alerts).chain(series).chain(filters).filter_map(Value::as_str)
            {
                assert!(!rows[0][field].is_null(), "{} has no {field}", widget["endpointUrl"]);
            }
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_have_no_zone_here_unless_it_is_set_and_a_z_elsewhere() {
    for stage in Stage::all().await {
        let (known, lease) = with_leaderboard(&stage).await;
        stage.store.save_snapshot(&known, &lease).await.unwrap();
        stage.score(last_hour() - Span::hours(3), &[timed_out("7")], vec![scored("7", None)]).await;
        let price = PricePoint { at: last_hour(), price: Price::new(1.0).unwrap() };
        let entry = LedgerEntry {
            position: LedgerPosition(1),
            asset: asset("BTC"),
            point: price,
            source: "s".to_owned(),
        };
        stage.store.append_prices(&[entry], Timestamp::UNIX_EPOCH).await.unwrap();
        let places = [
            ("/reports/leaderboard", &["created_at"][..]),
            ("/reports/models/global", &["performed_at"]),
            ("/reports/models/params", &["performed_at"]),
            ("/reports/predictions", &["performed_at", "scored_at"]),
            ("/reports/feeds", &["oldest_ts", "newest_ts", "watermark_ts", "watermark_updated_at"]),
            ("/reports/feeds/tail", &["ts_event", "ts_ingested"]),
        ];
        for has_zone in [false, true] {
            stage.settings.send_replace(Arc::new(ReportSettings { zone_in_reports: has_zone, ..settings() }));
            for (place, fields) in places {
                let row = stage.rows(place).await.remove(0);
                for field in fields {
                    let text = row[field].as_str().unwrap();
                    let instant = text.strip_suffix('Z').unwrap_or(text);
                    assert_eq!((instant.len(), text.ends_with('Z')), (23, has_zone), "{place}: {text}");
                    assert_eq!(instant.find('T'), Some(10), "{place}: {text}");
                }
            }
            let (_, elsewhere) = stage.text("/leaderboard").await;
            assert!(elsewhere.contains(r#""as_of":"2026-01-30T12:00:00Z""#), "{elsewhere}");
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pay_outs_are_not_answered() {
    let stage = Stage::all().await.remove(0);
    for path in ["/reports/checkpoints", "/reports", "/reports/"] {
        assert_eq!(stage.text(path).await.0, 404, "{path}");
    }
    stage.end().await;
}
