//! The price database of CrunchDAO: minute prices of the assets of its competitions, without a key.
//!
//! `GET /v1/prices?asset&from&to&resolution` answers `{"timestamp": […], "close": […]}`, unix seconds and prices side by
//! side. The bounds are unix seconds, or ISO 8601 in the newer form.

use std::sync::Arc;
use std::time::Duration;

use domain::{Timestamp, TimestampExt};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::candles::{MINUTE, Row};
use crate::http::{KeyHeader, Pace, Service, Surroundings, with_path};
use crate::polled::{CandleApi, Page, Polled, Unanswered};
use crate::{FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "https://pricedb.crunchdao.com";

/// How the bounds of a question are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrunchdaoBounds {
    /// `2026-01-01T00:00:00Z`.
    #[default]
    Iso,
    /// Unix seconds.
    Unix,
}

/// Which instant of a candle its timestamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// Its beginning. The one to choose in doubt: should it be wrong, prices come a minute late; the other way round models
    /// would be told prices before their time.
    #[default]
    Open,
    /// Its end.
    Close,
}

/// Prices from the CrunchDAO price database.
///
/// # Errors
/// An address that is none, or a machine without TLS.
pub fn crunchdao(
    service: Service,
    bounds: CrunchdaoBounds,
    stamp: Stamp,
    surroundings: &Surroundings,
) -> Result<Arc<dyn PriceFeed>, FeedError> {
    Polled::open(Crunchdao { bounds, stamp }, service, surroundings)
}

struct Crunchdao {
    bounds: CrunchdaoBounds,
    stamp: Stamp,
}

#[derive(Deserialize)]
struct Answer {
    timestamp: Vec<i64>,
    close: Vec<Option<f64>>,
}

impl Crunchdao {
    fn bound(&self, at: Timestamp) -> String {
        match self.bounds {
            CrunchdaoBounds::Iso => at.to_utc_string(),
            CrunchdaoBounds::Unix => at.timestamp().to_string(),
        }
    }

    fn row(&self, timestamp: i64, close: Option<f64>) -> Row {
        match self.stamp {
            Stamp::Open => Row::begun_at(timestamp, close),
            Stamp::Close => Row { end: timestamp, close },
        }
    }
}

impl CandleApi for Crunchdao {
    /// It names no limit: a day, and a candle more.
    const PAGE: u32 = 1441;
    const PACE: Pace = Pace { burst: 8, every: Duration::from_millis(250) };
    const KEY: KeyHeader = KeyHeader::Bearer;

    fn question(&self, address: &Url, symbol: &str, page: Page) -> Url {
        let stamp = |begin: Timestamp| match self.stamp {
            Stamp::Open => self.bound(begin),
            Stamp::Close => self.bound(begin + MINUTE),
        };
        let (from, to) = (stamp(page.first_begins), stamp(page.last_begins));
        let query = [("asset", symbol), ("from", &from), ("to", &to), ("resolution", "minute")];
        with_path(address, &["v1", "prices"], &query)
    }

    fn rows(&self, body: &[u8]) -> Result<Vec<Row>, Unanswered> {
        let Answer { timestamp, close } = serde_json::from_slice(body)?;
        if timestamp.len() != close.len() {
            let fault = format!("{} timestamps and {} closes", timestamp.len(), close.len());
            return Err(Unanswered::Unreadable(fault));
        }
        Ok(timestamp.into_iter().zip(close).map(|(at, close)| self.row(at, close)).collect())
    }
}
