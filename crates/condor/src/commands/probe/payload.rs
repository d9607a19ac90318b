//! Made-up prices.

use std::fmt::Write;

use domain::{Asset, Timestamp};
use model_client::EncodedCall;
use protocol::method;

const MB: usize = 1_000_000;

/// Python nodes take messages of 4 MiB; history goes in parts of less than 3 MiB.
const MAX_PART_BYTES: usize = 3 * MB;

/// `[1763831640,65012.34],`: prices are made such that all entries have the same size.
const ENTRY_BYTES: usize = 22;

/// The closes of one minute.
pub fn minute(assets: &[Asset], at: Timestamp) -> EncodedCall {
    tick(assets, minutes_of(at)..=minutes_of(at))
}

/// History of `megabytes` of JSON that ends with the minute before `until`, in as few parts as may be, oldest first.
pub fn history(assets: &[Asset], until: Timestamp, megabytes: u32) -> Vec<EncodedCall> {
    let bytes = megabytes as usize * MB;
    let parts = bytes.div_ceil(MAX_PART_BYTES);
    let minutes_in_part = (bytes / parts / (ENTRY_BYTES * assets.len())).max(1) as i64;
    let end = minutes_of(until);
    (1..=parts as i64)
        .rev()
        .map(|parts_left| {
            let first = end - parts_left * minutes_in_part;
            tick(assets, first..=first + minutes_in_part - 1)
        })
        .collect()
}

fn tick(assets: &[Asset], minutes: std::ops::RangeInclusive<i64>) -> EncodedCall {
    EncodedCall::with_json(method::TICK, tick_json(assets, minutes).into())
}

/// `{"BTC":[[unix seconds,price],…],…}`, oldest first.
fn tick_json(assets: &[Asset], minutes: std::ops::RangeInclusive<i64>) -> String {
    let mut json = String::from("{");
    for (index, asset) in assets.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // An asset's name needs no escapes.
        let _ = write!(json, "{separator}\"{asset}\":[");
        for minute in minutes.clone() {
            let separator = if minute == *minutes.start() { "" } else { "," };
            let _ = write!(json, "{separator}[{},{:.2}]", minute * 60, price(minute, index));
        }
        json.push(']');
    }
    json.push('}');
    json
}

/// From 55,000 to 65,000, in waves of some ten hours.
fn price(minute: i64, asset: usize) -> f64 {
    60_000.0 + 5_000.0 * (minute as f64 / 97.0 + asset as f64).sin()
}

fn minutes_of(at: Timestamp) -> i64 {
    at.timestamp().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets(names: &[&str]) -> Vec<Asset> {
        names.iter().map(|name| Asset::new(name).unwrap()).collect()
    }

    #[test]
    fn a_tick_has_every_asset_oldest_first() {
        let json = tick_json(&assets(&["BTC", "ETH"]), 29_397_194..=29_397_195);
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        for asset in ["BTC", "ETH"] {
            let times: Vec<i64> =
                told[asset].as_array().unwrap().iter().map(|entry| entry[0].as_i64().unwrap()).collect();
            assert_eq!(times, [1_763_831_640, 1_763_831_700], "{asset}");
            assert!(told[asset][0][1].as_f64().is_some_and(|price| price >= 55_000.0));
        }
    }

    #[test]
    fn history_has_the_size_that_was_asked_for_in_parts_that_python_nodes_take() {
        let until = "2026-01-01T00:00:00Z".parse().unwrap();
        for names in [&["BTC"][..], &["BTC", "ETH", "SOL", "XAU"]] {
            for (megabytes, parts) in [(1, 1), (3, 1), (4, 2), (100, 34)] {
                let calls = history(&assets(names), until, megabytes);
                let sizes: Vec<usize> = calls.iter().map(EncodedCall::size).collect();
                assert_eq!(sizes.len(), parts, "{megabytes} MB");
                assert!(sizes.iter().all(|size| *size < 3 * 1024 * 1024), "{sizes:?}");
                let off = sizes.iter().sum::<usize>().abs_diff(megabytes as usize * MB);
                assert!(off < 200 * parts, "{megabytes} MB: off by {off}");
            }
        }
    }
}
