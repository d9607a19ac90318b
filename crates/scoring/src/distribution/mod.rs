//! Probability distributions of one price move. One file per family; a new one is a file and a line in [`FAMILIES`].
//!
//! Elementary functions come from `libm` or from `special`, never from the platform, so that every machine computes the
//! same bits.

mod beta;
mod cauchy;
mod chi;
mod chi2;
mod expon;
mod f;
mod family;
mod gamma;
mod gennorm;
mod gumbel_l;
mod gumbel_r;
mod half_line;
mod halfnorm;
mod johnsonsu;
mod laplace;
mod location_scale;
mod logistic;
mod lognorm;
mod mirrored;
mod mixture;
mod norm;
mod pareto;
mod piecewise_linear;
mod point_masses;
mod quadrature;
mod quantile;
mod rayleigh;
mod skewnorm;
mod special;
mod student_t;
#[cfg(test)]
mod tests;
mod triang;
mod uniform;
mod weibull_max;
mod weibull_min;

use std::fmt;
use std::sync::Arc;

pub(crate) use family::{FAMILIES, Family, Types};
pub(crate) use mixture::Weighted;
pub use mixture::{InvalidMixture, Mixture};
pub use norm::Norm;
pub(crate) use norm::crps as normal_crps;
pub use piecewise_linear::{InvalidPieces, PiecewiseLinear};
pub use point_masses::{InvalidMasses, PointMasses};

use crate::Grid;

/// What every distribution can tell.
pub trait Distribution: fmt::Debug + Send + Sync {
    /// The density at `x`; infinite at a point that has mass of its own.
    fn pdf(&self, x: f64) -> f64;
    /// The natural logarithm of the density at `x`, finite also where the density itself underflows.
    fn ln_pdf(&self, x: f64) -> f64 {
        libm::log(self.pdf(x))
    }
    /// The probability of a move of at most `x`.
    fn cdf(&self, x: f64) -> f64;
    /// The probability of a move above `x`, accurate where it is small.
    fn sf(&self, x: f64) -> f64;
    /// The least move that has at least the probability `p`, between 0 and 1, at and below it.
    fn quantile(&self, p: f64) -> f64;
    /// The continuous ranked probability score ∫ (F(u) - 1{u ≥ x})² du (Matheson and Winkler 1976), in the unit of
    /// `x`. Lower is better; infinite for tails heavier than those of a Student t with 1/2 degree of freedom.
    fn crps(&self, x: f64) -> f64;
    /// Adds the points at which quadrature should cut, so that the distribution is smooth on each panel. The first is
    /// the distribution's centre.
    fn add_cuts(&self, cuts: &mut Vec<f64>);
    /// How the tails fall beyond the outermost cuts; `None` where nothing is left there.
    fn power_tail(&self) -> Option<PowerTail> {
        None
    }
    /// Adds `weight` times the density at each of `points` to the sum in its place.
    fn add_pdf(&self, weight: f64, points: &[f64], sums: &mut [f64]) {
        for (sum, &point) in sums.iter_mut().zip(points) {
            *sum += weight * self.pdf(point);
        }
    }
    /// The interval beyond which the density at points of the grid is lost in rounding beside the greatest at one of
    /// them.
    fn bulk_on(&self, _grid: &Grid) -> (f64, f64) {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
}

/// Tails that fall as |x - centre|^-index, on one side or both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerTail {
    /// The centre of the distribution.
    pub centre: f64,
    /// The exponent, above zero.
    pub index: f64,
}

/// Any distribution that a model may answer. Those that are many or are treated together have an arm of their own.
#[derive(Debug, Clone)]
pub enum Density {
    /// Normal.
    Norm(Norm),
    /// A weighted mean of others.
    Mixture(Mixture),
    /// Any other.
    Other(Arc<dyn Distribution>),
}

impl Density {
    pub(crate) fn other(distribution: impl Distribution + 'static) -> Self {
        Density::Other(Arc::new(distribution))
    }

    fn as_dyn(&self) -> &dyn Distribution {
        match self {
            Density::Norm(norm) => norm,
            Density::Mixture(mixture) => mixture,
            Density::Other(other) => other.as_ref(),
        }
    }
}

impl Distribution for Density {
    fn pdf(&self, x: f64) -> f64 {
        self.as_dyn().pdf(x)
    }
    fn ln_pdf(&self, x: f64) -> f64 {
        self.as_dyn().ln_pdf(x)
    }
    fn cdf(&self, x: f64) -> f64 {
        self.as_dyn().cdf(x)
    }
    fn sf(&self, x: f64) -> f64 {
        self.as_dyn().sf(x)
    }
    fn quantile(&self, p: f64) -> f64 {
        self.as_dyn().quantile(p)
    }
    fn crps(&self, x: f64) -> f64 {
        match self {
            Density::Norm(norm) => norm.crps(x),
            Density::Mixture(mixture) => mixture.crps(x),
            Density::Other(other) => other.crps(x),
        }
    }
    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        self.as_dyn().add_cuts(cuts);
    }
    fn power_tail(&self) -> Option<PowerTail> {
        self.as_dyn().power_tail()
    }
    fn add_pdf(&self, weight: f64, points: &[f64], sums: &mut [f64]) {
        self.as_dyn().add_pdf(weight, points, sums);
    }
    fn bulk_on(&self, grid: &Grid) -> (f64, f64) {
        self.as_dyn().bulk_on(grid)
    }
}

/// A parameter out of its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{name} must be {range}, got {value}")]
pub struct InvalidParameter {
    /// Which.
    pub name: &'static str,
    /// What it must be, such as `finite`, `> 0` or `in [0, 1]`.
    pub range: &'static str,
    /// What it is.
    pub value: f64,
}

fn finite(name: &'static str, value: f64) -> Result<f64, InvalidParameter> {
    if value.is_finite() { Ok(value) } else { Err(InvalidParameter { name, range: "finite", value }) }
}

fn positive(name: &'static str, value: f64) -> Result<f64, InvalidParameter> {
    let value = finite(name, value)?;
    if value > 0.0 { Ok(value) } else { Err(InvalidParameter { name, range: "> 0", value }) }
}

/// A shape parameter above zero. Sums, products and reciprocals of shapes of this range are doubles of full precision.
fn shape(name: &'static str, value: f64) -> Result<f64, InvalidParameter> {
    let value = positive(name, value)?;
    if (1e-100..=1e100).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidParameter { name, range: "between 1e-100 and 1e100", value })
    }
}

/// What weights of any scale and sign add up to in absolute value. Divides by the largest first, so that neither tiny
/// nor huge ones lose digits.
#[derive(Debug, Clone, Copy)]
struct Total {
    largest: f64,
    /// In units of the largest.
    sum: f64,
}

impl Total {
    /// `None` when there is no weight that is not zero or one is not finite.
    fn of(weights: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let largest = weights.clone().map(f64::abs).fold(0.0, f64::max);
        let sum: f64 = weights.map(|weight| weight.abs() / largest).sum();
        // One that is not finite leaves no finite sum.
        (largest > 0.0 && sum.is_finite()).then_some(Total { largest, sum })
    }

    /// That of one weight.
    fn share(self, weight: f64) -> f64 {
        weight.abs() / self.largest / self.sum
    }
}

/// The shares of all weights.
fn normalised(weights: impl Iterator<Item = f64> + Clone) -> Option<Vec<f64>> {
    let total = Total::of(weights.clone())?;
    Some(weights.map(|weight| total.share(weight)).collect())
}
