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

    #[test]
    fn the_scaled_function_agrees_on_both_sides_of_its_series() {
        for (x, scaled) in [
            (-1.0, 5.008_980_080_762_283),
            (0.0, 1.0),
            (0.5, 0.615_690_344_192_925_9),
            (5.0, 0.110_704_637_733_068_63),
            (19.9, 0.028_315_573_983_185_766),
            (20.0, 0.028_174_348_741_051_32),
            (26.0, 0.021_683_584_850_562_907),
            (1000.0, 0.000_564_189_301_453_387_6),
        ] {
            assert!((erfcx(x) / scaled - 1.0).abs() < 2e-13, "{x}: {}", erfcx(x));
        }
    }

    #[test]
    fn the_logarithm_of_the_normal_tail_is_finite_where_the_tail_underflows() {
        for (z, log) in [
            (-3.0, -0.001_350_809_964_748_193_8),
            (0.0, -std::f64::consts::LN_2),
            (1.0, -1.841_021_645_009_263_6),
            (6.0, -20.736_768_949_974_707),
            (30.0, -454.321_243_956_343_2),
        ] {
            assert!((ln_normal_tail(z) / log - 1.0).abs() < 1e-14, "{z}: {}", ln_normal_tail(z));
        }
        assert!((ln_normal_tail(1e100) / -5e199 - 1.0).abs() < 1e-14);
    }
}
