//! The normal distribution.

use std::f64::consts::PI;

use super::family::{Family, Types};
use super::special::{FRAC_1_SQRT_PI, normal};
use super::{Density, Distribution, InvalidParameter, finite, positive, quadrature, quantile};
use crate::Grid;
use crate::vectors::{Kernel, Vectors};

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
    #[inline]
    pub fn new(loc: f64, scale: f64) -> Result<Self, InvalidParameter> {
        Ok(Norm { loc: finite("loc", loc)?, scale: positive("scale", scale)? })
    }

    /// ∫ (F - G)² for two normals (Grimit et al. 2006, eq. 1, for the mixture of the two).
    pub(super) fn squared_distance(&self, other: &Norm) -> f64 {
        let both = root_of_squares(self.scale, other.scale);
        normal::mean_distance(self.loc - other.loc, both) - (self.scale + other.scale) * FRAC_1_SQRT_PI
    }

    #[inline(always)]
    fn standardised(&self, x: f64) -> f64 {
        (x - self.loc) / self.scale
    }
}

/// E|X - x| - E|X - X'|/2 (Gneiting et al. 2005, eq. 5), for any scale above zero.
#[inline(always)]
pub(crate) fn crps(x: f64, loc: f64, scale: f64) -> f64 {
    normal::mean_distance(x - loc, scale) - scale * FRAC_1_SQRT_PI
}

/// √(a² + b²) of two scales, also where the squares leave the range of doubles.
fn root_of_squares(a: f64, b: f64) -> f64 {
    let sum = a * a + b * b;
    if sum.is_normal() {
        return sum.sqrt();
    }
    let (greater, smaller) = if a > b { (a, b) } else { (b, a) };
    let ratio = smaller / greater;
    greater * (1.0 + ratio * ratio).sqrt()
}

/// Adds the weighted density at each point.
struct AddPdf<'a> {
    norm: Norm,
    weight: f64,
    points: &'a [f64],
    sums: &'a mut [f64],
}

impl Kernel for AddPdf<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let factor = (self.weight / self.norm.scale).min(f64::MAX);
        for (sum, &point) in self.sums.iter_mut().zip(self.points) {
            *sum += factor * normal::pdf(self.norm.standardised(point));
        }
    }
}

/// In scales: e^(-9²/2) = 3e-18 is lost in the rounding of any sum with 1.
const NEGLIGIBLE_FROM: f64 = 9.0;

impl Distribution for Norm {
    fn pdf(&self, x: f64) -> f64 {
        normal::pdf(self.standardised(x)) / self.scale
    }

    fn ln_pdf(&self, x: f64) -> f64 {
        let z = self.standardised(x);
        -0.5 * z * z - 0.5 * libm::log(2.0 * PI) - libm::log(self.scale)
    }

    fn cdf(&self, x: f64) -> f64 {
        normal::sf(-self.standardised(x))
    }

    fn sf(&self, x: f64) -> f64 {
        normal::sf(self.standardised(x))
    }

    fn quantile(&self, p: f64) -> f64 {
        let cdf = |z: f64| normal::sf(-z);
        self.loc + self.scale * quantile::search(p, (f64::NEG_INFINITY, f64::INFINITY), cdf, normal::sf)
    }

    fn crps(&self, x: f64) -> f64 {
        crps(x, self.loc, self.scale)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(self.loc, self.scale, 6, cuts);
    }

    fn add_pdf(&self, weight: f64, points: &[f64], sums: &mut [f64]) {
        Vectors::widest().run(AddPdf { norm: *self, weight, points, sums });
    }

    /// Next to a point at z₀ scales from the centre, one at √(z₀² + 9²) or further out counts 3e-18 times as much.
    fn bulk_on(&self, grid: &Grid) -> (f64, f64) {
        let outside = (grid.first() - self.loc).max(self.loc - grid.last()).max(0.0);
        let reach = outside + grid.spacing() + NEGLIGIBLE_FROM * self.scale;
        (self.loc - reach, self.loc + reach)
    }
}
