//! Distributions whose cdf consists of straight lines and jumps: histograms and quantiles.

use super::{Distribution, normalised};

/// A distribution with a cdf of linear pieces between knots, and jumps at knots.
#[derive(Debug, Clone, PartialEq)]
pub struct PiecewiseLinear {
    /// By value, lowest first, no value twice; never empty.
    knots: Vec<Knot>,
}

/// Probabilities are kept from both ends, so that small ones keep their digits on either.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    value: f64,
    /// The mass below.
    below: f64,
    /// The mass at and below.
    cdf: f64,
    /// The mass above.
    sf: f64,
    /// The mass at and above.
    from: f64,
    /// ∫ F² up to here.
    left_area: f64,
    /// ∫ (1-F)² from here on.
    right_area: f64,
}

impl Knot {
    fn new(value: f64, (below, cdf): (f64, f64), (sf, from): (f64, f64)) -> Self {
        Knot { value, below, cdf, sf, from, left_area: 0.0, right_area: 0.0 }
    }
}

/// Numbers that make no distribution.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidPieces {
    /// One is out of its range.
    #[error("{list}[{index}] must be {range}, got {value}")]
    Element {
        /// In which list.
        list: &'static str,
        /// Its place there.
        index: usize,
        /// What it must be.
        range: &'static str,
        /// What it is.
        value: f64,
    },
    /// They do not fit together; the text says how they would.
    #[error("{0}")]
    Whole(&'static str),
}

impl PiecewiseLinear {
    /// Uniform within bins: `probabilities[k]`, divided by the sum of all, between `edges[k]` and `edges[k + 1]`.
    pub fn histogram(edges: &[f64], probabilities: &[f64]) -> Result<Self, InvalidPieces> {
        if edges.len() < 2 || edges.len() != probabilities.len() + 1 {
            return Err(InvalidPieces::Whole(
                "a histogram needs two edges or more, one more than probabilities",
            ));
        }
        check("edges", edges, "finite and above the one before", |before, edge| before < edge)?;
        check("probabilities", probabilities, "finite and >= 0", |_, probability| probability >= 0.0)?;
        let shares = normalised(probabilities.iter().copied())
            .ok_or(InvalidPieces::Whole("no probability is above zero"))?;
        let below = partial_sums(shares.iter());
        let above = partial_sums(shares.iter().rev());
        let knot = |(k, &edge): (usize, &f64)| {
            let (below, above) = (below[k], above[shares.len() - k]);
            Knot::new(edge, (below, below), (above, above))
        };
        Self::new(edges.iter().enumerate().map(knot).collect())
    }

    /// Linear between (`values[k]`, `levels[k]`), with the mass `levels[0]` at the first value and what is left above
    /// the last level at the last; a value that is given for several levels is a jump.
    pub fn quantiles(levels: &[f64], values: &[f64]) -> Result<Self, InvalidPieces> {
        if levels.is_empty() || levels.len() != values.len() {
            return Err(InvalidPieces::Whole("quantiles need one level or more, and as many values"));
        }
        check("levels", levels, "between 0 and 1 and above the one before", |before, level| {
            before.max(0.0) < level && level < 1.0
        })?;
        check("values", values, "finite and at least the one before", |before, value| before <= value)?;
        let mut knots: Vec<Knot> = Vec::with_capacity(values.len());
        for (&value, &level) in values.iter().zip(levels) {
            match knots.last_mut() {
                Some(last) if last.value == value => (last.cdf, last.sf) = (level, 1.0 - level),
                Some(_) => knots.push(Knot::new(value, (level, level), (1.0 - level, 1.0 - level))),
                None => knots.push(Knot::new(value, (0.0, level), (1.0 - level, 1.0))),
            }
        }
        if let Some(last) = knots.last_mut() {
            (last.cdf, last.sf) = (1.0, 0.0);
        }
        Self::new(knots)
    }

    fn new(mut knots: Vec<Knot>) -> Result<Self, InvalidPieces> {
        if !(knots[knots.len() - 1].value - knots[0].value).is_finite() {
            return Err(InvalidPieces::Whole("the values must span a finite range"));
        }
        for k in 1..knots.len() {
            let (left, right) = (knots[k - 1], knots[k]);
            knots[k].left_area = left.left_area + area(right.value - left.value, left.cdf, right.below);
        }
        for k in (1..knots.len()).rev() {
            let (left, right) = (knots[k - 1], knots[k]);
            knots[k - 1].right_area = right.right_area + area(right.value - left.value, left.sf, right.from);
        }
        Ok(PiecewiseLinear { knots })
    }

    /// The knot at or before `x` and the one after it.
    fn around(&self, x: f64) -> (Option<&Knot>, Option<&Knot>) {
        let after = self.knots.partition_point(|knot| knot.value <= x);
        (after.checked_sub(1).map(|before| &self.knots[before]), self.knots.get(after))
    }
}

/// Refuses the first element that is not finite or not as wanted, given the one before it.
fn check(
    list: &'static str,
    elements: &[f64],
    range: &'static str,
    is_wanted: impl Fn(f64, f64) -> bool,
) -> Result<(), InvalidPieces> {
    let mut before = f64::NEG_INFINITY;
    for (index, &value) in elements.iter().enumerate() {
        if !(value.is_finite() && is_wanted(before, value)) {
            return Err(InvalidPieces::Element { list, index, range, value });
        }
        before = value;
    }
    Ok(())
}

/// 0, then the sum of the first one, two, three …; that of all is 1.
fn partial_sums<'a>(shares: impl ExactSizeIterator<Item = &'a f64>) -> Vec<f64> {
    let count = shares.len();
    let mut sums = Vec::with_capacity(count + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for share in shares {
        sum += share;
        sums.push(f64::min(sum, 1.0));
    }
    sums[count] = 1.0;
    sums
}

/// The integral of the square of what runs linearly from `a` to `b`, neither below zero: every term is positive.
fn area(width: f64, a: f64, b: f64) -> f64 {
    width * (a * a + a * b + b * b) / 3.0
}

impl Distribution for PiecewiseLinear {
    /// That of the piece to the right at a knot, to the left at the last; infinite at a jump.
    fn pdf(&self, x: f64) -> f64 {
        match self.around(x) {
            (Some(knot), _) if knot.value == x && knot.cdf > knot.below => f64::INFINITY,
            (Some(left), Some(right)) => slope(left, right),
            (Some(last), None) if last.value == x && self.knots.len() > 1 => {
                slope(&self.knots[self.knots.len() - 2], last)
            }
            _ => 0.0,
        }
    }

    fn cdf(&self, x: f64) -> f64 {
        match self.around(x) {
            (Some(left), Some(right)) => {
                let share = (x - left.value) / (right.value - left.value);
                left.cdf + (right.below - left.cdf) * share
            }
            (left, _) => left.map_or(0.0, |last| last.cdf),
        }
    }

    fn sf(&self, x: f64) -> f64 {
        match self.around(x) {
            (Some(left), Some(right)) => {
                let share = (right.value - x) / (right.value - left.value);
                right.from + (left.sf - right.from) * share
            }
            (left, _) => left.map_or(1.0, |last| last.sf),
        }
    }

    fn quantile(&self, p: f64) -> f64 {
        let reached = self.knots.partition_point(|knot| knot.cdf < p).min(self.knots.len() - 1);
        let right = &self.knots[reached];
        let Some(before) = reached.checked_sub(1) else { return right.value };
        let left = &self.knots[before];
        // Above 1 where `p` is within a jump.
        let share = (p - left.cdf) / (right.below - left.cdf);
        (left.value + (right.value - left.value) * share).clamp(left.value, right.value)
    }

    /// The sum over the linear pieces of F and 1-F, split at `x`.
    fn crps(&self, x: f64) -> f64 {
        let (left, right) = self.around(x);
        let left_area = left.map_or(0.0, |left| left.left_area + area(x - left.value, left.cdf, self.cdf(x)));
        let right_area =
            right.map_or(0.0, |right| area(right.value - x, self.sf(x), right.from) + right.right_area);
        left_area + right_area
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        cuts.push(self.quantile(0.5));
        cuts.extend(self.knots.iter().map(|knot| knot.value));
    }
}

/// The density between two neighbours.
fn slope(left: &Knot, right: &Knot) -> f64 {
    (right.below - left.cdf) / (right.value - left.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(edges: &[f64], probabilities: &[f64]) -> PiecewiseLinear {
        PiecewiseLinear::histogram(edges, probabilities).unwrap()
    }

    fn quantiles(levels: &[f64], values: &[f64]) -> PiecewiseLinear {
        PiecewiseLinear::quantiles(levels, values).unwrap()
    }

    #[test]
    fn one_bin_is_the_uniform_distribution() {
        let uniform = histogram(&[2.0, 4.0], &[7.0]);
        // z² - z + 1/3 within, the distance and 1/3 outside, in units of the width (Jordan, Krüger and Lerch 2019).
        for (x, crps) in [(2.0, 2.0 / 3.0), (3.0, 1.0 / 6.0), (3.5, 7.0 / 24.0), (-8.0, 10.0 + 2.0 / 3.0)] {
            assert!((uniform.crps(x) - crps).abs() < 1e-15 * crps, "{x}: {} {crps}", uniform.crps(x));
        }
        assert_eq!([1.9, 2.0, 3.0, 4.0, 4.1].map(|x| uniform.pdf(x)), [0.0, 0.5, 0.5, 0.5, 0.0]);
        assert_eq!([1.9, 2.0, 3.5, 4.0].map(|x| uniform.cdf(x)), [0.0, 0.0, 0.75, 1.0]);
        assert_eq!([1.9, 2.0, 3.5, 4.0].map(|x| uniform.sf(x)), [1.0, 1.0, 0.25, 0.0]);
        assert_eq!([0.0, 0.25, 1.0].map(|p| uniform.quantile(p)), [2.0, 2.5, 4.0]);
    }

    #[test]
    fn small_probabilities_keep_their_digits_at_both_ends() {
        let both = histogram(&[0.0, 1.0, 2.0, 3.0], &[1e-30, 1.0, 1e-30]);
        assert!((both.cdf(0.5) / 5e-31 - 1.0).abs() < 1e-15);
        assert!((both.sf(2.5) / 5e-31 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn quantiles_have_mass_at_both_ends_and_where_values_are_equal() {
        let density = quantiles(&[0.1, 0.3, 0.7, 0.9], &[-1.0, 0.0, 0.0, 2.0]);
        let cdf = [-1.1, -1.0, -0.5, -0.001, 0.0, 1.0, 1.999, 2.0].map(|x| density.cdf(x));
        let expected = [0.0, 0.1, 0.2, 0.2998, 0.7, 0.8, 0.8999, 1.0];
        for (ours, truth) in cdf.into_iter().zip(expected) {
            assert!((ours - truth).abs() < 1e-15, "{ours} {truth}");
        }
        assert_eq!(
            [-1.0, -0.5, 0.0, 1.0, 2.0].map(|x| density.pdf(x).is_infinite()),
            [true, false, true, false, true]
        );
        assert_eq!(
            [0.05, 0.1, 0.3, 0.5, 0.7, 0.95].map(|p| density.quantile(p)),
            [-1.0, -1.0, 0.0, 0.0, 0.0, 2.0]
        );
        assert!((density.quantile(0.2) + 0.5).abs() < 1e-15);
        let certain = quantiles(&[0.2, 0.6], &[5.0, 5.0]);
        assert_eq!((certain.crps(5.0), certain.crps(7.0), certain.crps(-1.0)), (0.0, 2.0, 6.0));
    }

    #[test]
    fn crps_is_the_sum_of_small_steps_of_its_own_cdf() {
        let density = quantiles(&[0.05, 0.3, 0.4, 0.8], &[-2.0, -1.0, -1.0, 1.5]);
        let width = 1e-4;
        for x in [-3.0, -2.0, -1.0, 0.3, 1.5, 2.0] {
            let midpoints = (0..60_000).map(|k| -3.0 + (f64::from(k) + 0.5) * width);
            let sum: f64 = midpoints
                .map(|u| if u < x { density.cdf(u).powi(2) } else { density.sf(u).powi(2) } * width)
                .sum();
            assert!((density.crps(x) - sum).abs() < 1e-7, "{x}: {} {sum}", density.crps(x));
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused_by_list_and_place() {
        let histogram = |edges: &[f64], masses: &[f64]| {
            PiecewiseLinear::histogram(edges, masses).unwrap_err().to_string()
        };
        let quantiles = |levels: &[f64], values: &[f64]| {
            PiecewiseLinear::quantiles(levels, values).unwrap_err().to_string()
        };
        assert_eq!(
            histogram(&[0.0, 1.0], &[0.5, 0.5]),
            "a histogram needs two edges or more, one more than probabilities"
        );
        assert_eq!(histogram(&[0.0, 0.0], &[1.0]), "edges[1] must be finite and above the one before, got 0");
        assert_eq!(histogram(&[0.0, 1.0], &[-1.0]), "probabilities[0] must be finite and >= 0, got -1");
        assert_eq!(histogram(&[0.0, 1.0, 2.0], &[0.0, 0.0]), "no probability is above zero");
        assert_eq!(histogram(&[-1e308, 1e308], &[1.0]), "the values must span a finite range");
        let range = "must be between 0 and 1 and above the one before";
        assert_eq!(quantiles(&[0.0], &[1.0]), format!("levels[0] {range}, got 0"));
        assert_eq!(quantiles(&[0.5, 1.0], &[1.0, 2.0]), format!("levels[1] {range}, got 1"));
        assert_eq!(quantiles(&[0.5, 0.5], &[1.0, 2.0]), format!("levels[1] {range}, got 0.5"));
        assert_eq!(
            quantiles(&[0.2, 0.5], &[1.0, 0.5]),
            "values[1] must be finite and at least the one before, got 0.5"
        );
        assert_eq!(quantiles(&[], &[]), "quantiles need one level or more, and as many values");
        assert_eq!(
            quantiles(&[0.5], &[f64::NAN]),
            "values[0] must be finite and at least the one before, got NaN"
        );
    }
}
