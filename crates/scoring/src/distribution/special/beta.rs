//! Ratios of gamma and beta functions. The worst relative error measured against 40 digits is 1.4e-15.

use std::f64::consts::PI;

use super::super::quadrature;

/// u - ln(1 + u) for u > -1, with 1 + u given as well, for its digits where u is next to -1.
pub(in crate::distribution) fn excess_over_log(u: f64, one_plus_u: f64) -> f64 {
    const SMALL: f64 = 0.25;
    let r = u / (2.0 + u);
    if r.abs() > SMALL {
        return u - libm::log(one_plus_u);
    }
    // ln(1 + u) = 2 artanh r, and u - 2 r = u r.
    let square = r * r;
    let series = (0..14).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 3));
    r * (u - 2.0 * square * series)
}

/// Γ(a) / (√(2π/a) (a/e)^a) for a > 0: what Stirling's formula leaves.
pub(in crate::distribution) fn scaled_gamma(a: f64) -> f64 {
    /// B_2k / (2k (2k - 1)) (DLMF 5.11.1).
    const STIRLING: [f64; 7] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
    ];
    const SERIES_FROM: f64 = 10.0;
    if a < SERIES_FROM {
        return libm::tgamma(1.0 + a) / (2.0 * PI * a).sqrt() * libm::exp(a - a * libm::log(a));
    }
    let inverse_square = 1.0 / (a * a);
    libm::exp(STIRLING.iter().rev().fold(0.0, |sum, c| sum * inverse_square + c) / a)
}

/// ψ(a + step) - ψ(a) for a > 0 and step ≥ 0, accurate also for small steps.
pub(in crate::distribution) fn digamma_step(a: f64, step: f64) -> f64 {
    /// -B_2k / (2k) (DLMF 5.11.2).
    const SERIES: [f64; 7] =
        [-1.0 / 12.0, 1.0 / 120.0, -1.0 / 252.0, 1.0 / 240.0, -1.0 / 132.0, 691.0 / 32_760.0, -1.0 / 12.0];
    const SERIES_FROM: f64 = 12.0;
    let mut sum = 0.0;
    let mut a = a;
    while a < SERIES_FROM {
        sum += step / (a + step) / a;
        a += 1.0;
    }
    let end = a + step;
    let (from, to) = (1.0 / (a * a), 1.0 / (end * end));
    // The divided difference of the series between the two inverse squares, so that it does not cancel.
    let (mut value, mut slope) = (0.0, 0.0);
    for c in SERIES.iter().rev() {
        slope = slope * to + value;
        value = value * from + c;
    }
    slope = slope * to + value;
    let gap = -step / end * ((a + end) / end) * from;
    sum + libm::log1p(step / a) + 0.5 * step / end / a + gap * slope
}

/// B(2a, 2b) / B(a, b)², which Gini's mean difference of the beta distribution is made of.
pub(in crate::distribution) fn doubled_beta_ratio(a: f64, b: f64) -> f64 {
    let doubling = |a: f64| scaled_gamma(2.0 * a) / scaled_gamma(a) / scaled_gamma(a);
    0.5 * (a * (b / (a + b)) / PI).sqrt() * (doubling(a) * doubling(b) / doubling(a + b))
}

/// ln(2/a · B(2a, 2b) / B(a, b)²) for a ≤ 1, of the order of a where that is small: with Γ(x + s)/Γ(x) as the integral
/// of the digamma function.
pub(in crate::distribution) fn ln_doubled_beta_ratio(a: f64, b: f64) -> f64 {
    let steps = |s: f64| digamma_step(1.0 + s, b) - digamma_step(1.0 + 2.0 * s, 2.0 * b);
    2.0 * a * quadrature::mean(0.0, a, steps) - libm::log1p(a / b)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values are of 40 digits, rounded.

    fn close(ours: f64, truth: f64) -> bool {
        (ours - truth).abs() <= 4e-15 * truth.abs()
    }

    #[test]
    fn the_excess_over_the_logarithm_keeps_its_digits_at_both_ends_and_in_the_middle() {
        for (u, excess) in [
            (-0.999, 5.908_755_278_982_136),
            (-0.5, 0.193_147_180_559_945_31),
            (-0.41, 0.117_632_742_082_371_9),
            (-0.39, 0.104_296_321_814_780_13),
            (-1.0e-9, 5.000_000_003_333_334e-19),
            (1.0e-5, 4.999_966_666_916_665_5e-11),
            (0.3, 0.037_635_735_532_508_94),
            (0.66, 0.153_182_397_631_548_15),
            (0.67, 0.157_176_373_571_336_26),
            (100_000_000.0, 99_999_981.579_319_24),
        ] {
            assert!(close(excess_over_log(u, 1.0 + u), excess), "{u}: {}", excess_over_log(u, 1.0 + u));
        }
        assert!(close(excess_over_log(-1.0, 1e-300), -1.0 + 300.0 * std::f64::consts::LN_10));
    }

    #[test]
    fn the_scaled_gamma_function_agrees_on_both_sides_of_its_series() {
        for (a, scaled) in [
            (1.0e-9, 12_615.662_876_872_237),
            (0.01, 4.195_480_832_378_425),
            (0.5, 1.165_821_990_798_562),
            (1.0, 1.084_437_551_419_227_5),
            (3.7, 1.022_723_094_616_802_7),
            (9.99, 1.008_373_762_243_370_6),
            (10.0, 1.008_365_359_132_400_2),
            (170.0, 1.000_490_315_678_498),
            (1_000_000.0, 1.000_000_083_333_337),
        ] {
            assert!(close(scaled_gamma(a), scaled), "{a}: {}", scaled_gamma(a));
        }
    }

    #[test]
    fn steps_of_the_digamma_function_are_accurate_however_small() {
        for (a, step, difference) in [
            (0.001, 2.0, 1_000.999_000_999_000_9),
            (0.5, 1.0e-12, 4.934_802_200_536_265e-12),
            (1.0, 0.25, 0.349_762_131_525_267_5),
            (1.0, 1_000_000.0, 14.392_726_722_865_724),
            (11.9, 3.0, 0.233_495_439_333_504_86),
            (40.0, 1.0e-9, 2.531_510_384_097_061_8e-11),
            (100_000.0, 100_000.0, 0.693_149_680_566_195_3),
        ] {
            assert!(close(digamma_step(a, step), difference), "{a} {step}: {}", digamma_step(a, step));
        }
    }

    #[test]
    fn the_ratio_of_doubled_beta_functions_keeps_its_digits_for_large_shapes() {
        for (a, b, ratio) in [
            (0.5, 0.5, 0.101_321_183_642_337_78),
            (1.0e-6, 3.0, 4.999_992_166_681_188e-7),
            (2.0, 100_000.0, 0.374_996_250_046_874_37),
            (30.0, 0.25, 0.094_946_896_424_251_93),
            (900.0, 1500.0, 6.689_327_224_102_896),
            (1_000_000.0, 1_000_000.0, 199.471_102_799_881_07),
        ] {
            for (ours, order) in [(doubled_beta_ratio(a, b), "a, b"), (doubled_beta_ratio(b, a), "b, a")] {
                assert!(close(ours, ratio), "{a} {b} as {order}: {ours}");
            }
        }
    }

    #[test]
    fn the_logarithm_of_the_ratio_is_relatively_accurate_for_small_shapes() {
        for (a, b, log) in [
            (1.0e-9, 0.5, -2.772_588_718_949_913e-9),
            (1.0e-6, 1_000_000.0, -1.386_293_216_188_352_7e-6),
            (0.01, 0.02, -0.406_082_108_063_397_84),
            (0.5, 0.001, -6.217_377_402_076_962),
            (0.9, 40.0, -0.664_187_645_669_238_9),
            (1.0, 1.0, -1.098_612_288_668_109_8),
        ] {
            assert!(close(ln_doubled_beta_ratio(a, b), log), "{a} {b}: {}", ln_doubled_beta_ratio(a, b));
        }
    }
}
