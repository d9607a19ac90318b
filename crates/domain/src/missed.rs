//! Why slots are missed, as a few kinds: the reasons on record are sentences of which no two need be alike.

use crate::round::words;

/// What kept a slot from being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissedCause {
    /// The models were not set up yet.
    Starting,
    /// An operator has paused the competition.
    Paused,
    /// The close of the slot had not come.
    NoFreshPrice,
    /// The asset's market was closed.
    MarketClosed,
    /// The worker came to it too late.
    Overrun,
    /// Neither the database nor the journal took the mark that goes before asking.
    NotMarked,
    /// Another predict worker had taken the lead.
    LeadLost,
    /// No predict worker ran.
    NotRunning,
    /// The schedules of that time did not have the slot.
    NotScheduled,
    /// A reason that this program does not know.
    Other,
}
words!(MissedCause, "cause of a missed slot", {
    Starting => "starting", Paused => "paused", NoFreshPrice => "no_fresh_price", MarketClosed => "market_closed",
    Overrun => "overrun", NotMarked => "not_marked", LeadLost => "lead_lost", NotRunning => "not_running", NotScheduled => "not_scheduled",
    Other => "other",
});

/// How the reasons begin that a predict worker puts on record.
const BEGINNINGS: [(&str, MissedCause); 9] = [
    ("starting", MissedCause::Starting),
    ("paused", MissedCause::Paused),
    ("no fresh price", MissedCause::NoFreshPrice),
    ("market closed", MissedCause::MarketClosed),
    ("overrun", MissedCause::Overrun),
    ("the journal cannot be written", MissedCause::NotMarked),
    ("another predict worker leads", MissedCause::LeadLost),
    ("the predict worker was not running", MissedCause::NotRunning),
    ("not scheduled", MissedCause::NotScheduled),
];

impl MissedCause {
    /// The kind of a reason on record; the part before its first colon is enough.
    pub fn of(reason: &str) -> Self {
        let known = BEGINNINGS.iter().find(|(beginning, _)| reason.starts_with(beginning));
        known.map_or(MissedCause::Other, |(_, cause)| *cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_but_the_unknown_one_has_a_beginning_by_which_it_is_found() {
        for (beginning, cause) in BEGINNINGS {
            assert_eq!(MissedCause::of(&format!("{beginning}: and more")), cause);
        }
        assert_eq!(BEGINNINGS.len() + 1, MissedCause::ALL.len());
        assert_eq!(MissedCause::of("the dog ate it"), MissedCause::Other);
    }
}
