//! The half-normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::quadrature;
use super::special::FRAC_1_SQRT_PI;

pub(super) const FAMILY: Family = Family {
    name: "halfnorm",
    types: Types::Scipy,
    shapes: &[],
    build: |_, loc, scale| located_from(HalfNorm, loc, scale),
};

/// A half-normal distribution: the absolute value of a normal variable.
#[derive(Debug)]
struct HalfNorm;

impl HalfLine for HalfNorm {
    fn ln_pdf(&self, z: f64) -> f64 {
        0.5 * libm::log(2.0 / PI) - 0.5 * z * z
    }

    fn cdf(&self, z: f64) -> f64 {
        libm::erf(z * FRAC_1_SQRT_2)
    }

    fn sf(&self, z: f64) -> f64 {
        libm::erfc(z * FRAC_1_SQRT_2)
    }

    /// z (2 erf(z/√2) - 1) + 2√(2/π) e^(-z²/2) - 2/√π, that of chi with one degree of freedom.
    fn crps(&self, z: f64) -> f64 {
        z * (self.cdf(z) - self.sf(z)) + 2.0 * libm::exp(self.ln_pdf(z)) - 2.0 * FRAC_1_SQRT_PI
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(0.67, 1.0, 4, cuts);
        cuts.push(0.0);
    }
}
