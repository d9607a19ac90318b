//! From prices to realised moves, the same for every model of a round.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{PricePoint, Question, Span, Target, Timestamp, TimestampExt};
use serde::{Deserialize, Serialize};

/// Which close is the price of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceChoice {
    /// The last one at or before it.
    #[default]
    Last,
    /// The nearest one, of two equally near the earlier: it may be of the future. For games that need those numbers.
    Nearest,
}

/// How a round is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlementSettings {
    /// The price interval.
    pub interval: Span,
    /// Which close is the price of an instant.
    pub choice: PriceChoice,
    /// The price of an instant is less than this away from it.
    pub max_price_age: Span,
    /// How long after a round's resolution missing prices are waited for.
    pub settle_timeout: Span,
}

impl SettlementSettings {
    /// The defaults where closes are an `interval` apart.
    pub const fn new(interval: Span) -> Self {
        let settle_timeout = Span::hours(6);
        SettlementSettings { interval, choice: PriceChoice::Last, max_price_age: interval, settle_timeout }
    }

    /// The closes that settle a round as of `now`: after the first and up to the second instant.
    pub fn needed_closes(&self, question: &Question, now: Timestamp) -> (Timestamp, Timestamp) {
        let resolves_at = question.resolves_at();
        let until = match self.choice {
            PriceChoice::Last => resolves_at,
            PriceChoice::Nearest => now.min(resolves_at + self.max_price_age),
        };
        (question.performed_at - self.max_price_age, until)
    }

    /// True when the close of an instant may have a part in settling a round: it is the price of one of the round's instants
    /// when no nearer one is known.
    pub fn may_use(&self, question: &Question, close_at: Timestamp) -> bool {
        question.steps.iter().flat_map(|&step| instants(question, step)).any(|instant| {
            let is_allowed = self.choice == PriceChoice::Nearest || close_at <= instant;
            is_allowed && self.is_near(close_at, instant)
        })
    }

    /// True when a close is not too far away from an instant to be its price.
    fn is_near(&self, close_at: Timestamp, instant: Timestamp) -> bool {
        distance(close_at, instant) < self.max_price_age.as_duration()
    }

    /// The one of `closes`, oldest first, that is the price of an instant; `None` when it would be too far away.
    pub fn price_at(&self, closes: &[PricePoint], instant: Timestamp) -> Option<PricePoint> {
        let (before, after) = closes.split_at(closes.partition_point(|close| close.at <= instant));
        let (last, next) = (before.last(), after.first());
        let chosen = match self.choice {
            PriceChoice::Last => last,
            PriceChoice::Nearest => {
                last.into_iter().chain(next).min_by_key(|close| distance(close.at, instant))
            }
        };
        chosen.copied().filter(|close| self.is_near(close.at, instant))
    }
}

/// What the prices of a round say.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// Its moves are known.
    Settled(Vec<SettledStep>),
    /// A price is missing and may still come.
    Waiting {
        /// The first instant without a price; the resolution, when that is yet to come.
        instant: Timestamp,
    },
    /// Its prices never came.
    Void {
        /// Why, in words.
        reason: String,
    },
}

/// The moves over one step size. At least half of them are known.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledStep {
    /// The step size.
    pub step: Span,
    /// By place within the horizon; `None` is left out for every model alike.
    pub increments: Vec<Option<Increment>>,
}

impl SettledStep {
    /// How many increments are left out.
    pub fn left_out(&self) -> usize {
        self.increments.iter().filter(|increment| increment.is_none()).count()
    }
}

/// One realised move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Increment {
    /// The price at its start.
    pub from: PricePoint,
    /// The price at its end.
    pub to: PricePoint,
    /// The move in the unit of the round's target.
    #[serde(rename = "move")]
    pub move_: f64,
}

impl Increment {
    /// The move between two prices; `None` when they are one and the same, which says nothing about a move.
    fn between(target: Target, from: PricePoint, to: PricePoint) -> Option<Self> {
        if from.at == to.at {
            return None;
        }
        let (start, change) = (from.price.value(), to.price.value() - from.price.value());
        let move_ = match target {
            // Exact for small moves, where the difference of two logarithms is not.
            Target::LogReturn => libm::log1p(change / start),
            Target::Return => change / start,
            Target::PriceChange => change,
        };
        Some(Increment { from, to, move_ })
    }
}

/// Settles a round as of `now`.
///
/// `closes` are those of its asset, oldest first, at least those of [`SettlementSettings::needed_closes`].
/// `newest_close_at` is the asset's newest close in the ledger as of `now`. An instant whose price is missing, or an
/// interval or more away from it, is waited for until `settle_timeout` after the resolution, and for as long as there is
/// no close later than it.
pub fn settle(
    question: &Question,
    closes: &[PricePoint],
    settings: &SettlementSettings,
    now: Timestamp,
    newest_close_at: Option<Timestamp>,
) -> Settlement {
    if now < question.resolves_at() {
        return Settlement::Waiting { instant: question.resolves_at() };
    }
    let closes = &closes[..closes.partition_point(|close| close.at <= now)];
    let ledger = Ledger { closes, newest_close_at, settings };
    let prices = prices_by_instant(question, &ledger);
    let is_given_up = now >= question.resolves_at() + settings.settle_timeout;
    let is_awaited = |(&instant, &price): (&Timestamp, &Option<PricePoint>)| {
        !ledger.is_final(price, instant) && (!is_given_up || ledger.ends_by(instant))
    };
    if let Some((&instant, _)) = prices.iter().find(|price| is_awaited(*price)) {
        return Settlement::Waiting { instant };
    }
    let steps: Vec<SettledStep> = question.steps.iter().map(|&step| moves(question, step, &prices)).collect();
    keep_full_steps(steps)
}

/// The prices of one asset, as far as they are known.
struct Ledger<'a> {
    closes: &'a [PricePoint],
    newest_close_at: Option<Timestamp>,
    settings: &'a SettlementSettings,
}

impl Ledger<'_> {
    /// True when no close that is yet to come can be the price in its place.
    fn is_final(&self, price: Option<PricePoint>, instant: Timestamp) -> bool {
        let Some(price) = price else { return false };
        let may_be_beaten =
            self.settings.choice == PriceChoice::Nearest && price.at != instant && self.ends_by(instant);
        distance(price.at, instant) < self.settings.interval.as_duration() && !may_be_beaten
    }

    /// True while there is no close later than `instant`.
    fn ends_by(&self, instant: Timestamp) -> bool {
        self.newest_close_at.is_none_or(|newest| newest <= instant)
    }
}

fn distance(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

/// The instants between which moves over `step` are taken.
fn instants(question: &Question, step: Span) -> impl Iterator<Item = Timestamp> {
    let count = question.horizon.divided_by(step) as u32;
    let start = question.performed_at;
    (0..=count).map(move |k| start + step.times(k))
}

fn prices_by_instant(question: &Question, ledger: &Ledger<'_>) -> BTreeMap<Timestamp, Option<PricePoint>> {
    let all = question.steps.iter().flat_map(|&step| instants(question, step));
    all.map(|instant| (instant, ledger.settings.price_at(ledger.closes, instant))).collect()
}

fn moves(question: &Question, step: Span, prices: &BTreeMap<Timestamp, Option<PricePoint>>) -> SettledStep {
    let ends: Vec<Option<PricePoint>> =
        instants(question, step).map(|instant| prices.get(&instant).copied().flatten()).collect();
    let increments =
        ends.windows(2).map(|pair| Increment::between(question.target, pair[0]?, pair[1]?)).collect();
    SettledStep { step, increments }
}

/// How the reason begins when prices make a round void.
const MISSING_PRICES: &str = "prices are missing for over half of the moves";

/// Leaves out the steps with less than half of their increments.
fn keep_full_steps(steps: Vec<SettledStep>) -> Settlement {
    let is_full = |step: &SettledStep| 2 * step.left_out() <= step.increments.len();
    let (full, thin): (Vec<_>, Vec<_>) = steps.into_iter().partition(is_full);
    if !full.is_empty() {
        return Settlement::Settled(full);
    }
    let counts: Vec<String> = thin
        .iter()
        .map(|step| {
            let total = step.increments.len();
            format!("{} of {total} for step {}", total - step.left_out(), step.step)
        })
        .collect();
    Settlement::Void { reason: format!("{MISSING_PRICES}: {}", counts.join(", ")) }
}

/// True for the reason of a round that is void because prices were missing.
pub fn is_for_want_of_prices(reason: &str) -> bool {
    reason.starts_with(MISSING_PRICES)
}

#[cfg(test)]
mod tests {
    use domain::{Asset, CrunchId, Method, Price};

    use super::*;

    const SETTINGS: SettlementSettings = SettlementSettings::new(Span::minutes(1));

    fn start() -> Timestamp {
        Timestamp::from_unix_seconds(1_747_699_200).unwrap()
    }

    fn question(horizon: Span, steps: &[Span], target: Target) -> Question {
        let (crunch, asset): (CrunchId, Asset) = ("condor".parse().unwrap(), "BTC".parse().unwrap());
        Question::new(&crunch, asset, horizon, steps.to_vec(), Method::PredictAll, target, start())
    }

    fn close(seconds: u32, price: f64) -> PricePoint {
        PricePoint { at: start() + Span::seconds(seconds), price: Price::new(price).unwrap() }
    }

    /// A close each minute of ten, at 100, 101, …, but for some minutes.
    fn minutes_without(missing: &[u32]) -> Vec<PricePoint> {
        let kept = (0..=10).filter(|minute| !missing.contains(minute));
        kept.map(|minute| close(minute * 60, 100.0 + f64::from(minute))).collect()
    }

    fn settle_ten_minutes(step: Span, closes: &[PricePoint]) -> Settlement {
        let long_after = start() + Span::days(2);
        settle(
            &question(Span::minutes(10), &[step], Target::PriceChange),
            closes,
            &SETTINGS,
            long_after,
            Some(long_after),
        )
    }

    fn known_moves(settlement: &Settlement) -> Vec<Option<f64>> {
        let Settlement::Settled(steps) = settlement else { panic!("{settlement:?}") };
        steps[0].increments.iter().map(|increment| increment.map(|increment| increment.move_)).collect()
    }

    #[test]
    fn each_target_is_the_move_of_the_price_over_the_step() {
        let closes = [close(0, 100.0), close(60, 110.0)];
        let now = start() + Span::minutes(1);
        for (target, expected) in
            [(Target::LogReturn, 1.1_f64.ln()), (Target::Return, 0.1), (Target::PriceChange, 10.0)]
        {
            let question = question(Span::minutes(1), &[Span::minutes(1)], target);
            let settlement = settle(&question, &closes, &SETTINGS, now, Some(now));
            let move_ = known_moves(&settlement)[0].unwrap();
            assert!((move_ - expected).abs() < 1e-15, "{target}: {move_}");
        }
    }

    #[test]
    fn a_price_counts_while_it_is_less_than_one_interval_old() {
        let late = |seconds_early: u32| [close(0, 100.0), close(600 - seconds_early, 105.0)];
        assert_eq!(known_moves(&settle_ten_minutes(Span::minutes(10), &late(59))), [Some(5.0)]);
        assert!(matches!(settle_ten_minutes(Span::minutes(10), &late(60)), Settlement::Void { .. }));
    }

    #[test]
    fn a_later_price_is_never_used_for_an_earlier_instant() {
        let closes = [close(1, 100.0), close(600, 105.0), close(601, 900.0)];
        assert!(matches!(settle_ten_minutes(Span::minutes(10), &closes), Settlement::Void { .. }));
        let closes = [close(0, 100.0), close(600, 105.0), close(601, 900.0)];
        assert_eq!(known_moves(&settle_ten_minutes(Span::minutes(10), &closes)), [Some(5.0)]);
    }

    #[test]
    fn a_gap_leaves_out_its_own_increments_and_shifts_no_other() {
        let settlement = settle_ten_minutes(Span::minutes(1), &minutes_without(&[4]));
        let mut expected = vec![Some(1.0); 10];
        expected[3] = None;
        expected[4] = None;
        assert_eq!(known_moves(&settlement), expected);
    }

    #[test]
    fn one_and_the_same_price_at_both_ends_is_no_move() {
        let settings = SettlementSettings::new(Span::minutes(5));
        let question = question(Span::minutes(4), &[Span::minutes(1)], Target::LogReturn);
        let closes = [close(0, 100.0), close(60, 101.0), close(120, 101.0), close(240, 104.0)];
        let now = start() + Span::minutes(4);
        let settlement = settle(&question, &closes, &settings, now, Some(now));
        let moves = known_moves(&settlement);
        assert_eq!(moves.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true]);
        assert_eq!(moves[1], Some(0.0), "an equal price at another time is a move of zero");
    }

    #[test]
    fn a_step_with_less_than_half_of_its_increments_is_left_out() {
        let half = settle_ten_minutes(Span::minutes(1), &minutes_without(&[1, 3, 10]));
        assert_eq!(known_moves(&half).iter().flatten().count(), 5);
        let thin = minutes_without(&[1, 3, 5]);
        let expected = "prices are missing for over half of the moves: 4 of 10 for step 1m";
        assert_eq!(settle_ten_minutes(Span::minutes(1), &thin), Settlement::Void { reason: expected.into() });
        assert!(is_for_want_of_prices(expected) && !is_for_want_of_prices("nobody answered"));

        let both = question(Span::minutes(10), &[Span::minutes(1), Span::minutes(10)], Target::PriceChange);
        let now = start() + Span::days(1);
        let Settlement::Settled(steps) = settle(&both, &thin, &SETTINGS, now, Some(now)) else { panic!() };
        assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), [Span::minutes(10)]);
    }

    #[test]
    fn a_missing_price_is_waited_for_until_the_timeout() {
        let question = question(Span::minutes(10), &[Span::minutes(1)], Target::LogReturn);
        let given_up_at = question.resolves_at() + SETTINGS.settle_timeout;
        let at =
            |now| settle(&question, &minutes_without(&[4, 7]), &SETTINGS, now, Some(start() + Span::days(1)));
        let waiting = Settlement::Waiting { instant: start() + Span::minutes(4) };
        assert_eq!(at(question.resolves_at()), waiting);
        assert_eq!(at(given_up_at - Span::seconds(1)), waiting);
        assert!(matches!(at(given_up_at), Settlement::Settled(_)));
    }

    #[test]
    fn the_wait_does_not_run_out_while_the_ledger_ends_before_the_instant() {
        let question = question(Span::minutes(10), &[Span::minutes(1)], Target::LogReturn);
        let closes = minutes_without(&[10]);
        let much_later = start() + Span::days(30);
        let with_newest = |newest| settle(&question, &closes, &SETTINGS, much_later, newest);
        let waiting = Settlement::Waiting { instant: start() + Span::minutes(10) };
        assert_eq!(with_newest(Some(start() + Span::minutes(9))), waiting);
        assert_eq!(with_newest(None), waiting);
        assert!(matches!(with_newest(Some(start() + Span::minutes(11))), Settlement::Settled(_)));
    }

    #[test]
    fn a_round_is_not_settled_before_it_has_resolved() {
        let question = question(Span::minutes(10), &[Span::minutes(1)], Target::LogReturn);
        let early = question.resolves_at() - Span::seconds(1);
        let waiting = Settlement::Waiting { instant: question.resolves_at() };
        assert_eq!(settle(&question, &minutes_without(&[]), &SETTINGS, early, Some(early)), waiting);
    }

    fn with_age(choice: PriceChoice, age: Span) -> SettlementSettings {
        SettlementSettings { choice, max_price_age: age, ..SETTINGS }
    }

    /// The seconds after the start of the closes between which the one move over two minutes lies, long after.
    fn ends(closes: &[PricePoint], settings: &SettlementSettings) -> Option<(i64, i64)> {
        let question = question(Span::minutes(2), &[Span::minutes(2)], Target::PriceChange);
        let long_after = start() + Span::days(2);
        match settle(&question, closes, settings, long_after, Some(long_after)) {
            Settlement::Settled(steps) => {
                let seconds = |point: PricePoint| (point.at - start()).num_seconds();
                steps[0].increments[0].map(|increment| (seconds(increment.from), seconds(increment.to)))
            }
            _ => None,
        }
    }

    #[test]
    fn an_older_price_counts_as_far_as_the_setting_says() {
        let closes = [close(0, 100.0), close(10, 101.0)];
        let age = |seconds| with_age(PriceChoice::Last, Span::seconds(seconds));
        assert_eq!(ends(&closes, &age(110)), None);
        assert_eq!(ends(&closes, &age(111)), Some((0, 10)));
    }

    #[test]
    fn the_nearest_price_is_the_earlier_of_two_equally_near_and_never_too_far() {
        let nearest = |age| with_age(PriceChoice::Nearest, Span::seconds(age));
        let closes = |around: &[u32]| -> Vec<PricePoint> {
            [0].iter().chain(around).map(|&seconds| close(seconds, 100.0 + f64::from(seconds))).collect()
        };
        assert_eq!(ends(&closes(&[100, 139]), &nearest(60)), Some((0, 139)));
        assert_eq!(ends(&closes(&[100, 140]), &nearest(60)), Some((0, 100)));
        assert_eq!(ends(&closes(&[100, 141]), &nearest(60)), Some((0, 100)));
        assert_eq!(ends(&closes(&[120, 121]), &nearest(60)), Some((0, 120)));
        assert_eq!(ends(&closes(&[179]), &nearest(60)), Some((0, 179)));
        assert_eq!(ends(&closes(&[180]), &nearest(60)), None);
        assert_eq!(ends(&closes(&[180]), &nearest(61)), Some((0, 180)));
        assert_eq!(ends(&closes(&[140]), &SETTINGS), None, "by default none of the future");
    }

    /// Whether it is settled early or late, the price is the same.
    #[test]
    fn a_price_that_another_may_still_replace_is_waited_for() {
        let question = question(Span::minutes(2), &[Span::minutes(2)], Target::PriceChange);
        let end = question.resolves_at();
        let as_of = |closes: &[PricePoint], settings: &SettlementSettings, now: Timestamp| {
            let newest = closes.last().map(|close| close.at);
            match settle(&question, closes, settings, now, newest) {
                Settlement::Settled(steps) => steps[0].increments[0].map(|increment| increment.move_),
                Settlement::Waiting { instant } => {
                    assert_eq!(instant, end);
                    None
                }
                Settlement::Void { reason } => panic!("{reason}"),
            }
        };
        let nearest = with_age(PriceChoice::Nearest, Span::minutes(1));
        let before = [close(0, 100.0), close(90, 101.0)];
        let after = [close(0, 100.0), close(90, 101.0), close(125, 102.0)];
        assert_eq!(as_of(&before, &nearest, end), None);
        assert_eq!(as_of(&after, &nearest, end + Span::seconds(5)), Some(2.0));
        assert_eq!(as_of(&[close(0, 100.0), close(120, 103.0)], &nearest, end), Some(3.0), "none is nearer");
        assert_eq!(as_of(&after, &nearest, end + Span::seconds(4)), Some(1.0), "it is not known yet");

        let old = with_age(PriceChoice::Last, Span::minutes(10));
        let stale = [close(0, 100.0), close(60, 101.0)];
        assert_eq!(as_of(&stale, &old, end + Span::hours(7)), None, "the outage is not over");
        let with_later = [close(0, 100.0), close(60, 101.0), close(180, 109.0)];
        assert_eq!(as_of(&with_later, &old, end + Span::hours(5)), None);
        assert_eq!(as_of(&with_later, &old, end + Span::hours(6)), Some(1.0));
    }

    #[test]
    fn a_close_may_be_used_by_the_instants_that_it_is_near_enough_to() {
        let question = question(Span::minutes(10), &[Span::minutes(5)], Target::PriceChange);
        let before = question.performed_at - Span::minutes(10);
        let used = |settings: &SettlementSettings| -> Vec<u32> {
            let is_used = |seconds: &u32| settings.may_use(&question, before + Span::seconds(*seconds));
            (0..1800).filter(is_used).collect()
        };
        let ends = [600, 900, 1200];
        let last: Vec<u32> = ends.into_iter().flat_map(|end| end - 59..=end).collect();
        assert_eq!(used(&SETTINGS), last);
        let nearest: Vec<u32> = ends.into_iter().flat_map(|end| end - 59..=end + 59).collect();
        assert_eq!(used(&with_age(PriceChoice::Nearest, Span::minutes(1))), nearest);
    }

    #[test]
    fn closes_are_read_as_far_as_they_can_count() {
        let question = question(Span::minutes(2), &[Span::minutes(2)], Target::PriceChange);
        let (from, end) = (question.performed_at, question.resolves_at());
        let long_after = end + Span::hours(1);
        let five = Span::minutes(5);
        assert_eq!(SETTINGS.needed_closes(&question, long_after), (from - Span::minutes(1), end));
        let nearest = with_age(PriceChoice::Nearest, five);
        assert_eq!(nearest.needed_closes(&question, long_after), (from - five, end + five));
        assert_eq!(nearest.needed_closes(&question, end), (from - five, end));
    }
}
