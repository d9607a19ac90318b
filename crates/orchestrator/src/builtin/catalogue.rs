//! Which built-in models there are.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Forecast;
use super::spec::{SCALE, Settings, SpecError};
use super::{empirical_histogram, ewma_volatility, random_walk, student_t, two_state_mixture};

/// Every built-in model, in the order of a roster.
pub(super) const CATALOGUE: [&Card; 5] = [
    &random_walk::CARD,
    &ewma_volatility::CARD,
    &student_t::CARD,
    &two_state_mixture::CARD,
    &empirical_histogram::CARD,
];

/// What is said of a built-in model, and how it is made.
pub(super) struct Card {
    /// As written in a spec.
    pub(super) name: &'static str,
    /// As shown on a leaderboard.
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    /// Its own parameters; all models take [`SCALE`] besides.
    pub(super) parameters: &'static [Parameter],
    /// Parameters of the entries in a roster, the defaults first.
    pub(super) variants: &'static [&'static str],
    pub(super) make: fn(&Settings) -> Result<Arc<dyn Forecast>, SpecError>,
}

/// One parameter of a model.
pub(super) struct Parameter {
    pub(super) key: &'static str,
    /// Meaning, range and default.
    pub(super) about: &'static str,
}

impl Card {
    /// The keys that a spec of this model may hold.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.parameters.iter().map(|parameter| parameter.key).chain([SCALE])
    }
}

/// The built-in models with their parameters, as plain text for a help page.
pub fn describe() -> String {
    let mut text = String::new();
    // writing to a String cannot fail
    for card in CATALOGUE {
        let _ = writeln!(text, "{}: {}", card.name, card.about);
        for Parameter { key, about } in card.parameters {
            let _ = writeln!(text, "    {key}: {about}");
        }
    }
    let _ = writeln!(text, "every model:\n    {SCALE}: multiplies all widths, 0.001 to 1000 (1)");
    text
}
