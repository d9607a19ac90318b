//! The chi-squared distribution.

use super::family::{Family, Types};
use super::gamma::Gamma;
use super::half_line::located_from;

/// Twice a gamma variable of half the shape.
pub(super) const FAMILY: Family = Family {
    name: "chi2",
    types: Types::BuiltinAndScipy,
    shapes: &["df"],
    build: |shapes, loc, scale| located_from(Gamma::new("df", 0.5 * shapes[0])?, loc, 2.0 * scale),
};
