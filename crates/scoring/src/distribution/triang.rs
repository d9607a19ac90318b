//! The triangular distribution.

use super::family::{Family, Types};
use super::location_scale::{Standard, located};
use super::{InvalidParameter, finite};

pub(super) const FAMILY: Family = Family {
    name: "triang",
    types: Types::Scipy,
    shapes: &["c"],
    build: |shapes, loc, scale| located(Triangle::new(shapes[0])?, loc, scale),
};

/// A triangular distribution from `loc` to `loc + scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Triangle {
    /// Where it peaks, from 0 to 1.
    peak: f64,
}

impl Triangle {
    fn new(c: f64) -> Result<Self, InvalidParameter> {
        let peak = finite("c", c)?;
        if (0.0..=1.0).contains(&peak) {
            Ok(Triangle { peak })
        } else {
            Err(InvalidParameter { name: "c", range: "in [0, 1]", value: c })
        }
    }

    /// The same seen from its right end.
    fn mirrored(&self) -> Self {
        Triangle { peak: 1.0 - self.peak }
    }

    /// The masses up to `z` and beyond, for z between 0 and the peak, and `rest` = 1 - z.
    fn rising_masses(&self, z: f64, rest: f64) -> (f64, f64) {
        let below = self.rising_mass(z);
        if below < 0.5 {
            return (below, 1.0 - below);
        }
        (below, (rest * (2.0 - rest) - (1.0 - self.peak)) / self.peak)
    }

    /// The mass up to `z`, for z between 0 and the peak.
    fn rising_mass(&self, z: f64) -> f64 {
        if z == 0.0 { 0.0 } else { z * (z / self.peak) }
    }

    /// The masses up to `z` and beyond.
    fn masses(&self, z: f64) -> (f64, f64) {
        let inside = z.clamp(0.0, 1.0);
        if inside <= self.peak {
            return self.rising_masses(inside, 1.0 - inside);
        }
        let (beyond, below) = self.mirrored().rising_masses(1.0 - inside, inside);
        (below, beyond)
    }

    /// The CRPS at `z` between 0 and the peak: what the integrals of F² and (1 - F)² add up to.
    fn rising_crps(&self, z: f64) -> f64 {
        let c = self.peak;
        0.2 + 0.4 * c - c * c / 15.0 - z + 2.0 / 3.0 * z * self.rising_mass(z)
    }
}

impl Standard for Triangle {
    fn pdf(&self, z: f64) -> f64 {
        if !(0.0..=1.0).contains(&z) {
            0.0
        } else if z < self.peak {
            2.0 * (z / self.peak)
        } else if z > self.peak {
            2.0 * ((1.0 - z) / (1.0 - self.peak))
        } else {
            2.0
        }
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        libm::log(self.pdf(z))
    }

    fn cdf(&self, z: f64) -> f64 {
        self.masses(z).0
    }

    fn sf(&self, z: f64) -> f64 {
        self.masses(z).1
    }

    fn quantile(&self, p: f64) -> f64 {
        let c = self.peak;
        if p <= c {
            return (p * c).sqrt();
        }
        // 1 - √((1 - p)(1 - c)) without its cancellation.
        (p + c - p * c) / (1.0 + ((1.0 - p) * (1.0 - c)).sqrt())
    }

    fn crps(&self, z: f64) -> f64 {
        let inside = z.clamp(0.0, 1.0);
        let crps = if inside <= self.peak {
            self.rising_crps(inside)
        } else {
            self.mirrored().rising_crps(1.0 - inside)
        };
        (z - inside).abs() + crps
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        cuts.extend([self.peak, 0.0, 1.0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_outside_of_the_support_is_refused() {
        let refusal = Triangle::new(1.5).unwrap_err();
        assert_eq!(refusal.to_string(), "c must be in [0, 1], got 1.5");
        assert!(Triangle::new(-1e-9).is_err() && Triangle::new(f64::NAN).is_err());
    }

    #[test]
    fn a_peak_at_an_end_makes_a_right_triangle() {
        let (left, right) = (Triangle::new(0.0).unwrap(), Triangle::new(1.0).unwrap());
        assert_eq!((left.pdf(0.0), left.cdf(0.0), left.sf(0.5)), (2.0, 0.0, 0.25));
        assert_eq!((right.pdf(1.0), right.cdf(1.0), right.cdf(0.5)), (2.0, 1.0, 0.25));
        for crps in [left.crps(0.0), right.crps(1.0)] {
            assert!((crps - 0.2).abs() < 1e-15, "{crps}");
        }
    }
}
