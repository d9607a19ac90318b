//! How long what is stored is kept, and how what is older leaves.
//!
//! It leaves in portions, each a transaction of its own that is short for everybody else: on PostgreSQL a whole partition
//! at once, on SQLite some rows. Whoever stops in between has removed what it has removed and nothing else; who begins anew
//! finds the rest. Nothing is kept of a removal in progress, and two processes may remove the same at once.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use domain::{ModelId, RoundId, Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Result;

/// Rounds that resolved within this time are left whole, whatever the settings: snapshots that are written up to a week
/// late reach back another week, and so does scoring again by a changed rule; a day of margin.
pub const NEEDED: Span = Span::days(15);

/// How long something is kept: a span such as `30d`, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// At least so long.
    For(Span),
    /// It is never removed.
    Forever,
}

impl Keep {
    const FOREVER: &str = "forever";

    /// What is older than this at `now` may go.
    fn before(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Keep::For(span) => Some(now - span),
            Keep::Forever => None,
        }
    }

    fn is_shorter_than(self, least: Span) -> bool {
        matches!(self, Keep::For(span) if span < least)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::For(span) => span.fmt(f),
            Keep::Forever => f.write_str(Keep::FOREVER),
        }
    }
}

/// A text that does not say how long to keep something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not say how long: write a whole number and one of s, m, h, d, such as 30d, or forever")]
pub struct InvalidKeep(String);

impl FromStr for Keep {
    type Err = InvalidKeep;

    fn from_str(text: &str) -> Result<Self, InvalidKeep> {
        if text == Keep::FOREVER {
            return Ok(Keep::Forever);
        }
        text.parse().map(Keep::For).map_err(|_| InvalidKeep(text.to_owned()))
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `[retention]`: how long what is stored is kept. Rounds, their counts and the record of what operators did stay for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// What models answered, from when they were asked on.
    pub predictions: Keep,
    /// What is kept of bad answers, from when they were asked for on.
    pub refused_answers: Keep,
    /// Scores of single predictions, from when these were asked for on.
    pub scores: Keep,
    /// The leaderboards of all minutes; of older ones the first of each hour stays for ever.
    pub leaderboards: Keep,
    /// The window scores as of each full hour.
    pub snapshots: Keep,
    /// The ledger, by closes.
    pub prices: Keep,
}

impl Default for Retention {
    /// A year with a thousand models and the default timetable fits on one machine, in 60 GB: a day takes about 1 GB of
    /// predictions, 0.2 GB of scores, 0.1 GB of leaderboards, 20 MB of snapshots and 1 MB of prices.
    fn default() -> Self {
        Retention {
            predictions: Keep::For(Span::days(30)),
            refused_answers: Keep::For(Span::days(7)),
            scores: Keep::For(Span::days(90)),
            leaderboards: Keep::For(Span::days(7)),
            snapshots: Keep::Forever,
            prices: Keep::Forever,
        }
    }
}

/// A setting that would remove what is still needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{keep} is too short: {why}: write at least \"{least}\", or \"forever\"")]
pub struct KeptTooShort {
    /// Of what.
    pub what: Prunable,
    keep: Keep,
    least: Span,
    why: &'static str,
}

impl Retention {
    /// What is kept how long.
    pub fn of(&self, what: Prunable) -> Keep {
        match what {
            Prunable::RefusedAnswers => self.refused_answers,
            Prunable::Predictions => self.predictions,
            Prunable::Scores => self.scores,
            Prunable::Leaderboards => self.leaderboards,
            Prunable::Snapshots => self.snapshots,
            Prunable::Prices => self.prices,
        }
    }

    /// Refuses settings by which something would go that windows, scoring or models still need, where rounds take up to
    /// `longest_horizon` to resolve and new models are told prices of the last `history`.
    pub fn check(&self, longest_horizon: Span, history: Span) -> Result<(), KeptTooShort> {
        let scoring = NEEDED + longest_horizon;
        let for_scoring = "windows, and scoring again when the rule changes, need the last weeks";
        let least = [
            (Prunable::Predictions, scoring, for_scoring),
            (Prunable::Scores, scoring, for_scoring),
            (Prunable::Snapshots, scoring, for_scoring),
            (Prunable::Prices, scoring, for_scoring),
            (Prunable::Prices, history, "new models are told prices.history"),
            (Prunable::RefusedAnswers, Span::days(7), "participants are promised a week to look into it"),
            (Prunable::Leaderboards, Span::HOUR, "the first of each hour is told when the hour is over"),
        ];
        for (what, least, why) in least {
            self.check_least(what, least, why)?;
        }
        match self.predictions {
            Keep::For(least) => self.check_least(
                Prunable::Prices,
                least,
                "predictions are kept longer, and could not be scored again without them",
            ),
            Keep::Forever => Ok(()),
        }
    }

    fn check_least(&self, what: Prunable, least: Span, why: &'static str) -> Result<(), KeptTooShort> {
        let keep = self.of(what);
        if keep.is_shorter_than(least) { Err(KeptTooShort { what, keep, least, why }) } else { Ok(()) }
    }

    /// What goes at `now`, in this order.
    pub(crate) fn expiries(&self, now: Timestamp) -> Vec<(Prunable, Expiry)> {
        let expiry = |what: Prunable| {
            let before = self.of(what).before(now)?;
            // Nobody scores what was refused.
            let is_for_scoring = what != Prunable::RefusedAnswers;
            let needed_after = if is_for_scoring { now - NEEDED } else { Timestamp::MAX_UTC };
            Some((what, Expiry { before, needed_after }))
        };
        Prunable::ALL.into_iter().filter_map(expiry).collect()
    }
}

/// What leaves when it is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prunable {
    /// What is kept of bad answers, by when the round was asked.
    RefusedAnswers,
    /// Predictions, by when the round was asked.
    Predictions,
    /// Scores, by when the round was asked.
    Scores,
    /// All leaderboards but the first of each hour and the newest.
    Leaderboards,
    /// All snapshots but the newest.
    Snapshots,
    /// All prices but the last one of the ledger.
    Prices,
}

impl Prunable {
    /// Everything, in the order in which it is removed.
    pub const ALL: [Prunable; 6] = [
        Prunable::RefusedAnswers,
        Prunable::Predictions,
        Prunable::Scores,
        Prunable::Leaderboards,
        Prunable::Snapshots,
        Prunable::Prices,
    ];

    /// As it is called in the settings, and as its table.
    pub fn as_str(self) -> &'static str {
        match self {
            Prunable::RefusedAnswers => "refused_answers",
            Prunable::Predictions => "predictions",
            Prunable::Scores => "scores",
            Prunable::Leaderboards => "leaderboards",
            Prunable::Snapshots => "snapshots",
            Prunable::Prices => "prices",
        }
    }
}

impl fmt::Display for Prunable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which part of something may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// What is from before this instant.
    pub before: Timestamp,
    /// But nothing of a round that resolved after this one, or that is asked or closed and so still to be scored.
    pub needed_after: Timestamp,
}

/// Where a removal stands. Each database has its own way through what is stored and alone knows what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// Nothing has been looked at.
    #[default]
    Start,
    /// What is up to here has been looked at: all before a round, or a round up to a model.
    After(RoundId, Option<ModelId>),
    /// Nothing is left.
    End,
}

/// How much is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Rows.
    pub rows: u64,
    /// What they took: of PostgreSQL's partitions, and in SQLite files, with indexes; of other rows the values alone.
    pub bytes: u64,
}

/// A portion of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    /// How much went.
    pub removed: Amount,
    /// Others read or write it for so long that it was left alone; it may go at another time.
    pub is_busy: bool,
    /// Where to go on.
    pub next: Place,
}

/// Rounds that are asked or closed, and so still to be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unfinished {
    /// How many were asked before the instant in question.
    pub rounds: u64,
    /// When the oldest of all was asked.
    pub oldest: Option<Timestamp>,
}

/// How what is old leaves; see [`Pruning`](crate::Pruning) for all of it in turn.
#[async_trait]
pub trait RetentionRepository {
    /// How much there is to remove; nothing changes. What takes no place of its own counts with its values' sizes.
    async fn prunable(&self, what: Prunable, expiry: &Expiry) -> Result<Amount>;

    /// Removes a portion, in one short transaction, and says where to go on. Before the first scores go, each model's first
    /// one is noted, so that [`first_scored`](crate::RoundRepository::first_scored) stays true.
    async fn prune(&self, what: Prunable, expiry: &Expiry, from: &Place) -> Result<Portion>;

    /// The rounds that are still to be scored.
    async fn unfinished(&self, asked_before: Timestamp) -> Result<Unfinished>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_a_span_or_for_ever() {
        for text in ["30d", "24h", "forever"] {
            assert_eq!(text.parse::<Keep>().unwrap().to_string(), text);
        }
        let error = "always".parse::<Keep>().unwrap_err().to_string();
        assert!(error.contains("`always`") && error.contains("30d, or forever"), "{error}");
    }

    fn refusal(change: impl FnOnce(&mut Retention)) -> String {
        let mut retention = Retention::default();
        change(&mut retention);
        let error = retention.check(Span::days(1), Span::days(30)).unwrap_err();
        format!("{}: {error}", error.what)
    }

    #[test]
    fn what_is_still_needed_cannot_be_set_to_go() {
        Retention::default().check(Span::days(1), Span::days(30)).unwrap();
        let refused = refusal(|retention| retention.predictions = Keep::For(Span::hours(168)));
        assert!(refused.starts_with("predictions: 7d is too short"), "{refused}");
        assert!(refused.ends_with("write at least \"16d\", or \"forever\""), "{refused}");
        assert!(refusal(|r| r.scores = Keep::For(Span::days(15))).contains("\"16d\""));
        assert!(refusal(|r| r.snapshots = Keep::For(Span::days(15))).contains("\"16d\""));
        assert!(refusal(|r| r.prices = Keep::For(Span::days(29))).contains("prices.history"));
        assert!(refusal(|r| r.refused_answers = Keep::For(Span::days(6))).contains("\"7d\""));
        assert!(refusal(|r| r.leaderboards = Keep::For(Span::minutes(59))).contains("\"1h\""));
        let refused = refusal(|r| {
            r.predictions = Keep::For(Span::days(60));
            r.prices = Keep::For(Span::days(40));
        });
        assert!(refused.contains("40d is too short: predictions are kept longer"), "{refused}");
    }

    #[test]
    fn what_is_kept_for_ever_never_goes() {
        let now = Timestamp::UNIX_EPOCH + Span::days(1000);
        let all: Vec<Prunable> =
            Retention::default().expiries(now).into_iter().map(|(what, _)| what).collect();
        assert_eq!(
            all,
            [Prunable::RefusedAnswers, Prunable::Predictions, Prunable::Scores, Prunable::Leaderboards]
        );
    }
}
