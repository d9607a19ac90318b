//! Rolling means of scores.
//!
//! Sums are taken in one stated order, so that threads, restarts and databases agree to the last bit: an hour's in the
//! order of resolution and round id, a window's over its hours in order, an hour that lies only partly in the window
//! from its rows. An hour's sums are recomputed from its rows when one changes, never added to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::round::words;
use crate::{Asset, ModelId, RoundId, Span, Timestamp, TimestampExt};

/// How far back a rolling mean looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// 24 hours.
    #[default]
    Recent,
    /// 72 hours.
    Steady,
    /// 168 hours.
    Anchor,
}
words!(Window, "window", { Recent => "recent", Steady => "steady", Anchor => "anchor" });

impl Window {
    /// Its length.
    pub const fn span(self) -> Span {
        match self {
            Window::Recent => Span::hours(24),
            Window::Steady => Span::hours(72),
            Window::Anchor => Span::hours(168),
        }
    }
}

/// One value for each window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PerWindow<T> {
    /// For the last 24 hours.
    pub recent: T,
    /// For the last 72 hours.
    pub steady: T,
    /// For the last 168 hours.
    pub anchor: T,
}

impl<T> PerWindow<T> {
    /// One value from each window.
    pub fn from_fn(mut value: impl FnMut(Window) -> T) -> Self {
        PerWindow {
            recent: value(Window::Recent),
            steady: value(Window::Steady),
            anchor: value(Window::Anchor),
        }
    }

    /// The value for one window.
    pub fn get(&self, window: Window) -> &T {
        match window {
            Window::Recent => &self.recent,
            Window::Steady => &self.steady,
            Window::Anchor => &self.anchor,
        }
    }
}

/// A model's means over one window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WindowScore {
    /// Mean relative score, 0 to 1, higher is better; `None` without a valid answer in the window.
    pub score: Option<f64>,
    /// Mean raw score over the valid answers, lower is better; `None` without one.
    pub raw: Option<f64>,
    /// Scored predictions of any status.
    pub predictions: u64,
    /// Those with a valid answer.
    pub valid: u64,
    /// False while the model's first scored round is younger than the window: the number is provisional.
    pub full: bool,
}

/// What windows are kept for: one asset and horizon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Parameter {
    /// What is forecast.
    pub asset: Asset,
    /// How far ahead.
    pub horizon: Span,
}

/// A model's means for one asset and horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterStanding {
    /// Which.
    #[serde(flatten)]
    pub parameter: Parameter,
    /// The means.
    pub windows: PerWindow<WindowScore>,
}

/// A model's means over all parameters, and for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelStanding {
    /// Who.
    pub model_id: ModelId,
    /// When its first scored round since it joined, or came back, resolved; `None` while there is none.
    pub first_scored_at: Option<Timestamp>,
    /// The weighted means over the parameters.
    pub windows: PerWindow<WindowScore>,
    /// In the order of asset and horizon; those with a prediction in the anchor window.
    pub parameters: Vec<ParameterStanding>,
}

impl ModelStanding {
    /// The means over the assets of one horizon, weighted by asset alone; `full` as over all parameters.
    pub fn over_assets(&self, horizon: Span, weights: &Weights) -> PerWindow<WindowScore> {
        PerWindow::from_fn(|window| {
            let parameters = self.parameters.iter().filter(|s| s.parameter.horizon == horizon);
            let scores = parameters.map(|s| (weights.of_asset(&s.parameter.asset), s.windows.get(window)));
            WindowScore { full: self.windows.get(window).full, ..mean_over_parameters(scores) }
        })
    }
}

/// Every model's means as of one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standings {
    /// Rounds resolved up to here count.
    pub as_of: Timestamp,
    /// In the order of model ids.
    pub models: Vec<ModelStanding>,
}

/// How much each asset and horizon counts in the mean over parameters; 1 unless set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Weights {
    /// By asset.
    #[serde(default)]
    pub assets: BTreeMap<Asset, f64>,
    /// By horizon.
    #[serde(default)]
    pub horizons: BTreeMap<Span, f64>,
}

impl Weights {
    /// The product of the asset's and the horizon's weight.
    pub fn of(&self, parameter: &Parameter) -> f64 {
        let horizon = self.horizons.get(&parameter.horizon).copied().unwrap_or(1.0);
        self.of_asset(&parameter.asset) * horizon
    }

    /// The asset's weight.
    pub fn of_asset(&self, asset: &Asset) -> f64 {
        self.assets.get(asset).copied().unwrap_or(1.0)
    }
}

/// One model's score in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPrediction {
    /// Who.
    pub model_id: ModelId,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
}

/// A scored round, as windows need it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRound {
    /// Which.
    pub id: RoundId,
    /// Its asset and horizon.
    pub parameter: Parameter,
    /// When it was asked.
    pub performed_at: Timestamp,
    /// When it resolved.
    pub resolves_at: Timestamp,
    /// The whole field.
    pub scores: Vec<ScoredPrediction>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    relative: f64,
    raw: f64,
    predictions: u64,
    valid: u64,
}

impl Sums {
    fn add_row(&mut self, row: &Row) {
        self.relative += row.relative;
        self.predictions += 1;
        if let Some(raw) = row.raw {
            self.raw += raw;
            self.valid += 1;
        }
    }

    fn add(&mut self, hour: &Sums) {
        self.relative += hour.relative;
        self.raw += hour.raw;
        self.predictions += hour.predictions;
        self.valid += hour.valid;
    }

    fn score(&self, full: bool) -> WindowScore {
        WindowScore {
            score: (self.valid > 0).then(|| self.relative / self.predictions as f64),
            raw: (self.valid > 0).then(|| self.raw / self.valid as f64),
            predictions: self.predictions,
            valid: self.valid,
            full,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Row {
    model: usize,
    relative: f64,
    raw: Option<f64>,
}

type RoundKey = (Timestamp, RoundId);

/// The rounds that resolved in the hour up to and including its key.
#[derive(Debug, Default)]
struct Hour {
    rounds: BTreeMap<RoundKey, Vec<Row>>,
    /// By model; empty until asked for after a change.
    sums: Vec<Sums>,
}

impl Hour {
    fn sum_rows(&self, after: Timestamp, up_to: Timestamp, models: usize) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); models];
        for ((resolved, _), rows) in &self.rounds {
            if *resolved > after && *resolved <= up_to {
                rows.iter().for_each(|row| sums[row.model].add_row(row));
            }
        }
        sums
    }
}

#[derive(Debug, Clone, Copy)]
struct Member {
    joined_at: Timestamp,
    first_scored_at: Option<Timestamp>,
}

/// The scored rounds of the longest window, kept as hourly roll-ups from which windows are computed.
#[derive(Debug, Default)]
pub struct ScoreHistory {
    model_ids: Vec<ModelId>,
    model_index: BTreeMap<ModelId, usize>,
    members: BTreeMap<usize, Member>,
    hours: BTreeMap<Parameter, BTreeMap<Timestamp, Hour>>,
    places: BTreeMap<RoundId, (Parameter, Timestamp, Timestamp)>,
}

impl ScoreHistory {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says when a model joined, or came back: it starts anew then.
    pub fn set_member(&mut self, id: &ModelId, joined_at: Timestamp) {
        let index = self.index_of(id);
        if self.members.get(&index).is_none_or(|member| member.joined_at != joined_at) {
            let first_scored_at = self.first_held(index, joined_at);
            self.members.insert(index, Member { joined_at, first_scored_at });
        }
    }

    /// Says, from storage, when a member's first scored round since it joined resolved: the history may not reach so far.
    pub fn note_first_scored(&mut self, id: &ModelId, first_scored_at: Timestamp) {
        let index = self.index_of(id);
        if let Some(member) = self.members.get_mut(&index) {
            member.first_scored_at = earlier(member.first_scored_at, Some(first_scored_at));
        }
    }

    /// Takes a scored round, in place of an earlier version of it.
    pub fn insert(&mut self, round: ScoredRound) {
        self.remove(round.id);
        let rows: Vec<Row> = round
            .scores
            .iter()
            .map(|score| Row {
                model: self.index_of(&score.model_id),
                relative: score.relative,
                raw: score.raw,
            })
            .collect();
        for row in &rows {
            if let Some(member) = self.members.get_mut(&row.model)
                && round.performed_at >= member.joined_at
            {
                member.first_scored_at = earlier(member.first_scored_at, Some(round.resolves_at));
            }
        }
        self.places.insert(round.id, (round.parameter.clone(), round.resolves_at, round.performed_at));
        let hour = self.hour_mut(round.parameter, round.resolves_at);
        hour.rounds.insert((round.resolves_at, round.id), rows);
        hour.sums.clear();
    }

    /// Takes a round out; returns when it resolved, if it was held.
    pub fn remove(&mut self, id: RoundId) -> Option<Timestamp> {
        let (parameter, resolved, _) = self.places.remove(&id)?;
        let hour = self.hour_mut(parameter, resolved);
        hour.rounds.remove(&(resolved, id));
        hour.sums.clear();
        Some(resolved)
    }

    /// Drops the rounds that no window as of `as_of` or later can hold.
    pub fn forget_before(&mut self, as_of: Timestamp) {
        let oldest = as_of - Window::Anchor.span();
        for hours in self.hours.values_mut() {
            while let Some(first) = hours.first_entry().filter(|entry| *entry.key() <= oldest) {
                for (_, id) in first.remove().rounds.into_keys() {
                    self.places.remove(&id);
                }
            }
        }
    }

    /// Every model's means as of `as_of`.
    pub fn standings(&mut self, as_of: Timestamp, weights: &Weights) -> Standings {
        self.refresh_sums();
        let parameters: Vec<(&Parameter, PerWindow<Vec<Sums>>)> = self
            .hours
            .iter()
            .map(|(parameter, hours)| {
                (parameter, PerWindow::from_fn(|window| self.sum_window(hours, window, as_of)))
            })
            .collect();
        let mut models: Vec<ModelStanding> = (0..self.model_ids.len())
            .map(|model| self.model_standing(model, &parameters, as_of, weights))
            .filter(|standing| standing.windows.anchor.predictions > 0)
            .collect();
        models.sort_by(|a, b| a.model_id.cmp(&b.model_id));
        Standings { as_of, models }
    }

    fn model_standing(
        &self,
        model: usize,
        parameters: &[(&Parameter, PerWindow<Vec<Sums>>)],
        as_of: Timestamp,
        weights: &Weights,
    ) -> ModelStanding {
        let first_scored_at = self.members.get(&model).and_then(|member| member.first_scored_at);
        let first_scored_at = first_scored_at.filter(|first| *first <= as_of);
        let is_full = |window: Window| first_scored_at.is_some_and(|first| first <= as_of - window.span());
        let standings: Vec<ParameterStanding> = parameters
            .iter()
            .map(|(parameter, sums)| ParameterStanding {
                parameter: (*parameter).clone(),
                windows: PerWindow::from_fn(|window| sums.get(window)[model].score(is_full(window))),
            })
            .filter(|standing| standing.windows.anchor.predictions > 0)
            .collect();
        let windows = PerWindow::from_fn(|window| {
            let scores = standings.iter().map(|s| (weights.of(&s.parameter), s.windows.get(window)));
            WindowScore { full: is_full(window), ..mean_over_parameters(scores) }
        });
        ModelStanding {
            model_id: self.model_ids[model].clone(),
            first_scored_at,
            windows,
            parameters: standings,
        }
    }

    fn sum_window(&self, hours: &BTreeMap<Timestamp, Hour>, window: Window, as_of: Timestamp) -> Vec<Sums> {
        let after = as_of - window.span();
        let models = self.model_ids.len();
        let mut total = vec![Sums::default(); models];
        let newest = as_of.ceil_to(Span::HOUR);
        for (end, hour) in hours.range(after..=newest).filter(|(end, _)| **end > after) {
            let is_whole = *end - Span::HOUR >= after && *end <= as_of;
            let partial = (!is_whole).then(|| hour.sum_rows(after, as_of, models));
            let sums = partial.as_ref().unwrap_or(&hour.sums);
            total.iter_mut().zip(sums).for_each(|(total, hour)| total.add(hour));
        }
        total
    }

    fn refresh_sums(&mut self) {
        let models = self.model_ids.len();
        for hour in self.hours.values_mut().flat_map(BTreeMap::values_mut) {
            if hour.sums.is_empty() {
                hour.sums = hour.sum_rows(Timestamp::MIN_UTC, Timestamp::MAX_UTC, models);
            }
            hour.sums.resize(models, Sums::default());
        }
    }

    fn first_held(&self, model: usize, joined_at: Timestamp) -> Option<Timestamp> {
        let rounds = self.hours.values().flat_map(BTreeMap::values).flat_map(|hour| &hour.rounds);
        rounds
            .filter(|(_, rows)| rows.iter().any(|row| row.model == model))
            .filter(|((_, id), _)| {
                self.places.get(id).is_some_and(|(_, _, performed)| *performed >= joined_at)
            })
            .map(|((resolved, _), _)| *resolved)
            .min()
    }

    fn hour_mut(&mut self, parameter: Parameter, resolved: Timestamp) -> &mut Hour {
        self.hours.entry(parameter).or_default().entry(resolved.ceil_to(Span::HOUR)).or_default()
    }

    fn index_of(&mut self, id: &ModelId) -> usize {
        if let Some(index) = self.model_index.get(id) {
            return *index;
        }
        self.model_ids.push(id.clone());
        self.model_index.insert(id.clone(), self.model_ids.len() - 1);
        self.model_ids.len() - 1
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The weighted mean over the parameters in which the model was in the field of at least one round. `full` is left false.
pub(crate) fn mean_over_parameters<'a>(scores: impl Iterator<Item = (f64, &'a WindowScore)>) -> WindowScore {
    let mut mean = WindowScore::default();
    let (mut score, mut score_weight, mut raw, mut raw_weight) = (0.0, 0.0, 0.0, 0.0);
    for (weight, window) in scores.filter(|(_, window)| window.predictions > 0) {
        mean.predictions += window.predictions;
        mean.valid += window.valid;
        // A parameter without a valid answer counts 0, as each of its predictions does.
        score += weight * window.score.unwrap_or(0.0);
        score_weight += weight;
        if let Some(value) = window.raw {
            raw += weight * value;
            raw_weight += weight;
        }
    }
    mean.score = (mean.valid > 0 && score_weight > 0.0).then(|| score / score_weight);
    mean.raw = (raw_weight > 0.0).then(|| raw / raw_weight);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CrunchId;

    fn id(name: &str) -> ModelId {
        ModelId::new(name).unwrap()
    }

    fn start() -> Timestamp {
        "2025-05-20T00:00:00Z".parse().unwrap()
    }

    /// A round of BTC 1h that resolved at `resolves_at`.
    fn round(resolves_at: Timestamp, scores: &[(&str, f64, Option<f64>)]) -> ScoredRound {
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
        let mut history = ScoreHistory::new();
        history.set_member(&id("a"), start());
        let as_of = start() + Span::days(2) + Span::minutes(30);
        history.insert(round(as_of - Span::hours(24), &[("a", 0.0, Some(9.0))])); // exactly T - W: outside
        history.insert(round(as_of - Span::hours(24) + Span::minutes(1), &[("a", 0.25, Some(1.0))]));
        history.insert(round(as_of - Span::minutes(1), &[("a", 0.0, None)])); // a miss counts 0
        history.insert(round(as_of, &[("a", 0.5, Some(3.0))]));
        history.insert(round(as_of + Span::minutes(1), &[("a", 1.0, Some(9.0))])); // later than T
        let standing = history.standings(as_of, &Weights::default()).models.remove(0);
        let recent = standing.windows.recent;
        assert_eq!((recent.score, recent.raw), (Some(0.25), Some(2.0)));
        assert_eq!((recent.predictions, recent.valid), (3, 2));
        assert_eq!(standing.windows.steady.predictions, 4);
    }

    #[test]
    fn a_window_is_full_once_the_first_scored_round_is_as_old_as_it() {
        let mut history = ScoreHistory::new();
        history.set_member(&id("a"), start());
        let first = start() + Span::hours(1);
        history.insert(round(first, &[("a", 1.0, Some(1.0))]));
        let full_at = |history: &mut ScoreHistory, as_of| {
            let standing = history.standings(as_of, &Weights::default()).models.remove(0);
            (standing.windows.recent.full, standing.windows.anchor.full)
        };
        history.insert(round(first + Span::hours(100), &[("a", 1.0, Some(1.0))]));
        assert_eq!(full_at(&mut history, first + Span::hours(24) - Span::minutes(1)), (false, false));
        assert_eq!(full_at(&mut history, first + Span::hours(24)), (true, false));
        history.forget_before(first + Span::hours(169));
        assert_eq!(full_at(&mut history, first + Span::hours(169)), (true, true));
    }

    #[test]
    fn a_model_that_comes_back_starts_anew() {
        let mut history = ScoreHistory::new();
        history.set_member(&id("a"), start());
        history.insert(round(start() + Span::hours(1), &[("a", 1.0, Some(1.0))]));
        let back = start() + Span::days(8);
        history.insert(round(back + Span::hours(1), &[("a", 1.0, Some(1.0))]));
        history.set_member(&id("a"), back);
        let standing = history.standings(back + Span::hours(2), &Weights::default()).models.remove(0);
        assert_eq!(standing.first_scored_at, Some(back + Span::hours(1)));
        assert!(!standing.windows.recent.full);
    }

    #[test]
    fn standings_of_the_past_know_no_later_beginning() {
        let mut history = ScoreHistory::new();
        let back = start() + Span::hours(5);
        history.set_member(&id("a"), back);
        history.insert(round(start() + Span::hours(1), &[("a", 1.0, Some(1.0))]));
        history.insert(round(back + Span::hours(1), &[("a", 1.0, Some(1.0))]));
        let first_scored_at = |history: &mut ScoreHistory, as_of| {
            history.standings(as_of, &Weights::default()).models.remove(0).first_scored_at
        };
        assert_eq!(first_scored_at(&mut history, back), None);
        assert_eq!(first_scored_at(&mut history, back + Span::hours(1)), Some(back + Span::hours(1)));
    }

    #[test]
    fn a_dead_model_has_no_number_and_a_score_of_zero_is_one() {
        let mut history = ScoreHistory::new();
        let as_of = start() + Span::hours(2);
        history.insert(round(as_of, &[("dead", 0.0, None), ("poor", 0.0, Some(5.0))]));
        let standings = history.standings(as_of, &Weights::default());
        let score = |i: usize| standings.models[i].windows.recent.score;
        assert_eq!((score(0), score(1)), (None, Some(0.0)));
    }

    #[test]
    fn a_replaced_round_counts_once_and_roll_ups_equal_rows() {
        let (mut rolled, mut fresh) = (ScoreHistory::new(), ScoreHistory::new());
        let as_of = start() + Span::hours(30) + Span::minutes(17);
        for minute in 0..1800u32 {
            let value = f64::from(minute * 7919 % 1000) / 997.0;
            let resolved = start() + Span::minutes(minute);
            rolled.insert(round(resolved, &[("a", 0.123, Some(4.0))]));
            if minute % 100 == 0 {
                rolled.standings(as_of, &Weights::default());
            }
            rolled.insert(round(resolved, &[("a", value, Some(value))]));
        }
        for minute in (0..1800u32).rev() {
            let value = f64::from(minute * 7919 % 1000) / 997.0;
            fresh.insert(round(start() + Span::minutes(minute), &[("a", value, Some(value))]));
        }
        let weights = Weights::default();
        assert_eq!(rolled.standings(as_of, &weights), fresh.standings(as_of, &weights));
        assert_eq!(fresh.standings(as_of, &weights).models[0].windows.recent.predictions, 1422);
    }

    #[test]
    fn weights_count_over_parameters() {
        let mut history = ScoreHistory::new();
        let as_of = start() + Span::hours(5);
        history.insert(round(as_of, &[("a", 1.0, Some(1.0))]));
        let mut other = round(as_of - Span::minutes(3), &[("a", 0.0, Some(5.0))]);
        other.parameter.asset = Asset::new("ETH").unwrap();
        history.insert(other);
        let weights = Weights {
            assets: [(Asset::new("BTC").unwrap(), 3.0)].into_iter().collect(),
            horizons: BTreeMap::new(),
        };
        let standing = history.standings(as_of, &weights).models.remove(0);
        assert_eq!((standing.windows.recent.score, standing.windows.recent.raw), (Some(0.75), Some(2.0)));
    }

    #[test]
    fn within_one_horizon_only_the_assets_weights_count() {
        let mut history = ScoreHistory::new();
        let as_of = start() + Span::hours(5);
        history.insert(round(as_of, &[("a", 1.0, Some(1.0))]));
        let mut other = round(as_of - Span::minutes(3), &[("a", 0.0, Some(5.0))]);
        other.parameter.asset = Asset::new("ETH").unwrap();
        history.insert(other);
        let weights = Weights {
            assets: [(Asset::new("BTC").unwrap(), 3.0)].into_iter().collect(),
            horizons: [(Span::HOUR, 0.0)].into_iter().collect(),
        };
        let standing = history.standings(as_of, &weights).models.remove(0);
        let hour = standing.over_assets(Span::HOUR, &weights).anchor;
        assert_eq!((hour.score, hour.raw, hour.predictions), (Some(0.75), Some(2.0), 2));
        let day = standing.over_assets(Span::hours(24), &weights).anchor;
        assert_eq!((day.score, day.raw, day.predictions), (None, None, 0));
    }
}
