//! What became of the slots of each asset, and which gaps in its prices explain what was not scored.

use domain::{Asset, MissedCause, RoundState, Span, Timestamp, TimestampExt};
use serde::Serialize;
use storage::{ExportedRound, Store};

use super::Plan;

/// What became of an asset's slots.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Coverage {
    pub asset: Asset,
    pub rounds: u64,
    pub scored: u64,
    pub void: u64,
    pub missed: u64,
    pub open: u64,
    /// Why rounds are void or were missed.
    pub reasons: Vec<Reason>,
    /// The gaps that explain them, in the order of time.
    pub gaps: Vec<Gap>,
    /// Void and missed rounds that neither a gap nor a closed market explains.
    pub unexplained: u64,
}

/// One reason, without what differs from round to round.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Reason {
    pub state: RoundState,
    pub reason: String,
    pub rounds: u64,
}

/// A time without prices, between two closes.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Gap {
    /// The last close before it; `None` when there is none.
    pub after: Option<Timestamp>,
    /// The first close after it; `None` when there is none.
    pub until: Option<Timestamp>,
    pub missed: u64,
    pub void: u64,
}

impl Gap {
    fn new(after: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        Gap { after, until, missed: 0, void: 0 }
    }

    /// The part of it that lies in a span, in seconds.
    fn overlap(&self, from: Timestamp, to: Timestamp) -> u64 {
        let begin = self.after.map_or(from, |after| after.max(from));
        let end = self.until.map_or(to, |until| until.min(to));
        end.since(begin).as_secs()
    }

    fn rounds(&self) -> u64 {
        self.missed + self.void
    }
}

impl Coverage {
    /// Of an asset of which no round is counted yet.
    pub async fn begin(store: &dyn Store, asset: &Asset, plan: &Plan) -> storage::Result<Self> {
        let prices = &plan.config.prices;
        // As far back as prices are taken.
        let oldest = plan.from - prices.history - prices.interval;
        let closes = store.closes(asset, oldest, plan.to).await?;
        let instants: Vec<Timestamp> = closes.iter().map(|close| close.at).collect();
        let gaps = gaps_in(&instants, (plan.from, plan.to), prices.interval);
        let asset = asset.clone();
        let (reasons, unexplained) = (Vec::new(), 0);
        Ok(Coverage { asset, rounds: 0, scored: 0, void: 0, missed: 0, open: 0, reasons, gaps, unexplained })
    }

    /// Counts a round of this asset.
    pub fn count(&mut self, round: &ExportedRound) {
        self.rounds += 1;
        match round.state {
            RoundState::Scored => self.scored += 1,
            RoundState::Asked | RoundState::Closed | RoundState::Interrupted => self.open += 1,
            RoundState::Void => {
                self.void += 1;
                self.note_reason(round);
                match self.gap_of_void(round) {
                    Some(gap) => gap.void += 1,
                    None => self.unexplained += 1,
                }
            }
            RoundState::Missed => {
                self.missed += 1;
                self.note_reason(round);
                let cause = MissedCause::of(round.reason.as_deref().unwrap_or_default());
                match self.gap_of_missed(round.performed_at, cause) {
                    Some(gap) => gap.missed += 1,
                    // The calendar explains it, whatever prices there are.
                    None if cause == MissedCause::MarketClosed => {}
                    None => self.unexplained += 1,
                }
            }
        }
    }

    /// To be called when all rounds are counted: gaps that explain nothing go.
    pub fn finish(&mut self) {
        self.gaps.retain(|gap| gap.rounds() > 0);
        self.reasons.sort_by(|a, b| b.rounds.cmp(&a.rounds).then_with(|| a.reason.cmp(&b.reason)));
    }

    fn note_reason(&mut self, round: &ExportedRound) {
        let reason = kind(round.reason.as_deref().unwrap_or_default());
        let known = self.reasons.iter_mut().find(|it| it.state == round.state && it.reason == reason);
        match known {
            Some(known) => known.rounds += 1,
            None => self.reasons.push(Reason { state: round.state, reason: reason.to_owned(), rounds: 1 }),
        }
    }

    /// The gap in which the slot lies.
    fn gap_of_missed(&mut self, slot: Timestamp, cause: MissedCause) -> Option<&mut Gap> {
        if !matches!(cause, MissedCause::NoFreshPrice | MissedCause::MarketClosed) {
            return None;
        }
        let holds = |gap: &&mut Gap| {
            gap.after.is_none_or(|after| after < slot) && gap.until.is_none_or(|until| slot < until)
        };
        self.gaps.iter_mut().find(holds)
    }

    /// The gap that takes most of the time from the question to its end.
    fn gap_of_void(&mut self, round: &ExportedRound) -> Option<&mut Gap> {
        if !round.reason.as_deref().is_some_and(scoring::is_for_want_of_prices) {
            return None;
        }
        let overlap = |gap: &&mut Gap| gap.overlap(round.performed_at, round.resolves_at);
        self.gaps
            .iter_mut()
            .max_by_key(overlap)
            .filter(|gap| gap.overlap(round.performed_at, round.resolves_at) > 0)
    }
}

/// What a reason says before its details.
fn kind(reason: &str) -> &str {
    reason.split(':').next().unwrap_or(reason)
}

/// Where closes, oldest first, are further apart than the interval, and where they begin and end too late or too early.
fn gaps_in(closes: &[Timestamp], (from, to): (Timestamp, Timestamp), interval: Span) -> Vec<Gap> {
    let (Some(first), Some(last)) = (closes.first(), closes.last()) else {
        return vec![Gap::new(None, None)];
    };
    let before = (*first > from).then(|| Gap::new(None, Some(*first)));
    let between = closes
        .windows(2)
        .filter(|pair| pair[0] + interval < pair[1])
        .map(|pair| Gap::new(Some(pair[0]), Some(pair[1])));
    let after = (*last < to).then(|| Gap::new(Some(*last), None));
    before.into_iter().chain(between).chain(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(n: u32) -> Timestamp {
        "2025-05-20T00:00:00Z".parse::<Timestamp>().unwrap() + Span::minutes(n)
    }

    fn bounds(closes: &[u32]) -> Vec<(Option<Timestamp>, Option<Timestamp>)> {
        let closes: Vec<Timestamp> = closes.iter().map(|n| minute(*n)).collect();
        let gaps = gaps_in(&closes, (minute(10), minute(20)), Span::minutes(1));
        gaps.into_iter().map(|gap| (gap.after, gap.until)).collect()
    }

    #[test]
    fn gaps_lie_between_closes_before_the_first_and_after_the_last() {
        let (all, none): (Vec<u32>, [u32; 0]) = ((10..=20).collect(), []);
        assert_eq!(bounds(&all), []);
        assert_eq!(bounds(&none), [(None, None)]);
        let at = |n| Some(minute(n));
        assert_eq!(bounds(&[12, 13, 17]), [(None, at(12)), (at(13), at(17)), (at(17), None)]);
        assert_eq!(bounds(&[5, 20]), [(at(5), at(20))], "a gap may begin before the replay");
    }

    #[test]
    fn only_the_part_of_a_gap_in_a_span_counts() {
        let gap = |after: Option<u32>, until: Option<u32>| Gap::new(after.map(minute), until.map(minute));
        let seconds = |gap: Gap| gap.overlap(minute(10), minute(20));
        assert_eq!(seconds(gap(Some(5), Some(12))), 120);
        assert_eq!(seconds(gap(Some(12), None)), 480);
        assert_eq!(seconds(gap(None, None)), 600);
        assert_eq!(seconds(gap(Some(20), Some(30))), 0);
        assert_eq!(seconds(gap(None, Some(9))), 0);
    }
}
