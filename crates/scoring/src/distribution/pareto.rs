//! The Pareto distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::elementary::exprel;
use super::{InvalidParameter, shape};

pub(super) const FAMILY: Family = Family {
    name: "pareto",
    types: Types::BuiltinAndScipy,
    shapes: &["b"],
    build: |shapes, loc, scale| located(Pareto::new(shapes[0])?, loc, scale),
};

/// A Pareto distribution: the mass beyond `z` ≥ 1 is z^-b.
#[derive(Debug)]
struct Pareto {
    b: f64,
}

impl Pareto {
    fn new(b: f64) -> Result<Self, InvalidParameter> {
        Ok(Pareto { b: shape("b", b)? })
    }
}

impl Standard for Pareto {
    fn pdf(&self, z: f64) -> f64 {
        if z < 1.0 { 0.0 } else { self.b * libm::exp(-(self.b + 1.0) * libm::log(z)) }
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        if z < 1.0 { f64::NEG_INFINITY } else { libm::log(self.b) - (self.b + 1.0) * libm::log(z) }
    }

    fn cdf(&self, z: f64) -> f64 {
        -libm::expm1(-self.b * libm::log(z.max(1.0)))
    }

    fn sf(&self, z: f64) -> f64 {
        libm::exp(-self.b * libm::log(z.max(1.0)))
    }

    fn quantile(&self, p: f64) -> f64 {
        libm::exp(-libm::log1p(-p) / self.b)
    }

    /// |z - 1| + 1/(2b - 1) - 2 (z^(1-b) - 1)/(1 - b), the last term for z > 1 only, infinite for b ≤ 1/2. For b > 1 it is
    /// the generalised Pareto distribution of Friederichs and Thorarinsdottir (2012).
    fn crps(&self, z: f64) -> f64 {
        if self.b <= 0.5 {
            return f64::INFINITY;
        }
        let log = libm::log(z.max(1.0));
        (z - 1.0).abs() + 1.0 / (2.0 * self.b - 1.0) - 2.0 * log * exprel((1.0 - self.b) * log)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        cuts.push(1.0);
        let spread = (1.0 / self.b).min(1.0);
        cuts.extend((0..=50).map(|doublings| 1.0 + libm::scalbn(spread, doublings)));
    }

    fn tail_index(&self) -> Option<f64> {
        Some(self.b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pareto(b: f64) -> Pareto {
        Pareto::new(b).unwrap()
    }

    #[test]
    fn the_crps_is_smooth_through_the_removable_pole_at_one() {
        for z in [1.5_f64, 40.0, 1e9] {
            let at_one = z + 2.0 * (0.0 - z.ln());
            assert!((pareto(1.0).crps(z) / at_one - 1.0).abs() < 1e-14);
            for step in [1e-3, 1e-6, 1e-9, 1e-12] {
                let bend =
                    pareto(1.0 + step).crps(z) - 2.0 * pareto(1.0).crps(z) + pareto(1.0 - step).crps(z);
                let cube = z.ln().powi(3);
                assert!(bend.abs() < (10.0 + cube) * step * step + 1e-14 * z, "{z} {step}: {bend}");
            }
        }
    }

    #[test]
    fn the_crps_is_infinite_only_at_and_below_one_half() {
        assert_eq!(pareto(0.5).crps(3.0), f64::INFINITY);
        assert!(pareto(0.500_001).crps(3.0).is_finite());
    }

    #[test]
    fn the_crps_has_the_slope_of_twice_the_cdf_less_one() {
        for (b, z) in [(0.7, 3.0), (1.0, 1.2), (5.0, 1.1), (200.0, 1.003), (2.0, -4.0)] {
            let h = 1e-6;
            let slope = (pareto(b).crps(z + h) - pareto(b).crps(z - h)) / (2.0 * h);
            assert!((slope - (2.0 * pareto(b).cdf(z) - 1.0)).abs() < 1e-7, "{b} {z}: {slope}");
        }
    }

    #[test]
    fn quantiles_invert_the_cdf_and_the_log_density_is_the_density_s() {
        for b in [0.3, 1.0, 7.5, 900.0] {
            for p in [1e-12, 0.1, 0.5, 0.99] {
                let z = pareto(b).quantile(p);
                assert!((pareto(b).cdf(z) - p).abs() < 1e-13, "{b} {p}");
                assert!((pareto(b).ln_pdf(z) - pareto(b).pdf(z).ln()).abs() < 1e-12, "{b} {p}");
            }
        }
        assert_eq!((pareto(2.0).pdf(0.9), pareto(2.0).cdf(-1.0), pareto(2.0).sf(0.5)), (0.0, 0.0, 1.0));
        assert!(pareto(2.0).ln_pdf(1e200).is_finite());
    }
}
