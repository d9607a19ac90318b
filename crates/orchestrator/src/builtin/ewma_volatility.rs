//! Exponentially weighted volatility that reverts to its long-run level.
//!
//! The variance now is the weighted mean of squared returns (RiskMetrics, 1996); ahead of now it closes exponentially
//! on the unweighted mean over a week, so that every step of a forecast has a width of its own.

use std::sync::Arc;

use domain::Span;

use super::Forecast;
use super::catalogue::{Card, Parameter};
use super::density::{Densities, Density, Normal};
use super::history::History;
use super::returns::{Sample, at_least, default_deviation, mean};
use super::spec::{Settings, SpecError};

pub(super) const CARD: Card = Card {
    name: "ewma-volatility",
    title: "EWMA volatility",
    about: "normal, with exponentially weighted volatility that reverts to the week's",
    parameters: &[
        Parameter {
            key: DECAY,
            about: "weight of a return against one 5 minutes younger, 0.5 to 0.9999 (0.98)",
        },
        Parameter {
            key: REVERSION,
            about: "time in which a deviation from the week's shrinks to 37 %, 5m to 30d (12h)",
        },
    ],
    variants: &["", "decay=0.95", "decay=0.995", "decay=0.98,reversion=3h"],
    make,
};

const DECAY: &str = "decay";
const REVERSION: &str = "reversion";
const LAG: Span = Span::minutes(5);
const LONG_RUN: Span = Span::days(7);

struct EwmaVolatility {
    /// From one return of [`LAG`] to the one before it.
    decay: f64,
    reversion: Span,
}

fn make(settings: &Settings) -> Result<Arc<dyn Forecast>, SpecError> {
    Ok(Arc::new(EwmaVolatility {
        decay: settings.number(DECAY, 0.98, 0.5..=0.9999)?,
        reversion: settings.span(REVERSION, Span::hours(12), Span::minutes(5)..=Span::days(30))?,
    }))
}

impl EwmaVolatility {
    fn variance_now(&self, returns: &[f64]) -> f64 {
        let (mut weight, mut total, mut sum) = (1.0, 0.0, 0.0);
        for r in returns {
            sum += weight * r * r;
            total += weight;
            weight *= self.decay;
        }
        sum / total
    }
}

impl Forecast for EwmaVolatility {
    fn densities(&self, history: &History, horizon: Span, step: Span) -> Densities {
        let Some(sample) = Sample::take(history, LAG, LAG, LONG_RUN) else {
            return Densities::Same(Density::Normal(Normal::centred(default_deviation(step))));
        };
        let long_run = mean(sample.returns.iter().map(|r| r * r));
        let excess = self.variance_now(&sample.returns) - long_run;
        let step_lags = f64::from(step.as_secs()) / f64::from(LAG.as_secs());
        let reversion_lags = f64::from(self.reversion.as_secs()) / f64::from(LAG.as_secs());
        // the share of the excess that is left after one step, and its integral over the first step
        let left = libm::exp(-step_lags / reversion_lags);
        let mut excess_over_step = excess * reversion_lags * (1.0 - left);
        let each = (0..horizon.divided_by(step)).map(|_| {
            let variance = long_run * step_lags + excess_over_step;
            excess_over_step *= left;
            Density::Normal(Normal::centred(at_least(variance.max(0.0).sqrt(), step)))
        });
        Densities::Each(each.collect())
    }
}
