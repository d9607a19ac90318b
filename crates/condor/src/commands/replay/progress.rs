//! How far a replay is, how fast it is, and how long it will take.

use std::time::Duration;

use domain::{Span, Stopwatch, Timestamp, TimestampExt};
use indicatif::{ProgressBar, ProgressStyle};

use super::Plan;

/// A bar on a terminal, a plain line every tenth otherwise.
pub struct Progress {
    bar: ProgressBar,
    begun_at: Timestamp,
    from: Timestamp,
    to: Timestamp,
    interval: Span,
    watch: Stopwatch,
}

impl Progress {
    /// Of a replay that begins, or goes on, at `begun_at`.
    pub fn start(plan: &Plan, begun_at: Timestamp) -> Self {
        let bar = ProgressBar::new(plan.to.since(plan.from).as_secs());
        let style = ProgressStyle::with_template("replay {bar:40} {percent:>3} %  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (from, to, interval) = (plan.from, plan.to, plan.config.prices.interval);
        Progress { bar, begun_at, from, to, interval, watch: Stopwatch::start() }
    }

    /// The instant `at` was played.
    pub fn advance(&self, at: Timestamp) {
        self.bar.set_position(at.since(self.from).as_secs());
        if self.bar.is_hidden() {
            self.print_tenth(at);
        } else if at.floor_to(Span::HOUR) == at {
            self.bar.set_message(self.describe(at));
        }
    }

    /// Everything was played.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn print_tenth(&self, at: Timestamp) {
        let total = self.to.since(self.from).as_secs().max(1);
        let tenth = |at: Timestamp| at.since(self.from).as_secs() * 10 / total;
        if tenth(at) > tenth(at - self.interval) {
            eprintln!("replay: {} %  {}", tenth(at) * 10, self.describe(at));
        }
    }

    /// The instant, the pace, and the time left at this pace.
    fn describe(&self, at: Timestamp) -> String {
        let played = at.since(self.begun_at).as_secs_f64();
        let left = self.to.since(at).as_secs_f64();
        let elapsed = self.watch.elapsed().as_secs_f64();
        let at = at.format("%Y-%m-%d %H:%M");
        if played <= 0.0 || elapsed <= 0.0 {
            return at.to_string();
        }
        let days_a_minute = played / f64::from(Span::days(1).as_secs()) / (elapsed / 60.0);
        let left = Duration::from_secs_f64(elapsed * left / played);
        format!("{at}  {days_a_minute:.1} days/min  {} left", words(left))
    }
}

fn words(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}
