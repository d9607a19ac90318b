//! How much later the answers of all others come while one model hangs.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::bench::numbers::median;

/// What may be added to the 99th percentile: the larger of both.
const MOST_SHARE: f64 = 0.05;
const MOST_MS: f64 = 2.0;

/// The 99th percentile of each round, in milliseconds from the round's beginning.
#[derive(Debug, Default)]
pub struct Hang {
    pub without: Vec<f64>,
    pub with: Vec<f64>,
}

#[derive(Deserialize)]
struct Latencies {
    p99_ms: Vec<f64>,
}

/// The percentiles in what the example `latencies` prints.
pub fn parse(output: &str) -> Result<Vec<f64>> {
    let latencies: Latencies =
        serde_json::from_str(output).with_context(|| format!("these are no latencies: {output}"))?;
    Some(latencies.p99_ms).filter(|all| !all.is_empty()).context("no round was measured")
}

impl Hang {
    /// The median over the rounds in which no model hangs.
    pub fn without_ms(&self) -> f64 {
        median(self.without.iter().copied())
    }

    /// The median over the rounds in which one hangs.
    pub fn with_ms(&self) -> f64 {
        median(self.with.iter().copied())
    }

    /// What the hanging model adds; negative where chance outweighs it.
    pub fn moved_ms(&self) -> f64 {
        self.with_ms() - self.without_ms()
    }

    /// Whether it is little enough.
    pub fn is_met(&self) -> bool {
        self.moved_ms() < MOST_MS.max(MOST_SHARE * self.without_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(without: f64, with: f64) -> bool {
        Hang { without: vec![without], with: vec![with] }.is_met()
    }

    #[test]
    fn a_twentieth_or_two_milliseconds_may_be_added() {
        assert!(is_met(100.0, 104.9) && !is_met(100.0, 105.1));
        assert!(is_met(10.0, 11.9) && !is_met(10.0, 12.1));
        assert!(is_met(100.0, 90.0));
    }

    #[test]
    fn percentiles_are_read_and_no_round_is_an_error() {
        assert_eq!(parse(r#"{"models": 2, "p99_ms": [1.5, 2.5]}"#).unwrap(), [1.5, 2.5]);
        assert!(parse(r#"{"p99_ms": []}"#).is_err());
    }
}
