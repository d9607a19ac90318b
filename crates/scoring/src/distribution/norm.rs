//! The normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::family::{Family, Types};
use super::location_scale::scaled_crps;
use super::special::FRAC_1_SQRT_PI;
use super::{Density, Distribution, InvalidParameter, finite, positive, quadrature, quantile};

pub(super) const FAMILY: Family = Family {
    name: "norm",
    types: Types::BuiltinAndScipy,
    shapes: &[],
    build: |_, loc, scale| Norm::new(loc, scale).map(Density::Norm),
};

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    loc: f64,
    scale: f64,
}

impl Norm {
    /// With mean `loc` and standard deviation `scale` above zero.
    pub fn new(loc: f64, scale: f64) -> Result<Self, InvalidParameter> {
        Ok(Norm { loc: finite("loc", loc)?, scale: positive("scale", scale)? })
    }

    /// ∫ (F - G)² for two normals (Grimit et al. 2006, eq. 1, for the mixture of the two).
    pub(super) fn squared_distance(&self, other: &Norm) -> f64 {
        let both = libm::hypot(self.scale, other.scale);
        let mean_distance = scaled_crps(self.loc, other.loc, both, standard_crps) + both * FRAC_1_SQRT_PI;
        mean_distance - (self.scale + other.scale) * FRAC_1_SQRT_PI
    }
}

/// z erf(z/√2) + 2φ(z) - 1/√π (Gneiting et al. 2005, eq. 5).
fn standard_crps(z: f64) -> f64 {
    z * libm::erf(z * FRAC_1_SQRT_2) + 2.0 * standard_pdf(z) - FRAC_1_SQRT_PI
}

fn standard_pdf(z: f64) -> f64 {
    libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt()
}

impl Distribution for Norm {
    fn pdf(&self, x: f64) -> f64 {
        standard_pdf((x - self.loc) / self.scale) / self.scale
    }

    fn ln_pdf(&self, x: f64) -> f64 {
        let z = (x - self.loc) / self.scale;
        -0.5 * z * z - 0.5 * libm::log(2.0 * PI) - libm::log(self.scale)
    }

    fn cdf(&self, x: f64) -> f64 {
        0.5 * libm::erfc((self.loc - x) / self.scale * FRAC_1_SQRT_2)
    }

    fn sf(&self, x: f64) -> f64 {
        0.5 * libm::erfc((x - self.loc) / self.scale * FRAC_1_SQRT_2)
    }

    fn quantile(&self, p: f64) -> f64 {
        let cdf = |z: f64| 0.5 * libm::erfc(-z * FRAC_1_SQRT_2);
        self.loc + self.scale * quantile::search(p, (f64::NEG_INFINITY, f64::INFINITY), cdf, |z| cdf(-z))
    }

    fn crps(&self, x: f64) -> f64 {
        scaled_crps(x, self.loc, self.scale, standard_crps)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(self.loc, self.scale, 6, cuts);
    }
}
