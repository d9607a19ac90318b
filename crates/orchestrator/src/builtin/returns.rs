//! What the baselines share about returns: how they are sampled, and what holds while too few are known.

use domain::Span;

use super::history::History;

/// Fewer returns than this say too little: the wide default holds.
const ENOUGH: usize = 20;
/// The default deviation of the log return over an hour: about 94 % a year, twice that of a major cryptocurrency.
const DEFAULT_HOURLY_DEVIATION: f64 = 0.01;
/// A density must have a width, also when a price stands still: the least deviation over one second.
const LEAST_DEVIATION: f64 = 1e-8;

/// Log returns over `lag`, newest first, together with what brings them to a step.
pub(super) struct Sample {
    pub(super) returns: Vec<f64>,
    pub(super) lag: Span,
}

impl Sample {
    /// Returns over the step itself while it is at most `longest_lag`, else over that; `None` while too few are known.
    pub(super) fn take(history: &History, step: Span, longest_lag: Span, window: Span) -> Option<Sample> {
        let lag = step.min(longest_lag);
        let returns = history.returns(lag, window);
        (returns.len() >= ENOUGH).then_some(Sample { returns, lag })
    }

    /// The mean of `f` over the returns.
    pub(super) fn mean(&self, f: impl Fn(f64) -> f64) -> f64 {
        mean(self.returns.iter().map(|r| f(*r)))
    }

    /// By how much a deviation over the lag grows over `step`: independent returns add their variances.
    pub(super) fn growth(&self, step: Span) -> f64 {
        (f64::from(step.as_secs()) / f64::from(self.lag.as_secs())).sqrt()
    }

    /// The root mean square of the returns, brought to `step`; never below the least.
    pub(super) fn deviation(&self, step: Span) -> f64 {
        at_least(self.mean(|r| r * r).sqrt() * self.growth(step), step)
    }
}

/// The mean of numbers, 0 of none.
pub(super) fn mean(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = numbers.len().max(1);
    numbers.sum::<f64>() / count as f64
}

/// The deviation over `step` while too little is known.
pub(super) fn default_deviation(step: Span) -> f64 {
    DEFAULT_HOURLY_DEVIATION * (f64::from(step.as_secs()) / 3600.0).sqrt()
}

/// `deviation`, or the least that a density over `step` may have.
pub(super) fn at_least(deviation: f64, step: Span) -> f64 {
    deviation.max(LEAST_DEVIATION * f64::from(step.as_secs()).sqrt())
}
