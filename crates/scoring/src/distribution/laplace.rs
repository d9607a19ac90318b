//! The Laplace distribution.

use std::f64::consts::LN_2;

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::quadrature;

pub(super) const FAMILY: Family = Family {
    name: "laplace",
    types: Types::BuiltinAndScipy,
    shapes: &[],
    build: |_, loc, scale| located(Laplace, loc, scale),
};

/// A Laplace (double exponential) distribution; `scale` is its mean absolute deviation.
#[derive(Debug)]
struct Laplace;

impl Standard for Laplace {
    fn pdf(&self, z: f64) -> f64 {
        0.5 * libm::exp(-z.abs())
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        -z.abs() - LN_2
    }

    fn cdf(&self, z: f64) -> f64 {
        if z < 0.0 { 0.5 * libm::exp(z) } else { 1.0 - 0.5 * libm::exp(-z) }
    }

    fn sf(&self, z: f64) -> f64 {
        self.cdf(-z)
    }

    fn quantile(&self, p: f64) -> f64 {
        if p < 0.5 { libm::log(2.0 * p) } else { -libm::log(2.0 * (1.0 - p)) }
    }

    /// |z| + e^-|z| - 3/4 (Jordan, Krüger and Lerch 2019, appendix A).
    fn crps(&self, z: f64) -> f64 {
        z.abs() + libm::exp(-z.abs()) - 0.75
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(0.0, 1.0, 10, cuts);
    }
}
