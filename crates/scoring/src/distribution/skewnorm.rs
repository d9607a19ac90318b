//! The skew normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::FRAC_1_SQRT_PI;
use super::special::erfcx::{ln_normal_tail, normal_tail};
use super::special::owens_t::{owens_t, owens_t_complement};
use super::{InvalidParameter, finite, quadrature, quantile};

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
        let half_gini = FRAC_1_SQRT_PI * (1.0 + 2.0 / PI * angle)
            - 2.0 / PI * mean * libm::atan(a * FRAC_1_SQRT_2);
        Ok(SkewNorm { a, mean, half_gini })
    }

    /// The mass below `z` for skewness `a` ≥ 0: Φ(z) - 2T(z, a), in forms without differences that cancel.
    fn mass_below(z: f64, a: f64) -> f64 {
        if z < 0.0 {
            2.0 * owens_t_complement(-z, a)
        } else if a < 1.0 {
            normal_tail(-z) - 2.0 * owens_t(z, a)
        } else {
            normal_tail(-a * z) * libm::erf(z * FRAC_1_SQRT_2) + 2.0 * owens_t(a * z, 1.0 / a)
        }
    }

    /// The mass above `z` for skewness `a` ≥ 0.
    fn mass_above(z: f64, a: f64) -> f64 {
        if z < 0.0 { 1.0 - Self::mass_below(z, a) } else { normal_tail(z) + 2.0 * owens_t(z, a) }
    }
}

impl Standard for SkewNorm {
    fn pdf(&self, z: f64) -> f64 {
        2.0 / (2.0 * PI).sqrt() * libm::exp(-0.5 * z * z) * normal_tail(-self.a * z)
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

    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (f64::NEG_INFINITY, f64::INFINITY), |z| self.cdf(z), |z| self.sf(z))
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
    use super::*;

}
