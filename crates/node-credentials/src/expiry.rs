//! Telling of credentials that will expire, before they do.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{Timestamp, TimestampExt};

/// A file of ours and the end of its validity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Which file.
    pub path: PathBuf,
    /// From when on it is worth nothing.
    pub at: Timestamp,
}

/// Credentials that may have an end.
pub trait Perishable {
    /// All files that have one.
    fn expiries(&self) -> &[Expiry];
}

/// Tells of each expiry again after this long.
const REPEAT: Duration = Duration::from_secs(24 * 60 * 60);

/// What of some credentials is close to its end, or past it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Due {
    soon: Vec<Expiry>,
    over: Vec<Expiry>,
}

impl Due {
    pub fn of(expiries: &[Expiry], warn_before: Duration, now: Timestamp) -> Self {
        let (over, valid): (Vec<Expiry>, Vec<Expiry>) =
            expiries.iter().cloned().partition(|expiry| now >= expiry.at);
        let soon = valid.into_iter().filter(|expiry| expiry.at.since(now) <= warn_before).collect();
        Due { soon, over }
    }

    fn log(&self, now: Timestamp) {
        for Expiry { path, at } in &self.soon {
            let days = at.since(now).as_secs() / REPEAT.as_secs();
            tracing::warn!(path = %path.display(), %at, days, "{} expires at {at}, in {days} days: replace it before that; it is read again by itself", path.display());
        }
        for Expiry { path, at } in &self.over {
            tracing::error!(path = %path.display(), %at, "{} expired at {at}: connections are refused until it is replaced; it is read again by itself", path.display());
        }
    }
}

/// Logs what is due when it changes, and once a day.
#[derive(Debug)]
pub(crate) struct Reminder {
    warn_before: Duration,
    told: Mutex<Option<(Timestamp, Due)>>,
}

impl Reminder {
    pub fn new(warn_before: Duration) -> Self {
        Reminder { warn_before, told: Mutex::default() }
    }

    /// True when something was logged.
    pub fn check(&self, expiries: &[Expiry], now: Timestamp) -> bool {
        let due = Due::of(expiries, self.warn_before, now);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = told.as_ref().is_some_and(|(at, last)| *last == due && now.since(*at) < REPEAT);
        if due == Due::default() || is_told {
            return false;
        }
        due.log(now);
        *told = Some((now, due));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn an_expiry_is_told_from_the_set_time_before_it_and_after_it_once_a_day() {
        let expiries = [Expiry { path: "tls.crt".into(), at: at(100 * DAY) }];
        let reminder = Reminder::new(Duration::from_secs(14 * DAY as u64));
        let told = |seconds: i64| reminder.check(&expiries, at(seconds));
        assert!(!told(86 * DAY - 1));
        assert!(told(86 * DAY));
        assert!(!told(86 * DAY + 1));
        assert!(!told(87 * DAY - 1));
        assert!(told(87 * DAY));
        assert!(!told(87 * DAY + 100));
        assert!(told(100 * DAY), "it has expired, which is new");
        assert!(!told(100 * DAY + 1));
        assert!(told(101 * DAY));
    }

    #[test]
    fn what_expires_soon_and_what_has_expired_are_told_apart() {
        let expiry = |days: i64| Expiry { path: "f".into(), at: at(days * DAY) };
        let due = Due::of(
            &[expiry(1), expiry(2), expiry(3), expiry(4)],
            Duration::from_secs(DAY as u64),
            at(2 * DAY),
        );
        assert_eq!(due, Due { soon: vec![expiry(3)], over: vec![expiry(1), expiry(2)] });
    }

    #[test]
    fn a_renewed_certificate_is_not_told_of() {
        let reminder = Reminder::new(Duration::from_secs(DAY as u64));
        let expiry = |days: i64| [Expiry { path: "f".into(), at: at(days * DAY) }];
        assert!(reminder.check(&expiry(1), at(DAY - 1)));
        assert!(!reminder.check(&expiry(9), at(DAY)));
    }
}
