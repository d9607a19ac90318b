//! A random walk: normal returns whose volatility is that of the recent past.

use std::sync::Arc;

use domain::Span;

use super::Forecast;
use super::catalogue::{Card, Parameter};
use super::density::{Densities, Density, Normal};
use super::history::History;
use super::returns::{Sample, default_deviation};
use super::spec::{Settings, SpecError, WINDOW};

pub(super) const CARD: Card = Card {
    name: "random-walk",
    title: "Random walk",
    about: "normal, with the volatility of the recent returns",
    parameters: &[Parameter { key: WINDOW, about: "how much of the past counts, 1h to 30d (1d)" }],
    variants: &["", "window=6h", "window=7d", "window=3d"],
    make,
};

const LONGEST_LAG: Span = Span::minutes(5);

struct RandomWalk {
    window: Span,
}

fn make(settings: &Settings) -> Result<Arc<dyn Forecast>, SpecError> {
    Ok(Arc::new(RandomWalk { window: settings.window(Span::days(1))? }))
}

impl Forecast for RandomWalk {
    fn densities(&self, history: &History, _horizon: Span, step: Span) -> Densities {
        let deviation = Sample::take(history, step, LONGEST_LAG, self.window)
            .map_or_else(|| default_deviation(step), |sample| sample.deviation(step));
        Densities::Same(Density::Normal(Normal::centred(deviation)))
    }
}
