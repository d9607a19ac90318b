//! The uniform distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};

pub(super) const FAMILY: Family = Family {
    name: "uniform",
    types: Types::Scipy,
    shapes: &[],
    build: |_, loc, scale| located(Uniform, loc, scale),
};

/// A uniform distribution from `loc` to `loc + scale`.
#[derive(Debug)]
struct Uniform;

impl Standard for Uniform {
    fn pdf(&self, z: f64) -> f64 {
        if (0.0..=1.0).contains(&z) { 1.0 } else { 0.0 }
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        libm::log(self.pdf(z))
    }

    fn cdf(&self, z: f64) -> f64 {
        z.clamp(0.0, 1.0)
    }

    fn sf(&self, z: f64) -> f64 {
        (1.0 - z).clamp(0.0, 1.0)
    }

    fn quantile(&self, p: f64) -> f64 {
        p
    }

    /// z² - z + 1/3 inside, and as much more outside as it is away (Jordan, Krüger and Lerch 2019, appendix A).
    fn crps(&self, z: f64) -> f64 {
        let inside = z.clamp(0.0, 1.0);
        (z - inside).abs() + inside * (inside - 1.0) + 1.0 / 3.0
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        cuts.extend([0.5, 0.0, 1.0]);
    }
}
