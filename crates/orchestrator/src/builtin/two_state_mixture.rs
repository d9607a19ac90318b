//! A market with a calm and a volatile state: a mixture of two normals.
//!
//! The deviations of the two states follow from the mean absolute and the mean squared return, given the share of
//! volatile time. Which state rules now is filtered from the latest returns (Hamilton, 1989); ahead of now that
//! knowledge fades, and the weights return to the shares.

use std::sync::Arc;

use domain::Span;

use super::Forecast;
use super::catalogue::{Card, Parameter};
use super::density::{Densities, Density, Normal};
use super::history::History;
use super::returns::{Sample, at_least, default_deviation};
use super::spec::{Settings, SpecError, WINDOW};

pub(super) const CARD: Card = Card {
    name: "two-state-mixture",
    title: "Two-state mixture",
    about: "a calm and a volatile normal, weighted by which of them the latest returns suggest",
    parameters: &[
        Parameter { key: WINDOW, about: "how much of the past counts, 1h to 30d (7d)" },
        Parameter { key: SHARE, about: "the share of volatile time, 0.01 to 0.5 (0.2)" },
        Parameter {
            key: PERSISTENCE,
            about: "time in which the knowledge of the state fades to 37 %, 5m to 7d (2h)",
        },
    ],
    variants: &["", "share=0.1", "persistence=6h", "share=0.3,window=3d"],
    make,
};

const SHARE: &str = "share";
const PERSISTENCE: &str = "persistence";
const LONGEST_LAG: Span = Span::minutes(15);
/// The state is filtered from this many of the latest returns; older ones tell nothing of it any more.
const FILTERED: usize = 100;
/// The calm state is at least this part of the average deviation.
const CALMEST: f64 = 0.1;

struct TwoStateMixture {
    window: Span,
    share: f64,
    persistence: Span,
}

fn make(settings: &Settings) -> Result<Arc<dyn Forecast>, SpecError> {
    Ok(Arc::new(TwoStateMixture {
        window: settings.window(Span::days(7))?,
        share: settings.number(SHARE, 0.2, 0.01..=0.5)?,
        persistence: settings.span(PERSISTENCE, Span::hours(2), Span::minutes(5)..=Span::days(7))?,
    }))
}

/// The deviations of the two states over one lag.
struct States {
    calm: f64,
    volatile: f64,
}

impl TwoStateMixture {
    /// Deviations whose mixture has the sample's mean absolute and mean squared return. With tails lighter than a
    /// normal's the two are the same.
    fn states(&self, sample: &Sample) -> States {
        let square = sample.mean(|r| r * r);
        let average = (sample.mean(f64::abs) * std::f64::consts::FRAC_PI_2.sqrt()).min(square.sqrt());
        let spread = ((square - average * average) / (self.share * (1.0 - self.share))).max(0.0).sqrt();
        let calm = (average - self.share * spread).max(CALMEST * average);
        States {
            calm: at_least(calm, sample.lag),
            volatile: at_least(average + (1.0 - self.share) * spread, sample.lag),
        }
    }

    /// The share of the knowledge of the state that is left after `span`.
    fn left_after(&self, span: Span) -> f64 {
        libm::exp(-f64::from(span.as_secs()) / f64::from(self.persistence.as_secs()))
    }

    /// The probability that the volatile state rules now.
    fn volatile_now(&self, sample: &Sample, states: &States) -> f64 {
        let left = self.left_after(sample.lag);
        let likelihood = |r: f64, deviation: f64| {
            let z = r / deviation;
            libm::exp(-0.5 * z * z) / deviation
        };
        let latest = sample.returns.iter().take(FILTERED).rev();
        latest.fold(self.share, |before, r| {
            let prior = self.share + (before - self.share) * left;
            let volatile = prior * likelihood(*r, states.volatile);
            let calm = (1.0 - prior) * likelihood(*r, states.calm);
            // a return so large that both underflow can only be the volatile state's
            if volatile + calm > 0.0 { volatile / (volatile + calm) } else { 1.0 }
        })
    }
}

fn mixture(volatile_share: f64, calm: f64, volatile: f64) -> Density {
    Density::Mixture(vec![
        (1.0 - volatile_share, Normal::centred(calm)),
        (volatile_share, Normal::centred(volatile)),
    ])
}

impl Forecast for TwoStateMixture {
    fn densities(&self, history: &History, horizon: Span, step: Span) -> Densities {
        let Some(sample) = Sample::take(history, step, LONGEST_LAG, self.window) else {
            let deviation = default_deviation(step);
            return Densities::Same(mixture(self.share, deviation, 2.0 * deviation));
        };
        let states = self.states(&sample);
        let growth = sample.growth(step);
        let (calm, volatile) = (states.calm * growth, states.volatile * growth);
        let left = self.left_after(step);
        // a step is told by its middle
        let mut excess = (self.volatile_now(&sample, &states) - self.share) * left.sqrt();
        let each = (0..horizon.divided_by(step)).map(|_| {
            let share = self.share + excess;
            excess *= left;
            mixture(share, calm, volatile)
        });
        Densities::Each(each.collect())
    }
}
