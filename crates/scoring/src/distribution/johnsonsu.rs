//! Johnson's SU distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::erfcx::erfcx;
use super::special::normal;
use super::{InvalidParameter, finite, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "johnsonsu",
    types: Types::Scipy,
    shapes: &["a", "b"],
    build: |shapes, loc, scale| located(JohnsonSu::new(shapes[0], shapes[1])?, loc, scale),
};

/// A Johnson SU distribution: a + b asinh z is standard normal.
#[derive(Debug)]
struct JohnsonSu {
    a: f64,
    b: f64,
}

impl JohnsonSu {
    fn new(a: f64, b: f64) -> Result<Self, InvalidParameter> {
        Ok(JohnsonSu { a: finite("a", a)?, b: shape("b", b)? })
    }

    /// The normal variable at `z`.
    fn normal(&self, z: f64) -> f64 {
        self.a + self.b * libm::asinh(z)
    }

    /// e^(s²/2 ∓ as) · erfc((s ∓ t)/√2) with s = 1/b, the factors together so that neither overflows alone.
    fn shifted_tail(&self, sign: f64, t: f64) -> f64 {
        let s = 1.0 / self.b;
        let x = (s - sign * t) * FRAC_1_SQRT_2;
        if x > 0.0 {
            libm::exp(sign * s * (t - self.a) - 0.5 * t * t) * erfcx(x)
        } else {
            libm::exp(0.5 * s * s - sign * self.a * s) * libm::erfc(x)
        }
    }

    /// Where tails are heavy, with the errors of both means against each other taken out of the closed form: for
    /// s = 1/b, z(2Φ(t) - 1) + e^(s²/2)/2 · Σ e^(∓as) (erfc(s/2) - erfc((s ∓ t)/√2)).
    fn crps_of_heavy_tails(&self, z: f64, t: f64) -> f64 {
        let s = 1.0 / self.b;
        let side = |sign: f64| {
            libm::exp(0.25 * s * s - sign * self.a * s) * erfcx(0.5 * s) - self.shifted_tail(sign, t)
        };
        z * libm::erf(t * FRAC_1_SQRT_2) + 0.5 * (side(1.0) + side(-1.0))
    }

    /// The same by hyperbolic functions of as: for s = 1/b small nothing of the order of 1 is left to cancel at a = 0.
    fn crps_of_light_tails(&self, z: f64, t: f64) -> f64 {
        let s = 1.0 / self.b;
        let density = |t: f64| libm::exp(-0.5 * t * t) / (2.0 * PI).sqrt();
        let mass = 2.0 * s * quadrature::mean(t - s, t + s, density);
        let even = 2.0 * mass - 2.0 * libm::erf(0.5 * s);
        let odd = libm::erf((t + s) * FRAC_1_SQRT_2) + libm::erf((t - s) * FRAC_1_SQRT_2);
        let growth = 0.5 * libm::exp(0.5 * s * s);
        z * libm::erf(t * FRAC_1_SQRT_2)
            + growth * (libm::cosh(self.a * s) * even + libm::sinh(self.a * s) * odd)
    }
}

impl Standard for JohnsonSu {
    fn pdf(&self, z: f64) -> f64 {
        libm::exp(self.ln_pdf(z))
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        let t = self.normal(z);
        -0.5 * t * t + libm::log(self.b / (2.0 * PI).sqrt()) - libm::log(libm::hypot(1.0, z))
    }

    fn cdf(&self, z: f64) -> f64 {
        normal::sf(-self.normal(z))
    }

    fn sf(&self, z: f64) -> f64 {
        normal::sf(self.normal(z))
    }

    /// Own derivation, from the mean of a lognormal variable up to a point (as Baran and Lerch 2015 for the lognormal).
    /// Beyond the range of doubles, for b below about 0.02 or a beyond about 700 b, it is infinite; there the terms
    /// overflow against each other.
    fn crps(&self, z: f64) -> f64 {
        let t = self.normal(z);
        let crps = if self.b < 1.0 { self.crps_of_heavy_tails(z, t) } else { self.crps_of_light_tails(z, t) };
        if crps.is_nan() { f64::INFINITY } else { crps }
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        /// Where e^τ nears the range of doubles.
        const FURTHEST: f64 = 690.0;
        let half = 0.5 / self.b;
        // From here on S² times the distance, e^(t/b - t²), is below rounding.
        let end = (half + libm::sqrt(half * half + 40.0)) / self.b;
        let step = (1.0 / self.b).min(0.7);
        let median = (-self.a / self.b).clamp(-FURTHEST, FURTHEST);
        let steps = (end.min(2.0 * FURTHEST) / step).ceil() as i32;
        let around = (1..=steps).flat_map(|k| [-1.0, 1.0].map(|sign| median + sign * f64::from(k) * step));
        cuts.push(libm::sinh(median));
        cuts.extend(around.filter(|point| point.abs() <= FURTHEST).map(libm::sinh));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Distribution, Norm};
    use super::*;

    const SHAPES: [(f64, f64); 6] =
        [(0.0, 0.3), (1.2, 0.8), (-2.0, 0.999), (0.4, 1.0), (3.0, 2.5), (-40.0, 20.0)];

    fn johnson(a: f64, b: f64) -> JohnsonSu {
        JohnsonSu::new(a, b).unwrap()
    }

    #[test]
    fn its_transform_is_standard_normal() {
        let norm = Norm::new(0.0, 1.0).unwrap();
        for (a, b) in SHAPES {
            for t in [-9.0, -1.0, 0.3, 4.0] {
                let z = libm::sinh((t - a) / b);
                assert!((johnson(a, b).cdf(z) / norm.cdf(t) - 1.0).abs() < 1e-11, "{a} {b} {t}");
                assert!((johnson(a, b).sf(z) / norm.sf(t) - 1.0).abs() < 1e-11, "{a} {b} {t}");
            }
        }
    }

    #[test]
    fn the_two_forms_of_the_crps_agree_where_both_hold() {
        for (a, b) in [(0.0, 0.7), (1.0, 1.0), (-2.0, 1.5), (0.5, 4.0)] {
            let distribution = johnson(a, b);
            for z in [-30.0, -1.0, 0.0, 0.2, 5.0, 1e4] {
                let t = distribution.normal(z);
                let (heavy, light) =
                    (distribution.crps_of_heavy_tails(z, t), distribution.crps_of_light_tails(z, t));
                assert!((heavy / light - 1.0).abs() < 1e-12, "{a} {b} {z}: {heavy} {light}");
            }
        }
    }

    #[test]
    fn a_large_b_approaches_the_normal_distribution() {
        let norm = Norm::new(0.0, 1e-7).unwrap();
        for z in [0.0, 1e-7, -3e-7] {
            assert!((johnson(0.0, 1e7).crps(z) / norm.crps(z) - 1.0).abs() < 1e-8, "{z}");
        }
    }

    #[test]
    fn very_heavy_tails_neither_cancel_nor_overflow() {
        // At a = 0 and z = 0 it is e^(s²/2) (erfc(s/2) - erfc(s/√2)), for large s almost e^(s²/4) · 2/(s√π).
        for b in [0.1, 0.03, 0.021] {
            let s = 1.0 / b;
            let leading = libm::log(2.0 / (s * PI.sqrt())) + 0.25 * s * s;
            let crps = johnson(0.0, b).crps(0.0);
            assert!((libm::log(crps) - leading).abs() < 3.0 / (s * s), "{b}: {crps}");
        }
    }

    #[test]
    fn the_crps_has_the_slope_of_twice_the_cdf_less_one() {
        for (a, b) in SHAPES {
            let distribution = johnson(a, b);
            for z in [-50.0, -0.8, 0.1, 3.0] {
                let slope =
                    quadrature::mean(z - 1e-4, z + 1e-4, |z| distribution.cdf(z) - distribution.sf(z));
                let rise = (distribution.crps(z + 1e-4) - distribution.crps(z - 1e-4)) / 2e-4;
                assert!((slope - rise).abs() < 1e-9, "{a} {b} {z}: {rise} {slope}");
            }
        }
    }

    #[test]
    fn quantiles_invert_the_cdf_and_the_log_density_is_the_density_s() {
        for (a, b) in SHAPES {
            for p in [1e-9, 0.3, 0.5, 0.8] {
                let z = johnson(a, b).quantile(p);
                assert!((johnson(a, b).cdf(z) / p - 1.0).abs() < 1e-11, "{a} {b} {p}");
                assert!((johnson(a, b).ln_pdf(z) - johnson(a, b).pdf(z).ln()).abs() < 1e-12, "{a} {b} {p}");
            }
        }
        assert_eq!(johnson(0.0, 20.0).pdf(50.0), 0.0);
        assert!(johnson(0.0, 20.0).ln_pdf(50.0).is_finite());
    }
}
