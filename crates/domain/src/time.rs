//! Instants and spans. All instants are UTC; spans are whole seconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in UTC, exact to the microsecond in storage.
pub type Timestamp = DateTime<Utc>;

/// What the system asks of an instant beyond what chrono offers.
pub trait TimestampExt: Sized {
    /// The instant `seconds` after the unix epoch; `None` outside chrono's range.
    fn from_unix_seconds(seconds: i64) -> Option<Self>;
    /// The last multiple of `span` since the unix epoch at or before this instant.
    fn floor_to(self, span: Span) -> Self;
    /// The first multiple of `span` since the unix epoch at or after this instant.
    fn ceil_to(self, span: Span) -> Self;
    /// How long after `earlier` this instant is; zero when it is not later.
    fn since(self, earlier: Self) -> Duration;
    /// As JSON and people read it everywhere: RFC 3339 with `Z`, and as many digits below the second as it needs.
    fn to_utc_string(self) -> String;
}

impl TimestampExt for Timestamp {
    fn from_unix_seconds(seconds: i64) -> Option<Self> {
        DateTime::from_timestamp(seconds, 0)
    }

    fn floor_to(self, span: Span) -> Self {
        let past = self.timestamp_micros().rem_euclid(span.as_micros());
        self - TimeDelta::microseconds(past)
            - TimeDelta::nanoseconds(i64::from(self.timestamp_subsec_nanos() % 1000))
    }

    fn ceil_to(self, span: Span) -> Self {
        let floor = self.floor_to(span);
        if floor == self { self } else { floor + span }
    }

    fn since(self, earlier: Self) -> Duration {
        (self - earlier).to_std().unwrap_or(Duration::ZERO)
    }

    fn to_utc_string(self) -> String {
        self.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }
}

/// A non-negative span of whole seconds: a horizon, a step, a setting. Written `90s`, `15m`, `24h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u32);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// One hour.
    pub const HOUR: Span = Span::hours(1);

    /// A span of `n` seconds.
    pub const fn seconds(n: u32) -> Self {
        Span(n)
    }
    /// A span of `n` minutes.
    pub const fn minutes(n: u32) -> Self {
        Span(n * 60)
    }
    /// A span of `n` hours.
    pub const fn hours(n: u32) -> Self {
        Span(n * 3600)
    }
    /// A span of `n` days of 24 hours.
    pub const fn days(n: u32) -> Self {
        Span(n * 86_400)
    }
    /// The number of seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }
    /// The number of microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0 as i64 * 1_000_000
    }
    /// True for the empty span.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
    /// True when this span is a whole number of `unit`s; false for an empty unit.
    pub const fn is_multiple_of(self, unit: Span) -> bool {
        unit.0 != 0 && self.0.is_multiple_of(unit.0)
    }
    /// How often `unit` fits whole into this span; 0 for an empty unit.
    pub const fn divided_by(self, unit: Span) -> usize {
        match self.0.checked_div(unit.0) {
            Some(times) => times as usize,
            None => 0,
        }
    }
    /// The span as the standard library's type.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
    /// `self` taken `n` times, saturating.
    pub const fn times(self, n: u32) -> Self {
        Span(self.0.saturating_mul(n))
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        self + TimeDelta::seconds(i64::from(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        self - TimeDelta::seconds(i64::from(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0 + other.0)
    }
}

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl fmt::Display for Span {
    /// The shortest exact form, except that a day is written `24h`, as the schedules of the field are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS
            .into_iter()
            .find(|&(unit, size)| {
                self.0 >= size && self.0.is_multiple_of(size) && !(unit == 'd' && self.0 == size)
            })
            .unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a span of time: write a whole number and one of s, m, h, d, such as 90s, 15m, 24h or 7d"
)]
pub struct InvalidSpan(String);

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.to_owned());
        let unit = text.chars().last().ok_or_else(invalid)?;
        let size = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?.1;
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let count: u32 = digits.parse().map_err(|_| invalid())?;
        count.checked_mul(size).map(Span).ok_or_else(invalid)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_with_a_z_and_no_digits_that_say_nothing() {
        for text in ["2025-05-20T00:02:00Z", "2025-05-20T00:02:00.125Z", "2025-05-20T00:02:00.000001Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_utc_string(), text);
        }
    }

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["0s", "90s", "15m", "24h", "7d", "1h", "61s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1d".parse::<Span>().unwrap(), Span::hours(24));
        assert_eq!("3600s".parse::<Span>().unwrap().to_string(), "1h");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "s", "5", "-5s", "+5s", "1.5h", "5 m", "5w", "99999999999s", "60000d", "5é"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn instants_round_to_the_epoch_grid() {
        let t = Timestamp::from_unix_seconds(1_747_699_261).unwrap() + TimeDelta::nanoseconds(5);
        assert_eq!(t.floor_to(Span::minutes(1)).timestamp(), 1_747_699_260);
        assert_eq!(t.ceil_to(Span::minutes(1)).timestamp(), 1_747_699_320);
        let on_grid = t.floor_to(Span::minutes(1));
        assert_eq!(on_grid.ceil_to(Span::minutes(1)), on_grid);
    }
}
