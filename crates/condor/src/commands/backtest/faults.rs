//! Why a submission had no valid answer, and what its author can do about it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Prediction, PredictionStatus, TimestampExt};
use serde::Serialize;
use storage::ExportedRound;

/// The reasons for which there was no valid answer. Those that differ in their numbers only are one.
#[derive(Debug, Default)]
pub struct Faults {
    by_words: BTreeMap<(&'static str, String), Seen>,
}

#[derive(Debug)]
struct Seen {
    status: PredictionStatus,
    reason: String,
    count: u64,
    first: String,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// How the prediction ended.
    pub status: PredictionStatus,
    /// Why, as it was said the first time.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// In which round first, such as `BTC 1h at 2025-01-06T00:12:00Z`.
    pub first: String,
    /// What to do about it.
    pub next_step: String,
}

impl Faults {
    /// Counts a prediction without a valid answer. Rounds come in the order of time.
    pub fn add(&mut self, status: PredictionStatus, reason: &str, round: &ExportedRound) {
        let seen = self.by_words.entry((status.as_str(), without_numbers(reason))).or_insert_with(|| {
            let at = round.performed_at.to_utc_string();
            let first = format!("{} {} at {at}", round.asset, round.horizon);
            Seen { status, reason: reason.to_owned(), count: 0, first }
        });
        seen.count += 1;
    }

    /// All reasons, the most frequent first.
    pub fn list(&self, call_timeout: Duration) -> Vec<Fault> {
        let fault = |seen: &Seen| Fault {
            status: seen.status,
            reason: seen.reason.clone(),
            count: seen.count,
            first: seen.first.clone(),
            next_step: next_step(seen.status, &seen.reason, call_timeout),
        };
        let mut faults: Vec<Fault> = self.by_words.values().map(fault).collect();
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.count));
        faults
    }
}

/// The words of a reason, each number in it as `#`.
fn without_numbers(reason: &str) -> String {
    let mut words = String::with_capacity(reason.len());
    for c in reason.chars() {
        match c {
            '0'..='9' if words.ends_with('#') => {}
            '0'..='9' => words.push('#'),
            // the fraction of a number, its exponent
            '.' | '-' | 'e' if words.ends_with('#') => {}
            other => words.push(other),
        }
    }
    words
}

fn next_step(status: PredictionStatus, reason: &str, call_timeout: Duration) -> String {
    match status {
        PredictionStatus::Timeout => format!(
            "answer within {} s: keep in tick what predict needs, and compute less in predict",
            call_timeout.as_secs()
        ),
        PredictionStatus::Absent => {
            "its process ended or did not answer: run again with --keep DIR and look at DIR/*.runner.log"
                .to_owned()
        }
        _ if reason.starts_with("raised") => {
            "its code raised this: run again with --keep DIR for the traceback in DIR/*.runner.log".to_owned()
        }
        _ if reason.starts_with(Prediction::TOO_LARGE) => {
            "answer with fewer or simpler densities: docs/scoring.md has the limits".to_owned()
        }
        _ => "docs/scoring.md says what may be answered; `condor eval validate` tries one density".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_their_numbers_only_are_one() {
        let scale = |place: u32, scale: &str| format!("[{place}].params.scale: must be > 0, got -{scale}");
        assert_eq!(without_numbers(&scale(0, "0.00056")), without_numbers(&scale(17, "1.2e-7")));
        assert_ne!(without_numbers(&scale(0, "1")), without_numbers("[0].params.loc: must be finite, got 1"));
        assert_eq!(without_numbers("KeyError: 'x'"), "KeyError: 'x'");
    }
}
