//! The beta distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::beta::{doubled_beta_ratio, ln_doubled_beta_ratio};
use super::special::incomplete_beta::IncompleteBeta;
use super::{InvalidParameter, positive, quadrature, quantile};

pub(super) const FAMILY: Family = Family {
    name: "beta",
    types: Types::BuiltinAndScipy,
    shapes: &["a", "b"],
    build: |shapes, loc, scale| located(Beta::new(shapes[0], shapes[1])?, loc, scale),
};

/// A beta distribution on 0 < z < 1, with density z^(a-1) (1-z)^(b-1) / B(a, b).
#[derive(Debug)]
struct Beta {
    a: f64,
    b: f64,
    integral: IncompleteBeta,
    /// That of (a + 1, b), for the mean up to a point, where `a` is small.
    raised_a: Option<IncompleteBeta>,
    /// That of (b + 1, a), likewise.
    raised_b: Option<IncompleteBeta>,
    /// Half Gini's mean difference: 2/(a + b) · B(2a, 2b)/B(a, b)².
    half_gini: f64,
    crps_at_0: f64,
    crps_at_1: f64,
}

/// Below it a shape makes for a distribution that is almost a point at its end, where the closed form's terms cancel.
const SMALL: f64 = 0.1;

impl Beta {
    fn new(a: f64, b: f64) -> Result<Self, InvalidParameter> {
        let (a, b) = (positive("a", a)?, positive("b", b)?);
        let raised = |a: f64, b: f64| (a < SMALL).then(|| IncompleteBeta::new(a + 1.0, b));
        Ok(Beta {
            a,
            b,
            integral: IncompleteBeta::new(a, b),
            raised_a: raised(a, b),
            raised_b: raised(b, a),
            half_gini: 2.0 * doubled_beta_ratio(a, b) / (a + b),
            crps_at_0: crps_at_end(a, b),
            crps_at_1: crps_at_end(b, a),
        })
    }

    /// The masses below and above an inner `z`.
    fn masses(&self, z: f64) -> (f64, f64) {
        self.integral.masses(z, 1.0 - z)
    }

    /// z(2I_z(a,b) - 1) + m(1 - 2I_z(a+1,b)) less half Gini's mean difference, m = a/(a+b) (Taillardat et al. 2016,
    /// appendix A), with I_z(a+1,b) = I_z(a,b) - z^a (1-z)^b / (a B(a,b)) (DLMF 8.17.20) put in.
    fn inner_crps(&self, z: f64) -> f64 {
        let (below, above) = self.masses(z);
        let distance_to_mean = (self.b * z - self.a * (1.0 - z)) / (self.a + self.b);
        let prefix = self.integral.prefix(z, 1.0 - z);
        distance_to_mean * (below - above) + 2.0 * prefix / (self.a + self.b) - self.half_gini
    }
}

/// m less half Gini's mean difference, the CRPS at the end that `a` rules.
fn crps_at_end(a: f64, b: f64) -> f64 {
    let difference = if a < SMALL {
        -a * libm::expm1(ln_doubled_beta_ratio(a, b))
    } else {
        a - 2.0 * doubled_beta_ratio(a, b)
    };
    difference / (a + b)
}

/// The density at an end where the shape `a` rules and that at the other is `b`.
fn end_pdf(a: f64, b: f64) -> f64 {
    if a < 1.0 {
        f64::INFINITY
    } else if a == 1.0 {
        b
    } else {
        0.0
    }
}

impl Standard for Beta {
    fn pdf(&self, z: f64) -> f64 {
        if z == 0.0 {
            end_pdf(self.a, self.b)
        } else if z == 1.0 {
            end_pdf(self.b, self.a)
        } else {
            libm::exp(self.ln_pdf(z))
        }
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        if z == 0.0 || z == 1.0 {
            libm::log(self.pdf(z))
        } else if (0.0..1.0).contains(&z) {
            self.integral.ln_prefix(z, 1.0 - z) - libm::log(z) - libm::log1p(-z)
        } else {
            f64::NEG_INFINITY
        }
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(z.clamp(0.0, 1.0)).0
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(z.clamp(0.0, 1.0)).1
    }

    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (0.0, 1.0), |z| self.cdf(z), |z| self.sf(z))
    }

    fn crps(&self, z: f64) -> f64 {
        if z <= 0.0 {
            return self.crps_at_0 - z;
        }
        if z >= 1.0 {
            return self.crps_at_1 + (z - 1.0);
        }
        let (below, above) = self.masses(z);
        let sum = self.a + self.b;
        match (&self.raised_a, &self.raised_b) {
            (Some(raised), _) if self.a <= self.b => {
                z * (below - above) - 2.0 * (self.a / sum) * raised.masses(z, 1.0 - z).0 + self.crps_at_0
            }
            (_, Some(raised)) => {
                let y = 1.0 - z;
                y * (above - below) - 2.0 * (self.b / sum) * raised.masses(y, z).0 + self.crps_at_1
            }
            _ => self.inner_crps(z),
        }
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let sum = self.a + self.b;
        let (mean, rest) = (self.a / sum, self.b / sum);
        let mut around = Vec::new();
        quadrature::geometric_cuts(mean, (mean * rest / (sum + 1.0)).sqrt(), 40, &mut around);
        around.retain(|cut| (0.0..=1.0).contains(cut));
        cuts.push(self.quantile(0.5));
        cuts.extend(around);
        cuts.extend(shrinking(self.a, mean));
        cuts.extend(shrinking(self.b, rest).map(|cut| 1.0 - cut));
        cuts.extend([0.0, 1.0]);
    }
}

/// Halves of 1 down to the share of `scale` below which a power with the exponent `shape` is not felt.
pub(super) fn shrinking(shape: f64, scale: f64) -> impl Iterator<Item = f64> {
    /// Where the power is cut off by a factor with an essential singularity, e^(-1/z), this much further is enough.
    const SPARE: f64 = 8.0;
    let halvings = SPARE + 53.0 / (1.0 + shape) - libm::log2(scale);
    (1..=halvings.min(1000.0) as i32).map(|halvings| libm::scalbn(1.0, -halvings))
}

#[cfg(test)]
mod tests {
    use super::*;

}
