//! When markets are open, so that a night or a weekend is no gap in their prices.

use std::fmt;
use std::str::FromStr;

use chrono::{
    Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Weekday,
};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::{Asset, Span, Timestamp, TimestampExt};

/// How far ahead the next opening is looked for.
const LONGEST_CLOSURE: u64 = 31;

/// A market that closes, and the assets that are traded there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    /// For reasons and logs.
    pub name: String,
    /// The assets that it prices.
    pub assets: Vec<Asset>,
    /// The zone of its sessions and holidays, such as `America/New_York`.
    pub zone: Zone,
    /// When it is open, week after week.
    pub sessions: Vec<Session>,
    /// The dates on which it is closed from midnight to midnight.
    #[serde(default)]
    pub holidays: Vec<NaiveDate>,
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Tz);

impl FromStr for Zone {
    type Err = MarketError;

    fn from_str(name: &str) -> Result<Self, MarketError> {
        name.parse().map(Zone).map_err(|_| MarketError::Zone(name.to_owned()))
    }
}

impl TryFrom<String> for Zone {
    type Error = MarketError;

    fn try_from(name: String) -> Result<Self, MarketError> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(Zone(zone): Zone) -> String {
        zone.name().to_owned()
    }
}

/// A span of the week in which a market is open, as `Mon 09:30 - Mon 16:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Session {
    opens: WeekTime,
    closes: WeekTime,
}

impl Session {
    /// True at its beginning and until its end, at which it is over.
    fn holds(&self, time: WeekTime) -> bool {
        if self.opens < self.closes {
            self.opens <= time && time < self.closes
        } else {
            self.opens <= time || time < self.closes
        }
    }
}

impl FromStr for Session {
    type Err = MarketError;

    fn from_str(text: &str) -> Result<Self, MarketError> {
        let session = || {
            let (opens, closes) = text.split_once('-')?;
            let (opens, closes) = (WeekTime::parse(opens)?, WeekTime::parse(closes)?);
            (opens != closes).then_some(Session { opens, closes })
        };
        session().ok_or_else(|| MarketError::Session(text.to_owned()))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.opens, self.closes)
    }
}

impl TryFrom<String> for Session {
    type Error = MarketError;

    fn try_from(text: String) -> Result<Self, MarketError> {
        text.parse()
    }
}

impl From<Session> for String {
    fn from(session: Session) -> String {
        session.to_string()
    }
}

/// A time of the week by the market's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WeekTime {
    day: Weekday,
    time: NaiveTime,
}

impl WeekTime {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.trim().split_once(' ')?;
        let time = NaiveTime::parse_from_str(time.trim(), "%H:%M").ok()?;
        Some(WeekTime { day: day.parse().ok()?, time })
    }

    fn of(local: NaiveDateTime) -> Self {
        WeekTime { day: local.weekday(), time: local.time() }
    }
}

impl PartialOrd for WeekTime {
    /// From Monday's midnight on.
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let key = |it: &WeekTime| (it.day.num_days_from_monday(), it.time);
        key(self).partial_cmp(&key(other))
    }
}

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", self.day, self.time.hour(), self.time.minute())
    }
}

/// A calendar that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketError {
    /// Not in the IANA database.
    #[error("there is no time zone `{0}`: write one such as \"America/New_York\" or \"UTC\"")]
    Zone(String),
    /// Not two different times of the week.
    #[error("`{0}` is no session: write two times of the week, such as \"Mon 09:30 - Mon 16:00\"")]
    Session(String),
    /// It would never be open.
    #[error(
        "the market {0} has no sessions: write when it is open, or leave the market out if it never closes"
    )]
    NoSessions(String),
    /// Two calendars for one asset.
    #[error("{0} is in two markets: name it once")]
    Twice(Asset),
}

impl Market {
    /// True when the market is open up to `at`, so that a candle closes then: after an opening, and at the closing still.
    pub fn expects_close(&self, at: Timestamp) -> bool {
        let just_before = at - TimeDelta::microseconds(1);
        let local = just_before.with_timezone(&self.zone.0).naive_local();
        let time = WeekTime::of(local);
        !self.holidays.contains(&local.date()) && self.sessions.iter().any(|session| session.holds(time))
    }

    /// When it opens next after `at`, at which it is closed; `None` when it stays closed for a month.
    pub fn opens_after(&self, at: Timestamp) -> Option<Timestamp> {
        let today = at.with_timezone(&self.zone.0).date_naive();
        let days = (0..=LONGEST_CLOSURE).filter_map(|days| today.checked_add_days(Days::new(days)));
        let openings = days.flat_map(|day| self.may_open(day)).filter_map(|local| self.instant(local));
        openings.filter(|opening| *opening >= at && self.is_open_from(*opening)).min()
    }

    /// When it may open on a date: at the beginning of a session, or at midnight after a holiday.
    fn may_open(&self, day: NaiveDate) -> Vec<NaiveDateTime> {
        let of_day = self.sessions.iter().filter(|session| session.opens.day == day.weekday());
        let openings = of_day.map(|session| session.opens.time);
        openings.chain([NaiveTime::MIN]).map(|time| day.and_time(time)).collect()
    }

    fn is_open_from(&self, opening: Timestamp) -> bool {
        self.expects_close(opening + TimeDelta::microseconds(1))
    }

    /// A local time as an instant; the first of two when clocks are set back, and an hour on when they skip it.
    fn instant(&self, local: NaiveDateTime) -> Option<Timestamp> {
        let zone = &self.zone.0;
        let instant = match zone.from_local_datetime(&local) {
            LocalResult::None => zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest(),
            known => known.earliest(),
        };
        instant.map(|instant| instant.to_utc())
    }
}

/// The calendars of all assets that have one; any other asset is traded always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Markets(Vec<Market>);

impl Markets {
    /// Checks calendars: each is open at times, and no asset has two.
    pub fn new(markets: Vec<Market>) -> Result<Self, MarketError> {
        let mut seen = Vec::new();
        for market in &markets {
            if market.sessions.is_empty() {
                return Err(MarketError::NoSessions(market.name.clone()));
            }
            for asset in &market.assets {
                if seen.contains(&asset) {
                    return Err(MarketError::Twice(asset.clone()));
                }
                seen.push(asset);
            }
        }
        Ok(Markets(markets))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Market> {
        self.0.iter()
    }

    /// The market of an asset that is not traded always.
    pub fn of(&self, asset: &Asset) -> Option<&Market> {
        self.0.iter().find(|market| market.assets.contains(asset))
    }

    /// True when a candle of the asset closes at `at`, an instant of the price grid.
    pub fn expects_close(&self, asset: &Asset, at: Timestamp) -> bool {
        self.of(asset).is_none_or(|market| market.expects_close(at))
    }

    /// The market of an asset, if it is closed at `at`.
    pub fn closed(&self, asset: &Asset, at: Timestamp) -> Option<&Market> {
        self.of(asset).filter(|market| !market.expects_close(at))
    }

    /// The closes that are expected of an asset with `after < at < before`, on a grid of this `interval`.
    pub fn expected_closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        before: Timestamp,
        interval: Span,
    ) -> impl Iterator<Item = Timestamp> {
        let market = self.of(asset);
        let first = after.floor_to(interval) + interval;
        let grid = std::iter::successors(Some(first), move |at| Some(*at + interval));
        let within = grid.take_while(move |at| *at < before);
        within.filter(move |at| market.is_none_or(|market| market.expects_close(*at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn asset(name: &str) -> Asset {
        Asset::new(name).unwrap()
    }

    fn market(zone: &str, sessions: &[&str], holidays: &[&str]) -> Market {
        Market {
            name: "metals".to_owned(),
            assets: vec![asset("XAU")],
            zone: zone.parse().unwrap(),
            sessions: sessions.iter().map(|session| session.parse().unwrap()).collect(),
            holidays: holidays.iter().map(|day| day.parse().unwrap()).collect(),
        }
    }

    /// Gold in New York: from Sunday evening to Friday afternoon, with an hour's pause each day.
    fn metals() -> Market {
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri"];
        let sessions: Vec<String> =
            days.windows(2).map(|pair| format!("{} 18:00 - {} 17:00", pair[0], pair[1])).collect();
        market("America/New_York", &sessions.iter().map(String::as_str).collect::<Vec<_>>(), &["2026-12-25"])
    }

    #[test]
    fn the_first_candle_closes_after_the_opening_and_the_last_at_the_closing() {
        let metals = metals();
        // In July New York is four hours behind.
        for (instant, is_expected) in [
            ("2026-07-03T21:00:00Z", true),
            ("2026-07-03T21:01:00Z", false),
            ("2026-07-05T22:00:00Z", false),
            ("2026-07-05T22:01:00Z", true),
            ("2026-07-06T21:30:00Z", false),
            ("2026-07-07T03:00:00Z", true),
        ] {
            assert_eq!(metals.expects_close(at(instant)), is_expected, "{instant}");
        }
    }

    #[test]
    fn sessions_follow_the_clocks_of_the_place() {
        let stocks = market("America/New_York", &["Fri 09:30 - Fri 16:00", "Mon 09:30 - Mon 16:00"], &[]);
        // Clocks went forward on Sunday, 8 March 2026.
        assert!(
            !stocks.expects_close(at("2026-03-06T14:30:00Z"))
                && stocks.expects_close(at("2026-03-06T14:31:00Z"))
        );
        assert!(
            !stocks.expects_close(at("2026-03-09T13:30:00Z"))
                && stocks.expects_close(at("2026-03-09T13:31:00Z"))
        );
        assert_eq!(stocks.opens_after(at("2026-03-06T22:00:00Z")), Some(at("2026-03-09T13:30:00Z")));
    }

    #[test]
    fn a_session_may_last_over_the_end_of_the_week() {
        let odd = market("UTC", &["Sat 12:00 - Tue 06:00"], &[]);
        let expected = |instant| odd.expects_close(at(instant));
        assert!(expected("2026-07-05T00:00:00Z") && expected("2026-07-07T06:00:00Z"));
        assert!(!expected("2026-07-07T06:01:00Z") && !expected("2026-07-04T12:00:00Z"));
    }

    #[test]
    fn a_holiday_lasts_from_midnight_to_midnight_of_the_place() {
        let metals = metals();
        // In December New York is five hours behind.
        let expected = |instant| metals.expects_close(at(instant));
        assert!(expected("2026-12-25T05:00:00Z") && !expected("2026-12-25T05:01:00Z"));
        assert_eq!(metals.opens_after(at("2026-12-25T12:00:00Z")), Some(at("2026-12-27T23:00:00Z")));
        let midweek = market("UTC", &["Mon 00:00 - Sat 00:00"], &["2026-07-01"]);
        assert_eq!(midweek.opens_after(at("2026-07-01T05:00:00Z")), Some(at("2026-07-02T00:00:00Z")));
    }

    #[test]
    fn the_next_opening_is_found_also_where_clocks_skip_it_and_not_where_there_is_none() {
        let night = market("Europe/Zurich", &["Sun 02:30 - Sun 08:00"], &[]);
        assert_eq!(night.opens_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:30:00Z")));
        let mut closed = market("UTC", &["Mon 09:00 - Mon 10:00"], &[]);
        closed.holidays =
            (0..50).map(|days| "2026-07-01".parse::<NaiveDate>().unwrap() + Days::new(days)).collect();
        assert_eq!(closed.opens_after(at("2026-07-01T00:00:00Z")), None);
    }

    #[test]
    fn a_weekend_is_no_gap_and_who_has_no_market_is_traded_always() {
        let markets = Markets::new(vec![metals()]).unwrap();
        let expected = |name: &str, after: &str, before: &str| -> Vec<Timestamp> {
            markets.expected_closes(&asset(name), at(after), at(before), Span::minutes(1)).collect()
        };
        let (friday, sunday) = ("2026-07-03T20:59:00Z", "2026-07-05T22:02:00Z");
        assert_eq!(expected("XAU", friday, sunday), [at("2026-07-03T21:00:00Z"), at("2026-07-05T22:01:00Z")]);
        assert_eq!(expected("BTC", friday, sunday).len(), 49 * 60 + 2);
        assert_eq!(
            markets.closed(&asset("XAU"), at("2026-07-04T00:00:00Z")).map(|it| it.name.as_str()),
            Some("metals")
        );
        assert_eq!(markets.closed(&asset("BTC"), at("2026-07-04T00:00:00Z")), None);
    }

    #[test]
    fn a_calendar_that_makes_no_sense_is_refused_with_the_cure() {
        assert!("Mars/Olympus".parse::<Zone>().unwrap_err().to_string().contains("America/New_York"));
        for text in
            ["", "Mon 09:30", "Mon 09:30 - Mon 09:30", "Mon 25:00 - Tue 01:00", "Montag 09:30 - Mon 16:00"]
        {
            assert!(
                text.parse::<Session>().unwrap_err().to_string().contains("Mon 09:30 - Mon 16:00"),
                "{text}"
            );
        }
        let never = Market { sessions: Vec::new(), ..metals() };
        assert_eq!(Markets::new(vec![never]), Err(MarketError::NoSessions("metals".to_owned())));
        assert_eq!(Markets::new(vec![metals(), metals()]), Err(MarketError::Twice(asset("XAU"))));
    }

    #[test]
    fn sessions_are_written_as_they_are_read() {
        for text in ["Mon 09:30 - Fri 16:00", "Sun 18:00 - Mon 17:00"] {
            assert_eq!(text.parse::<Session>().unwrap().to_string(), text);
        }
    }
}
