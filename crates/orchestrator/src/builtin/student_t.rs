//! Student's t fitted to recent returns.
//!
//! The degrees of freedom follow from the mean absolute return over the root mean square: the heavier the tails, the
//! smaller that ratio (Geary's statistic). It needs no fourth moment, which a single jump would rule.

use std::sync::Arc;

use domain::Span;

use super::Forecast;
use super::catalogue::{Card, Parameter};
use super::density::{Densities, Density};
use super::history::History;
use super::returns::{Sample, default_deviation};
use super::spec::{Settings, SpecError, WINDOW};

pub(super) const CARD: Card = Card {
    name: "student-t",
    title: "Student t",
    about: "Student's t whose tails and width are fitted to the recent returns",
    parameters: &[Parameter { key: WINDOW, about: "how much of the past counts, 1h to 30d (7d)" }],
    variants: &["", "window=1d", "window=14d", "window=3d"],
    make,
};

const LONGEST_LAG: Span = Span::minutes(15);
/// Below the least the variance, from which the scale is fitted, hardly exists; above the most it is a normal.
const LEAST_DF: f64 = 2.5;
const MOST_DF: f64 = 100.0;
const DEFAULT_DF: f64 = 4.0;

struct StudentT {
    window: Span,
}

fn make(settings: &Settings) -> Result<Arc<dyn Forecast>, SpecError> {
    Ok(Arc::new(StudentT { window: settings.window(Span::days(7))? }))
}

impl Forecast for StudentT {
    fn densities(&self, history: &History, _horizon: Span, step: Span) -> Densities {
        let sample = Sample::take(history, step, LONGEST_LAG, self.window);
        let (df, deviation) = match &sample {
            Some(sample) => (fitted_df(sample), sample.deviation(step)),
            None => (DEFAULT_DF, default_deviation(step)),
        };
        Densities::Same(Density::StudentT { df, scale: deviation * ((df - 2.0) / df).sqrt() })
    }
}

fn fitted_df(sample: &Sample) -> f64 {
    let deviation = sample.mean(|r| r * r).sqrt();
    if deviation == 0.0 {
        return MOST_DF;
    }
    let ratio = sample.mean(f64::abs) / deviation;
    bisect(LEAST_DF, MOST_DF, |df| geary_ratio(df) < ratio)
}

/// E|T| / sqrt(E T²) of a t with `df` > 2; grows from 0 to the normal's sqrt(2/π).
/// E|T| = 2 sqrt(df) Γ((df+1)/2) / ((df-1) sqrt(π) Γ(df/2)), E T² = df / (df-2).
fn geary_ratio(df: f64) -> f64 {
    let gammas = libm::exp(libm::lgamma((df + 1.0) / 2.0) - libm::lgamma(df / 2.0));
    2.0 * gammas * (df - 2.0).sqrt() / ((df - 1.0) * std::f64::consts::PI.sqrt())
}

/// Where `below` turns from true to false; the nearer end when it never turns.
fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if below(middle) { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_literature() {
        // t with 3 degrees of freedom: E|T| = 2 sqrt(3)/π and E T² = 3, so the ratio is 2/π
        assert!((geary_ratio(3.0) - 2.0 / std::f64::consts::PI).abs() < 1e-12);
        let normal = (2.0 / std::f64::consts::PI).sqrt();
        assert!(geary_ratio(100.0) < normal && normal - geary_ratio(100.0) < 0.01);
        let fitted = bisect(LEAST_DF, MOST_DF, |df| geary_ratio(df) < geary_ratio(5.0));
        assert!((fitted - 5.0).abs() < 1e-6);
    }
}
