//! Scores as roll-ups, and the windows computed from them.
//!
//! Sums are taken in one stated order, so that threads, restarts and databases agree to the last bit: an hour's in the
//! order of resolution and round id; a window's over its hours from the newest to the oldest, the hour that is not over yet
//! after them; an hour that lies only partly in the window from its rounds. An hour's sums are recomputed from its rounds when
//! one changes, never added to.
//!
//! In this order the windows of all instants between two full hours begin with the same sum, and the longer window with the
//! sum of the shorter: it is taken once an hour and kept (`whole_hours`). To it come the hour in which the window begins and
//! the one that is not over. When one of the hours in it changes, it is taken anew.
//!
//! What is held in memory is a copy of what a database keeps: the roll-ups of all hours, and the rounds of a few, those
//! that a window holds in part and those in which something has changed.

mod sums;
#[cfg(test)]
mod tests;
mod whole_hours;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::window::mean_over_parameters;
use crate::{
    ModelId, ModelStanding, Parameter, ParameterStanding, PerWindow, RoundId, ScoredRound, Span, Standings,
    Timestamp, TimestampExt, Weights, Window, WindowScore, WindowSpans,
};
pub use sums::{ModelNumber, RollUp, Sums};

use sums::Totals;
use whole_hours::WholeHours;

/// A model as roll-ups know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledModel {
    /// Who.
    pub id: ModelId,
    /// When it joined, or came back; `None` while only scores tell of it.
    pub joined_at: Option<Timestamp>,
    /// When its first scored round since then resolved.
    pub first_scored_at: Option<Timestamp>,
}

/// The roll-up of one parameter over the hour up to and including `end`.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledHour {
    /// A full hour.
    pub end: Timestamp,
    /// Its asset and horizon.
    pub parameter: Parameter,
    /// Over the rounds that resolved in it.
    pub sums: RollUp,
}

/// The scores of one round, in the form of a roll-up.
#[derive(Debug, Clone, PartialEq)]
pub struct RolledRound {
    /// Which.
    pub id: RoundId,
    /// Its asset and horizon.
    pub parameter: Parameter,
    /// When it resolved.
    pub resolves_at: Timestamp,
    /// The whole field.
    pub sums: RollUp,
}

/// What has changed since it was last saved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RollUpChanges {
    /// New ones and those whose beginning changed, by number.
    pub models: BTreeMap<ModelNumber, RolledModel>,
    /// New rounds and those with other scores than before; `None` for those that have none any more.
    pub rounds: BTreeMap<RoundId, Option<RolledRound>>,
    /// Hours recomputed from their rounds, by their end; empty for those in which nobody was asked any more.
    pub hours: BTreeMap<(Timestamp, Parameter), RollUp>,
}

impl RollUpChanges {
    /// True when there is nothing to save.
    pub fn is_empty(&self) -> bool {
        *self == RollUpChanges::default()
    }
}

/// In this order the scores of an hour are added up.
type RoundKey = (Timestamp, RoundId);

/// The roll-ups of one parameter, by the end of the hour.
type Hours = BTreeMap<Timestamp, RollUp>;

/// The roll-ups of the longest window and of some time before it.
#[derive(Debug)]
pub struct ScoreHistory {
    spans: WindowSpans,
    /// Rounds that resolved up to here, a full hour, are not kept.
    after: Timestamp,
    /// By number.
    models: Vec<RolledModel>,
    numbers: HashMap<ModelId, ModelNumber>,
    /// By the end of the hour.
    hours: BTreeMap<Parameter, Hours>,
    /// The sums that windows of the same hour share, as far as they have been taken and no hour in them has changed since.
    whole_hours: HashMap<Parameter, WholeHours>,
    /// All rounds of some hours, by the end of the hour.
    rounds: BTreeMap<Timestamp, BTreeMap<RoundKey, RolledRound>>,
    /// Hours with roll-ups of before.
    stale: BTreeSet<(Parameter, Timestamp)>,
    /// Models whose beginning only storage can tell.
    unsure: BTreeSet<ModelNumber>,
    unsaved: RollUpChanges,
}

impl ScoreHistory {
    /// An empty history of what resolves after `after`, a full hour.
    pub fn new(after: Timestamp) -> Self {
        Self::restore(after, Vec::new(), Vec::new())
    }

    /// What was saved: the models by number, and the hours that end after `after`. Every number in them is a model's.
    pub fn restore(after: Timestamp, models: Vec<RolledModel>, rolled: Vec<RolledHour>) -> Self {
        let numbers =
            models.iter().zip((0..).map(ModelNumber)).map(|(model, n)| (model.id.clone(), n)).collect();
        let mut hours: BTreeMap<Parameter, Hours> = BTreeMap::new();
        for RolledHour { end, parameter, sums } in rolled {
            hours.entry(parameter).or_default().insert(end, sums);
        }
        ScoreHistory {
            spans: WindowSpans::default(),
            after,
            models,
            numbers,
            hours,
            whole_hours: HashMap::new(),
            rounds: BTreeMap::new(),
            stale: BTreeSet::new(),
            unsure: BTreeSet::new(),
            unsaved: RollUpChanges::default(),
        }
    }

    /// Has windows of other lengths than those of competitions.
    pub fn with_windows(mut self, spans: WindowSpans) -> Self {
        self.spans = spans;
        self
    }

    /// Rounds that resolved up to here are not kept.
    pub fn after(&self) -> Timestamp {
        self.after
    }

    /// Says when a model joined, or came back: it starts anew then.
    pub fn set_member(&mut self, id: &ModelId, joined_at: Timestamp) {
        let number = self.number_of(id);
        let model = &mut self.models[number.index()];
        if model.joined_at != Some(joined_at) {
            (model.joined_at, model.first_scored_at) = (Some(joined_at), None);
            self.unsure.insert(number);
            self.note_model(number);
        }
    }

    /// The models whose first scored round since they joined is to be looked up in storage: the history may not reach so
    /// far, or that round lost its scores.
    pub fn unsure_of(&self) -> Vec<ModelId> {
        self.unsure.iter().map(|number| self.models[number.index()].id.clone()).collect()
    }

    /// Says, from storage, when the first scored rounds of the models resolved that it was unsure of. Who is not among them
    /// has none.
    pub fn set_first_scored(&mut self, first: &[(ModelId, Timestamp)]) {
        for number in std::mem::take(&mut self.unsure) {
            self.models[number.index()].first_scored_at = None;
            self.note_model(number);
        }
        for (id, first_scored_at) in first {
            let number = self.number_of(id);
            self.models[number.index()].first_scored_at = Some(*first_scored_at);
            self.note_model(number);
        }
    }

    /// The ends of those hours in which these instants lie whose rounds must be held before one of them changes.
    pub fn hours_to_hold(&self, instants: impl IntoIterator<Item = Timestamp>) -> Vec<Timestamp> {
        let ends: BTreeSet<Timestamp> = instants.into_iter().map(hour_of).collect();
        let is_rolled_up = |end: &Timestamp| self.hours.values().any(|hours| hours.contains_key(end));
        ends.into_iter().filter(|end| !self.rounds.contains_key(end) && is_rolled_up(end)).collect()
    }

    /// The same for the windows as of `as_of`: they hold some hours only in part.
    pub fn hours_to_hold_for(&self, as_of: Timestamp) -> Vec<Timestamp> {
        if as_of == hour_of(as_of) {
            return Vec::new();
        }
        self.hours_to_hold(self.edges(as_of))
    }

    /// Takes all rounds of these hours, as they were saved.
    pub fn hold(&mut self, ends: &[Timestamp], rounds: Vec<RolledRound>) {
        for end in ends {
            self.rounds.entry(*end).or_default();
        }
        for round in rounds {
            let hour = self.rounds.entry(hour_of(round.resolves_at)).or_default();
            hour.insert((round.resolves_at, round.id), round);
        }
    }

    /// Takes a scored round, in place of an earlier version of it. The rounds of its hour must be held.
    pub fn insert(&mut self, round: &ScoredRound) {
        let entries = round
            .scores
            .iter()
            .map(|score| (self.number_of(&score.model_id), Sums::of_score(score.relative, score.raw)));
        let sums = RollUp::new(entries.collect());
        self.note_beginnings(round, &sums);
        self.doubt(round.resolves_at, &sums);
        if round.resolves_at <= self.after {
            return;
        }
        let rolled = RolledRound {
            id: round.id,
            parameter: round.parameter.clone(),
            resolves_at: round.resolves_at,
            sums,
        };
        let end = hour_of(round.resolves_at);
        self.stale.insert((round.parameter.clone(), end));
        self.unsaved.rounds.insert(round.id, Some(rolled.clone()));
        self.rounds.entry(end).or_default().insert((round.resolves_at, round.id), rolled);
    }

    /// Takes a round out that resolved then; true if it was in the history. The rounds of its hour must be held.
    pub fn remove(&mut self, id: RoundId, resolves_at: Timestamp) -> bool {
        self.doubt(resolves_at, &RollUp::default());
        let end = hour_of(resolves_at);
        let Some(round) = self.rounds.get_mut(&end).and_then(|hour| hour.remove(&(resolves_at, id))) else {
            return false;
        };
        self.stale.insert((round.parameter, end));
        self.unsaved.rounds.insert(id, None);
        true
    }

    /// Drops the hours that no window as of `as_of`, a full hour, or later can hold.
    pub fn forget_before(&mut self, as_of: Timestamp) {
        self.after = self.after.max(as_of - self.spans.of(Window::Anchor));
        for hours in self.hours.values_mut() {
            *hours = hours.split_off(&(self.after + Span::HOUR));
        }
        self.hours.retain(|_, hours| !hours.is_empty());
        self.whole_hours.retain(|_, whole| whole.up_to() >= as_of);
        self.rounds = self.rounds.split_off(&(self.after + Span::HOUR));
    }

    /// Drops the rounds that windows as of `as_of`, and soon after it, need not hold. There must be nothing to save.
    pub fn let_go(&mut self, as_of: Timestamp) {
        let edges: Vec<Timestamp> = self.edges(as_of).map(hour_of).collect();
        self.rounds.retain(|end, _| edges.contains(end) || *end + Span::HOUR >= as_of);
    }

    /// What has changed since the last time.
    pub fn take_changes(&mut self) -> RollUpChanges {
        self.roll_up();
        std::mem::take(&mut self.unsaved)
    }

    /// Every model's means as of `as_of`. The rounds of [`Self::hours_to_hold_for`] must be held.
    pub fn standings(&mut self, as_of: Timestamp, weights: &Weights) -> Standings {
        self.roll_up();
        debug_assert!(
            self.hours_to_hold_for(as_of).is_empty(),
            "rounds of hours that are partly in a window"
        );
        self.add_up_whole_hours(as_of.floor_to(Span::HOUR));
        let totals: Vec<(&Parameter, PerWindow<Totals>)> =
            self.hours.keys().map(|parameter| (parameter, self.totals(parameter, as_of))).collect();
        let mut models: Vec<ModelStanding> = (0..self.models.len())
            .map(|model| self.model_standing(model, &totals, as_of, weights))
            .filter(|standing| standing.windows.anchor.predictions > 0)
            .collect();
        models.sort_by(|a, b| a.model_id.cmp(&b.model_id));
        Standings { as_of, models }
    }

    fn model_standing(
        &self,
        model: usize,
        totals: &[(&Parameter, PerWindow<Totals>)],
        as_of: Timestamp,
        weights: &Weights,
    ) -> ModelStanding {
        let RolledModel { id, first_scored_at, .. } = &self.models[model];
        let first_scored_at = first_scored_at.filter(|first| *first <= as_of);
        let is_full =
            |window: Window| first_scored_at.is_some_and(|first| first <= as_of - self.spans.of(window));
        let standings: Vec<ParameterStanding> = totals
            .iter()
            .filter(|(_, totals)| totals.anchor.of(model).predictions > 0)
            .map(|(parameter, totals)| ParameterStanding {
                parameter: (*parameter).clone(),
                windows: PerWindow::from_fn(|window| score(totals.get(window).of(model), is_full(window))),
            })
            .collect();
        let windows = PerWindow::from_fn(|window| {
            let scores = standings.iter().map(|s| (weights.of(&s.parameter), s.windows.get(window)));
            WindowScore { full: is_full(window), ..mean_over_parameters(scores) }
        });
        ModelStanding { model_id: id.clone(), first_scored_at, windows, parameters: standings }
    }

    /// Takes the sums over whole hours up to `end`, a full hour, that are not held yet.
    fn add_up_whole_hours(&mut self, end: Timestamp) {
        for (parameter, hours) in &self.hours {
            if self.whole_hours.get(parameter).is_none_or(|whole| whole.up_to() != end) {
                let whole = WholeHours::add_up(hours, end, self.spans, self.models.len());
                self.whole_hours.insert(parameter.clone(), whole);
            }
        }
    }

    /// The sums over each window. Those over whole hours must be held.
    fn totals(&self, parameter: &Parameter, as_of: Timestamp) -> PerWindow<Totals> {
        let whole = &self.whole_hours[parameter];
        let not_over = self.sum_rounds(parameter, whole.up_to() + Span::HOUR, whole.up_to(), as_of);
        PerWindow::from_fn(|window| {
            let mut total = whole.total(window).of_more_models(self.models.len());
            let first = whole.first_hour(window);
            match self.hours[parameter].get(&first) {
                // As of a full hour it is in the window as a whole.
                Some(hour) if as_of == whole.up_to() => total.add(hour),
                _ => total.add(&self.sum_rounds(parameter, first, as_of - self.spans.of(window), as_of)),
            }
            total.add(&not_over);
            total
        })
    }

    /// Recomputes the hours in which something has changed.
    fn roll_up(&mut self) {
        for (parameter, end) in std::mem::take(&mut self.stale) {
            let sums = self.sum_rounds(&parameter, end, Timestamp::MIN_UTC, Timestamp::MAX_UTC);
            let hours = self.hours.entry(parameter.clone()).or_default();
            if sums.is_empty() {
                hours.remove(&end)
            } else {
                hours.insert(end, sums.clone())
            };
            if self.whole_hours.get(&parameter).is_some_and(|whole| end <= whole.up_to()) {
                self.whole_hours.remove(&parameter);
            }
            self.unsaved.hours.insert((end, parameter), sums);
        }
    }

    /// Over the rounds of an hour that resolved after `after` up to `up_to`.
    fn sum_rounds(
        &self,
        parameter: &Parameter,
        end: Timestamp,
        after: Timestamp,
        up_to: Timestamp,
    ) -> RollUp {
        let mut totals = Totals::of_models(self.models.len());
        for round in self.rounds.get(&end).into_iter().flat_map(BTreeMap::values) {
            if round.parameter == *parameter && round.resolves_at > after && round.resolves_at <= up_to {
                totals.add(&round.sums);
            }
        }
        totals.into_roll_up()
    }

    /// Instants in the hours that begin or end a window, as of `as_of` and until the next full hour.
    fn edges(&self, as_of: Timestamp) -> impl Iterator<Item = Timestamp> + use<> {
        const NEXT: Span = Span::seconds(1);
        let spans = self.spans;
        let starts = Window::ALL.iter().map(move |window| as_of - spans.of(*window));
        starts.chain([as_of]).map(|edge| edge.floor_to(Span::HOUR) + NEXT)
    }

    /// A round may be a model's first one only if it was asked after the model joined.
    fn note_beginnings(&mut self, round: &ScoredRound, field: &RollUp) {
        for (number, _) in field.entries() {
            let model = &mut self.models[number.index()];
            if model.joined_at.is_none_or(|joined_at| round.performed_at < joined_at) {
                continue;
            }
            if model.first_scored_at.is_none_or(|first| first > round.resolves_at) {
                model.first_scored_at = Some(round.resolves_at);
                self.note_model(number);
            }
        }
    }

    /// Whoever began when a round resolved, and is not in its field now, may have begun in this very round as it was before.
    fn doubt(&mut self, resolved: Timestamp, field: &RollUp) {
        let began = (0..).map(ModelNumber).zip(&self.models);
        let began = began.filter(|(_, model)| model.first_scored_at == Some(resolved));
        self.unsure.extend(began.map(|(number, _)| number).filter(|number| !field.contains(*number)));
    }

    fn note_model(&mut self, number: ModelNumber) {
        self.unsaved.models.insert(number, self.models[number.index()].clone());
    }

    fn number_of(&mut self, id: &ModelId) -> ModelNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = ModelNumber(self.models.len() as u32);
        self.models.push(RolledModel { id: id.clone(), joined_at: None, first_scored_at: None });
        self.numbers.insert(id.clone(), number);
        self.note_model(number);
        number
    }
}

/// The end of the hour in which an instant lies; a full hour ends its own.
fn hour_of(instant: Timestamp) -> Timestamp {
    instant.ceil_to(Span::HOUR)
}

fn score(sums: &Sums, full: bool) -> WindowScore {
    WindowScore {
        score: (sums.valid > 0).then(|| sums.relative / f64::from(sums.predictions)),
        raw: (sums.valid > 0).then(|| sums.raw / f64::from(sums.valid)),
        predictions: u64::from(sums.predictions),
        valid: u64::from(sums.valid),
        full,
    }
}
