//! Sums of scores: of one round, of an hour, of a window, all in the same form.

/// By what roll-ups name a model: its place in the order in which models came into them, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelNumber(pub u32);

impl ModelNumber {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One model's sums over some rounds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Of the relative scores.
    pub relative: f64,
    /// Of the raw scores of the valid answers.
    pub raw: f64,
    /// Scored predictions of any status.
    pub predictions: u32,
    /// Those with a valid answer.
    pub valid: u32,
}

impl Sums {
    /// One score. A missing raw score is a 0.0: it changes no bit of a sum, for all begin at 0.0.
    pub(super) fn of_score(relative: f64, raw: Option<f64>) -> Self {
        Sums { relative, raw: raw.unwrap_or(0.0), predictions: 1, valid: u32::from(raw.is_some()) }
    }

    fn add(&mut self, next: &Sums) {
        self.relative += next.relative;
        self.raw += next.raw;
        self.predictions += next.predictions;
        self.valid += next.valid;
    }
}

/// The sums of the models that were asked: over the rounds of one parameter in an hour, or over a single round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RollUp {
    /// Ascending.
    models: Vec<ModelNumber>,
    /// One for each of them.
    sums: Vec<Sums>,
}

impl RollUp {
    /// From one entry for each model, in any order.
    pub fn new(mut entries: Vec<(ModelNumber, Sums)>) -> Self {
        entries.sort_unstable_by_key(|(model, _)| *model);
        let models = entries.iter().map(|(model, _)| *model).collect();
        let sums = entries.iter().map(|(_, sums)| *sums).collect();
        RollUp { models, sums }
    }

    /// In the order of numbers.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (ModelNumber, &Sums)> {
        self.models.iter().copied().zip(&self.sums)
    }

    /// True when this model was asked.
    pub(super) fn contains(&self, model: ModelNumber) -> bool {
        self.models.binary_search(&model).is_ok()
    }

    /// True when nobody was asked.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }
}

/// Sums of every model, by its number.
#[derive(Debug, Clone)]
pub(super) struct Totals(Vec<Sums>);

impl Totals {
    pub(super) fn of_models(count: usize) -> Self {
        Totals(vec![Sums::default(); count])
    }

    /// A copy with room for `count` models, as many as there were or more.
    pub(super) fn of_more_models(&self, count: usize) -> Self {
        let mut all = Vec::with_capacity(count);
        all.extend_from_slice(&self.0);
        all.resize(count, Sums::default());
        Totals(all)
    }

    /// Adds what follows in the stated order.
    pub(super) fn add(&mut self, next: &RollUp) {
        for (model, sums) in next.entries() {
            self.0[model.index()].add(sums);
        }
    }

    pub(super) fn of(&self, model: usize) -> &Sums {
        &self.0[model]
    }

    /// The sums of the models that were asked.
    pub(super) fn into_roll_up(self) -> RollUp {
        let numbered = (0..).map(ModelNumber).zip(self.0);
        let (models, sums) = numbered.filter(|(_, sums)| sums.predictions > 0).unzip();
        RollUp { models, sums }
    }
}
