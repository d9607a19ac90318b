//! Coinbase Exchange candles, without a key. (Of Kraken the last 720 candles can be had, and no older ones.)
//!
//! `GET /products/{product_id}/candles?granularity&start&end` answers a list of lists, the newest first: beginning in unix
//! seconds, low, high, open, close, volume. Minutes without a trade are missing, some may lie before `start`, and more than
//! 300 at once are refused.

use std::sync::Arc;
use std::time::Duration;

use domain::TimestampExt;
use reqwest::Url;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::candles::Row;
use crate::http::{KeyHeader, Pace, Service, Surroundings, with_path};
use crate::polled::{CandleApi, Page, Polled, Unanswered};
use crate::{FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "https://api.exchange.coinbase.com";

/// Prices from Coinbase Exchange.
///
/// # Errors
/// An address that is none, or a machine without TLS.
pub fn coinbase(service: Service, surroundings: &Surroundings) -> Result<Arc<dyn PriceFeed>, FeedError> {
    Polled::open(Coinbase, service, surroundings)
}

struct Coinbase;

/// Beginning in unix seconds; low, high, open; close; volume.
#[derive(Deserialize)]
struct Candle(i64, IgnoredAny, IgnoredAny, IgnoredAny, Option<f64>, IgnoredAny);

impl CandleApi for Coinbase {
    const PAGE: u32 = 300;
    /// Half of the 10 in a second that an address may make.
    const PACE: Pace = Pace { burst: 5, every: Duration::from_millis(200) };
    const KEY: KeyHeader = KeyHeader::Bearer;

    fn question(&self, address: &Url, symbol: &str, page: Page) -> Url {
        let start = page.first_begins.to_utc_string();
        let end = page.last_begins.to_utc_string();
        let query = [("granularity", "60"), ("start", start.as_str()), ("end", end.as_str())];
        with_path(address, &["products", symbol, "candles"], &query)
    }

    fn rows(&self, body: &[u8]) -> Result<Vec<Row>, Unanswered> {
        let candles: Vec<Candle> = serde_json::from_slice(body)?;
        Ok(candles.into_iter().map(|candle| Row::begun_at(candle.0, candle.4)).collect())
    }
}
