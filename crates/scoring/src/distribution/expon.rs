//! The exponential distribution.

use std::f64::consts::LN_2;

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::quadrature;

pub(super) const FAMILY: Family = Family {
    name: "expon",
    types: Types::BuiltinAndScipy,
    shapes: &[],
    build: |_, loc, scale| located_from(Expon, loc, scale),
};

/// An exponential distribution; `scale` is its mean above `loc`.
#[derive(Debug)]
struct Expon;

impl HalfLine for Expon {
    fn ln_pdf(&self, z: f64) -> f64 {
        -z
    }

    fn cdf(&self, z: f64) -> f64 {
        -libm::expm1(-z)
    }

    fn sf(&self, z: f64) -> f64 {
        libm::exp(-z)
    }

    fn quantile(&self, p: f64) -> f64 {
        -libm::log1p(-p)
    }

    /// z + 2e^-z - 3/2 (Jordan, Krüger and Lerch 2019, appendix A).
    fn crps(&self, z: f64) -> f64 {
        z + 2.0 * libm::exp(-z) - 1.5
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(LN_2, 1.0, 5, cuts);
        cuts.push(0.0);
    }
}
