//! Standard forms on the half-line z ≥ 0.

use std::fmt;

use super::location_scale::{Standard, located};
use super::{Density, InvalidParameter, quantile};

/// A standard form whose support begins at 0. It is asked at finite z ≥ 0 only.
pub(super) trait HalfLine: fmt::Debug + Send + Sync + 'static {
    /// The natural logarithm of the density at `z`; infinite at a pole.
    fn ln_pdf(&self, z: f64) -> f64;
    /// The probability of at most `z`, accurate where it is small.
    fn cdf(&self, z: f64) -> f64;
    /// The probability of more than `z`, accurate where it is small.
    fn sf(&self, z: f64) -> f64;
    /// The least value with at least the probability `p` at and below it.
    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (0.0, f64::INFINITY), |z| self.cdf(z), |z| self.sf(z))
    }
    /// The CRPS at `z`.
    fn crps(&self, z: f64) -> f64;
    /// Adds the points at which quadrature should cut; the first is the centre.
    fn add_cuts(&self, cuts: &mut Vec<f64>);
    /// The exponent with which the tail falls, where it is left beyond the outermost cut.
    fn tail_index(&self) -> Option<f64> {
        None
    }
}

/// A standard form on the half-line as one on the whole line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FromZero<S>(pub S);

/// The member of a family on the half-line that begins at `loc`.
pub(super) fn located_from<S: HalfLine>(
    standard: S,
    loc: f64,
    scale: f64,
) -> Result<Density, InvalidParameter> {
    located(FromZero(standard), loc, scale)
}

impl<S: HalfLine> Standard for FromZero<S> {
    fn ln_pdf(&self, z: f64) -> f64 {
        if z < 0.0 { f64::NEG_INFINITY } else { self.0.ln_pdf(z) }
    }

    fn cdf(&self, z: f64) -> f64 {
        if z < 0.0 { 0.0 } else { self.0.cdf(z) }
    }

    fn sf(&self, z: f64) -> f64 {
        if z < 0.0 { 1.0 } else { self.0.sf(z) }
    }

    fn quantile(&self, p: f64) -> f64 {
        self.0.quantile(p)
    }

    fn crps(&self, z: f64) -> f64 {
        if z < 0.0 { self.0.crps(0.0) - z } else { self.0.crps(z) }
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        self.0.add_cuts(cuts);
    }

    fn tail_index(&self) -> Option<f64> {
        self.0.tail_index()
    }
}

/// `factor` · ln `z`, and 0 where the factor is: the logarithm of z^factor.
pub(super) fn ln_power(z: f64, factor: f64) -> f64 {
    if factor == 0.0 { 0.0 } else { factor * libm::log(z) }
}
