//! The Gumbel distribution of maxima.

use std::f64::consts::LN_2;

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::quadrature;
use super::special::gamma::EULER_GAMMA;
use super::special::incomplete_gamma::{entire_exponential_integral, exponential_integral};

pub(super) const FAMILY: Family = Family {
    name: "gumbel_r",
    types: Types::Scipy,
    shapes: &[],
    build: |_, loc, scale| located(Gumbel, loc, scale),
};

/// A Gumbel distribution: e^-z is exponential.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gumbel;

impl Standard for Gumbel {
    fn ln_pdf(&self, z: f64) -> f64 {
        -z - libm::exp(-z)
    }

    fn cdf(&self, z: f64) -> f64 {
        libm::exp(-libm::exp(-z))
    }

    fn sf(&self, z: f64) -> f64 {
        -libm::expm1(-libm::exp(-z))
    }

    fn quantile(&self, p: f64) -> f64 {
        -libm::log(-libm::log(p))
    }

    /// -z + γ - ln 2 + 2 E1(e^-z) (Friederichs and Thorarinsdottir 2012); right of 0 with E1(t) = Ein(t) - ln t - γ.
    fn crps(&self, z: f64) -> f64 {
        if z < 0.0 {
            EULER_GAMMA - LN_2 - z + 2.0 * exponential_integral(libm::exp(-z))
        } else {
            z - EULER_GAMMA - LN_2 + 2.0 * entire_exponential_integral(libm::exp(-z))
        }
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(self.quantile(0.5), 0.5, 6, cuts);
    }
}
