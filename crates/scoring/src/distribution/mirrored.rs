//! Mirror images: the distribution of -Z.

use super::location_scale::Standard;

/// The distribution of -Z, where Z has a standard form. Its quantiles are searched for: the quantile function of Z at
/// 1 - p knows nothing of a small p.
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
