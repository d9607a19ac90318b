//! The Gumbel distribution of minima.

use super::family::{Family, Types};
use super::gumbel_r::Gumbel;
use super::location_scale::located;
use super::mirrored::Mirrored;

/// The mirror image of that of maxima.
pub(super) const FAMILY: Family = Family {
    name: "gumbel_l",
    types: Types::Scipy,
    shapes: &[],
    build: |_, loc, scale| located(Mirrored(Gumbel), loc, scale),
};
