//! The continuous ranked probability score, exact.

use domain::{Asset, Span};

use super::Rule;
use crate::{Density, Distribution};

pub(super) const ID: &str = "crps";

/// Strictly proper on distributions with a finite mean (Gneiting and Raftery 2007).
pub(crate) struct Crps;

impl Rule for Crps {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        1
    }

    fn score(&self, density: &Density, x: f64, _asset: &Asset, _step: Span) -> f64 {
        density.crps(x)
    }

    fn can_be_negative(&self) -> bool {
        false
    }
}
