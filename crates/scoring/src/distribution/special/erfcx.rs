//! The scaled complementary error function and what follows from it.

use std::f64::consts::FRAC_1_SQRT_2;

use super::FRAC_1_SQRT_PI;

/// e^(x²) erfc(x), which does not underflow.
pub(in crate::distribution) fn erfcx(x: f64) -> f64 {
    const SERIES_FROM: f64 = 20.0;
    if x < SERIES_FROM {
        return libm::exp(x * x) * libm::erfc(x);
    }
    // DLMF 7.12.1
    let half_inverse_square = 0.5 / x / x;
    let series = (1..=8).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k - 1) * half_inverse_square * sum);
    FRAC_1_SQRT_PI / x * series
}

/// The probability of more than `z` under the standard normal distribution.
pub(in crate::distribution) fn normal_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// Its logarithm, which does not underflow.
pub(in crate::distribution) fn ln_normal_tail(z: f64) -> f64 {
    let x = z * FRAC_1_SQRT_2;
    if x < 1.0 { libm::log(0.5 * libm::erfc(x)) } else { libm::log(0.5 * erfcx(x)) - x * x }
}

#[cfg(test)]
mod tests {
    use super::*;

}
