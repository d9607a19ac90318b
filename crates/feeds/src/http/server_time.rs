//! What time it is at a server, by the `Date` of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use domain::{Clock, Timestamp};
use reqwest::header::{DATE, HeaderMap};

use crate::SourceName;

/// Less is the second that a date is cut to, and the way of the answer.
const TOLERATED_SECONDS: i64 = 5;
/// A difference is told again when it has changed by more than this.
const NEWS_SECONDS: i64 = 30;

/// When an answer was sent, by the server's clock; to the second, never later than it was.
pub(super) fn of(headers: &HeaderMap) -> Option<Timestamp> {
    parse(headers.get(DATE)?.to_str().ok()?)
}

pub(super) fn parse(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc2822(text.trim()).ok().map(|date| date.to_utc())
}

/// Looks whether this machine's clock goes as a service's does.
pub(crate) struct ClockWatch {
    source: SourceName,
    clock: Arc<dyn Clock>,
    /// The difference in seconds that was told last; 0 when the clocks went alike.
    told: AtomicI64,
}

impl ClockWatch {
    pub(super) fn new(source: SourceName, clock: Arc<dyn Clock>) -> Self {
        ClockWatch { source, clock, told: AtomicI64::new(0) }
    }

    /// The server's time, and a word in the log when this machine's is another.
    pub(super) fn note(&self, headers: &HeaderMap) -> Option<Timestamp> {
        let server_time = of(headers)?;
        if let Some(ahead) = self.news((self.clock.now() - server_time).num_seconds()) {
            self.tell(ahead);
        }
        Some(server_time)
    }

    /// By how many seconds this machine's clock is ahead, if that is to be told; 0 when the clocks go alike again.
    fn news(&self, ahead: i64) -> Option<i64> {
        let ahead = if ahead.abs() > TOLERATED_SECONDS { ahead } else { 0 };
        let told = self.told.load(Ordering::Relaxed);
        let is_news = (ahead - told).abs() > NEWS_SECONDS || (ahead == 0) != (told == 0);
        is_news.then(|| {
            self.told.store(ahead, Ordering::Relaxed);
            ahead
        })
    }

    fn tell(&self, ahead: i64) {
        let source = &*self.source;
        match ahead {
            0 => tracing::info!(source, "the clocks of this machine and of {source} agree again"),
            1.. => tracing::warn!(
                source,
                ahead_s = ahead,
                "this machine's clock is {ahead} s ahead of that of {source}: set it, for instance by NTP"
            ),
            _ => tracing::warn!(
                source,
                ahead_s = ahead,
                "this machine's clock is {} s behind that of {source}: set it, for instance by NTP",
                -ahead
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::SystemClock;

    use super::*;

    #[test]
    fn a_difference_of_clocks_is_told_once_and_again_when_it_is_another() {
        let watch = ClockWatch::new("test".into(), Arc::new(SystemClock));
        let told = [0, 5, -5, 6, 7, 36, 37, -120, -119, 0, 1].map(|ahead| watch.news(ahead));
        let expected = [None, None, None, Some(6), None, None, Some(37), Some(-120), None, Some(0), None];
        assert_eq!(told, expected);
    }

    #[test]
    fn dates_are_read_as_http_writes_them() {
        let at: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(at));
        assert_eq!(parse("1994-11-06T08:49:37Z"), None);
    }
}
