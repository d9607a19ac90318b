//! How far the scoring of rounds by a changed rule, or by corrected prices, has come, for people who read logs.

use std::time::Duration;

use domain::Stopwatch;

/// Lines are this far apart: a week of rounds takes minutes to hours.
const PAUSE: Duration = Duration::from_secs(15);

pub struct Tally {
    rule: String,
    /// Since the last time that none was left.
    done: u64,
    last_line: Option<Stopwatch>,
}

impl Tally {
    pub fn new(rule: String) -> Self {
        Tally { rule, done: 0, last_line: None }
    }

    /// Counts rounds that were scored again, and logs the first time, now and then, and when none is left.
    pub fn add(&mut self, rounds: u64, rounds_left: u64) {
        if rounds == 0 {
            return;
        }
        self.done += rounds;
        let (rounds_done, rule) = (self.done, self.rule.as_str());
        if rounds_left == 0 {
            tracing::info!(
                rounds_done,
                "all rounds of the last week are scored by {rule}, the rule in force, and the prices known now"
            );
            *self = Tally::new(std::mem::take(&mut self.rule));
        } else if self.last_line.is_none_or(|line| line.elapsed() >= PAUSE) {
            tracing::info!(
                rounds_done,
                rounds_left,
                "rounds of the last week are being scored again by {rule}, the rule in force, and the prices known now"
            );
            self.last_line = Some(Stopwatch::start());
        }
    }
}
