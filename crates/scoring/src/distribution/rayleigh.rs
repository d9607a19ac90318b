//! The Rayleigh distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::quadrature;

pub(super) const FAMILY: Family = Family {
    name: "rayleigh",
    types: Types::BuiltinAndScipy,
    shapes: &[],
    build: |_, loc, scale| located_from(Rayleigh, loc, scale),
};

/// A Rayleigh distribution: the length of a normal vector in the plane.
#[derive(Debug)]
struct Rayleigh;

impl HalfLine for Rayleigh {
    fn ln_pdf(&self, z: f64) -> f64 {
        libm::log(z) - 0.5 * z * z
    }

    fn cdf(&self, z: f64) -> f64 {
        -libm::expm1(-0.5 * z * z)
    }

    fn sf(&self, z: f64) -> f64 {
        libm::exp(-0.5 * z * z)
    }

    fn quantile(&self, p: f64) -> f64 {
        (-2.0 * libm::log1p(-p)).sqrt()
    }

    /// z - √(2π) erf(z/√2) + √π/2, that of chi with two degrees of freedom.
    fn crps(&self, z: f64) -> f64 {
        z - (2.0 * PI).sqrt() * libm::erf(z * FRAC_1_SQRT_2) + 0.5 * PI.sqrt()
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(self.quantile(0.5), 1.0, 4, cuts);
        cuts.push(0.0);
    }
}
