//! The logarithmic score, also known as ignorance.

use domain::{Asset, Span};

use super::Rule;
use crate::{Density, Distribution};

pub(super) const ID: &str = "log_score";

/// -ln f(x): strictly proper and local (Good 1952; Gneiting and Raftery 2007). Below zero where the density is above one,
/// so it depends on the unit of the move by a constant. Infinite, and so no valid score, for point masses and outside
/// the support.
pub(super) struct LogScore;

impl Rule for LogScore {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        1
    }

    fn score(&self, density: &Density, x: f64, _asset: &Asset, _step: Span) -> f64 {
        -density.ln_pdf(x)
    }

    fn can_be_negative(&self) -> bool {
        true
    }
}
