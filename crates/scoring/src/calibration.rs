//! Calibration: whether what a model gives a probability of 10 % happens in one case out of ten.
//!
//! The probability integral transform (PIT) of a forecast with the cdf F is F(x), x being what happened. Where forecasts are
//! right the PIT values are uniform between 0 and 1, however different the forecasts are (Diebold, Gunther and Tay 1998,
//! "Evaluating Density Forecasts"). The shape of their histogram says what is wrong (Gneiting, Balabdaoui and Raftery 2007,
//! "Probabilistic forecasts, calibration and sharpness"): a U comes from forecasts that are too narrow, a hump from ones that
//! are too wide, a slope from ones that lie to one side. Calibration alone is no merit: the one distribution of all past
//! moves has it too. It shows where a score is lost.

use std::f64::consts::PI;

use domain::Timestamp;
use serde::Serialize;

use crate::{Density, Distribution};

/// How many bins a histogram of PIT values has, each as wide as the others.
pub const PIT_BINS: usize = 20;

/// With fewer moves that do not overlap nothing is said of the shape.
const LEAST_INDEPENDENT: u64 = 30;
/// Deviations that matter to a score: a spread of 1.1 is that of normals 10 % too narrow.
const LEAST_SPREAD_OFF: f64 = 0.1;
const LEAST_MEAN_OFF: f64 = 0.03;
/// Deviations below this many standard errors are chance.
const STANDARD_ERRORS: f64 = 3.0;
/// Standard deviation of a uniform variable, √(1/12), and of twelve times its squared distance from the middle, 12 √(1/80 - 1/144).
const SD_OF_UNIFORM: f64 = 0.288_675_134_594_812_9;
const SD_OF_SPREAD: f64 = 0.894_427_190_999_915_9;

/// The PIT value of one move: a number between 0 and 1, or where the forecast gives the very move a probability of its own,
/// the interval that F jumps over, on which the value counts as spread evenly (Czado, Gneiting and Held 2009, "Predictive
/// model assessment for count data").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pit {
    low: f64,
    high: f64,
}

impl Pit {
    /// That of the move `x`.
    pub fn of(density: &Density, x: f64) -> Self {
        let high = density.cdf(x).clamp(0.0, 1.0);
        Pit { low: density.cdf(x.next_down()).clamp(0.0, high), high }
    }

    fn mean(self) -> f64 {
        (self.low + self.high) / 2.0
    }

    fn mean_square(self) -> f64 {
        (self.low * self.low + self.low * self.high + self.high * self.high) / 3.0
    }

    /// The bins that it falls into, and how much of it into each.
    fn shares(self) -> impl Iterator<Item = (usize, f64)> {
        let bin = |value: f64| ((value * PIT_BINS as f64) as usize).min(PIT_BINS - 1);
        let (first, last) = (bin(self.low), bin(self.high));
        (first..=last).map(move |place| {
            let (start, end) = (place as f64 / PIT_BINS as f64, (place + 1) as f64 / PIT_BINS as f64);
            let inside = self.high.min(end) - self.low.max(start);
            let share = if first == last { 1.0 } else { inside / (self.high - self.low) };
            (place, share)
        })
    }
}

/// What the shape of a histogram of PIT values says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationShape {
    /// There are too few moves that do not overlap.
    TooFew,
    /// Neither spread nor place is off by more than chance could explain. The bins may still tell of another shape.
    Uniform,
    /// A U: the forecasts are too narrow.
    TooNarrow,
    /// A hump: the forecasts are too wide.
    TooWide,
    /// It falls from left to right: the forecasts lie above what happens.
    TooHigh,
    /// It rises from left to right: the forecasts lie below what happens.
    TooLow,
}

/// The PIT values of a model, as a histogram and by their first two moments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    bins: [f64; PIT_BINS],
    values: u64,
    /// Of these, so many are of moves that overlap no other one that is counted here.
    independent: u64,
    counted_until: Option<Timestamp>,
    sum: f64,
    sum_of_squares: f64,
}

/// [`Calibration`] as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationSummary {
    /// How many moves there were.
    pub values: u64,
    /// How many of them do not overlap another of the same asset and horizon.
    pub independent: u64,
    /// The share of values in each bin; 1/20 each where forecasts are right.
    pub shares: Option<[f64; PIT_BINS]>,
    /// The mean value; 1/2 where forecasts are right.
    pub mean: Option<f64>,
    /// The variance in units of that of a uniform variable; 1 where forecasts are right.
    pub spread: Option<f64>,
    /// By what widths would have to be multiplied.
    pub width_factor: Option<f64>,
    /// What the shape says.
    pub shape: CalibrationShape,
    /// The same in a sentence.
    pub statement: String,
}

impl Calibration {
    /// Adds the value of a move between two instants. Of one asset, in the order of rounds and within a round in that of time;
    /// what is of another asset is counted by itself and merged.
    pub fn add(&mut self, pit: Pit, from: Timestamp, to: Timestamp) {
        for (bin, share) in pit.shares() {
            self.bins[bin] += share;
        }
        self.values += 1;
        self.sum += pit.mean();
        self.sum_of_squares += pit.mean_square();
        // moves that overlap say the same thing twice
        if self.counted_until.is_none_or(|until| from >= until) {
            self.independent += 1;
            self.counted_until = Some(to);
        }
    }

    /// Takes the values of another asset or horizon in.
    pub fn merge(&mut self, other: &Calibration) {
        self.bins.iter_mut().zip(other.bins).for_each(|(bin, more)| *bin += more);
        self.values += other.values;
        self.independent += other.independent;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
    }

    /// All that is shown of it.
    pub fn summary(&self) -> CalibrationSummary {
        CalibrationSummary {
            values: self.values,
            independent: self.independent,
            shares: self.shares(),
            mean: self.mean(),
            spread: self.spread(),
            width_factor: self.width_factor(),
            shape: self.shape(),
            statement: self.statement(),
        }
    }

    /// The share of values in each bin, from 0 to 1; 1/20 each where forecasts are right. `None` without values.
    pub fn shares(&self) -> Option<[f64; PIT_BINS]> {
        (self.values > 0).then(|| self.bins.map(|bin| bin / self.values as f64))
    }

    /// The mean PIT value, 1/2 where forecasts are right. `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.values > 0).then(|| self.sum / self.values as f64)
    }

    /// The variance of the PIT values in units of that of a uniform variable: 1 where forecasts are right, above it for too
    /// narrow ones, below it for too wide ones. `None` without values.
    pub fn spread(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some(12.0 * (self.sum_of_squares / self.values as f64 - mean * mean).max(0.0))
    }

    /// By what the widths of the forecasts would have to be multiplied, if they and what happens were normal about the same
    /// place: a normal of width 1 put through the cdf of one of width 1/a has the variance arcsin(a²/(1 + a²))/2π. `None`
    /// without values, and where nothing lies between the extremes.
    pub fn width_factor(&self) -> Option<f64> {
        let variance = self.spread()? / 12.0;
        // at a quarter all values are 0 or 1
        if variance >= 0.25 {
            return None;
        }
        let sine = libm::sin(2.0 * PI * variance);
        let factor = libm::sqrt(sine / (1.0 - sine));
        (factor.is_finite() && factor > 0.0).then_some(factor)
    }

    /// What the shape says. Of spread and place the one that is further off what chance allows.
    pub fn shape(&self) -> CalibrationShape {
        let (Some(mean), Some(spread)) = (self.mean(), self.spread()) else {
            return CalibrationShape::TooFew;
        };
        if self.independent < LEAST_INDEPENDENT {
            return CalibrationShape::TooFew;
        }
        let errors = STANDARD_ERRORS / libm::sqrt(self.independent as f64);
        let spread_off = (spread - 1.0) / (errors * SD_OF_SPREAD).max(LEAST_SPREAD_OFF);
        let mean_off = (mean - 0.5) / (errors * SD_OF_UNIFORM).max(LEAST_MEAN_OFF);
        if spread_off.abs().max(mean_off.abs()) <= 1.0 {
            CalibrationShape::Uniform
        } else if mean_off.abs() > spread_off.abs() {
            if mean_off < 0.0 { CalibrationShape::TooHigh } else { CalibrationShape::TooLow }
        } else if spread_off > 0.0 {
            CalibrationShape::TooNarrow
        } else {
            CalibrationShape::TooWide
        }
    }

    /// The same in a sentence, with what to do about it.
    pub fn statement(&self) -> String {
        // beyond that it is another unit rather than another width
        let widths = match self.width_factor().filter(|factor| (0.05..20.0).contains(factor)) {
            Some(factor) => format!("; widths about {factor:.2} times as large would fit"),
            None => String::new(),
        };
        match self.shape() {
            CalibrationShape::TooFew => "too few moves that do not overlap to tell".to_owned(),
            CalibrationShape::Uniform => {
                "about level: neither too narrow nor too wide, and to neither side".to_owned()
            }
            CalibrationShape::TooNarrow => {
                format!("a U: moves fall into the tails too often, the distributions are too narrow{widths}")
            }
            CalibrationShape::TooWide => {
                format!(
                    "a hump: moves fall into the middle too often, the distributions are too wide{widths}"
                )
            }
            CalibrationShape::TooHigh => {
                "it falls: moves are mostly below what is expected, the distributions lie too high".to_owned()
            }
            CalibrationShape::TooLow => {
                "it rises: moves are mostly above what is expected, the distributions lie too low".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Span, TimestampExt};

    use super::*;
    use crate::{Limits, parse_buckets, parse_density};

    const MOVES: u32 = 5000;

    fn density(text: &str) -> Density {
        parse_density(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn norm(loc: f64, scale: f64) -> Density {
        density(&format!(
            r#"{{"type": "scipy", "name": "norm", "params": {{"loc": {loc:?}, "scale": {scale:?}}}}}"#
        ))
    }

    /// Numbers between 0 and 1 that fill the interval evenly, in an order that looks random (multiples of the golden ratio).
    fn evenly(count: u32) -> impl Iterator<Item = f64> {
        (1..=count).map(|k| (f64::from(k) * 0.618_033_988_749_894_9).fract())
    }

    /// A forecaster who always says `forecast`, of moves that follow `truth`.
    fn simulated(truth: &Density, forecast: &Density) -> Calibration {
        let mut calibration = Calibration::default();
        let mut at = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        for p in evenly(MOVES) {
            let next = at + Span::minutes(1);
            calibration.add(Pit::of(forecast, truth.quantile(p)), at, next);
            at = next;
        }
        calibration
    }

    #[test]
    fn the_true_forecast_is_uniform_whatever_the_truth_is() {
        let families = [
            norm(0.001, 0.02),
            density(r#"{"type": "scipy", "name": "t", "params": {"df": 3, "scale": 0.01}}"#),
            density(r#"{"type": "scipy", "name": "skewnorm", "params": {"a": 4}}"#),
            density(r#"{"type": "quantiles", "levels": [0.1, 0.5, 0.9], "values": [-1, 0, 3]}"#),
        ];
        for truth in families {
            let calibration = simulated(&truth, &truth);
            assert_eq!(calibration.shape(), CalibrationShape::Uniform, "{truth:?}");
            let shares = calibration.shares().unwrap();
            assert!(shares.iter().all(|share| (share - 0.05).abs() < 0.002), "{truth:?}: {shares:?}");
            assert!((calibration.width_factor().unwrap() - 1.0).abs() < 0.05, "{truth:?}");
        }
    }

    #[test]
    fn too_narrow_is_a_u_and_too_wide_a_hump_and_both_say_how_much() {
        let truth = norm(0.0, 1.0);
        let narrow = simulated(&truth, &norm(0.0, 0.5));
        let shares = narrow.shares().unwrap();
        assert_eq!(narrow.shape(), CalibrationShape::TooNarrow);
        assert!(shares[0] > 0.15 && shares[PIT_BINS - 1] > 0.15 && shares[PIT_BINS / 2] < 0.04, "{shares:?}");
        assert!((narrow.width_factor().unwrap() - 2.0).abs() < 0.02);
        assert!(narrow.statement().contains("2.00 times as large"), "{}", narrow.statement());

        let wide = simulated(&truth, &norm(0.0, 2.0));
        let shares = wide.shares().unwrap();
        assert_eq!(wide.shape(), CalibrationShape::TooWide);
        assert!(shares[0] < 0.01 && shares[PIT_BINS / 2] > 0.08, "{shares:?}");
        assert!((wide.width_factor().unwrap() - 0.5).abs() < 0.01);
    }

    #[test]
    fn forecasts_to_one_side_are_told_from_a_wrong_width() {
        let truth = norm(0.0, 1.0);
        assert_eq!(simulated(&truth, &norm(0.5, 1.0)).shape(), CalibrationShape::TooHigh);
        assert_eq!(simulated(&truth, &norm(-0.5, 1.0)).shape(), CalibrationShape::TooLow);
    }

    #[test]
    fn a_move_with_a_probability_of_its_own_counts_for_all_that_the_cdf_jumps_over() {
        let buckets = parse_buckets(br#"{"-1": 0.25, "0": 0.5, "1": 0.25}"#, &Limits::default()).unwrap();
        assert_eq!(Pit::of(&buckets, 0.0), Pit { low: 0.25, high: 0.75 });
        // in between nothing can happen by the forecast, and nothing is jumped over
        assert_eq!(Pit::of(&buckets, 0.5), Pit { low: 0.75, high: 0.75 });
        let calibration = simulated(&buckets, &buckets);
        assert_eq!(calibration.shape(), CalibrationShape::Uniform);
        let shares = calibration.shares().unwrap();
        assert!(shares.iter().all(|share| (share - 0.05).abs() < 0.001), "{shares:?}");
    }

    #[test]
    fn moves_that_overlap_do_not_make_a_case() {
        let (truth, narrow) = (norm(0.0, 1.0), norm(0.0, 0.5));
        let mut calibration = Calibration::default();
        let start = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        for (k, p) in evenly(MOVES).enumerate() {
            let from = start + Span::seconds(k as u32);
            calibration.add(Pit::of(&narrow, truth.quantile(p)), from, from + Span::hours(24));
        }
        assert_eq!((calibration.values, calibration.shape()), (u64::from(MOVES), CalibrationShape::TooFew));
        assert_eq!(Calibration::default().shape(), CalibrationShape::TooFew);
    }

    #[test]
    fn what_is_merged_is_as_if_counted_together() {
        let (truth, narrow) = (norm(0.0, 1.0), norm(0.0, 0.5));
        let (one, other) = (simulated(&truth, &narrow), simulated(&truth, &truth));
        let mut both = one.clone();
        both.merge(&other);
        assert_eq!(both.values, 2 * u64::from(MOVES));
        let mean = |place: usize| (one.shares().unwrap()[place] + other.shares().unwrap()[place]) / 2.0;
        assert!((both.shares().unwrap()[0] - mean(0)).abs() < 1e-12);
    }
}
