//! The mean density, negated.

use domain::{Asset, Span};

use super::Rule;
use crate::{Density, Distribution};

pub(super) const ID: &str = "mean_density";

/// -f(x), the linear score. **Improper** (Gneiting and Raftery 2007, section 4.1): where the truth is N(0, 1), who
/// answers N(0, 0.1) earns 0.397 on average and who answers the truth 0.282, so a spike wins. For comparison with games
/// of the past only, not to rank by.
pub(super) struct MeanDensity;

impl Rule for MeanDensity {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        1
    }

    fn score(&self, density: &Density, x: f64, _asset: &Asset, _step: Span) -> f64 {
        -density.pdf(x)
    }

    fn can_be_negative(&self) -> bool {
        true
    }
}
