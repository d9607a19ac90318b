//! The gamma distribution.

use std::cmp::Ordering;

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::special::FRAC_1_SQRT_PI;
use super::special::gamma::{digamma_step, gamma_half_step};
use super::special::incomplete_gamma::{IncompleteGamma, incomplete_gamma, ln_kernel};
use super::{quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "gamma",
    types: Types::BuiltinAndScipy,
    shapes: &["a"],
    build: |shapes, loc, scale| located_from(Gamma::new(shape("a", shapes[0])?), loc, scale),
};

/// A gamma distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gamma {
    shape: f64,
    /// E|X - X'|/2 = 1/B(1/2, a)
    half_mean_difference: f64,
    crps_at_zero: f64,
}

impl Gamma {
    /// With a `shape` above zero.
    pub(super) fn new(shape: f64) -> Self {
        let half_mean_difference = gamma_half_step(shape) * FRAC_1_SQRT_PI;
        let crps_at_zero = if shape < 1.0 { crps_at_zero(shape) } else { shape - half_mean_difference };
        Gamma { shape, half_mean_difference, crps_at_zero }
    }

    fn masses(&self, z: f64) -> IncompleteGamma {
        incomplete_gamma(self.shape, z, libm::log(z))
    }
}

/// a - 1/B(1/2, a), which cancel for small a. With the logarithm of their quotient as an integral it is
/// a (1 - exp(-∫ ψ(t + 1) - ψ(t + 1/2) dt)) over t from 0 to a.
fn crps_at_zero(a: f64) -> f64 {
    let mean_slope = quadrature::mean(0.0, a, |t| digamma_step(t + 0.5, 0.5));
    -a * libm::expm1(-a * mean_slope)
}

impl HalfLine for Gamma {
    fn ln_pdf(&self, z: f64) -> f64 {
        if z == 0.0 {
            return match self.shape.total_cmp(&1.0) {
                Ordering::Less => f64::INFINITY,
                Ordering::Equal => 0.0,
                Ordering::Greater => f64::NEG_INFINITY,
            };
        }
        let ln_z = libm::log(z);
        ln_kernel(self.shape, z, ln_z) + libm::log(self.shape) - ln_z
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(z).lower
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(z).upper
    }

    /// z (2P(a, z) - 1) + a (1 - 2P(a+1, z)) - 1/B(1/2, a) (Scheuerer and Möller 2015). From a = 1 on with
    /// P(a+1, z) = P(a, z) - z^a e^-z / Γ(a+1), so that all terms are of the size of the spread.
    fn crps(&self, z: f64) -> f64 {
        let (a, ln_z) = (self.shape, libm::log(z));
        let masses = self.masses(z);
        if a < 1.0 {
            let beyond = incomplete_gamma(a + 1.0, z, ln_z).lower;
            return self.crps_at_zero + z * masses.difference() - 2.0 * a * beyond;
        }
        let kernel = libm::exp(ln_kernel(a, z, ln_z));
        (z - a) * masses.difference() + 2.0 * a * kernel - self.half_mean_difference
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let median = (self.shape - 1.0 / 3.0).max(0.0);
        let spread = self.shape.max(1.0).sqrt();
        quadrature::geometric_cuts(median, spread, 5, cuts);
        let extent = median.max(1.0);
        quadrature::shrinking_cuts(0.0, extent, extent, self.shape, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crps_keeps_its_digits_for_tiny_and_huge_shapes() {
        for (shape, z, truth) in [
            (1e-09, 0.0, 1.3862943585140508e-18),
            (1e-09, 1e-20, 1.396294357584561e-18),
            (1e-06, 1e-09, 1.0013440001014473e-09),
            (0.001, 0.2, 0.19915058046281917),
            (0.1, 1e-12, 0.011684861010183723),
            (0.4, 0.1, 0.09124593514972457),
            (0.999, 1.0, 0.23590574909924078),
            (1.0, 0.7, 0.19317060758281904),
            (7.5, 7.0, 0.6295440069219821),
            (140.0, 150.0, 6.107368455426341),
            (10000.0, 10100.0, 60.40561597604511),
            (1000000.0, 999500.0, 331.28617576661486),
            (10000000000.0, 10000000000.0, 23369.49772555124),
        ] {
            let crps = Gamma::new(shape).crps(z);
            assert!((crps / truth - 1.0).abs() < 1e-11, "{shape} {z}: {crps:e} {truth:e}");
        }
    }

    #[test]
    fn the_two_forms_of_the_crps_meet_at_shape_one() {
        for z in [0.0, 1e-9, 0.1, 0.7, 3.0, 40.0] {
            let (below, above) = (Gamma::new(1.0_f64.next_down()).crps(z), Gamma::new(1.0).crps(z));
            assert!((below / above - 1.0).abs() < 1e-14, "{z}: {below} {above}");
        }
    }
}
