//! Pyth's history: minute bars of aggregated prices, in the form of TradingView's Universal Data Feed.
//!
//! `GET /v1/{channel}/history?symbol&from&to&resolution` answers `{"s": "ok", "t": […], "c": […], …}`. Bars are stamped with
//! their beginning, both bounds are inclusive, and a bound in the future means the newest bar. The key goes as Bearer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::candles::Row;
use crate::http::{KeyHeader, Pace, Service, Surroundings, shorten, with_path};
use crate::polled::{CandleApi, Page, Polled, Unanswered};
use crate::{FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "https://pyth.dourolabs.app";

/// Prices from Pyth's history, of a channel such as `fixed_rate@200ms`.
///
/// # Errors
/// An address that is none, or a machine without TLS.
pub fn pyth(
    service: Service,
    channel: &str,
    surroundings: &Surroundings,
) -> Result<Arc<dyn PriceFeed>, FeedError> {
    Polled::open(Pyth { channel: channel.to_owned() }, service, surroundings)
}

struct Pyth {
    channel: String,
}

#[derive(Deserialize)]
struct Answer {
    s: String,
    #[serde(default)]
    errmsg: String,
    #[serde(default)]
    t: Vec<i64>,
    #[serde(default)]
    c: Vec<Option<f64>>,
}

impl CandleApi for Pyth {
    /// It names no limit.
    const PAGE: u32 = 1000;
    /// 30 requests in 10 s, or nothing for a minute.
    const PACE: Pace = Pace { burst: 8, every: Duration::from_millis(500) };
    const KEY: KeyHeader = KeyHeader::Bearer;

    fn question(&self, address: &Url, symbol: &str, page: Page) -> Url {
        let from = page.first_begins.timestamp().to_string();
        let to = page.last_begins.timestamp().to_string();
        let query = [("symbol", symbol), ("from", &from), ("to", &to), ("resolution", "1")];
        with_path(address, &["v1", &self.channel, "history"], &query)
    }

    fn rows(&self, body: &[u8]) -> Result<Vec<Row>, Unanswered> {
        let Answer { s, errmsg, t, c } = serde_json::from_slice(body)?;
        match s.as_str() {
            "ok" if t.len() == c.len() => {
                Ok(t.into_iter().zip(c).map(|(t, c)| Row::begun_at(t, c)).collect())
            }
            "ok" => Err(Unanswered::Unreadable(format!("{} times and {} closes", t.len(), c.len()))),
            "no_data" => Ok(Vec::new()),
            "error" => Err(Unanswered::Said(shorten(&errmsg))),
            other => Err(Unanswered::Unreadable(format!("the status is `{}`", shorten(other)))),
        }
    }
}
