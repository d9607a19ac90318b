//! Probability distributions of one price move. One file per family; a new one is a file, an arm of [`Density`] and a
//! line in `FAMILIES`.
//!
//! Elementary functions come from `libm`, never from the platform, so that every machine computes the same bits.

mod laplace;
mod mixture;
mod norm;
mod point_masses;
mod quadrature;
mod special;
mod student_t;

pub use laplace::Laplace;
pub use mixture::{InvalidMixture, Mixture};
pub use norm::Norm;
pub use point_masses::{InvalidMasses, PointMasses};
pub use student_t::StudentT;

/// What every distribution can tell.
pub trait Distribution {
    /// The density at `x`; infinite at a point that has mass of its own.
    fn pdf(&self, x: f64) -> f64;
    /// The probability of a move of at most `x`.
    fn cdf(&self, x: f64) -> f64;
    /// The probability of a move above `x`, accurate where it is small.
    fn sf(&self, x: f64) -> f64;
    /// The continuous ranked probability score ∫ (F(u) - 1{u ≥ x})² du (Matheson and Winkler 1976), in the unit of
    /// `x`. Lower is better; infinite for tails heavier than those of a Student t with 1/2 degree of freedom.
    fn crps(&self, x: f64) -> f64;
    /// Adds the points at which quadrature should cut, so that the distribution is smooth on each panel.
    fn add_cuts(&self, cuts: &mut Vec<f64>);
    /// How the tails fall beyond the outermost cuts; `None` where nothing is left there.
    fn power_tail(&self) -> Option<PowerTail> {
        None
    }
}

/// Tails that fall as |x - centre|^-index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerTail {
    /// The centre of the distribution.
    pub centre: f64,
    /// The exponent, above zero.
    pub index: f64,
}

/// Any distribution that a model may answer.
#[derive(Debug, Clone)]
pub enum Density {
    /// Normal.
    Norm(Norm),
    /// Student t.
    StudentT(StudentT),
    /// Laplace.
    Laplace(Laplace),
    /// A weighted mean of others.
    Mixture(Mixture),
    /// Mass at single points.
    PointMasses(PointMasses),
}

impl Density {
    fn family(&self) -> &dyn Distribution {
        match self {
            Density::Norm(family) => family,
            Density::StudentT(family) => family,
            Density::Laplace(family) => family,
            Density::Mixture(family) => family,
            Density::PointMasses(family) => family,
        }
    }
}

impl Distribution for Density {
    fn pdf(&self, x: f64) -> f64 {
        self.family().pdf(x)
    }
    fn cdf(&self, x: f64) -> f64 {
        self.family().cdf(x)
    }
    fn sf(&self, x: f64) -> f64 {
        self.family().sf(x)
    }
    fn crps(&self, x: f64) -> f64 {
        self.family().crps(x)
    }
    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        self.family().add_cuts(cuts);
    }
    fn power_tail(&self) -> Option<PowerTail> {
        self.family().power_tail()
    }
}

/// A parameter out of its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{name} must be {range}, got {value}")]
pub struct InvalidParameter {
    /// Which.
    pub name: &'static str,
    /// What it must be: `finite` or `> 0`.
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

/// A location-scale family as the density format names it: x = loc + scale · z.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its parameters besides `loc` and `scale`, in the order in which `build` takes them.
    pub shapes: &'static [&'static str],
    /// Checks the shapes, `loc` and `scale`.
    pub build: fn(&[f64], f64, f64) -> Result<Density, InvalidParameter>,
}

/// The families that a model may name.
pub(crate) const FAMILIES: &[Family] = &[norm::FAMILY, student_t::FAMILY, laplace::FAMILY];

/// The CRPS of a location-scale family from its standard form. Far out, where z overflows, the distribution is a point.
fn scaled_crps(x: f64, loc: f64, scale: f64, standard: impl FnOnce(f64) -> f64) -> f64 {
    let z = (x - loc) / scale;
    if z.is_finite() { scale * standard(z) } else { (x - loc).abs() }
}

/// Weights in absolute value, divided by their sum; `None` when there is none above zero or one is not finite. Divides
/// by the largest first, so that neither tiny nor huge ones lose digits.
fn normalised(weights: impl Iterator<Item = f64> + Clone) -> Option<Vec<f64>> {
    let largest = weights.clone().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 || weights.clone().any(|weight| !weight.is_finite()) {
        return None;
    }
    let mut shares: Vec<f64> = weights.map(|weight| weight.abs() / largest).collect();
    let sum: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= sum);
    Some(shares)
}
