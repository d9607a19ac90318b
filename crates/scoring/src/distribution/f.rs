//! Fisher's F distribution.

use std::cmp::Ordering;

use super::family::{Family, Types};
use super::half_line::{HalfLine, located_from};
use super::special::beta::{doubled_beta_ratio, ln_doubled_beta_ratio};
use super::special::elementary::exprel;
use super::special::gamma::digamma_step;
use super::special::incomplete_beta::{IncompleteBeta, from_odds};
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "f",
    types: Types::BuiltinAndScipy,
    shapes: &["dfn", "dfd"],
    build: |shapes, loc, scale| located_from(FisherF::new(shapes[0], shapes[1])?, loc, scale),
};

/// An F distribution, that of (q/p) · w/(1-w) for a beta variable w with shapes p and q.
#[derive(Debug)]
struct FisherF {
    /// Half the degrees of freedom of the numerator.
    p: f64,
    /// Half the degrees of freedom of the denominator.
    q: f64,
    integral: IncompleteBeta,
    crps_at_0: f64,
}

/// Nearer to q = 1 than this the closed form's pole is taken out.
const NEAR_POLE: f64 = 0.02;

impl FisherF {
    fn new(dfn: f64, dfd: f64) -> Result<Self, InvalidParameter> {
        let (p, q) = (0.5 * shape("dfn", dfn)?, 0.5 * shape("dfd", dfd)?);
        Ok(FisherF { p, q, integral: IncompleteBeta::new(p, q), crps_at_0: crps_at_0(p, q) })
    }

    /// Those of the beta variable.
    fn odds(&self, z: f64) -> f64 {
        self.p / self.q * z
    }

    fn masses(&self, z: f64) -> (f64, f64) {
        let (w, rest) = from_odds(self.odds(z));
        self.integral.masses(w, rest)
    }

    /// B(w; p+1, q-1)/B(p,q), by parts (p I_w(p,q) - w^p (1-w)^(q-1)/B(p,q)) / (q - 1).
    fn partial_mean(&self, odds: f64, below: f64) -> f64 {
        if (self.q - 1.0).abs() < NEAR_POLE {
            return self.partial_mean_by_quadrature(odds);
        }
        let (w, rest) = from_odds(odds);
        (self.p * below - self.integral.prefix(w, rest) / rest) / (self.q - 1.0)
    }

    /// The same as the integral over the logarithm of the odds, which has no pole at q = 1.
    fn partial_mean_by_quadrature(&self, odds: f64) -> f64 {
        const MAX_PANELS: u32 = 80;
        let density = |v: f64| {
            let odds = libm::exp(v);
            let (w, rest) = from_odds(odds);
            odds * self.integral.prefix(w, rest)
        };
        // To the right of this the integrand is almost a power of the odds, and panels may grow.
        let turn = libm::log(self.p.max(1.0));
        let mut v = libm::log(odds);
        let mut sum = 0.0;
        for _ in 0..MAX_PANELS {
            let end = v - (0.5 * (v - turn)).max(1.0);
            let mut panel = 0.0;
            quadrature::for_each_node(end, v, |v, weight| panel += weight * density(v));
            sum += panel;
            if panel <= 1e-17 * sum {
                break;
            }
            v = end;
        }
        sum
    }
}

/// The CRPS at 0: (q/p)(p - 2B(2p, 2q-1)/B(p,q)²)/(q - 1), infinite for q ≤ 1/2.
///
/// With L = ln(2/p · B(2p, 2q-1)/B(p,q)²) this is q (1 - e^L)/(q - 1), and L vanishes at q = 1. Near there the quotient
/// is taken from the mean of dL/dq, so that nothing cancels.
fn crps_at_0(p: f64, q: f64) -> f64 {
    if q <= 0.5 {
        return f64::INFINITY;
    }
    let gap = q - 1.0;
    if gap.abs() < NEAR_POLE {
        let slope = |q| 2.0 * digamma_step(q, p) - 2.0 * digamma_step(2.0 * q - 1.0, 2.0 * p);
        let mean_slope = quadrature::mean(1.0, q, slope);
        -q * mean_slope * exprel(gap * mean_slope)
    } else if p < 1.0 {
        let log = ln_doubled_beta_ratio(p, q) + libm::log1p(2.0 * p / (2.0 * q - 1.0));
        -q * libm::expm1(log) / gap
    } else {
        let ratio = doubled_beta_ratio(p, q) * ((2.0 * p + 2.0 * q - 1.0) / (2.0 * q - 1.0));
        q * (1.0 - 2.0 * ratio / p) / gap
    }
}

impl HalfLine for FisherF {
    fn ln_pdf(&self, z: f64) -> f64 {
        if z > 0.0 {
            let (w, rest) = from_odds(self.odds(z));
            self.integral.ln_prefix(w, rest) - libm::log(z)
        } else {
            match self.p.total_cmp(&1.0) {
                Ordering::Less => f64::INFINITY,
                Ordering::Equal => 0.0,
                Ordering::Greater => f64::NEG_INFINITY,
            }
        }
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(z).0
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(z).1
    }

    /// z(2I_w(p,q) - 1) - 2(q/p) B(w; p+1, q-1)/B(p,q) plus the CRPS at 0. Own derivation; half Gini's mean difference,
    /// within the latter, is McDonald's (1984) of the generalised beta of the second kind.
    fn crps(&self, z: f64) -> f64 {
        let odds = self.odds(z);
        if self.crps_at_0.is_infinite() || odds == 0.0 {
            return self.crps_at_0;
        }
        let (below, above) = self.masses(z);
        if above == 0.0 && odds > 1e300 {
            return z;
        }
        z * (below - above) - 2.0 * (self.q / self.p) * self.partial_mean(odds, below) + self.crps_at_0
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // The tail is a power of z to rounding from far beyond 1 and q/p.
        let spread = (1.0 / self.p + 1.0 / self.q).sqrt().min(1.0);
        let doublings = 50.0 + libm::log2((self.q / self.p).max(1.0)) - libm::log2(spread);
        let mut around = Vec::new();
        quadrature::geometric_cuts(1.0, spread, doublings.min(1000.0) as u32, &mut around);
        around.retain(|cut| *cut > 0.0);
        cuts.push(if self.p.min(self.q) >= 1.0 { 1.0 } else { self.quantile(0.5) });
        cuts.extend(around);
        quadrature::shrinking_cuts(0.0, 1.0, 1.0, self.p, cuts);
    }

    fn tail_index(&self) -> Option<f64> {
        Some(self.q)
    }
}

#[cfg(test)]
mod tests {
    use super::super::half_line::FromZero;
    use super::super::location_scale::Standard;
    use super::super::{Distribution, student_t};
    use super::*;

    const SHAPES: [(f64, f64); 8] = [
        (0.3, 1.3),
        (0.02, 300.0),
        (1.0, 2.0),
        (3.0, 2.000_000_1),
        (5.0, 1.97),
        (12.0, 7.5),
        (800.0, 1.2),
        (30_000.0, 50_000.0),
    ];

    fn f(dfn: f64, dfd: f64) -> FromZero<FisherF> {
        FromZero(FisherF::new(dfn, dfd).unwrap())
    }

    fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
        ours == theirs || (ours - theirs).abs() <= tolerance * theirs.abs()
    }

    #[test]
    fn it_is_the_odds_of_a_beta_variable() {
        for (dfn, dfd) in SHAPES {
            let beta = (super::super::beta::FAMILY.build)(&[0.5 * dfn, 0.5 * dfd], 0.0, 1.0).unwrap();
            for z in [0.01, 0.3, 1.0, 5.0] {
                let w = dfn * z / (dfn * z + dfd);
                assert!(close(f(dfn, dfd).cdf(z), beta.cdf(w), 1e-10), "{dfn} {dfd} {z}");
                assert!(close(f(dfn, dfd).sf(z), beta.sf(w), 1e-10), "{dfn} {dfd} {z}");
                let density = beta.pdf(w) * w * (1.0 - w) / z;
                assert!(close(f(dfn, dfd).pdf(z), density, 1e-10), "{dfn} {dfd} {z}");
            }
        }
    }

    #[test]
    fn with_one_degree_of_freedom_it_is_the_square_of_student_s_t() {
        for dfd in [0.7, 2.0, 9.0, 1e5] {
            let t = (student_t::FAMILY.build)(&[dfd], 0.0, 1.0).unwrap();
            for z in [1e-6, 0.3, 1.0, 2.5, 12.0] {
                assert!(close(f(1.0, dfd).sf(z * z), 2.0 * t.sf(z), 1e-13), "{dfd} {z}");
                assert!(close(f(1.0, dfd).pdf(z * z), t.pdf(z) / z, 1e-13), "{dfd} {z}");
            }
        }
    }

    #[test]
    fn the_crps_is_smooth_through_the_removable_pole_at_two() {
        // For dfn = 2 the mass beyond z is (1 + 2z/dfd)^(-dfd/2), at dfd = 2 with the CRPS z + 1 - 2 ln(1 + z).
        for z in [-1.0_f64, 0.0, 0.5, 3.0, 1e6] {
            let crps = if z < 0.0 { 1.0 - z } else { z + 1.0 - 2.0 * z.ln_1p() };
            assert!(close(f(2.0, 2.0).crps(z), crps, 1e-13), "{z}: {} {crps}", f(2.0, 2.0).crps(z));
        }
        for (dfn, z) in [(0.1, 0.7), (3.0, 1.7), (900.0, 1.1)] {
            for step in [1e-3, 1e-5, 1e-7, 3e-9] {
                let crps = |dfd| f(dfn, dfd).crps(z);
                let bend = crps(2.0 + step) - 2.0 * crps(2.0) + crps(2.0 - step);
                assert!(bend.abs() < 10.0 * step * step + 1e-13, "{dfn} {step}: {bend}");
            }
            for edge in [2.0 - 2.0 * NEAR_POLE, 2.0 + 2.0 * NEAR_POLE] {
                let (before, after) = (f(dfn, edge - 1e-13).crps(z), f(dfn, edge + 1e-13).crps(z));
                assert!(close(before, after, 1e-11), "{dfn} {edge}: {before} {after}");
            }
        }
    }

    #[test]
    fn the_crps_is_infinite_only_at_and_below_one_degree_of_freedom_of_the_denominator() {
        assert_eq!((f(5.0, 1.0).crps(-1.0), f(5.0, 0.3).crps(2.0)), (f64::INFINITY, f64::INFINITY));
        assert!(f(5.0, 1.000_001).crps(2.0).is_finite());
    }

    #[test]
    fn the_crps_has_the_slope_of_twice_the_cdf_less_one() {
        for (dfn, dfd) in SHAPES {
            let distribution = f(dfn, dfd);
            for z in [0.2, 0.999, 1.7, 30.0] {
                let slope =
                    quadrature::mean(z - 1e-5, z + 1e-5, |z| distribution.cdf(z) - distribution.sf(z));
                let rise = (distribution.crps(z + 1e-5) - distribution.crps(z - 1e-5)) / 2e-5;
                assert!((slope - rise).abs() < 1e-8, "{dfn} {dfd} {z}: {rise} {slope}");
            }
            let far = distribution.crps(1e305);
            assert!(close(far, 1e305, 1e-9), "{dfn} {dfd}: {far}");
        }
    }

    #[test]
    fn quantiles_invert_the_cdf_and_the_log_density_is_the_density_s() {
        for (dfn, dfd) in SHAPES {
            for p in [0.01, 0.3, 0.5, 0.8] {
                let z = f(dfn, dfd).quantile(p);
                assert!(close(f(dfn, dfd).cdf(z), p, 1e-11), "{dfn} {dfd} {p}: {z}");
                assert!((f(dfn, dfd).ln_pdf(z) - f(dfn, dfd).pdf(z).ln()).abs() < 1e-12, "{dfn} {dfd} {p}");
            }
        }
        assert_eq!(f(3.0, 900.0).pdf(1e5), 0.0);
        assert!(f(3.0, 900.0).ln_pdf(1e5).is_finite());
    }

    #[test]
    fn the_density_at_0_has_a_pole_an_end_or_nothing_by_the_shape() {
        let at_0 = |dfn| f(dfn, 5.0).pdf(0.0);
        assert_eq!((at_0(1.9), at_0(2.0), at_0(2.1)), (f64::INFINITY, 1.0, 0.0));
        assert_eq!((f(1.9, 5.0).pdf(-1.0), f(1.9, 5.0).cdf(-1.0), f(1.9, 5.0).sf(0.0)), (0.0, 0.0, 1.0));
    }
}
