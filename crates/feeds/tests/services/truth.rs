//! The market that services of tests tell of.

use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, Price, PricePoint, SimulatedClock, Span, Timestamp, TimestampExt};
use feeds::{Close, Surroundings, Timing};

/// A Tuesday, a full minute.
pub const START: i64 = 1_767_700_800;

pub fn instant(unix_seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(unix_seconds).unwrap()
}

/// So many minutes after the start.
pub fn minute(n: i64) -> Timestamp {
    instant(START + n * 60)
}

pub fn btc() -> Asset {
    Asset::new("BTC").unwrap()
}

/// The close at an instant, in unix seconds: it moves by less than 0.2 % a minute.
pub fn price(end: i64) -> f64 {
    let n = end.div_euclid(60);
    (6_000_000 + (n * 7919).rem_euclid(10_000)) as f64 / 100.0
}

/// The closes after a minute up to another.
pub fn closes(after: i64, up_to: i64) -> Vec<PricePoint> {
    let point = |n| PricePoint { at: minute(n), price: Price::new(price(START + n * 60)).unwrap() };
    (after + 1..=up_to).map(point).collect()
}

pub fn points(closes: Vec<Close>) -> Vec<PricePoint> {
    closes.into_iter().map(|close| close.point).collect()
}

/// As HTTP writes it.
pub fn http_date(at: Timestamp) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A clock that stands, and waits that are short where nothing is waited for but a machine that is busy.
pub fn surroundings(now: Timestamp) -> (Arc<SimulatedClock>, Surroundings) {
    let clock = Arc::new(SimulatedClock::at(now));
    let timing = Timing {
        answer: Duration::from_secs(20),
        silence: Duration::from_secs(20),
        paging: Duration::from_secs(20),
        source: Duration::from_secs(20),
        first_pause: Duration::from_millis(20),
        longest_pause: Duration::from_secs(60),
    };
    let surroundings = Surroundings { clock: clock.clone(), seed: 7, timing };
    (clock, surroundings)
}

/// Half a minute after a full one.
pub fn within(n: i64) -> Timestamp {
    minute(n) + Span::seconds(30)
}
