//! The chi distribution.

use std::cmp::Ordering;
use std::f64::consts::{LN_2, PI, SQRT_2};

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::special::FRAC_1_SQRT_PI;
use super::special::gamma::gamma_half_step;
use super::special::incomplete_beta::incomplete_beta_fraction;
use super::special::incomplete_gamma::{IncompleteGamma, incomplete_gamma, ln_kernel};
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "chi",
    types: Types::BuiltinAndScipy,
    shapes: &["df"],
    build: |shapes, loc, scale| located_from(Chi::new(shapes[0])?, loc, scale),
};

/// A chi distribution: the root of a chi-squared variable.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Chi {
    df: f64,
    mean: f64,
    crps_at_zero: f64,
}

impl Chi {
    /// With `df` degrees of freedom.
    fn new(df: f64) -> Result<Self, InvalidParameter> {
        let df = shape("df", df)?;
        let mean = SQRT_2 * gamma_half_step(0.5 * df);
        Ok(Chi { df, mean, crps_at_zero: 2.0 * mean * half_beta(df) })
    }

    /// P and Q of shape (df + `more`)/2 at z²/2.
    fn masses(&self, more: f64, z: f64) -> IncompleteGamma {
        incomplete_gamma(0.5 * self.df + 0.5 * more, 0.5 * z * z, 2.0 * libm::log(z) - LN_2)
    }
}

/// I_1/2((k+1)/2, k/2). By Legendre's duplication formula 2^(k+1/2) B((k+1)/2, k/2) = 2√(2π) Γ(k)/Γ(k + 1/2).
fn half_beta(df: f64) -> f64 {
    /// From here on the continued fraction is slow, and the integral smooth.
    const LARGE: f64 = 100.0;
    if df >= LARGE {
        return 0.5 - 0.5 * half_beta_deficit(df);
    }
    let fraction = incomplete_beta_fraction(0.5 * df + 0.5, 0.5 * df, 0.5, 0.5);
    gamma_half_step(df) * FRAC_1_SQRT_PI * (0.5 / SQRT_2) / fraction
}

/// 1 - 2 I_1/2((k+1)/2, k/2) = ∫ cos^(k-1)θ sin(θ/2) dθ / ∫ cos^(k-1)θ cos(θ/2) dθ over θ from 0 to π/2: the integral of
/// the beta function with t = (1 - sin θ)/2, its two halves taken together.
fn half_beta_deficit(df: f64) -> f64 {
    let end = (10.0 / df.sqrt()).min(0.5 * PI);
    let (mut odd, mut even) = (0.0, 0.0);
    for panel in [(0.0, 0.5 * end), (0.5 * end, end)] {
        quadrature::for_each_node(panel.0, panel.1, |theta, weight| {
            let sine = libm::sin(theta);
            let mass = weight * libm::exp(0.5 * (df - 1.0) * libm::log1p(-sine * sine));
            odd += mass * libm::sin(0.5 * theta);
            even += mass * libm::cos(0.5 * theta);
        });
    }
    odd / even
}

impl HalfLine for Chi {
    fn ln_pdf(&self, z: f64) -> f64 {
        if z == 0.0 {
            return match self.df.total_cmp(&1.0) {
                Ordering::Less => f64::INFINITY,
                Ordering::Equal => 0.5 * libm::log(2.0 / PI),
                Ordering::Greater => f64::NEG_INFINITY,
            };
        }
        let ln_z = libm::log(z);
        ln_kernel(0.5 * self.df, 0.5 * z * z, 2.0 * ln_z - LN_2) + libm::log(self.df) - ln_z
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(0.0, z).lower
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(0.0, z).upper
    }

    /// z (2P(k/2, z²/2) - 1) + 2m (I_1/2((k+1)/2, k/2) - P((k+1)/2, z²/2)) with the mean m: z (2F(z) - 1) + m less
    /// 2 E[Z; Z ≤ z] and E|Z - Z'|/2 (Gneiting and Raftery 2007, eq. 21).
    fn crps(&self, z: f64) -> f64 {
        let below = self.masses(1.0, z).lower;
        z * self.masses(0.0, z).difference() - 2.0 * self.mean * below + self.crps_at_zero
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let median = (self.df - 2.0 / 3.0).max(0.0).sqrt();
        quadrature::geometric_cuts(median, 1.0, 4, cuts);
        let extent = median.max(1.0);
        quadrature::shrinking_cuts(0.0, extent, extent, self.df, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beta_function_at_one_half_agrees_with_mpmath_on_both_sides_of_the_switch() {
        for (df, truth) in [
            (1e-09, 8.813735852407024e-10),
            (0.001, 0.0008795983227610307),
            (0.5, 0.21945007383040993),
            (1.0, 0.2928932188134525),
            (2.0, 0.3535533905932738),
            (7.3, 0.42503709609580803),
            (40.0, 0.46836400791841654),
            (99.5, 0.47997788319069085),
            (100.0, 0.4800281247586662),
            (300.0, 0.4884787408446987),
            (10000.0, 0.49800526366581466),
            (100000000.0, 0.499980052885955),
            (100000000000000.0, 0.499999980052886),
        ] {
            assert!((half_beta(df) / truth - 1.0).abs() < 3e-15, "{df}: {:e} {truth:e}", half_beta(df));
        }
    }
}
