//! What location-scale families share: x = loc + scale · z, where z has the family's standard form.

use std::fmt;

use super::{Density, Distribution, InvalidParameter, PowerTail, finite, positive, quantile};

/// A family's standard form, with location 0 and scale 1. It is asked at finite points only.
pub(super) trait Standard: fmt::Debug + Send + Sync + 'static {
    /// The density at `z`; infinite where it has a pole.
    fn pdf(&self, z: f64) -> f64 {
        libm::exp(self.ln_pdf(z))
    }
    /// The natural logarithm of the density at `z`.
    fn ln_pdf(&self, z: f64) -> f64;
    /// The probability of at most `z`.
    fn cdf(&self, z: f64) -> f64;
    /// The probability of more than `z`, accurate where it is small.
    fn sf(&self, z: f64) -> f64;
    /// The least value with at least the probability `p` at and below it.
    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (f64::NEG_INFINITY, f64::INFINITY), |z| self.cdf(z), |z| self.sf(z))
    }
    /// The CRPS at a finite `z`.
    fn crps(&self, z: f64) -> f64;
    /// Adds the points at which quadrature should cut; the first is the centre.
    fn add_cuts(&self, cuts: &mut Vec<f64>);
    /// The exponent with which the tails fall, where they are left beyond the outermost cuts.
    fn tail_index(&self) -> Option<f64> {
        None
    }
}

/// A member of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LocationScale<S> {
    loc: f64,
    scale: f64,
    standard: S,
}

/// The member of a family at `loc` with `scale` above zero.
pub(super) fn located<S: Standard>(standard: S, loc: f64, scale: f64) -> Result<Density, InvalidParameter> {
    let (loc, scale) = (finite("loc", loc)?, positive("scale", scale)?);
    Ok(Density::other(LocationScale { loc, scale, standard }))
}

impl<S: Standard> LocationScale<S> {
    /// A function of the standard form at `x`. Far out, where z overflows, it has its limit on that side.
    fn at(&self, x: f64, limits: (f64, f64), standard: impl FnOnce(f64) -> f64) -> f64 {
        match (x - self.loc) / self.scale {
            f64::NEG_INFINITY => limits.0,
            f64::INFINITY => limits.1,
            z => standard(z),
        }
    }
}

impl<S: Standard> Distribution for LocationScale<S> {
    fn pdf(&self, x: f64) -> f64 {
        self.at(x, (0.0, 0.0), |z| self.standard.pdf(z) / self.scale)
    }

    fn ln_pdf(&self, x: f64) -> f64 {
        let limit = f64::NEG_INFINITY;
        self.at(x, (limit, limit), |z| self.standard.ln_pdf(z) - libm::log(self.scale))
    }

    fn cdf(&self, x: f64) -> f64 {
        self.at(x, (0.0, 1.0), |z| self.standard.cdf(z))
    }

    fn sf(&self, x: f64) -> f64 {
        self.at(x, (1.0, 0.0), |z| self.standard.sf(z))
    }

    fn quantile(&self, p: f64) -> f64 {
        self.loc + self.scale * self.standard.quantile(p)
    }

    fn crps(&self, x: f64) -> f64 {
        scaled_crps(x, self.loc, self.scale, |z| self.standard.crps(z))
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let first = cuts.len();
        self.standard.add_cuts(cuts);
        cuts[first..].iter_mut().for_each(|cut| *cut = self.loc + self.scale * *cut);
    }

    fn power_tail(&self) -> Option<PowerTail> {
        self.standard.tail_index().map(|index| PowerTail { centre: self.loc, index })
    }
}

/// The CRPS of a location-scale family from its standard form. Far out, where z overflows, the distribution is a point.
pub(super) fn scaled_crps(x: f64, loc: f64, scale: f64, standard: impl FnOnce(f64) -> f64) -> f64 {
    let z = (x - loc) / scale;
    if z.is_finite() { scale * standard(z) } else { (x - loc).abs() }
}
