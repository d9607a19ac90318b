//! Student's t distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::FRAC_1_SQRT_PI;
use super::special::elementary::exprel;
use super::special::gamma::{digamma_step, gamma_half_step};
use super::special::incomplete_beta::incomplete_beta_fraction;
use super::{InvalidParameter, quadrature, shape};

pub(super) const FAMILY: Family = Family {
    name: "t",
    types: Types::BuiltinAndScipy,
    shapes: &["df"],
    build: |shapes, loc, scale| located(StudentT::new(shapes[0])?, loc, scale),
};

/// A Student t distribution; with one degree of freedom it is the Cauchy distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
struct StudentT {
    df: f64,
    /// The density at 0.
    peak: f64,
    /// The CRPS at 0.
    crps_at_centre: f64,
}

impl StudentT {
    /// With `df` degrees of freedom.
    fn new(df: f64) -> Result<Self, InvalidParameter> {
        let df = shape("df", df)?;
        let peak = gamma_half_step(0.5 * df) / df.sqrt() * FRAC_1_SQRT_PI;
        Ok(StudentT { df, peak, crps_at_centre: crps_at_centre(df) })
    }

    /// ln(1 + z²/df)
    fn log_term(&self, z: f64) -> f64 {
        let ratio = z.abs() / self.df.sqrt();
        if ratio < 1e8 { libm::log1p(ratio * ratio) } else { 2.0 * libm::log(ratio) }
    }

    /// Where the mass beyond `z` is 1/2 less a power series rather than a continued fraction.
    fn is_central(&self, z: f64) -> bool {
        z * z * (self.df + 2.0) < 3.0 * self.df
    }

    /// x^(df/2) · √(1 - x) at x = df / (df + z²), the factor that both forms of the incomplete beta function share.
    fn beta_factor(&self, z: f64) -> f64 {
        libm::exp(-0.5 * self.df * self.log_term(z)) * z.abs() / libm::hypot(self.df.sqrt(), z)
    }

    /// P(0 < Z < |z|) = I_y(1/2, df/2) / 2 with y = z² / (df + z²), by its power series (DLMF 8.17.8). All terms are
    /// positive and few are needed for central z.
    fn central_mass(&self, z: f64) -> f64 {
        let y = 1.0 / (1.0 + self.df / (z * z));
        let mut term = 1.0;
        let mut sum = 1.0;
        let mut n = 0.0;
        while term > 1e-17 * sum {
            term *= (0.5 * (1.0 + self.df) + n) / (1.5 + n) * y;
            sum += term;
            n += 1.0;
        }
        self.beta_factor(z) * self.peak * self.df.sqrt() * sum
    }

    /// P(Z > |z|) = I_x(df/2, 1/2) / 2 with x = df / (df + z²), for z that is not central.
    fn tail_mass(&self, z: f64) -> f64 {
        if z.is_infinite() {
            return 0.0;
        }
        let square = z * z;
        let (x, y) = (1.0 / (1.0 + square / self.df), 1.0 / (1.0 + self.df / square));
        let fraction = incomplete_beta_fraction(0.5 * self.df, 0.5, x, y);
        0.5 * self.beta_factor(z) * self.peak * self.df.sqrt() / fraction
    }
}

/// The standard CRPS at 0: 2/(v-1) · (v f(0) - √v B(1/2, v-1/2) / B(1/2, v/2)²), infinite for v ≤ 1/2.
///
/// With R(a) = Γ(a + 1/2)/Γ(a) this is 2 √v R(v/2) / (√π (v-1)) · (1 - R(v/2)/R(v-1/2)). Near v = 1 the quotient is
/// taken from the mean of (ln R)' = ψ(a + 1/2) - ψ(a) between the two arguments, so that nothing cancels.
fn crps_at_centre(df: f64) -> f64 {
    if df <= 0.5 {
        return f64::INFINITY;
    }
    let (from, to) = (0.5 * df, df - 0.5);
    let half_gap = 0.5 * (df - 1.0);
    let quotient = if half_gap.abs() > 0.05 {
        (1.0 - gamma_half_step(from) / gamma_half_step(to)) / half_gap
    } else {
        let mean_slope = quadrature::mean(from, to, |a| digamma_step(a, 0.5));
        mean_slope * exprel(-half_gap * mean_slope)
    };
    df.sqrt() * gamma_half_step(from) * FRAC_1_SQRT_PI * quotient
}

impl Standard for StudentT {
    fn pdf(&self, z: f64) -> f64 {
        self.peak * libm::exp(-0.5 * (self.df + 1.0) * self.log_term(z))
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        libm::log(self.peak) - 0.5 * (self.df + 1.0) * self.log_term(z)
    }

    fn cdf(&self, z: f64) -> f64 {
        match (self.is_central(z), z < 0.0) {
            (true, true) => 0.5 - self.central_mass(z),
            (true, false) => 0.5 + self.central_mass(z),
            (false, true) => self.tail_mass(z),
            (false, false) => 1.0 - self.tail_mass(z),
        }
    }

    fn sf(&self, z: f64) -> f64 {
        self.cdf(-z)
    }

    /// The closed form of Jordan, Krüger and Lerch (2019, appendix A) for df > 1, which continues to df > 1/2, with
    /// its pole at 1 taken out: (e^(aL) - 1)/a and the value at 0 are smooth there.
    fn crps(&self, z: f64) -> f64 {
        if self.crps_at_centre.is_infinite() {
            return f64::INFINITY;
        }
        let inner_mass =
            if self.is_central(z) { 2.0 * self.central_mass(z) } else { 1.0 - 2.0 * self.tail_mass(z) };
        let log_term = self.log_term(z);
        let growth = self.peak * self.df * log_term * exprel(0.5 * (1.0 - self.df) * log_term);
        z.abs() * inner_mass - growth + self.crps_at_centre
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        // The density has its singularities at distance √df from the centre.
        quadrature::geometric_cuts(0.0, self.df.sqrt().min(1.0), 50, cuts);
    }

    fn tail_index(&self) -> Option<f64> {
        Some(self.df)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::super::{Distribution, Norm};
    use super::*;

    #[test]
    fn one_degree_of_freedom_is_the_cauchy_distribution() {
        let t = StudentT::new(1.0).unwrap();
        for z in [0.0, 0.3, -1.0, 2.5, 40.0, -1e6] {
            let crps = 2.0 / PI * (z * libm::atan(z) + 2.0_f64.ln()) - libm::log1p(z * z) / PI;
            assert!((t.crps(z) / crps - 1.0).abs() < 1e-13, "{z}: {} {crps}", t.crps(z));
            assert!((t.pdf(z) * PI * (1.0 + z * z) - 1.0).abs() < 1e-13, "{z}");
            assert!((t.cdf(z) - (0.5 + libm::atan(z) / PI)).abs() < 1e-15, "{z}");
        }
    }

    #[test]
    fn the_crps_is_smooth_through_the_removable_pole_at_one() {
        // The second difference of a smooth function is of the order of the step squared.
        let crps = |df: f64| StudentT::new(df).unwrap().crps(1.7);
        for step in [1e-3, 1e-5, 1e-7, 3e-9] {
            let bend = crps(1.0 + step) - 2.0 * crps(1.0) + crps(1.0 - step);
            assert!(bend.abs() < 10.0 * step * step + 1e-14, "{step}: {bend}");
        }
        for edge in [0.9, 1.1] {
            assert!((crps(edge - 1e-12) - crps(edge + 1e-12)).abs() < 1e-11, "{edge}");
        }
    }

    #[test]
    fn the_crps_is_infinite_only_at_and_below_half_a_degree_of_freedom() {
        assert_eq!(StudentT::new(0.5).unwrap().crps(0.0), f64::INFINITY);
        assert_eq!(StudentT::new(0.1).unwrap().crps(3.0), f64::INFINITY);
        assert!(StudentT::new(0.500_001).unwrap().crps(3.0).is_finite());
    }

    #[test]
    fn many_degrees_of_freedom_approach_the_normal_distribution() {
        let norm = Norm::new(0.0, 1.0).unwrap();
        let t = StudentT::new(1e12).unwrap();
        for z in [0.0, 0.5, -1.9, 4.0, 8.0] {
            assert!((t.crps(z) / norm.crps(z) - 1.0).abs() < 1e-11, "{z}");
            assert!((t.sf(z) / norm.sf(z) - 1.0).abs() < 1e-8, "{z}");
        }
    }

    #[test]
    fn an_outcome_scales_away_does_not_overflow() {
        let t = located(StudentT::new(3.0).unwrap(), 0.0, 1e-300).unwrap();
        assert_eq!(t.crps(1e10), 1e10);
        assert_eq!((t.cdf(1e10), t.sf(1e10), t.pdf(1e10)), (1.0, 0.0, 0.0));
    }
}
