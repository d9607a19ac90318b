//! Prices.

use domain::{LedgerEntry, LedgerPosition, Price, PricePoint, Span, Timestamp};
use serde_json::{Value, json};

use crate::stage::*;

fn entry(position: u64, name: &str, at: Timestamp, price: f64) -> LedgerEntry {
    LedgerEntry {
        position: LedgerPosition(position),
        asset: asset(name),
        point: PricePoint { at, price: Price::new(price).unwrap() },
        source: "simulated".to_owned(),
    }
}

async fn with_prices() -> Vec<Stage> {
    let stages = Stage::all().await;
    for stage in &stages {
        let entries = [
            entry(1, "BTC", last_hour() - Span::minutes(1), 99.5),
            entry(2, "ETH", last_hour() - Span::minutes(1), 3.25),
            entry(3, "BTC", last_hour(), 100.0),
            entry(4, "BTC", last_hour(), 100.5),
        ];
        stage.store.append_prices(&entries, Timestamp::UNIX_EPOCH).await.unwrap();
    }
    stages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_say_what_there_is_and_how_fresh() {
    for stage in with_prices().await {
        let rows = stage.rows("/reports/feeds").await;
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            json!({"source": "simulated", "subject": "BTC", "kind": "candle", "granularity": "1m", "record_count": 3,
                   "oldest_ts": "2026-01-30T11:59:00.000", "newest_ts": "2026-01-30T12:00:00.000",
                   "watermark_ts": "2026-01-30T12:00:00.000", "watermark_updated_at": "2026-01-30T12:00:00.000"})
        );
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_has_the_latest_prices_of_what_is_asked_for() {
    for stage in with_prices().await {
        let tail = async |query: &str| stage.rows(&format!("/reports/feeds/tail?{query}")).await;
        let closes = |rows: &[Value]| -> Vec<f64> {
            rows.iter().map(|row| row["values"]["close"].as_f64().unwrap()).collect()
        };
        let all = tail("").await;
        assert_eq!(closes(&all), [100.5, 100.0, 3.25, 99.5]);
        assert_eq!(
            all[2],
            json!({"source": "simulated", "subject": "ETH", "kind": "candle", "granularity": "1m",
                   "ts_event": "2026-01-30T11:59:00.000", "ts_ingested": "2026-01-30T11:59:00.000",
                   "values": {"close": 3.25}, "meta": {"position": 2}})
        );
        let full = "source=simulated&subject=BTC&kind=candle&granularity=1m&limit=2";
        assert_eq!(closes(&tail(full).await), [100.5, 100.0]);
        for nothing in ["source=other", "subject=XAU", "kind=tick", "granularity=1h"] {
            assert_eq!(tail(nothing).await, Vec::<Value>::new(), "{nothing}");
        }
        for odd in ["limit=0", "limit=1001", "asset=BTC"] {
            assert_eq!(stage.text(&format!("/reports/feeds/tail?{odd}")).await.0, 400, "{odd}");
        }
        stage.end().await;
    }
}
