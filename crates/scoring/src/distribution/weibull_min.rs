//! The Weibull distribution of minima.

use std::f64::consts::LN_2;

use super::family::{Family, Types};
use super::half_line::{FromZero, HalfLine, ln_power};
use super::location_scale::located;
use super::special::gamma::ln_gamma_1p;
use super::special::incomplete_gamma::incomplete_gamma;
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "weibull_min",
    types: Types::BuiltinAndScipy,
    shapes: &["c"],
    build: |shapes, loc, scale| located(weibull(shapes[0])?, loc, scale),
};

/// The standard form with the shape `c`.
pub(super) fn weibull(c: f64) -> Result<FromZero<Weibull>, InvalidParameter> {
    let c = shape("c", c)?;
    let crps_at_zero = libm::exp(ln_gamma_1p(1.0 / c) - LN_2 / c);
    Ok(FromZero(Weibull { c, crps_at_zero }))
}

/// A Weibull distribution: z^c is exponential.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weibull {
    c: f64,
    /// Γ(1 + 1/c) / 2^(1/c)
    crps_at_zero: f64,
}

impl HalfLine for Weibull {
    fn ln_pdf(&self, z: f64) -> f64 {
        libm::log(self.c) + ln_power(z, self.c - 1.0) - libm::pow(z, self.c)
    }

    fn cdf(&self, z: f64) -> f64 {
        -libm::expm1(-libm::pow(z, self.c))
    }

    fn sf(&self, z: f64) -> f64 {
        libm::exp(-libm::pow(z, self.c))
    }

    fn quantile(&self, p: f64) -> f64 {
        libm::pow(-libm::log1p(-p), 1.0 / self.c)
    }

    /// z (1 - 2e^-y) + Γ(1 + 1/c) (2^(-1/c) - 2P(1 + 1/c, y)) with y = z^c: z (2F(z) - 1) + m less 2 E[Z; Z ≤ z]
    /// and E|Z - Z'|/2 (Gneiting and Raftery 2007, eq. 21), where the lesser of two is again a Weibull variable. Its terms
    /// are of the size of z and the CRPS of that of 1/c: it is good to about 1e-16 c.
    fn crps(&self, z: f64) -> f64 {
        if self.crps_at_zero == f64::INFINITY {
            return f64::INFINITY;
        }
        let below = incomplete_gamma(1.0 + 1.0 / self.c, libm::pow(z, self.c), self.c * libm::log(z)).lower;
        let partial_mean = self.crps_at_zero * libm::exp2(1.0 / self.c) * below;
        z * (1.0 - 2.0 * self.sf(z)) + self.crps_at_zero - 2.0 * partial_mean
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // Where z^c = 25 + 1/c the square of the tail, times z, is far below rounding.
        let furthest = libm::log2(25.0 + 1.0 / self.c) / self.c;
        let doublings = quadrature::doublings_to(furthest).max(6);
        quadrature::geometric_cuts(1.0, (1.0 / self.c).min(1.0), doublings, cuts);
        quadrature::shrinking_cuts(0.0, 1.0, 1.0, self.c, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crps_beyond_doubles_is_infinite() {
        let density = weibull(1e-3).unwrap().0;
        for z in [0.0, 1e-9, 1.0, 1e9] {
            assert_eq!(density.crps(z), f64::INFINITY, "{z}");
        }
    }
}
