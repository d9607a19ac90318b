//! Mirror images: the distribution of -Z.

use super::location_scale::Standard;
use super::quantile;

/// The distribution of -Z, where Z has a standard form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mirrored<S>(pub S);

impl<S: Standard> Standard for Mirrored<S> {
    fn pdf(&self, z: f64) -> f64 {
        self.0.pdf(-z)
    }

    fn ln_pdf(&self, z: f64) -> f64 {
        self.0.ln_pdf(-z)
    }

    fn cdf(&self, z: f64) -> f64 {
        self.0.sf(-z)
    }

    fn sf(&self, z: f64) -> f64 {
        self.0.cdf(-z)
    }

    /// By search: the quantile function at 1 - p knows nothing of a small p.
    fn quantile(&self, p: f64) -> f64 {
        quantile::search(p, (f64::NEG_INFINITY, f64::INFINITY), |z| self.cdf(z), |z| self.sf(z))
    }

    fn crps(&self, z: f64) -> f64 {
        self.0.crps(-z)
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        let first = cuts.len();
        self.0.add_cuts(cuts);
        cuts[first..].iter_mut().for_each(|cut| *cut = -*cut);
    }

    fn tail_index(&self) -> Option<f64> {
        self.0.tail_index()
    }
}
