//! Probability at single points: bucket dictionaries and samples.

use super::{Distribution, normalised};

/// A distribution that is a set of points with mass.
#[derive(Debug, Clone, PartialEq)]
pub struct PointMasses {
    /// By value, lowest first; never empty.
    points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    value: f64,
    mass: f64,
    /// The mass at and below this point.
    cdf: f64,
    /// The mass above it.
    sf: f64,
    /// ∫ F² up to this point.
    left_area: f64,
    /// ∫ (1-F)² from this point on.
    right_area: f64,
}

/// Points that make no distribution.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InvalidMasses {
    /// A point is not finite.
    #[error("{0} is no finite number")]
    Value(f64),
    /// A probability is below zero or not finite.
    #[error("the probability of {0} must be finite and >= 0, got {1}")]
    Mass(f64, f64),
    /// Two probabilities for one point.
    #[error("{0} is given twice")]
    Twice(f64),
    /// No probability above zero.
    #[error("no probability is above zero")]
    Empty,
    /// Differences between points are beyond the largest double.
    #[error("the values must span a finite range")]
    Span,
}

impl PointMasses {
    /// Takes (point, probability) pairs in any order; the probabilities are divided by their sum.
    pub fn new(mut masses: Vec<(f64, f64)>) -> Result<Self, InvalidMasses> {
        check(&masses)?;
        masses.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let Some(pair) = masses.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidMasses::Twice(pair[1].0));
        }
        Self::of_sorted(&masses)
    }

    /// Takes (value, weight) pairs in any order, where weights of equal values add up; divided by the sum of all.
    pub fn samples(mut samples: Vec<(f64, f64)>) -> Result<Self, InvalidMasses> {
        check(&samples)?;
        let shares = normalised(samples.iter().map(|&(_, weight)| weight)).ok_or(InvalidMasses::Empty)?;
        samples.iter_mut().zip(shares).for_each(|(sample, share)| sample.1 = share);
        samples.sort_by(|a, b| a.0.total_cmp(&b.0));
        samples.dedup_by(|next, kept| {
            let is_equal = next.0 == kept.0;
            kept.1 += if is_equal { next.1 } else { 0.0 };
            is_equal
        });
        Self::of_sorted(&samples)
    }

    /// Of checked points that rise.
    fn of_sorted(masses: &[(f64, f64)]) -> Result<Self, InvalidMasses> {
        let shares = normalised(masses.iter().map(|&(_, mass)| mass)).ok_or(InvalidMasses::Empty)?;
        if !(masses[masses.len() - 1].0 - masses[0].0).is_finite() {
            return Err(InvalidMasses::Span);
        }
        let mut points: Vec<Point> = masses
            .iter()
            .zip(shares)
            .map(|(&(value, _), mass)| Point {
                value,
                mass,
                cdf: 1.0,
                sf: 0.0,
                left_area: 0.0,
                right_area: 0.0,
            })
            .collect();
        sum_from_the_left(&mut points);
        sum_from_the_right(&mut points);
        Ok(PointMasses { points })
    }

    /// How many points are at or below `x`.
    fn count_up_to(&self, x: f64) -> usize {
        self.points.partition_point(|point| point.value <= x)
    }
}

fn check(masses: &[(f64, f64)]) -> Result<(), InvalidMasses> {
    for &(value, mass) in masses {
        if !value.is_finite() {
            return Err(InvalidMasses::Value(value));
        }
        if !(mass.is_finite() && mass >= 0.0) {
            return Err(InvalidMasses::Mass(value, mass));
        }
    }
    Ok(())
}

fn sum_from_the_left(points: &mut [Point]) {
    let mut mass = 0.0;
    for k in 0..points.len() - 1 {
        mass += points[k].mass;
        points[k].cdf = mass;
        points[k + 1].left_area = points[k].left_area + mass * mass * (points[k + 1].value - points[k].value);
    }
}

fn sum_from_the_right(points: &mut [Point]) {
    let mut mass = 0.0;
    for k in (1..points.len()).rev() {
        mass += points[k].mass;
        points[k - 1].sf = mass;
        points[k - 1].right_area =
            points[k].right_area + mass * mass * (points[k].value - points[k - 1].value);
    }
}

impl Distribution for PointMasses {
    fn pdf(&self, x: f64) -> f64 {
        match self.count_up_to(x).checked_sub(1) {
            Some(k) if self.points[k].value == x && self.points[k].mass > 0.0 => f64::INFINITY,
            _ => 0.0,
        }
    }

    fn cdf(&self, x: f64) -> f64 {
        self.count_up_to(x).checked_sub(1).map_or(0.0, |k| self.points[k].cdf)
    }

    fn sf(&self, x: f64) -> f64 {
        self.count_up_to(x).checked_sub(1).map_or(1.0, |k| self.points[k].sf)
    }

    fn quantile(&self, p: f64) -> f64 {
        let below = self.points.partition_point(|point| point.cdf < p);
        self.points[below.min(self.points.len() - 1)].value
    }

    /// The integral over the steps of F, split at `x`: every term is positive.
    fn crps(&self, x: f64) -> f64 {
        let above = self.count_up_to(x);
        let left = above.checked_sub(1).map(|k| self.points[k]);
        let right = self.points.get(above);
        let left_area = left.map_or(0.0, |point| point.left_area + point.cdf * point.cdf * (x - point.value));
        let sf = left.map_or(1.0, |point| point.sf);
        let right_area = right.map_or(0.0, |point| sf * sf * (point.value - x) + point.right_area);
        left_area + right_area
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        cuts.extend(self.points.iter().map(|point| point.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certain_and_correct_forecast_scores_zero_and_a_wrong_one_its_distance() {
        let certain = PointMasses::new(vec![(0.01, 5.0), (0.02, 0.0)]).unwrap();
        assert_eq!(certain.crps(0.01), 0.0);
        assert_eq!(certain.crps(0.5), 0.49);
        assert_eq!(certain.crps(-0.5), 0.51);
        assert_eq!((certain.pdf(0.01), certain.pdf(0.02)), (f64::INFINITY, 0.0));
    }

    #[test]
    fn the_widths_of_buckets_count() {
        let spread = PointMasses::new(vec![(-0.02, 0.5), (0.02, 0.5)]).unwrap();
        assert!((spread.crps(0.0) - 0.01).abs() < 1e-17);
        let uniform = PointMasses::new((-2..=2).map(|k| (f64::from(k) * 0.01, 0.2)).collect()).unwrap();
        assert!((uniform.crps(0.0) - 0.004).abs() < 1e-17);
    }

    #[test]
    fn equal_samples_add_up_and_far_offsets_cost_no_digits() {
        let samples = |values: &[(f64, f64)]| PointMasses::samples(values.to_vec()).unwrap();
        let thrice = samples(&[(1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (-0.0, 1.0), (1.0, 2.0)]);
        assert_eq!(thrice, PointMasses::new(vec![(-0.0, 2.0), (1.0, 4.0)]).unwrap());
        // Dyadic offsets, which a double holds exactly next to 1e9.
        let offset = samples(&[(1e9 - 0.0078125, 1.0), (1e9, 2.0), (1e9 + 0.0078125, 1.0)]);
        assert_eq!(offset.crps(1e9), 0.0078125 / 8.0);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        let refused = |masses: Vec<(f64, f64)>| PointMasses::new(masses).unwrap_err();
        assert_eq!(refused(vec![]), InvalidMasses::Empty);
        assert_eq!(refused(vec![(1.0, 0.0)]), InvalidMasses::Empty);
        assert_eq!(refused(vec![(0.0, 0.5), (-0.0, 0.5)]), InvalidMasses::Twice(0.0));
        assert_eq!(refused(vec![(1.0, -0.5), (2.0, 1.5)]), InvalidMasses::Mass(1.0, -0.5));
        assert!(matches!(refused(vec![(f64::NAN, 1.0)]), InvalidMasses::Value(_)));
        assert_eq!(refused(vec![(-1e308, 0.0), (1e308, 1.0)]), InvalidMasses::Span);
        assert_eq!(PointMasses::samples(vec![]).unwrap_err(), InvalidMasses::Empty);
    }
}
