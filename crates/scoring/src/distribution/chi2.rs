//! The chi-squared distribution.

use super::family::{Family, Types};
use super::gamma::Gamma;
use super::half_line::located_from;
use super::{positive, shape};

/// Twice a gamma variable of half the shape.
pub(super) const FAMILY: Family = Family {
    name: "chi2",
    types: Types::BuiltinAndScipy,
    shapes: &["df"],
    build: |shapes, loc, scale| {
        let (df, scale) = (shape("df", shapes[0])?, positive("scale", scale)?);
        located_from(Gamma::new(0.5 * df), loc, 2.0 * scale)
    },
};
