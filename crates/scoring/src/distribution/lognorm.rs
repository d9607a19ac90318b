//! The log-normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, LOG2_E, PI};

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::special::erfcx::erfcx;
use super::special::normal;
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "lognorm",
    types: Types::BuiltinAndScipy,
    shapes: &["s"],
    build: |shapes, loc, scale| located_from(LogNorm::new(shapes[0])?, loc, scale),
};

/// A log-normal distribution: ln z is normal with the standard deviation `s`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LogNorm {
    s: f64,
}

impl LogNorm {
    fn new(s: f64) -> Result<Self, InvalidParameter> {
        Ok(LogNorm { s: shape("s", s)? })
    }

    /// ln z in standard deviations.
    fn score(&self, z: f64) -> f64 {
        libm::log(z) / self.s
    }

    /// e^(s²/2) (erfc(s/2) - 2Φ(w - s)): the mean above z less that below it and less E|Z - Z'|/2. With erf for a small
    /// s, where the two are next to 1, and with scaled functions for a large one, where the exponential overflows.
    fn excess(&self, z: f64, w: f64) -> f64 {
        let s = self.s;
        let beyond = (s - w) * FRAC_1_SQRT_2;
        if s <= 1.0 {
            return libm::exp(0.5 * s * s) * (libm::erf(beyond) - libm::erf(0.5 * s));
        }
        let below = if w < s {
            z * libm::exp(-0.5 * w * w) * erfcx(beyond)
        } else {
            libm::exp(0.5 * s * s) * libm::erfc(beyond)
        };
        libm::exp(0.25 * s * s) * erfcx(0.5 * s) - below
    }
}

impl HalfLine for LogNorm {
    fn ln_pdf(&self, z: f64) -> f64 {
        if z == 0.0 {
            return f64::NEG_INFINITY;
        }
        let w = self.score(z);
        -0.5 * w * w - libm::log(z) - libm::log(self.s * (2.0 * PI).sqrt())
    }

    fn cdf(&self, z: f64) -> f64 {
        normal::sf(-self.score(z))
    }

    fn sf(&self, z: f64) -> f64 {
        normal::sf(self.score(z))
    }

    /// z erf(w/√2) + e^(s²/2) (erfc(s/2) - 2Φ(w - s)) with w = ln z / s (Baran and Lerch 2015).
    fn crps(&self, z: f64) -> f64 {
        let w = self.score(z);
        z * libm::erf(w * FRAC_1_SQRT_2) + self.excess(z, w)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // In the tail z S(z)² falls as e^(s w - w²), from its peak at w = s/2 to e^-45 of it here.
        let furthest = 0.5 * self.s + (0.25 * self.s * self.s + 45.0).sqrt();
        let spread = self.s.min(1.0);
        let doublings = quadrature::doublings_to(self.s * furthest * LOG2_E - libm::log2(spread));
        quadrature::geometric_cuts(1.0, spread, doublings, cuts);
        quadrature::shrinking_cuts(0.0, 1.0, 1.0, 0.0, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crps_keeps_its_digits_for_tiny_and_huge_shapes() {
        for (s, z, truth) in [
            (1e-05, 1.0, 2.3369497725819736e-06),
            (1e-05, 1.00003, 2.4365698715253195e-05),
            (0.001, 0.999, 0.0006025407990483488),
            (0.5, 1.2, 0.15043420794907517),
            (1.0, 0.3, 0.5137589528012998),
            (1.0000001, 0.3, 0.5137589664714772),
            (1.0000001, 20.0, 17.51414216700239),
            (6.5, 1e-08, 6430.133909907113),
            (8.5, 1.0, 9040545.633955339),
            (8.5, 1e+40, 1e+40),
            (20.0, 1e+100, 1e+100),
            (38.0, 2.0, 1.7880513323049236e+155),
            (45.0, 1e-05, 1.8213614077552727e+218),
        ] {
            let crps = LogNorm::new(s).unwrap().crps(z);
            assert!((crps / truth - 1.0).abs() < 1e-11, "{s} {z}: {crps:e} {truth:e}");
        }
    }

    #[test]
    fn a_crps_beyond_doubles_is_infinite() {
        let density = LogNorm::new(100.0).unwrap();
        for z in [0.0, 1e-9, 1.0, 1e9] {
            assert_eq!(density.crps(z), f64::INFINITY, "{z}");
        }
    }
}
