//! Fisher's F distribution.

use super::beta::shrinking;
use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::beta::{digamma_step, doubled_beta_ratio, ln_doubled_beta_ratio};
use super::special::exprel;
use super::special::incomplete_beta::IncompleteBeta;
use super::{InvalidParameter, positive, quadrature, quantile};

pub(super) const FAMILY: Family = Family {
    name: "f",
    types: Types::BuiltinAndScipy,
    shapes: &["dfn", "dfd"],
    build: |shapes, loc, scale| located(FisherF::new(shapes[0], shapes[1])?, loc, scale),
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
        let (p, q) = (0.5 * positive("dfn", dfn)?, 0.5 * positive("dfd", dfd)?);
        Ok(FisherF { p, q, integral: IncompleteBeta::new(p, q), crps_at_0: crps_at_0(p, q) })
    }

    /// Those of the beta variable.
    fn odds(&self, z: f64) -> f64 {
        self.p / self.q * z
    }

    fn masses(&self, z: f64) -> (f64, f64) {
        let (w, rest) = beta_point(self.odds(z.max(0.0)));
        self.integral.masses(w, rest)
    }

    /// B(w; p+1, q-1)/B(p,q), by parts (p I_w(p,q) - w^p (1-w)^(q-1)/B(p,q)) / (q - 1).
    fn partial_mean(&self, odds: f64, below: f64) -> f64 {
        if (self.q - 1.0).abs() < NEAR_POLE {
            return self.partial_mean_by_quadrature(odds);
        }
        let (w, rest) = beta_point(odds);
        (self.p * below - self.integral.prefix(w, rest) / rest) / (self.q - 1.0)
    }

    /// The same as the integral over the logarithm of the odds, which has no pole at q = 1.
    fn partial_mean_by_quadrature(&self, odds: f64) -> f64 {
        const MAX_PANELS: u32 = 80;
        let density = |v: f64| {
            let odds = libm::exp(v);
            let (w, rest) = beta_point(odds);
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

/// w = odds/(1 + odds) and 1 - w.
fn beta_point(odds: f64) -> (f64, f64) {
    (1.0 / (1.0 + 1.0 / odds), 1.0 / (1.0 + odds))
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

impl Standard for FisherF {
    fn pdf(&self, z: f64) -> f64 {
        libm::exp(self.ln_pdf(z))
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        if z > 0.0 {
            let (w, rest) = beta_point(self.odds(z));
            self.integral.ln_prefix(w, rest) - libm::log(z)
        } else if z < 0.0 || self.p > 1.0 {
            f64::NEG_INFINITY
        } else if self.p == 1.0 {
            0.0
        } else {
            f64::INFINITY
        }
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(z).0
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(z).1
    }

    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (0.0, f64::INFINITY), |z| self.cdf(z), |z| self.sf(z))
    }

    /// z(2I_w(p,q) - 1) - 2(q/p) B(w; p+1, q-1)/B(p,q) plus the CRPS at 0. Own derivation; half Gini's mean difference,
    /// within the latter, is McDonald's (1984) of the generalised beta of the second kind.
    fn crps(&self, z: f64) -> f64 {
        let odds = self.odds(z);
        if self.crps_at_0.is_infinite() || odds <= 0.0 {
            return self.crps_at_0 - z;
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
        cuts.push(self.quantile(0.5));
        cuts.extend(around);
        cuts.extend(shrinking(self.p, 1.0));
        cuts.push(0.0);
    }

    fn tail_index(&self) -> Option<f64> {
        Some(self.q)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

}
