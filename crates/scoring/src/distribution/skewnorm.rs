//! The skew normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::FRAC_1_SQRT_PI;
use super::special::erfcx::ln_normal_tail;
use super::special::normal;
use super::special::owens_t::{owens_t, owens_t_complement};
use super::{InvalidParameter, finite, quadrature};

pub(super) const FAMILY: Family = Family {
    name: "skewnorm",
    types: Types::Scipy,
    shapes: &["a"],
    build: |shapes, loc, scale| located(SkewNorm::new(shapes[0])?, loc, scale),
};

/// A skew normal distribution, with density 2φ(z)Φ(az) (Azzalini 1985).
#[derive(Debug)]
struct SkewNorm {
    a: f64,
    mean: f64,
    half_gini: f64,
}

impl SkewNorm {
    fn new(a: f64) -> Result<Self, InvalidParameter> {
        let a = finite("a", a)?;
        let mean = (2.0 / PI).sqrt() * (a / libm::hypot(1.0, a));
        // asin(a²/(2 + a²)), where a² may overflow
        let angle = libm::atan(0.5 * a * (a / libm::hypot(1.0, a)));
        let half_gini =
            FRAC_1_SQRT_PI * (1.0 + 2.0 / PI * angle) - 2.0 / PI * mean * libm::atan(a * FRAC_1_SQRT_2);
        Ok(SkewNorm { a, mean, half_gini })
    }

    /// The mass below `z` for skewness `a` ≥ 0: Φ(z) - 2T(z, a), in forms without differences that cancel.
    fn mass_below(z: f64, a: f64) -> f64 {
        if z < 0.0 {
            2.0 * owens_t_complement(-z, a)
        } else if a < 1.0 {
            normal::sf(-z) - 2.0 * owens_t(z, a)
        } else {
            normal::sf(-a * z) * libm::erf(z * FRAC_1_SQRT_2) + 2.0 * owens_t(a * z, 1.0 / a)
        }
    }

    /// The mass above `z` for skewness `a` ≥ 0.
    fn mass_above(z: f64, a: f64) -> f64 {
        if z < 0.0 { 1.0 - Self::mass_below(z, a) } else { normal::sf(z) + 2.0 * owens_t(z, a) }
    }
}

impl Standard for SkewNorm {
    fn pdf(&self, z: f64) -> f64 {
        2.0 / (2.0 * PI).sqrt() * libm::exp(-0.5 * z * z) * normal::sf(-self.a * z)
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        0.5 * libm::log(2.0 / PI) - 0.5 * z * z + ln_normal_tail(-self.a * z)
    }

    fn cdf(&self, z: f64) -> f64 {
        if self.a < 0.0 { Self::mass_above(-z, -self.a) } else { Self::mass_below(z, self.a) }
    }

    fn sf(&self, z: f64) -> f64 {
        if self.a < 0.0 { Self::mass_below(-z, -self.a) } else { Self::mass_above(z, self.a) }
    }

    /// z(2F(z) - 1) + 2f(z) - m erf(z √((1 + a²)/2)) less half Gini's mean difference, m the mean; own derivation.
    fn crps(&self, z: f64) -> f64 {
        let steep = z * (libm::hypot(1.0, self.a) * FRAC_1_SQRT_2);
        z * (self.cdf(z) - self.sf(z)) + 2.0 * self.pdf(z) - self.mean * libm::erf(steep) - self.half_gini
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // Around 0 the density changes as steeply as Φ(az); from 64 on nothing is left.
        let doublings = libm::log2(libm::hypot(1.0, self.a)).ceil().min(50.0) as i32;
        quadrature::geometric_cuts(0.0, libm::scalbn(1.0, -doublings), 6 + doublings as u32, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Distribution, Norm};
    use super::*;

    const SKEWS: [f64; 8] = [0.0, 0.3, -1.0, 2.0, -15.0, 1e3, -1e7, 1e200];

    fn skew(a: f64) -> SkewNorm {
        SkewNorm::new(a).unwrap()
    }

    fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
        ours == theirs || (ours - theirs).abs() <= tolerance * theirs.abs()
    }

    #[test]
    fn no_skewness_is_the_normal_distribution() {
        let norm = Norm::new(0.0, 1.0).unwrap();
        for z in [0.0, -0.4, 1.0, -7.0, 20.0] {
            assert!(close(skew(0.0).pdf(z), norm.pdf(z), 1e-14), "{z}");
            assert!(close(skew(0.0).ln_pdf(z), norm.ln_pdf(z), 1e-14), "{z}");
            assert!(close(skew(0.0).cdf(z), norm.cdf(z), 1e-13), "{z}");
            assert!(close(skew(0.0).sf(z), norm.sf(z), 1e-13), "{z}");
            assert!(close(skew(0.0).crps(z), norm.crps(z), 1e-14), "{z}");
        }
    }

    #[test]
    fn boundless_skewness_is_the_half_normal_distribution() {
        for z in [0.3, 1.0, 6.0] {
            assert!(close(skew(1e200).cdf(z), libm::erf(z * FRAC_1_SQRT_2), 1e-14), "{z}");
            assert!(close(skew(1e200).sf(z), 2.0 * normal::sf(z), 1e-13), "{z}");
            assert_eq!((skew(1e200).cdf(-z), skew(1e200).pdf(-z)), (0.0, 0.0));
        }
    }

    #[test]
    fn the_mirror_image_has_the_opposite_skewness() {
        for a in SKEWS {
            for z in [-3.0, -1e-3, -0.0, 0.0, 0.4, 2.0] {
                assert_eq!(skew(a).cdf(z), skew(-a).sf(-z), "{a} {z}");
                assert_eq!(skew(a).pdf(z), skew(-a).pdf(-z), "{a} {z}");
                assert!(close(skew(a).crps(z), skew(-a).crps(-z), 1e-14), "{a} {z}");
            }
        }
    }

    #[test]
    fn unit_skewness_is_the_larger_of_two_normal_variables() {
        for z in [-15.0, -2.0, -0.3, 0.0, 1.0, 9.0] {
            let below = normal::sf(-z);
            assert!(close(skew(1.0).cdf(z), below * below, 2e-13), "{z}");
            assert!(close(skew(1.0).sf(z), normal::sf(z) * (1.0 + below), 1e-13), "{z}");
        }
    }

    #[test]
    fn the_light_tail_is_the_integral_of_the_density_to_its_last_digits() {
        for (a, z) in
            [(2.0, -0.4), (2.0, -6.0), (0.2, -4.9), (0.2, -5.1), (30.0, -0.03), (30.0, -0.04), (30.0, -1.0)]
        {
            let rate = z * z * (1.0 + a * a) / -z + 1.0;
            let panels = |k: u32| {
                let (from, to) = (z - f64::from(k) / rate, z - f64::from(k + 1) / rate);
                quadrature::mean(from, to, |z| skew(a).pdf(z)) / rate
            };
            let integral: f64 = (0..400).map(panels).sum();
            assert!(close(skew(a).cdf(z), integral, 1e-12), "{a} {z}: {:e} {integral:e}", skew(a).cdf(z));
        }
    }

    #[test]
    fn the_crps_has_the_slope_of_twice_the_cdf_less_one() {
        for a in [0.0, 0.7, -3.0, 40.0] {
            let distribution = skew(a);
            for z in [-4.0, -0.2, 0.01, 1.5] {
                let slope =
                    quadrature::mean(z - 1e-4, z + 1e-4, |z| distribution.cdf(z) - distribution.sf(z));
                let rise = (distribution.crps(z + 1e-4) - distribution.crps(z - 1e-4)) / 2e-4;
                assert!((slope - rise).abs() < 1e-11, "{a} {z}: {rise} {slope}");
            }
        }
    }

    #[test]
    fn the_crps_is_the_integral_that_defines_it() {
        for a in [0.0, -1.4, 6.0] {
            let square = |z: f64| skew(a).sf(z) * skew(a).sf(z);
            let integral: f64 = (0..120)
                .map(|k| 0.1 * f64::from(k))
                .map(|z| 0.1 * quadrature::mean(z, z + 0.1, square))
                .sum();
            let other: f64 = (0..120)
                .map(|k| 0.1 * f64::from(k))
                .map(|z| 0.1 * quadrature::mean(-z - 0.1, -z, |z| skew(a).cdf(z).powi(2)))
                .sum();
            assert!(close(skew(a).crps(0.0), integral + other, 1e-12), "{a}");
        }
    }

    #[test]
    fn quantiles_invert_the_cdf_and_the_log_density_is_the_density_s() {
        for a in SKEWS {
            for p in [1e-9, 0.3, 0.5, 0.8] {
                let z = skew(a).quantile(p);
                assert!(close(skew(a).cdf(z), p, 1e-9), "{a} {p}");
                assert!((skew(a).ln_pdf(z) - skew(a).pdf(z).ln()).abs() < 1e-12, "{a} {p}");
            }
        }
        assert_eq!(skew(5.0).pdf(-20.0), 0.0);
        assert!(close(skew(5.0).ln_pdf(-20.0), -5205.6, 1e-3));
    }
}
