//! The recent returns themselves as the forecast.
//!
//! For one step over the whole horizon: a histogram as point masses. For several steps, where the competition takes
//! densities of at most three parts: three normals with the weight, mean and deviation of the returns in the lower
//! tail, the middle and the upper tail, which keeps the variance and the skew.

use std::sync::Arc;

use domain::Span;

use super::Forecast;
use super::catalogue::{Card, Parameter};
use super::density::{Buckets, Densities, Density, Normal};
use super::history::History;
use super::returns::{Sample, at_least, default_deviation, mean};
use super::spec::{Settings, SpecError, WINDOW};

pub(super) const CARD: Card = Card {
    name: "empirical-histogram",
    title: "Empirical histogram",
    about: "the recent returns themselves: a histogram for a single step, else three normals fitted to its parts",
    parameters: &[
        Parameter { key: WINDOW, about: "how much of the past counts, 1h to 30d (14d)" },
        Parameter { key: BINS, about: "bins of the histogram, 5 to 500 (61)" },
        Parameter { key: TAIL, about: "the share of returns in either tail, 0.01 to 0.3 (0.1)" },
    ],
    variants: &["", "window=3d", "window=7d,tail=0.05", "window=30d"],
    make,
};

const BINS: &str = "bins";
const TAIL: &str = "tail";
const LONGEST_LAG: Span = Span::minutes(15);
/// The histogram reaches this many deviations to either side; what is beyond counts in the outermost bins.
const REACH: f64 = 5.0;

struct EmpiricalHistogram {
    window: Span,
    bins: usize,
    tail: f64,
}

fn make(settings: &Settings) -> Result<Arc<dyn Forecast>, SpecError> {
    Ok(Arc::new(EmpiricalHistogram {
        window: settings.window(Span::days(14))?,
        bins: settings.whole_number(BINS, 61, 5..=500)?,
        tail: settings.number(TAIL, 0.1, 0.01..=0.3)?,
    }))
}

impl EmpiricalHistogram {
    /// The returns brought to `step`, without their drift: the mean of a few days says nothing of the next.
    fn returns(&self, history: &History, step: Span) -> Option<Vec<f64>> {
        let sample = Sample::take(history, step, LONGEST_LAG, self.window)?;
        let (growth, drift) = (sample.growth(step), sample.mean(|r| r));
        Some(sample.returns.iter().map(|r| (r - drift) * growth).collect())
    }
}

impl Forecast for EmpiricalHistogram {
    fn densities(&self, history: &History, _horizon: Span, step: Span) -> Densities {
        Densities::Same(match self.returns(history, step) {
            Some(returns) => three_parts(returns, self.tail, step),
            None => Density::Normal(Normal::centred(default_deviation(step))),
        })
    }

    fn buckets(&self, history: &History, horizon: Span) -> Option<Buckets> {
        let returns = self.returns(history, horizon)?;
        Some(histogram(&returns, self.bins, horizon))
    }
}

/// Lower tail, middle and upper tail, each as a normal.
fn three_parts(mut returns: Vec<f64>, tail: f64, step: Span) -> Density {
    let count = returns.len();
    let in_tail = ((count as f64 * tail) as usize).max(1);
    returns.select_nth_unstable_by(in_tail, f64::total_cmp);
    let (lower, rest) = returns.split_at_mut(in_tail);
    let in_middle = count - 2 * in_tail;
    rest.select_nth_unstable_by(in_middle, f64::total_cmp);
    let (middle, upper) = rest.split_at(in_middle);
    let part = |returns: &[f64]| (returns.len() as f64 / count as f64, normal_of(returns, step));
    Density::Mixture(vec![part(lower), part(middle), part(upper)])
}

fn normal_of(returns: &[f64], step: Span) -> Normal {
    let loc = mean(returns.iter().copied());
    let deviation = mean(returns.iter().map(|r| (r - loc) * (r - loc))).sqrt();
    Normal { loc, scale: at_least(deviation, step) }
}

/// The shares of the returns in bins of equal width around 0; empty bins are left out.
fn histogram(returns: &[f64], bins: usize, step: Span) -> Buckets {
    let deviation = at_least(mean(returns.iter().map(|r| r * r)).sqrt(), step);
    let width = 2.0 * REACH * deviation / bins as f64;
    let last = bins as f64 - 1.0;
    let mut counts = vec![0_u32; bins];
    for r in returns {
        let bin = ((r + REACH * deviation) / width).floor().clamp(0.0, last);
        counts[bin as usize] += 1;
    }
    let centre = |bin: usize| (bin as f64 - last / 2.0) * width;
    let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    Buckets(filled.map(|(bin, count)| (centre(bin), f64::from(*count) / returns.len() as f64)).collect())
}
