//! Binance spot klines over REST, from the addresses for market data, without a key.
//!
//! `GET /api/v3/klines?symbol&interval&startTime&endTime&limit` answers a list of lists: opening time in milliseconds,
//! open, high, low, close (text), volume, closing time, … The newest is the one that is forming.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::candles::Row;
use crate::http::{KeyHeader, Pace, Service, Surroundings, with_path};
use crate::polled::{CandleApi, Page, Polled, Unanswered};
use crate::{FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "https://data-api.binance.vision";

const LIMIT: u32 = 1000;

/// Prices from Binance, asked for.
///
/// # Errors
/// An address that is none, or a machine without TLS.
pub fn binance(service: Service, surroundings: &Surroundings) -> Result<Arc<dyn PriceFeed>, FeedError> {
    Polled::open(Binance, service, surroundings)
}

struct Binance;

/// Opening time in milliseconds; open, high, low; close; and seven more.
#[derive(Deserialize)]
struct Kline(
    i64,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    Option<String>,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
);

impl CandleApi for Binance {
    const PAGE: u32 = LIMIT;
    /// Of 6000 a minute for an address this takes 1200, at a weight of 2.
    const PACE: Pace = Pace { burst: 20, every: Duration::from_millis(100) };
    const KEY: KeyHeader = KeyHeader::Named("x-mbx-apikey");

    fn question(&self, address: &Url, symbol: &str, page: Page) -> Url {
        let start = page.first_begins.timestamp_millis().to_string();
        let end = page.last_begins.timestamp_millis().to_string();
        let limit = LIMIT.to_string();
        let query = [
            ("symbol", symbol),
            ("interval", "1m"),
            ("startTime", &start),
            ("endTime", &end),
            ("limit", &limit),
        ];
        with_path(address, &["api", "v3", "klines"], &query)
    }

    fn rows(&self, body: &[u8]) -> Result<Vec<Row>, Unanswered> {
        let klines: Vec<Kline> = serde_json::from_slice(body)?;
        klines.into_iter().map(row).collect()
    }
}

fn row(kline: Kline) -> Result<Row, Unanswered> {
    let close = kline.4.as_deref().map(number).transpose()?;
    Ok(Row::begun_at(seconds(kline.0)?, close))
}

fn seconds(millis: i64) -> Result<i64, Unanswered> {
    let is_whole = millis % 1000 == 0;
    is_whole
        .then_some(millis / 1000)
        .ok_or_else(|| Unanswered::Unreadable(format!("{millis} is no full second")))
}

fn number(text: &str) -> Result<f64, Unanswered> {
    text.parse().map_err(|_| Unanswered::Unreadable(format!("`{}` is no number", crate::http::shorten(text))))
}
