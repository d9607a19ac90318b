//! The continuous ranked probability score, exact.

use super::Rule;
use crate::{Density, Distribution};

/// Strictly proper on distributions with a finite mean (Gneiting and Raftery 2007).
#[derive(Debug)]
pub(super) struct Crps;

impl Rule for Crps {
    fn id(&self) -> &'static str {
        "crps"
    }

    fn version(&self) -> u32 {
        1
    }

    fn score(&self, density: &Density, x: f64) -> f64 {
        density.crps(x)
    }

    fn can_be_negative(&self) -> bool {
        false
    }
}
