//! The families that a model may name.

use super::{
    Density, InvalidParameter, beta, cauchy, f, johnsonsu, laplace, norm, pareto, skewnorm, student_t,
};

/// A location-scale family as the density format names it: x = loc + scale · z.
#[derive(Debug)]
pub(crate) struct Family {
    /// Its name.
    pub name: &'static str,
    /// Which density types may name it.
    pub types: Types,
    /// Its parameters besides `loc` and `scale`, in the order in which `build` takes them.
    pub shapes: &'static [&'static str],
    /// Checks the shapes, `loc` and `scale`.
    pub build: fn(shapes: &[f64], loc: f64, scale: f64) -> Result<Density, InvalidParameter>,
}

/// The density types under which a family goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Types {
    /// One of the fifteen of the format: `builtin` and `scipy`.
    BuiltinAndScipy,
    /// `scipy` alone.
    Scipy,
}

/// All of them.
pub(crate) const FAMILIES: &[Family] = &[
    beta::FAMILY,
    cauchy::FAMILY,
    f::FAMILY,
    johnsonsu::FAMILY,
    laplace::FAMILY,
    norm::FAMILY,
    pareto::FAMILY,
    skewnorm::FAMILY,
    student_t::FAMILY,
];
