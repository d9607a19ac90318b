//! Windows and ranking written down a second time, straight from the definition, from the scores as stored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use domain::{ModelId, Span};
use domain::{
    ModelStanding, Parameter, ParameterStanding, PerWindow, RoundState, Standings, Sums, Timestamp,
    TimestampExt, Weights, Window, WindowScore,
};
use storage::{ExportedRound, ExportedScore};

use crate::game::Game;

/// A scored round and its scores.
struct Scored {
    round: ExportedRound,
    scores: Vec<ExportedScore>,
}

/// What is stored, and from it everything that a leaderboard shows.
pub struct Naive {
    /// In the order of resolution and round id.
    rounds: Vec<Scored>,
    joined: BTreeMap<ModelId, Timestamp>,
    weights: Weights,
    /// Scores by another count for nothing.
    rule: String,
}

impl Naive {
    pub async fn read(game: &Game) -> Self {
        let mut rounds = Vec::new();
        for round in game.rounds().await {
            if round.state == RoundState::Scored {
                let scores = game.store.export_scores(round.round_id).await.unwrap();
                rounds.push(Scored { round, scores });
            }
        }
        rounds.sort_by_key(|scored| (scored.round.resolves_at, scored.round.round_id));
        let models = game.store.models().await.unwrap();
        Naive {
            rounds,
            joined: models.into_iter().map(|model| (model.id, model.joined_at)).collect(),
            weights: game.settings.weights.clone(),
            rule: game.settings.stamp(),
        }
    }

    pub fn standings(&self, as_of: Timestamp) -> Standings {
        let anchor = self.rounds_in(Window::Anchor, as_of);
        let ids: BTreeSet<&ModelId> =
            anchor.iter().flat_map(|scored| &scored.scores).map(|score| &score.model_id).collect();
        Standings { as_of, models: ids.into_iter().map(|id| self.standing(id, as_of)).collect() }
    }

    /// The ids of the ranked models, best first.
    pub fn ranking(&self, as_of: Timestamp) -> Vec<ModelId> {
        let mut ranked: Vec<(usize, Reverse<u64>, Timestamp, ModelId)> = Vec::new();
        for model in self.standings(as_of).models {
            let windows = [model.windows.anchor, model.windows.steady, model.windows.recent];
            let full = windows.iter().position(|window| window.full && window.score.is_some());
            let (group, score) = match full {
                Some(group) => (group, windows[group].score),
                None => (3, model.windows.recent.score),
            };
            let Some(score) = score else { continue };
            let first = model.first_scored_at.unwrap_or(Timestamp::MAX_UTC);
            // Numbers of at least zero are in the order of their bits.
            ranked.push((group, Reverse(score.to_bits()), first, model.model_id));
        }
        ranked.sort();
        ranked.into_iter().map(|(.., id)| id).collect()
    }

    /// The sums of each hour that ends after the hour of `since`, as lines in order.
    pub fn hours(&self, since: Timestamp) -> Vec<String> {
        let since = since.ceil_to(Span::HOUR);
        let mut hours: BTreeMap<(Timestamp, Parameter, ModelId), Sums> = BTreeMap::new();
        for scored in self.rounds.iter().filter(|scored| scored.round.rule.as_ref() == Some(&self.rule)) {
            let end = scored.round.resolves_at.ceil_to(Span::HOUR);
            for score in &scored.scores {
                let sums = hours.entry((end, parameter(&scored.round), score.model_id.clone())).or_default();
                sums.relative += score.relative;
                sums.raw += score.raw.unwrap_or(0.0);
                sums.predictions += 1;
                sums.valid += u32::from(score.raw.is_some());
            }
        }
        let lines = hours.into_iter().filter(|((end, ..), _)| *end > since);
        let mut lines: Vec<String> = lines
            .map(|((end, parameter, model), sums)| format!("{:?}", (end, parameter, model, sums)))
            .collect();
        lines.sort();
        lines
    }

    fn standing(&self, id: &ModelId, as_of: Timestamp) -> ModelStanding {
        let first_scored_at = self.first_scored_at(id).filter(|first| *first <= as_of);
        let is_full = |window: Window| first_scored_at.is_some_and(|first| first + window.span() <= as_of);
        let all: BTreeSet<Parameter> = self.rounds.iter().map(|scored| parameter(&scored.round)).collect();
        let of = |parameter: Parameter| ParameterStanding {
            windows: PerWindow::from_fn(|window| WindowScore {
                full: is_full(window),
                ..self.mean(id, &parameter, window, as_of)
            }),
            parameter,
        };
        let parameters: Vec<ParameterStanding> =
            all.into_iter().map(of).filter(|standing| standing.windows.anchor.predictions > 0).collect();
        let windows = PerWindow::from_fn(|window| WindowScore {
            full: is_full(window),
            ..self.over_parameters(&parameters, window)
        });
        ModelStanding { model_id: id.clone(), first_scored_at, windows, parameters }
    }

    fn first_scored_at(&self, id: &ModelId) -> Option<Timestamp> {
        let joined_at = *self.joined.get(id)?;
        let since = self.rounds.iter().filter(|scored| scored.round.performed_at >= joined_at);
        let mut with = since.filter(|scored| scored.scores.iter().any(|score| score.model_id == *id));
        with.next().map(|scored| scored.round.resolves_at)
    }

    fn rounds_in(&self, window: Window, as_of: Timestamp) -> Vec<&Scored> {
        let is_in = |resolved: Timestamp| resolved > as_of - window.span() && resolved <= as_of;
        let counts = |round: &ExportedRound| round.rule.as_ref() == Some(&self.rule);
        self.rounds.iter().filter(|scored| counts(&scored.round) && is_in(scored.round.resolves_at)).collect()
    }

    /// A model's means for one parameter; sums are taken hour by hour, from the newest to the oldest, and what is
    /// not over yet last.
    fn mean(&self, id: &ModelId, of: &Parameter, window: Window, as_of: Timestamp) -> WindowScore {
        let mut hours: BTreeMap<Timestamp, (f64, f64)> = BTreeMap::new();
        let (mut predictions, mut valid) = (0, 0);
        for scored in self.rounds_in(window, as_of) {
            if parameter(&scored.round) != *of {
                continue;
            }
            for score in scored.scores.iter().filter(|score| score.model_id == *id) {
                let sums = hours.entry(scored.round.resolves_at.ceil_to(Span::HOUR)).or_default();
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
        let has_number = valid > 0;
        WindowScore {
            score: has_number.then(|| relative / predictions as f64),
            raw: has_number.then(|| raw / valid as f64),
            predictions,
            valid,
            full: false,
        }
    }

    fn over_parameters(&self, parameters: &[ParameterStanding], window: Window) -> WindowScore {
        let asked: Vec<(f64, &WindowScore)> = parameters
            .iter()
            .map(|standing| (self.weights.of(&standing.parameter), standing.windows.get(window)))
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
}

fn parameter(round: &ExportedRound) -> Parameter {
    Parameter { asset: round.asset.clone(), horizon: round.horizon }
}
