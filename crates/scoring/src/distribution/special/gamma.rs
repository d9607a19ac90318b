//! The gamma function, its logarithmic derivative and their ratios.

use std::f64::consts::PI;

/// Euler's constant.
pub(in crate::distribution) const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// ln Γ(1 + a) for a > 0, with its digits also where a is tiny: ψ(1) mends what 1 + a rounds away.
pub(in crate::distribution) fn ln_gamma_1p(a: f64) -> f64 {
    let rounded = 1.0 + a;
    let lost = if a < 1.0 { a - (rounded - 1.0) } else { 0.0 };
    libm::lgamma(rounded) - EULER_GAMMA * lost
}

/// From here on Stirling's series is exact to a double.
const STIRLING_FROM: f64 = 10.0;

/// What Stirling's formula leaves of ln Γ(a), for a ≥ 10: 1/(12a) - 1/(360a³) + … (DLMF 5.11.1).
pub(super) fn stirling_remainder(a: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    let inverse = 1.0 / a;
    let square = inverse * inverse;
    COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * square + c) * inverse
}

/// Γ(a) / (√(2π/a) (a/e)^a) for a > 0: what Stirling's formula leaves.
pub(in crate::distribution) fn scaled_gamma(a: f64) -> f64 {
    if a < STIRLING_FROM {
        return libm::tgamma(1.0 + a) / (2.0 * PI * a).sqrt() * libm::exp(a - a * libm::log(a));
    }
    libm::exp(stirling_remainder(a))
}

/// Coefficients of w^-2, w^-4, … in ln(Γ(a + 1/2) / Γ(a)) - ln(w)/2, where w = a - 1/4: 2 B(k+1; 1/4) / (k (k+1)) for
/// even k, with the Bernoulli polynomials B (from the expansion of ln Γ(w + c), DLMF 5.11.8).
const HALF_STEP_SERIES: [f64; 6] = [
    1.0 / 64.0,
    -5.0 / 2048.0,
    61.0 / 49_152.0,
    -1385.0 / 1_048_576.0,
    50_521.0 / 20_971_520.0,
    -2_702_765.0 / 402_653_184.0,
];

/// Where that series is exact to a double: its next term is below 1e-16.
const HALF_STEP_FROM: f64 = 12.25;

/// Γ(a + 1/2) / Γ(a) for a > 0.
pub(in crate::distribution) fn gamma_half_step(a: f64) -> f64 {
    let mut product = 1.0;
    let mut a = a;
    while a < HALF_STEP_FROM {
        product *= a / (a + 0.5);
        a += 1.0;
    }
    let w = a - 0.25;
    let inverse = 1.0 / (w * w);
    let series = HALF_STEP_SERIES.iter().rev().fold(0.0, |sum, c| (sum + c) * inverse);
    product * w.sqrt() * libm::exp(series)
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

#[cfg(test)]
mod tests {
    use super::*;

    // The values are of 40 digits, rounded.

    fn close(ours: f64, truth: f64) -> bool {
        (ours - truth).abs() <= 4e-15 * truth.abs()
    }

    #[test]
    fn ln_gamma_keeps_its_digits_next_to_one() {
        for (a, truth) in [
            (1e-300, -5.772156649015329e-301),
            (1e-17, -5.772156649015329e-18),
            (1e-9, -5.772156640790658e-10),
            (3e-5, -1.7315729737534196e-05),
            (0.01, -0.005690307946069646),
            (0.2, -0.08537409000331585),
            (0.7, -0.09580769740706588),
            (3.0, 1.791759469228055),
            (60.0, 188.6281734236716),
        ] {
            assert!(close(ln_gamma_1p(a), truth), "{a}: {:e} {truth:e}", ln_gamma_1p(a));
        }
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
    fn half_steps_of_gamma_and_digamma_are_exact_where_they_are_known() {
        let root_pi = std::f64::consts::PI.sqrt();
        let ln2 = std::f64::consts::LN_2;
        for (a, ratio) in
            [(0.5, 1.0 / root_pi), (1.0, root_pi / 2.0), (1.5, 2.0 / root_pi), (12.0, 3.428_214_823_471_968)]
        {
            assert!(close(gamma_half_step(a), ratio), "{a}");
        }
        for (a, difference) in [(0.5, 2.0 * ln2), (1.0, 2.0 - 2.0 * ln2), (1.5, 2.0 * ln2 - 1.0)] {
            assert!(close(digamma_step(a, 0.5), difference), "{a}");
        }
    }

    #[test]
    fn the_half_step_of_digamma_is_the_slope_of_that_of_gamma() {
        for a in [0.3, 1.7, 11.9, 12.4, 40.0, 1e4] {
            let h = 1e-4 * a;
            let slope = libm::log(gamma_half_step(a + h) / gamma_half_step(a - h)) / (2.0 * h);
            assert!((slope / digamma_step(a, 0.5) - 1.0).abs() < 1e-7, "{a}");
        }
    }
}
