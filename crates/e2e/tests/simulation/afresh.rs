//! Windows and ranking written down a second time, straight from the definition, from the scores as stored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use domain::{
    ModelId, ModelStanding, Parameter, ParameterStanding, PerWindow, RoundState, Span, Standings, Timestamp,
    TimestampExt, Window, WindowScore,
};

use crate::record::{Record, Round};
use crate::world::score_settings;

/// Every model's window scores.
pub fn standings(record: &Record, as_of: Timestamp) -> Standings {
    let rounds = scored(record);
    let ids: BTreeSet<&ModelId> = rounds
        .iter()
        .filter(|round| is_in(round, Window::Anchor, as_of))
        .flat_map(|round| round.scores.iter().map(|score| &score.model_id))
        .collect();
    let models = ids.into_iter().map(|id| standing(record, &rounds, id, as_of)).collect();
    Standings { as_of, models }
}

/// The ids of the ranked models, best first.
pub fn ranking<'a>(standings: &'a Standings, excluded: &BTreeSet<ModelId>) -> Vec<&'a ModelId> {
    let mut ranked = Vec::new();
    for model in standings.models.iter().filter(|model| !excluded.contains(&model.model_id)) {
        let windows = [model.windows.anchor, model.windows.steady, model.windows.recent];
        let full = windows.iter().position(|window| window.full && window.score.is_some());
        let score = full.map_or(model.windows.recent.score, |group| windows[group].score);
        let first = model.first_scored_at.unwrap_or(Timestamp::MAX_UTC);
        // Numbers of at least zero are in the order of their bits.
        ranked
            .extend(score.map(|score| (full.unwrap_or(3), Reverse(score.to_bits()), first, &model.model_id)));
    }
    ranked.sort();
    ranked.into_iter().map(|(.., id)| id).collect()
}

/// In the order of resolution and id.
fn scored(record: &Record) -> Vec<&Round> {
    let mut rounds: Vec<&Round> =
        record.rounds.values().filter(|round| round.stored.state == RoundState::Scored).collect();
    rounds.sort_by_key(|round| (round.stored.resolves_at, round.stored.round_id));
    rounds
}

fn is_in(round: &Round, window: Window, as_of: Timestamp) -> bool {
    round.stored.resolves_at > as_of - window.span() && round.stored.resolves_at <= as_of
}

fn standing(record: &Record, rounds: &[&Round], id: &ModelId, as_of: Timestamp) -> ModelStanding {
    let first_scored_at = first_scored_at(record, rounds, id).filter(|first| *first <= as_of);
    let is_full = |window: Window| first_scored_at.is_some_and(|first| first + window.span() <= as_of);
    let with_fullness = |window, score| WindowScore { full: is_full(window), ..score };
    let all: BTreeSet<Parameter> = rounds.iter().map(|round| parameter(round)).collect();
    let of = |parameter: Parameter| ParameterStanding {
        windows: PerWindow::from_fn(|window| {
            with_fullness(window, mean(rounds, id, &parameter, window, as_of))
        }),
        parameter,
    };
    let parameters: Vec<ParameterStanding> =
        all.into_iter().map(of).filter(|standing| standing.windows.anchor.predictions > 0).collect();
    let windows = PerWindow::from_fn(|window| with_fullness(window, over_parameters(&parameters, window)));
    ModelStanding { model_id: id.clone(), first_scored_at, windows, parameters }
}

fn first_scored_at(record: &Record, rounds: &[&Round], id: &ModelId) -> Option<Timestamp> {
    let joined_at = record.models.iter().find(|model| model.id == *id)?.joined_at;
    let mut since_then = rounds.iter().filter(|round| round.stored.performed_at >= joined_at);
    let first = since_then.find(|round| round.scores.iter().any(|score| score.model_id == *id))?;
    Some(first.stored.resolves_at)
}

/// A model's means for one parameter; sums are taken hour by hour, from the newest to the oldest, and what is not over
/// yet last.
fn mean(rounds: &[&Round], id: &ModelId, of: &Parameter, window: Window, as_of: Timestamp) -> WindowScore {
    let mut hours: BTreeMap<Timestamp, (f64, f64)> = BTreeMap::new();
    let (mut predictions, mut valid) = (0, 0);
    for round in rounds.iter().filter(|round| is_in(round, window, as_of) && parameter(round) == *of) {
        for score in round.scores.iter().filter(|score| score.model_id == *id) {
            let sums = hours.entry(round.stored.resolves_at.ceil_to(Span::HOUR)).or_default();
            sums.0 += score.relative;
            sums.1 += score.raw.unwrap_or(0.0);
            predictions += 1;
            valid += u64::from(score.raw.is_some());
        }
    }
    let over = hours.range(..=as_of).rev();
    let in_order = || over.clone().chain(hours.range((Bound::Excluded(as_of), Bound::Unbounded)));
    let relative = in_order().fold(0.0, |sum, (_, hour)| sum + hour.0);
    let raw = in_order().fold(0.0, |sum, (_, hour)| sum + hour.1);
    WindowScore {
        score: (valid > 0).then(|| relative / predictions as f64),
        raw: (valid > 0).then(|| raw / valid as f64),
        predictions,
        valid,
        full: false,
    }
}

fn over_parameters(parameters: &[ParameterStanding], window: Window) -> WindowScore {
    let weights = score_settings().weights;
    let asked: Vec<(f64, &WindowScore)> = parameters
        .iter()
        .map(|standing| (weights.of(&standing.parameter), standing.windows.get(window)))
        .filter(|(_, score)| score.predictions > 0)
        .collect();
    let valid: u64 = asked.iter().map(|(_, score)| score.valid).sum();
    let mean_of = |values: &[(f64, f64)]| {
        let sum = values.iter().fold(0.0, |sum, (weight, value)| sum + weight * value);
        let weight = values.iter().fold(0.0, |sum, (weight, _)| sum + weight);
        (valid > 0).then(|| sum / weight)
    };
    let scores: Vec<(f64, f64)> =
        asked.iter().map(|(weight, score)| (*weight, score.score.unwrap_or(0.0))).collect();
    let raws: Vec<(f64, f64)> =
        asked.iter().filter_map(|(weight, score)| Some((*weight, score.raw?))).collect();
    WindowScore {
        score: mean_of(&scores),
        raw: mean_of(&raws),
        predictions: asked.iter().map(|(_, score)| score.predictions).sum(),
        valid,
        full: false,
    }
}

fn parameter(round: &Round) -> Parameter {
    Parameter { asset: round.stored.asset.clone(), horizon: round.stored.horizon }
}
