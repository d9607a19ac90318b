//! The Cauchy distribution.

use std::f64::consts::{LN_2, PI};

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::quadrature;

pub(super) const FAMILY: Family = Family {
    name: "cauchy",
    types: Types::BuiltinAndScipy,
    shapes: &[],
    build: |_, loc, scale| located(Cauchy, loc, scale),
};

/// A Cauchy distribution; `scale` is half the distance between its quartiles.
#[derive(Debug)]
struct Cauchy;

/// ln(1 + z²), where z² may overflow.
fn log_term(z: f64) -> f64 {
    if z.abs() < 1e8 { libm::log1p(z * z) } else { 2.0 * libm::log(z.abs()) }
}

impl Standard for Cauchy {
    fn pdf(&self, z: f64) -> f64 {
        let distance = libm::hypot(1.0, z);
        1.0 / PI / distance / distance
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        -libm::log(PI) - log_term(z)
    }

    fn cdf(&self, z: f64) -> f64 {
        libm::atan2(1.0, -z) / PI
    }

    fn sf(&self, z: f64) -> f64 {
        self.cdf(-z)
    }

    fn quantile(&self, p: f64) -> f64 {
        if p < 0.25 {
            -1.0 / libm::tan(PI * p)
        } else if p <= 0.75 {
            libm::tan(PI * (p - 0.5))
        } else {
            1.0 / libm::tan(PI * (1.0 - p))
        }
    }

    /// (2/π)(z atan z + ln 2) - ln(1 + z²)/π: the limit of Student's t (Jordan, Krüger and Lerch 2019, appendix A) at one
    /// degree of freedom.
    fn crps(&self, z: f64) -> f64 {
        2.0 / PI * (z * libm::atan(z) + LN_2) - log_term(z) / PI
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        quadrature::geometric_cuts(0.0, 1.0, 50, cuts);
    }

    fn tail_index(&self) -> Option<f64> {
        Some(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Distribution;
    use super::super::student_t;
    use super::*;

    #[test]
    fn it_is_student_t_with_one_degree_of_freedom() {
        let t = (student_t::FAMILY.build)(&[1.0], 0.0, 1.0).unwrap();
        for z in [0.0, 0.3, -1.0, 2.5, -40.0, 1e6, -1e12] {
            for (name, ours, theirs) in [
                ("pdf", Cauchy.pdf(z), t.pdf(z)),
                ("ln_pdf", Cauchy.ln_pdf(z), t.ln_pdf(z)),
                ("cdf", Cauchy.cdf(z), t.cdf(z)),
                ("sf", Cauchy.sf(z), t.sf(z)),
                ("crps", Cauchy.crps(z), t.crps(z)),
            ] {
                assert!((ours / theirs - 1.0).abs() < 1e-13, "{name} at {z}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn quantiles_invert_the_cdf_in_both_tails() {
        for p in [1e-300, 1e-9, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9] {
            assert!((Cauchy.cdf(Cauchy.quantile(p)) / p - 1.0).abs() < 1e-14, "{p}");
        }
        assert!((Cauchy.sf(Cauchy.quantile(1.0 - 1e-9)) / 1e-9 - 1.0).abs() < 1e-6);
        assert_eq!((Cauchy.quantile(0.0), Cauchy.quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn the_log_density_is_finite_where_the_density_underflows() {
        assert_eq!(Cauchy.pdf(1e170), 0.0);
        assert!((Cauchy.ln_pdf(1e170) + 2.0 * 170.0 * std::f64::consts::LN_10 + PI.ln()).abs() < 1e-12);
    }
}
