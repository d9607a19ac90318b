//! The logistic distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::quadrature;

pub(super) const FAMILY: Family = Family {
    name: "logistic",
    types: Types::Scipy,
    shapes: &[],
    build: |_, loc, scale| located(Logistic, loc, scale),
};

/// A logistic distribution.
#[derive(Debug)]
struct Logistic;

impl Standard for Logistic {
    fn ln_pdf(&self, z: f64) -> f64 {
        -z.abs() - 2.0 * libm::log1p(libm::exp(-z.abs()))
    }

    fn cdf(&self, z: f64) -> f64 {
        let tail = libm::exp(-z.abs());
        if z < 0.0 { tail / (1.0 + tail) } else { 1.0 / (1.0 + tail) }
    }

    fn sf(&self, z: f64) -> f64 {
        self.cdf(-z)
    }

    fn quantile(&self, p: f64) -> f64 {
        libm::log(p / (1.0 - p))
    }

    /// |z| + 2 ln(1 + e^-|z|) - 1 (Jordan, Krüger and Lerch 2019, appendix A).
    fn crps(&self, z: f64) -> f64 {
        z.abs() + 2.0 * libm::log1p(libm::exp(-z.abs())) - 1.0
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(0.0, 1.0, 6, cuts);
    }
}
