//! The families that a model may name.

use super::{
    Density, InvalidParameter, beta, cauchy, chi, chi2, expon, f, gamma, gennorm, gumbel_l, gumbel_r,
    halfnorm, johnsonsu, laplace, logistic, lognorm, norm, pareto, rayleigh, skewnorm, student_t, triang,
    uniform, weibull_max, weibull_min,
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

/// All of them, by name.
pub(crate) const FAMILIES: &[Family] = &[
    beta::FAMILY,
    cauchy::FAMILY,
    chi::FAMILY,
    chi2::FAMILY,
    expon::FAMILY,
    f::FAMILY,
    gamma::FAMILY,
    gennorm::FAMILY,
    gumbel_l::FAMILY,
    gumbel_r::FAMILY,
    halfnorm::FAMILY,
    johnsonsu::FAMILY,
    laplace::FAMILY,
    logistic::FAMILY,
    lognorm::FAMILY,
    norm::FAMILY,
    pareto::FAMILY,
    rayleigh::FAMILY,
    skewnorm::FAMILY,
    student_t::FAMILY,
    triang::FAMILY,
    uniform::FAMILY,
    weibull_max::FAMILY,
    weibull_min::FAMILY,
];
