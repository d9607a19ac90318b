//! The part of the sums over windows that stays the same for an hour.

use std::ops::Bound;

use super::Hours;
use super::sums::Totals;
use crate::{PerWindow, Span, Timestamp, Window, WindowSpans};

/// The sums of one parameter over the hours that lie wholly in the windows as of any instant from a full hour to before the
/// next: all but the one in which the window begins, and the one that is not over.
#[derive(Debug)]
pub(super) struct WholeHours {
    up_to: Timestamp,
    spans: WindowSpans,
    totals: PerWindow<Totals>,
}

impl WholeHours {
    /// The sums as of `up_to`, a full hour.
    pub(super) fn add_up(hours: &Hours, up_to: Timestamp, spans: WindowSpans, models: usize) -> Self {
        let mut total = Totals::of_models(models);
        let mut newest = up_to;
        // The sum of the longer window goes on from that of the shorter one.
        let totals = PerWindow::from_fn(|window| {
            let first = first_hour(spans.of(window), up_to);
            let further = hours.range((Bound::Excluded(first), Bound::Included(newest)));
            further.rev().for_each(|(_, hour)| total.add(hour));
            newest = first;
            total.clone()
        });
        WholeHours { up_to, spans, totals }
    }

    pub(super) fn up_to(&self) -> Timestamp {
        self.up_to
    }

    /// Over the whole hours of this window.
    pub(super) fn total(&self, window: Window) -> &Totals {
        self.totals.get(window)
    }

    /// The end of the hour in which this window begins; as of the full hour it is a whole one too.
    pub(super) fn first_hour(&self, window: Window) -> Timestamp {
        first_hour(self.spans.of(window), self.up_to)
    }
}

fn first_hour(span: Span, up_to: Timestamp) -> Timestamp {
    up_to - span + Span::HOUR
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::TimestampExt;
    use crate::history::tests::{round, start};
    use crate::{Asset, RoundId, ScoreHistory, ScoredRound, Weights};

    const MODELS: [&str; 4] = ["a", "b", "c", "d"];

    #[derive(Debug, Clone)]
    enum Change {
        Pass(Span),
        /// A round that resolved so many minutes before or after now, or before or after the beginning of a window; one
        /// of the same minute and asset is scored anew.
        Score {
            back_from: Span,
            minutes: i32,
            asset: bool,
            field: usize,
            value: f64,
        },
        /// The round that is so far down the list.
        Void(prop::sample::Index),
        Forget,
    }

    fn change() -> impl Strategy<Value = Change> {
        let step =
            prop::sample::select(vec![Span::minutes(1), Span::minutes(20), Span::HOUR, Span::hours(30)]);
        let back_from = prop::sample::select(vec![0, 24, 72, 168]).prop_map(Span::hours);
        let score = (back_from, -150..150_i32, any::<bool>(), 1..=MODELS.len(), 0.0..1.0_f64);
        prop_oneof![
            3 => step.prop_map(Change::Pass),
            6 => score.prop_map(|(back_from, minutes, asset, field, value)|
                                Change::Score { back_from, minutes, asset, field, value }),
            1 => any::<prop::sample::Index>().prop_map(Change::Void),
            1 => Just(Change::Forget),
        ]
    }

    fn scored(resolves_at: Timestamp, asset: bool, field: usize, value: f64) -> ScoredRound {
        let raw = |number: f64| (number < 0.9).then_some(1.0 / (0.1 + number));
        let scores: Vec<_> = MODELS[..field]
            .iter()
            .zip(1..)
            .map(|(model, n)| {
                let number = value / f64::from(n);
                (*model, number, raw(number))
            })
            .collect();
        let mut round = round(resolves_at, &scores);
        if asset {
            round.parameter.asset = Asset::new("ETH").unwrap();
            round.id = RoundId::from_uuid(uuid::Uuid::from_u128(!round.id.as_uuid().as_u128()));
        }
        round
    }

    /// All rounds at once, the newest first.
    fn afresh(rounds: &BTreeMap<(Timestamp, RoundId), ScoredRound>) -> ScoreHistory {
        let mut history = ScoreHistory::new(start() - Span::days(100));
        rounds.values().rev().for_each(|round| history.insert(round));
        history
    }

    proptest! {
        #[test]
        fn sums_that_are_kept_have_the_bits_of_sums_taken_afresh_from_all_rounds(
            changes in prop::collection::vec(change(), 1..60),
        ) {
            let (mut kept, mut rounds) = (afresh(&BTreeMap::new()), BTreeMap::new());
            let mut now = start() + Span::days(30);
            for change in changes {
                match change {
                    Change::Pass(span) => now = now + span,
                    Change::Score { back_from, minutes, asset, field, value } => {
                        let resolved = now - back_from + chrono::TimeDelta::minutes(i64::from(minutes));
                        let round = scored(resolved, asset, field, value);
                        kept.insert(&round);
                        if resolved > kept.after() {
                            rounds.insert((resolved, round.id), round);
                        }
                    }
                    Change::Void(place) if !rounds.is_empty() => {
                        let (resolved, id) = *rounds.keys().nth(place.index(rounds.len())).unwrap();
                        prop_assert!(kept.remove(id, resolved));
                        rounds.remove(&(resolved, id));
                    }
                    Change::Void(_) => {}
                    Change::Forget => {
                        kept.forget_before(now.floor_to(Span::HOUR));
                        rounds.retain(|(resolved, _), _| *resolved > kept.after());
                    }
                }
                let weights = Weights::default();
                let fresh = afresh(&rounds).standings(now, &weights);
                prop_assert_eq!(format!("{:?}", kept.standings(now, &weights)), format!("{fresh:?}"));
            }
        }
    }
}
