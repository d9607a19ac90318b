//! The Laplace distribution.

use super::{Density, Distribution, Family, InvalidParameter, finite, positive, quadrature, scaled_crps};

pub(super) const FAMILY: Family = Family {
    name: "laplace",
    shapes: &[],
    build: |_, loc, scale| Laplace::new(loc, scale).map(Density::Laplace),
};

/// A Laplace (double exponential) distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Laplace {
    loc: f64,
    scale: f64,
}

impl Laplace {
    /// With mean `loc` and mean absolute deviation `scale` above zero.
    pub fn new(loc: f64, scale: f64) -> Result<Self, InvalidParameter> {
        Ok(Laplace { loc: finite("loc", loc)?, scale: positive("scale", scale)? })
    }
}

/// |z| + e^-|z| - 3/4 (Jordan, Krüger and Lerch 2019, appendix A).
fn standard_crps(z: f64) -> f64 {
    z.abs() + libm::exp(-z.abs()) - 0.75
}

fn standard_cdf(z: f64) -> f64 {
    if z < 0.0 { 0.5 * libm::exp(z) } else { 1.0 - 0.5 * libm::exp(-z) }
}

impl Distribution for Laplace {
    fn pdf(&self, x: f64) -> f64 {
        0.5 * libm::exp(-((x - self.loc) / self.scale).abs()) / self.scale
    }

    fn cdf(&self, x: f64) -> f64 {
        standard_cdf((x - self.loc) / self.scale)
    }

    fn sf(&self, x: f64) -> f64 {
        standard_cdf((self.loc - x) / self.scale)
    }

    fn crps(&self, x: f64) -> f64 {
        scaled_crps(x, self.loc, self.scale, standard_crps)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(self.loc, self.scale, 10, cuts);
    }
}
