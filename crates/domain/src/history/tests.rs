//! Windows of histories that live in memory alone.

use std::collections::BTreeMap;

use super::*;
use crate::{Asset, CrunchId, ScoredPrediction, Selection};

fn id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

fn history() -> ScoreHistory {
    ScoreHistory::new(start() - Span::days(100))
}

pub(super) fn start() -> Timestamp {
    "2025-05-20T00:00:00Z".parse().unwrap()
}

/// A round of BTC 1h that resolved at `resolves_at`.
pub(super) fn round(resolves_at: Timestamp, scores: &[(&str, f64, Option<f64>)]) -> ScoredRound {
    let (asset, horizon) = (Asset::new("BTC").unwrap(), Span::HOUR);
    let performed_at = resolves_at - horizon;
    let crunch = CrunchId::new("condor").unwrap();
    ScoredRound {
        id: RoundId::derive(&crunch, &asset, horizon, &[Span::minutes(1)], performed_at),
        parameter: Parameter { asset, horizon },
        performed_at,
        resolves_at,
        scores: scores
            .iter()
            .map(|(model, relative, raw)| ScoredPrediction {
                model_id: id(model),
                relative: *relative,
                raw: *raw,
            })
            .collect(),
    }
}

#[test]
fn a_window_holds_what_resolved_after_its_start_up_to_its_end() {
    let mut history = history();
    history.set_member(&id("a"), start());
    let as_of = start() + Span::days(2) + Span::minutes(30);
    history.insert(&round(as_of - Span::hours(24), &[("a", 0.0, Some(9.0))])); // exactly T - W: outside
    history.insert(&round(as_of - Span::hours(24) + Span::minutes(1), &[("a", 0.25, Some(1.0))]));
    history.insert(&round(as_of - Span::minutes(1), &[("a", 0.0, None)])); // a miss counts 0
    history.insert(&round(as_of, &[("a", 0.5, Some(3.0))]));
    history.insert(&round(as_of + Span::minutes(1), &[("a", 1.0, Some(9.0))])); // later than T
    let standing = history.standings(as_of, &Weights::default()).models.remove(0);
    let recent = standing.windows.recent;
    assert_eq!((recent.score, recent.raw), (Some(0.25), Some(2.0)));
    assert_eq!((recent.predictions, recent.valid), (3, 2));
    assert_eq!(standing.windows.steady.predictions, 4);
}

#[test]
fn a_window_is_full_once_the_first_scored_round_is_as_old_as_it() {
    let mut history = history();
    history.set_member(&id("a"), start());
    let first = start() + Span::hours(1);
    history.insert(&round(first, &[("a", 1.0, Some(1.0))]));
    let full_at = |history: &mut ScoreHistory, as_of| {
        let standing = history.standings(as_of, &Weights::default()).models.remove(0);
        (standing.windows.recent.full, standing.windows.anchor.full)
    };
    history.insert(&round(first + Span::hours(100), &[("a", 1.0, Some(1.0))]));
    assert_eq!(full_at(&mut history, first + Span::hours(24) - Span::minutes(1)), (false, false));
    assert_eq!(full_at(&mut history, first + Span::hours(24)), (true, false));
    history.forget_before(first + Span::hours(169));
    assert_eq!(full_at(&mut history, first + Span::hours(169)), (true, true));
}

#[test]
fn a_model_that_comes_back_starts_anew() {
    let mut history = history();
    history.set_member(&id("a"), start());
    history.insert(&round(start() + Span::hours(1), &[("a", 1.0, Some(1.0))]));
    let back = start() + Span::days(8);
    history.insert(&round(back + Span::hours(1), &[("a", 1.0, Some(1.0))]));
    history.set_member(&id("a"), back);
    assert_eq!(history.unsure_of(), [id("a")], "what it was asked since then may be older than the history");
    history.set_first_scored(&[(id("a"), back + Span::hours(1))]);
    let standing = history.standings(back + Span::hours(2), &Weights::default()).models.remove(0);
    assert_eq!(standing.first_scored_at, Some(back + Span::hours(1)));
    assert!(!standing.windows.recent.full);
}

#[test]
fn standings_of_the_past_know_no_later_beginning() {
    let mut history = history();
    let back = start() + Span::hours(5);
    history.set_member(&id("a"), back);
    history.insert(&round(start() + Span::hours(1), &[("a", 1.0, Some(1.0))]));
    history.insert(&round(back + Span::hours(1), &[("a", 1.0, Some(1.0))]));
    let first_scored_at = |history: &mut ScoreHistory, as_of| {
        history.standings(as_of, &Weights::default()).models.remove(0).first_scored_at
    };
    assert_eq!(first_scored_at(&mut history, back), None);
    assert_eq!(first_scored_at(&mut history, back + Span::hours(1)), Some(back + Span::hours(1)));
}

#[test]
fn a_dead_model_has_no_number_and_a_score_of_zero_is_one() {
    let mut history = history();
    let as_of = start() + Span::hours(2);
    history.insert(&round(as_of, &[("dead", 0.0, None), ("poor", 0.0, Some(5.0))]));
    let standings = history.standings(as_of, &Weights::default());
    let score = |i: usize| standings.models[i].windows.recent.score;
    assert_eq!((score(0), score(1)), (None, Some(0.0)));
}

#[test]
fn a_replaced_round_counts_once_and_roll_ups_equal_rows() {
    let (mut rolled, mut fresh) = (history(), history());
    let as_of = start() + Span::hours(30) + Span::minutes(17);
    for minute in 0..1800u32 {
        let value = f64::from(minute * 7919 % 1000) / 997.0;
        let resolved = start() + Span::minutes(minute);
        rolled.insert(&round(resolved, &[("a", 0.123, Some(4.0))]));
        if minute % 100 == 0 {
            rolled.standings(as_of, &Weights::default());
        }
        rolled.insert(&round(resolved, &[("a", value, Some(value))]));
    }
    for minute in (0..1800u32).rev() {
        let value = f64::from(minute * 7919 % 1000) / 997.0;
        fresh.insert(&round(start() + Span::minutes(minute), &[("a", value, Some(value))]));
    }
    let weights = Weights::default();
    assert_eq!(rolled.standings(as_of, &weights), fresh.standings(as_of, &weights));
    assert_eq!(fresh.standings(as_of, &weights).models[0].windows.recent.predictions, 1422);
}

#[test]
fn weights_count_over_parameters() {
    let mut history = history();
    let as_of = start() + Span::hours(5);
    history.insert(&round(as_of, &[("a", 1.0, Some(1.0))]));
    let mut other = round(as_of - Span::minutes(3), &[("a", 0.0, Some(5.0))]);
    other.parameter.asset = Asset::new("ETH").unwrap();
    history.insert(&other);
    let weights = Weights {
        assets: [(Asset::new("BTC").unwrap(), 3.0)].into_iter().collect(),
        horizons: BTreeMap::new(),
    };
    let standing = history.standings(as_of, &weights).models.remove(0);
    assert_eq!((standing.windows.recent.score, standing.windows.recent.raw), (Some(0.75), Some(2.0)));
}

/// One model in rounds of BTC over an hour and of ETH over an hour and a day, scored 1, 0 and 0.5.
fn of_three_parameters() -> ScoreHistory {
    let (mut history, as_of) = (history(), start() + Span::hours(5));
    let rounds =
        [("BTC", Span::HOUR, 1.0, 1.0), ("ETH", Span::HOUR, 0.0, 5.0), ("ETH", Span::hours(24), 0.5, 9.0)];
    for ((asset, horizon, score, raw), minute) in rounds.into_iter().zip(0..) {
        // Its id follows from the instant.
        let mut round = round(as_of - Span::minutes(minute), &[("a", score, Some(raw))]);
        round.parameter = Parameter { asset: Asset::new(asset).unwrap(), horizon };
        history.insert(&round);
    }
    history
}

#[test]
fn what_the_chosen_parameters_have_in_common_weighs_nothing() {
    let weights = Weights {
        assets: [(Asset::new("BTC").unwrap(), 3.0), (Asset::new("ETH").unwrap(), 0.5)].into_iter().collect(),
        horizons: [(Span::HOUR, 0.25)].into_iter().collect(),
    };
    let standings = of_three_parameters().standings(start() + Span::hours(5), &weights);
    let over = |asset: Option<&str>, horizon| {
        let asset = asset.map(|name| Asset::new(name).unwrap());
        let window = standings.models[0].over(&Selection { asset, horizon }, &weights).anchor;
        (window.score, window.raw, window.predictions)
    };
    // BTC counts six times as much as ETH.
    assert_eq!(over(None, Some(Span::HOUR)), (Some(3.0 / 3.5), Some((3.0 + 0.5 * 5.0) / 3.5), 2));
    // A day counts four times as much as an hour.
    assert_eq!(over(Some("ETH"), None), (Some(0.5 / 1.25), Some((0.25 * 5.0 + 9.0) / 1.25), 2));
    assert_eq!(over(Some("ETH"), Some(Span::hours(24))), (Some(0.5), Some(9.0), 1));
    assert_eq!(over(Some("BTC"), Some(Span::hours(24))), (None, None, 0));
    let all = standings.models[0].windows.anchor;
    assert_eq!(over(None, None), (all.score, all.raw, all.predictions));
}

#[test]
fn standings_over_some_parameters_hold_the_models_with_a_prediction_in_them() {
    let standings = of_three_parameters().standings(start() + Span::hours(5), &Weights::default());
    let count = |asset: &str| {
        let selection = Selection { asset: Some(Asset::new(asset).unwrap()), horizon: None };
        let over = standings.over(&selection, &Weights::default());
        assert_eq!(over.as_of, standings.as_of);
        over.models.iter().map(|model| model.windows.recent.predictions).collect::<Vec<_>>()
    };
    assert_eq!(count("BTC"), [1]);
    assert_eq!(count("XAU"), [0; 0]);
}

/// Five hours of rounds of two parameters, with a model that joins between.
fn rounds() -> Vec<ScoredRound> {
    let rounds = (1..300u32).map(|minute| {
        let value = f64::from(minute * 7919 % 1000) / 997.0;
        let scores = [("a", value, Some(value)), ("b", 0.0, None), ("c", 1.0 - value, Some(1.0 / value))];
        let mut round = round(start() + Span::minutes(minute), &scores[..if minute < 100 { 2 } else { 3 }]);
        if minute.is_multiple_of(3) {
            round.parameter.asset = Asset::new("ETH").unwrap();
        }
        round
    });
    rounds.collect()
}

/// What a database keeps of the changes that it is told of.
#[derive(Default)]
struct Saved {
    models: BTreeMap<ModelNumber, RolledModel>,
    rounds: BTreeMap<RoundId, RolledRound>,
    hours: BTreeMap<(Timestamp, Parameter), RollUp>,
}

impl Saved {
    fn save(&mut self, changes: RollUpChanges) {
        self.models.extend(changes.models);
        for (id, round) in changes.rounds {
            match round {
                Some(round) => drop(self.rounds.insert(id, round)),
                None => drop(self.rounds.remove(&id)),
            }
        }
        self.hours.extend(changes.hours);
        self.hours.retain(|_, sums| !sums.is_empty());
    }

    fn restore(&self) -> ScoreHistory {
        let hour = |((end, parameter), sums): (&(Timestamp, Parameter), &RollUp)| RolledHour {
            end: *end,
            parameter: parameter.clone(),
            sums: sums.clone(),
        };
        let models = self.models.values().cloned().collect();
        ScoreHistory::restore(history().after(), models, self.hours.iter().map(hour).collect())
    }

    fn hold(&self, ends: &[Timestamp], history: &mut ScoreHistory) {
        let is_in = |round: &&RolledRound| ends.contains(&hour_of(round.resolves_at));
        history.hold(ends, self.rounds.values().filter(is_in).cloned().collect());
    }
}

#[test]
fn what_was_saved_and_is_restored_again_and_again_gives_the_bits_of_what_stayed_in_memory() {
    let (mut through, mut saved) = (history(), Saved::default());
    for (i, round) in rounds().iter().enumerate() {
        let mut restored = saved.restore();
        // Some come again with other scores, some lose theirs, hours after the others of their hour.
        let mut late = rounds().swap_remove(i / 2);
        late.scores[0].relative /= 3.0;
        let instants = [round.resolves_at, late.resolves_at];
        saved.hold(&restored.hours_to_hold(instants), &mut restored);
        for history in [&mut through, &mut restored] {
            history.set_member(&id("a"), start());
            history.insert(round);
            if i % 5 == 0 {
                history.insert(&late);
            }
        }
        if i % 7 == 0 {
            let was_there = through.remove(late.id, late.resolves_at);
            assert_eq!(restored.remove(late.id, late.resolves_at), was_there);
        }
        let as_of = round.resolves_at + Span::hours(23);
        saved.hold(&restored.hours_to_hold_for(as_of), &mut restored);
        let weights = Weights::default();
        let expected = through.standings(as_of, &weights);
        assert_eq!(format!("{:?}", restored.standings(as_of, &weights)), format!("{expected:?}"), "{i}");
        saved.save(restored.take_changes());
    }
    saved.save(through.take_changes());
    let kept = saved.hours.len();
    assert_eq!(kept, 10, "two parameters, five hours");
}

#[test]
fn only_the_rounds_of_hours_that_are_partly_in_a_window_or_change_are_needed() {
    let mut history = history();
    rounds().iter().for_each(|round| history.insert(round));
    let later = start() + Span::hours(27) + Span::minutes(1);
    assert!(history.hours_to_hold_for(later).is_empty(), "all are held");
    history.take_changes();
    history.let_go(later);
    assert!(history.hours_to_hold_for(later).is_empty(), "those of the hour that leaves a window still are");
    assert_eq!(history.hours_to_hold_for(later + Span::HOUR), [start() + Span::hours(5)]);
    assert!(history.hours_to_hold_for(start() + Span::hours(28)).is_empty(), "all are whole");
    let instants = [start(), start() + Span::minutes(60), start() + Span::minutes(61), later];
    assert_eq!(history.hours_to_hold(instants), [1, 2].map(|n| start() + Span::hours(n)));
    history.forget_before(start() + Span::hours(169));
    assert_eq!(history.hours_to_hold(instants), [start() + Span::hours(2)]);
}

#[test]
fn whose_first_round_loses_its_scores_or_has_other_ones_is_looked_up() {
    let mut history = history();
    history.set_member(&id("a"), start());
    history.set_member(&id("b"), start());
    history.set_first_scored(&[]);
    let first = round(start() + Span::hours(1), &[("a", 1.0, Some(1.0)), ("b", 1.0, Some(1.0))]);
    history.insert(&first);
    history.insert(&first);
    assert_eq!(history.unsure_of(), []);
    history.insert(&round(first.resolves_at, &[("a", 1.0, Some(1.0))]));
    assert_eq!(history.unsure_of(), [id("b")]);
    history.remove(first.id, first.resolves_at);
    assert_eq!(history.unsure_of(), [id("a"), id("b")]);
    history.set_first_scored(&[(id("a"), first.resolves_at + Span::HOUR)]);
    history.insert(&round(first.resolves_at + Span::hours(2), &[("a", 1.0, None), ("b", 1.0, None)]));
    let models = history.take_changes().models;
    let firsts = models.values().map(|model| model.first_scored_at);
    assert!(firsts.eq([1, 2].map(|n| Some(first.resolves_at + Span::hours(n)))));
}
