//! The scaled complementary error function and what follows from it.

use std::f64::consts::FRAC_1_SQRT_2;

use super::{FRAC_1_SQRT_PI, normal};

/// From here the asymptotic series is exact to a double: its last term is below 1e-17.
const SERIES_FROM: f64 = 10.0;

/// Terms of the asymptotic series.
const TERMS: u32 = 15;

/// e^(x²) erfc(x), which does not underflow. The relative error is at most 2e-14, next below 10.
pub(in crate::distribution) fn erfcx(x: f64) -> f64 {
    if x < SERIES_FROM { libm::exp(x * x) * libm::erfc(x) } else { FRAC_1_SQRT_PI / x * series(x) }
}

/// 1 - 1/(2x²) + 1·3/(2x²)² - … (DLMF 7.12.1).
fn series(x: f64) -> f64 {
    let inverse = 0.5 / x / x;
    (1..=TERMS).rev().fold(1.0, |sum, k| 1.0 - f64::from(2 * k - 1) * inverse * sum)
}

/// The logarithm of the standard normal upper tail, which does not underflow.
pub(in crate::distribution) fn ln_normal_tail(z: f64) -> f64 {
    let x = z * FRAC_1_SQRT_2;
    if x < 1.0 { libm::log(normal::sf(z)) } else { libm::log(0.5 * erfcx(x)) - x * x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_mpmath() {
        for (x, truth) in [
            (0.0, 1.0),
            (1e-09, 0.9999999988716208),
            (0.3, 0.7345993345676551),
            (1.0, 0.427583576155807),
            (2.5, 0.2108063640611436),
            (6.0, 0.09277656780053835),
            (9.99, 0.05619664070685882),
            (10.0, 0.05614099274382259),
            (10.01, 0.056085454355001924),
            (26.0, 0.021683584850562907),
            (1000.0, 0.0005641893014533876),
            (1000000000.0, 5.641895835477563e-10),
        ] {
            assert!((erfcx(x) / truth - 1.0).abs() < 2e-14, "{x}: {:e} {truth:e}", erfcx(x));
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
