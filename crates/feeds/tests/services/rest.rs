//! The services that are asked for candles, each as its public documentation says. All answers here are built from the page
//! that is named, from `truth.rs`; none is recorded.

use std::sync::Arc;

use domain::{Timestamp, TimestampExt};
use feeds::{CrunchdaoBounds, Key, PriceFeed, Service, Stamp, Surroundings};

use crate::server::{Question, Reply};
use crate::truth::{btc, http_date, price};

/// A row of candles: the beginning of each in unix seconds, and the JSON of its close.
pub type Rows = Vec<(i64, String)>;

/// A kind of service.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub symbol: &'static str,
    /// Opens a feed at an address, with a key or without.
    pub open: fn(&Kind, &str, Option<&str>, &Surroundings) -> Arc<dyn PriceFeed>,
    /// The beginnings of the first and the last candle that a question asks for.
    pub asked: fn(&Question) -> (i64, i64),
    /// The document with these candles.
    pub document: fn(&Rows) -> String,
    /// What it answers when it does not know a symbol: status and body.
    pub unknown_symbol: (u16, &'static str),
    /// The most candles that it gives at once.
    pub page: i64,
}

pub const KINDS: [Kind; 5] = [CRUNCHDAO, CRUNCHDAO_UNIX, PYTH, BINANCE, COINBASE];

/// The client that CrunchDAO publishes: <https://github.com/crunchdao/crunch-synth>, `crunch_synth/price_provider.py`; there is
/// no page.
pub const CRUNCHDAO: Kind = Kind {
    name: "crunchdao",
    symbol: "BTC",
    open: |kind, address, key, surroundings| {
        feeds::crunchdao(kind.service(address, key), CrunchdaoBounds::Iso, Stamp::Open, surroundings).unwrap()
    },
    asked: |question| {
        assert_eq!(question.path, "/v1/prices");
        assert_eq!((question.parameter("asset"), question.parameter("resolution")), ("BTC", "minute"));
        (iso(question.parameter("from")), iso(question.parameter("to")))
    },
    document: |rows| {
        let (timestamps, closes) = columns(rows);
        format!("{{\"timestamp\": [{timestamps}], \"close\": [{closes}]}}")
    },
    unknown_symbol: (404, r#"{"detail": "asset not found"}"#),
    page: 1441,
};

/// The same with its older bounds.
pub const CRUNCHDAO_UNIX: Kind = Kind {
    open: |kind, address, key, surroundings| {
        feeds::crunchdao(kind.service(address, key), CrunchdaoBounds::Unix, Stamp::Open, surroundings)
            .unwrap()
    },
    asked: |question| {
        let bound = |name| question.parameter(name).parse().unwrap();
        (bound("from"), bound("to"))
    },
    ..CRUNCHDAO
};

/// <https://docs.pyth.network/api-reference/historical-prices/history>, and for the words of errors TradingView's UDF.
pub const PYTH: Kind = Kind {
    name: "pyth",
    symbol: "Crypto.BTC/USD",
    open: |kind, address, key, surroundings| {
        feeds::pyth(kind.service(address, key), "fixed_rate@200ms", surroundings).unwrap()
    },
    asked: |question| {
        assert_eq!(question.path, "/v1/fixed_rate@200ms/history");
        assert_eq!((question.parameter("symbol"), question.parameter("resolution")), ("Crypto.BTC/USD", "1"));
        (question.parameter("from").parse().unwrap(), question.parameter("to").parse().unwrap())
    },
    document: |rows| {
        let (t, c) = columns(rows);
        format!(r#"{{"s": "ok", "t": [{t}], "o": [{c}], "h": [{c}], "l": [{c}], "c": [{c}], "v": []}}"#)
    },
    unknown_symbol: (200, r#"{"s": "error", "errmsg": "symbol not found"}"#),
    page: 1000,
};

/// <https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md>, "Kline/Candlestick data".
pub const BINANCE: Kind = Kind {
    name: "binance",
    symbol: "BTCUSDT",
    open: |kind, address, key, surroundings| {
        feeds::binance(kind.service(address, key), surroundings).unwrap()
    },
    asked: |question| {
        assert_eq!(question.path, "/api/v3/klines");
        assert_eq!((question.parameter("symbol"), question.parameter("interval")), ("BTCUSDT", "1m"));
        let bound = |name| question.parameter(name).parse::<i64>().unwrap();
        assert!(bound("limit") <= 1000 && bound("startTime") % 1000 == 0);
        (bound("startTime") / 1000, bound("endTime") / 1000)
    },
    document: |rows| {
        let kline = |(begin, close): &(i64, String)| {
            let close = if close == "null" { close.clone() } else { format!("\"{close}\"") };
            let (open, end) = (begin * 1000, begin * 1000 + 59_999);
            format!(
                r#"[{open}, "1", "1", "1", {close}, "148.9", {end}, "2434.1", 308, "1756.8", "28.4", "0"]"#
            )
        };
        format!("[{}]", rows.iter().map(kline).collect::<Vec<_>>().join(","))
    },
    unknown_symbol: (400, r#"{"code": -1121, "msg": "Invalid symbol."}"#),
    page: 1000,
};

/// <https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles>
pub const COINBASE: Kind = Kind {
    name: "coinbase",
    symbol: "BTC-USD",
    open: |kind, address, key, surroundings| {
        feeds::coinbase(kind.service(address, key), surroundings).unwrap()
    },
    asked: |question| {
        assert_eq!(question.path, "/products/BTC-USD/candles");
        assert_eq!(question.parameter("granularity"), "60");
        assert!(question.headers["user-agent"].starts_with("condor/"), "it refuses those without");
        (iso(question.parameter("start")), iso(question.parameter("end")))
    },
    // The newest first.
    document: |rows| {
        let candle = |(begin, close): &(i64, String)| format!("[{begin}, 1.0, 1.0, 1.0, {close}, 12.5]");
        format!("[{}]", rows.iter().rev().map(candle).collect::<Vec<_>>().join(","))
    },
    unknown_symbol: (404, r#"{"message": "NotFound"}"#),
    page: 300,
};

fn columns(rows: &Rows) -> (String, String) {
    let join = |column: Vec<String>| column.join(", ");
    let begins = rows.iter().map(|(begin, _)| begin.to_string()).collect();
    (join(begins), join(rows.iter().map(|(_, close)| close.clone()).collect()))
}

fn iso(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().timestamp()
}

/// The true candles that begin within bounds.
pub fn true_rows(from: i64, to: i64) -> Rows {
    let first = Timestamp::from_unix_seconds(from).unwrap().ceil_to(domain::Span::minutes(1)).timestamp();
    let begins = (0..).map(|k| first + k * 60).take_while(|begin| *begin <= to);
    begins.map(|begin| (begin, price(begin + 60).to_string())).collect()
}

impl Kind {
    pub fn service(&self, address: &str, key: Option<&str>) -> Service {
        Service {
            name: self.name.into(),
            address: address.into(),
            key: key.map(Key::new),
            symbols: [(btc(), self.symbol.to_owned())].into(),
        }
    }

    pub fn feed(&self, address: &str, surroundings: &Surroundings) -> Arc<dyn PriceFeed> {
        (self.open)(self, address, None, surroundings)
    }

    /// What it answers when it is `now` there: all candles that were asked for and have begun, the last of them forming, with
    /// a price that will be another one when it is over.
    pub fn answer(&self, question: &Question, now: Timestamp) -> Reply {
        self.answer_with(question, now, |rows| rows)
    }

    /// The same with other rows.
    pub fn answer_with(&self, question: &Question, now: Timestamp, change: impl Fn(Rows) -> Rows) -> Reply {
        let (from, to) = (self.asked)(question);
        assert!((to - from) / 60 < self.page, "{}: more than a page is asked for", self.name);
        let mut rows = true_rows(from, to.min(now.timestamp()));
        if let Some((begin, close)) = rows.last_mut().filter(|(begin, _)| *begin + 60 > now.timestamp()) {
            *close = (price(*begin + 60) * 1.5).to_string();
        }
        Reply::json((self.document)(&change(rows))).with_header("date", &http_date(now))
    }
}
