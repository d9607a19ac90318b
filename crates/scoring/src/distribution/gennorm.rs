//! The generalised normal distribution.

use std::f64::consts::LN_2;

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::gamma::ln_gamma_1p;
use super::special::incomplete_beta::incomplete_beta_fraction;
use super::special::incomplete_gamma::{IncompleteGamma, incomplete_gamma};
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "gennorm",
    types: Types::Scipy,
    shapes: &["beta"],
    build: |shapes, loc, scale| located(GenNorm::new(shapes[0])?, loc, scale),
};

/// A generalised normal (exponential power) distribution: Laplace at beta 1, normal at 2, uniform in the limit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct GenNorm {
    beta: f64,
    /// 1 / beta: |z|^beta is a gamma variable of this shape.
    shape: f64,
    /// ln Γ(1 + shape)
    ln_gamma: f64,
    /// E|Z| = Γ(2a) / Γ(a) with the shape a.
    mean_distance: f64,
    /// I_1/2(2a, a)
    half_beta: f64,
}

impl GenNorm {
    fn new(beta: f64) -> Result<Self, InvalidParameter> {
        let beta = shape("beta", beta)?;
        let shape = 1.0 / beta;
        let ln_gamma = ln_gamma_1p(shape);
        let mean_distance = 0.5 * libm::exp(ln_gamma_1p(2.0 * shape) - ln_gamma);
        Ok(GenNorm { beta, shape, ln_gamma, mean_distance, half_beta: half_beta(shape) })
    }

    fn power(&self, z: f64) -> f64 {
        libm::pow(z.abs(), self.beta)
    }

    /// P and Q of `times` the shape at |z|^beta.
    fn masses(&self, times: f64, z: f64) -> IncompleteGamma {
        incomplete_gamma(times * self.shape, self.power(z), self.beta * libm::log(z.abs()))
    }
}

/// I_1/2(2a, a), from 1/B(2a, a) = (2a/3) Γ(1+3a) / (Γ(1+2a) Γ(1+a)).
fn half_beta(a: f64) -> f64 {
    let ln_ratio = ln_gamma_1p(3.0 * a) - ln_gamma_1p(2.0 * a) - ln_gamma_1p(a);
    let factor = 2.0 / 3.0 * a * libm::exp(ln_ratio - 3.0 * a * LN_2);
    factor / incomplete_beta_fraction(2.0 * a, a, 0.5, 0.5)
}

impl Standard for GenNorm {
    fn ln_pdf(&self, z: f64) -> f64 {
        -self.power(z) - LN_2 - self.ln_gamma
    }

    fn cdf(&self, z: f64) -> f64 {
        let masses = self.masses(1.0, z);
        if z < 0.0 { 0.5 * masses.upper } else { 0.5 + 0.5 * masses.lower }
    }

    fn sf(&self, z: f64) -> f64 {
        self.cdf(-z)
    }

    /// |z| P(a, |z|^beta) + m (I_1/2(2a, a) - P(2a, |z|^beta)) with a = 1/beta and m = E|Z|: z (2F(z) - 1) less
    /// 2 E[Z; Z ≤ z] and E|Z - Z'|/2 (Gneiting and Raftery 2007, eq. 21).
    fn crps(&self, z: f64) -> f64 {
        if self.mean_distance == f64::INFINITY {
            return f64::INFINITY;
        }
        let (mass, partial_mean) = (self.masses(1.0, z).lower, self.masses(2.0, z).lower);
        z.abs() * mass + self.mean_distance * (self.half_beta - partial_mean)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // Where |z|^beta = 30 + 3/beta the square of the tail, times z, is far below rounding.
        let furthest = libm::log2(30.0 + 3.0 * self.shape) * self.shape;
        let doublings = quadrature::doublings_to(furthest).max(6);
        for side in [-1.0, 1.0] {
            quadrature::shrinking_cuts(0.0, side, 1.0, 1.0 + self.beta, cuts);
            quadrature::geometric_cuts(side, self.shape.min(1.0), doublings, cuts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crps_keeps_its_digits_for_tiny_and_huge_shapes() {
        for (beta, z, truth) in [
            (0.02, 1.0, 2.7364403286018187e+88),
            (0.02, 1e+90, 9.710081533362656e+89),
            (0.1, 30000000000.0, 27002657792.172894),
            (0.5, 1.3, 1.3624760893356171),
            (1.0, 0.2, 0.2687307530779819),
            (2.0, 1.1, 0.7375230950266793),
            (30.0, 0.01, 0.16370899753012993),
            (300.0, 0.5, 0.2915874363934622),
            (300.0, 1.001, 0.6682958375643351),
            (1000000.0, 0.7, 0.41166671188189785),
            (1000000000.0, 0.999, 0.6656671668584949),
            (1000000000.0, 3.0, 2.6666666668590717),
        ] {
            let crps = GenNorm::new(beta).unwrap().crps(z);
            assert!((crps / truth - 1.0).abs() < 1e-11, "{beta} {z}: {crps:e} {truth:e}");
        }
    }

    #[test]
    fn a_crps_beyond_doubles_is_infinite() {
        let density = GenNorm::new(1e-3).unwrap();
        for z in [0.0, 1e-9, 1.0, 1e9] {
            assert_eq!(density.crps(z), f64::INFINITY, "{z}");
        }
    }
}
