//! Ratios of gamma and beta functions.

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
    const SERIES: [f64; 7] = [
        -1.0 / 12.0,
        1.0 / 120.0,
        -1.0 / 252.0,
        1.0 / 240.0,
        -1.0 / 132.0,
        691.0 / 32_760.0,
        -1.0 / 12.0,
    ];
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

}
