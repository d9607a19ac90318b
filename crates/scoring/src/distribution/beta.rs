//! The beta distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::special::beta::{doubled_beta_ratio, ln_doubled_beta_ratio};
use super::special::incomplete_beta::IncompleteBeta;
use super::{InvalidParameter, quadrature, quantile, shape};

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
        let (a, b) = (shape("a", a)?, shape("b", b)?);
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

    /// z(2I_z(a,b) - 1) + m(1 - 2I_z(a+1,b)) less half Gini's mean difference, m = a/(a+b) (Taillardat et al. 2016;
    /// Jordan, Krüger and Lerch 2019).
    fn inner_crps(&self, z: f64) -> f64 {
        let y = 1.0 - z;
        let (below, above) = self.masses(z);
        let sum = self.a + self.b;
        match (&self.raised_a, &self.raised_b) {
            (Some(raised), _) if self.a <= self.b => {
                z * (below - above) - 2.0 * (self.a / sum) * raised.masses(z, y).0 + self.crps_at_0
            }
            (_, Some(raised)) => {
                y * (above - below) - 2.0 * (self.b / sum) * raised.masses(y, z).0 + self.crps_at_1
            }
            // With I_z(a+1,b) = I_z(a,b) - z^a (1-z)^b / (a B(a,b)) (DLMF 8.17.20) put in.
            _ => {
                let distance_to_mean = (self.b * z - self.a * y) / sum;
                distance_to_mean * (below - above) + 2.0 * self.integral.prefix(z, y) / sum - self.half_gini
            }
        }
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
        self.inner_crps(z)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let sum = self.a + self.b;
        let (mean, rest) = (self.a / sum, self.b / sum);
        let mut around = Vec::new();
        quadrature::geometric_cuts(mean, (mean * rest / (sum + 1.0)).sqrt(), 40, &mut around);
        around.retain(|cut| (0.0..=1.0).contains(cut));
        cuts.push(if self.a.min(self.b) >= 1.0 { mean } else { self.quantile(0.5) });
        cuts.extend(around);
        quadrature::shrinking_cuts(0.0, 1.0, mean, self.a, cuts);
        quadrature::shrinking_cuts(1.0, -1.0, rest, self.b, cuts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [(f64, f64); 8] = [
        (0.03, 0.04),
        (0.02, 1500.0),
        (0.5, 0.5),
        (1.0, 1.0),
        (2.5, 0.7),
        (7.0, 30.0),
        (900.0, 0.09),
        (20_000.0, 30_000.0),
    ];

    fn beta(a: f64, b: f64) -> Beta {
        Beta::new(a, b).unwrap()
    }

    fn close(ours: f64, theirs: f64, tolerance: f64) -> bool {
        ours == theirs || (ours - theirs).abs() <= tolerance * theirs.abs()
    }

    #[test]
    fn shapes_of_one_make_the_uniform_distribution() {
        let uniform = beta(1.0, 1.0);
        for z in [1e-300, 0.2, 0.5, 0.9] {
            assert!(close(uniform.pdf(z), 1.0, 1e-12) && close(uniform.cdf(z), z, 1e-13), "{z}");
            assert!(close(uniform.sf(z), 1.0 - z, 1e-14), "{z}");
            assert!(close(uniform.crps(z), z * z - z + 1.0 / 3.0, 1e-14), "{z}");
        }
        assert!(close(uniform.crps(-2.0), 2.0 + 1.0 / 3.0, 1e-14));
        assert!(close(uniform.crps(3.0), 2.0 + 1.0 / 3.0, 1e-14));
        assert_eq!((uniform.pdf(0.0), uniform.pdf(1.0), uniform.pdf(1.1)), (1.0, 1.0, 0.0));
    }

    #[test]
    fn the_mirror_image_has_the_shapes_exchanged() {
        for (a, b) in SHAPES {
            let (ours, mirrored) = (beta(a, b), beta(b, a));
            for z in [-0.5, 0.0, 0.125, 0.375, 0.5, 0.9375, 1.0, 4.0] {
                assert!(close(ours.cdf(z), mirrored.sf(1.0 - z), 1e-13), "{a} {b} {z}");
                assert!(close(ours.pdf(z), mirrored.pdf(1.0 - z), 1e-12), "{a} {b} {z}");
                assert!(close(ours.crps(z), mirrored.crps(1.0 - z), 1e-13), "{a} {b} {z}");
            }
        }
    }

    #[test]
    fn the_crps_has_the_slope_of_twice_the_cdf_less_one() {
        for (a, b) in SHAPES {
            let distribution = beta(a, b);
            for z in [0.2, 0.399, 0.7, 0.97] {
                let slope =
                    quadrature::mean(z - 1e-5, z + 1e-5, |z| distribution.cdf(z) - distribution.sf(z));
                let rise = (distribution.crps(z + 1e-5) - distribution.crps(z - 1e-5)) / 2e-5;
                assert!((slope - rise).abs() < 1e-10, "{a} {b} {z}: {rise} {slope}");
            }
        }
    }

    #[test]
    fn the_crps_is_continuous_at_the_ends() {
        for (a, b) in SHAPES {
            for end in [0.0, 1.0] {
                let (inside, outside) = (beta(a, b).crps(end + 1e-13), beta(a, b).crps(end - 1e-13));
                assert!((inside - outside).abs() < 1e-12, "{a} {b} {end}: {inside} {outside}");
            }
        }
    }

    #[test]
    fn a_distribution_that_is_almost_a_point_keeps_its_digits() {
        let a = 1e-7;
        assert!(close(beta(a, 1.0).crps(0.0), crps_of_power(a), 1e-13));
        assert!(close(beta(1.0, a).crps(1.0), crps_of_power(a), 1e-13));
        assert!(close(beta(a, 1.0).crps(1e-300), crps_of_power(a), 1e-13));
    }

    /// The CRPS at 0 where F(z) = z^a: ∫ (1 - z^a)² dz.
    fn crps_of_power(a: f64) -> f64 {
        2.0 * a * a / ((1.0 + a) * (1.0 + 2.0 * a))
    }

    #[test]
    fn quantiles_invert_the_cdf_and_the_log_density_is_the_density_s() {
        for (a, b) in SHAPES {
            for p in [0.01, 0.3, 0.5, 0.8] {
                let z = beta(a, b).quantile(p);
                // Next to 1 doubles are too far apart for the steepest.
                if z < 0.999 && z > 1e-300 {
                    assert!(close(beta(a, b).cdf(z), p, 1e-11), "{a} {b} {p}");
                    assert!((beta(a, b).ln_pdf(z) - beta(a, b).pdf(z).ln()).abs() < 1e-12, "{a} {b} {p}");
                }
            }
        }
        assert_eq!(beta(900.0, 2.0).pdf(0.1), 0.0);
        assert!(beta(900.0, 2.0).ln_pdf(0.1).is_finite());
        assert_eq!(beta(900.0, 2.0).ln_pdf(-0.1), f64::NEG_INFINITY);
    }

    #[test]
    fn a_shape_below_one_makes_a_pole() {
        assert_eq!((beta(0.5, 3.0).pdf(0.0), beta(0.5, 3.0).pdf(1.0)), (f64::INFINITY, 0.0));
        assert_eq!((beta(1.0, 3.0).pdf(0.0), beta(3.0, 1.0).pdf(1.0)), (3.0, 3.0));
    }
}
