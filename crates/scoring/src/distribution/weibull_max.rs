//! The Weibull distribution of maxima.

use super::family::{Family, Types};
use super::location_scale::located;
use super::mirrored::Mirrored;
use super::weibull_min::weibull;

/// The mirror image of that of minima.
pub(super) const FAMILY: Family = Family {
    name: "weibull_max",
    types: Types::BuiltinAndScipy,
    shapes: &["c"],
    build: |shapes, loc, scale| located(Mirrored(weibull(shapes[0])?), loc, scale),
};
