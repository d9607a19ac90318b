//! Special functions, in the forms that keep their digits.

pub(super) mod beta;
pub(super) mod elementary;
pub(super) mod erfcx;
pub(super) mod gamma;
pub(super) mod incomplete_beta;
pub(super) mod incomplete_gamma;
pub(super) mod normal;
pub(super) mod owens_t;

/// 1/√π.
pub(super) const FRAC_1_SQRT_PI: f64 = 0.564_189_583_547_756_3;
