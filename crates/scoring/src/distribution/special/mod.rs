//! Special functions, in the forms that keep their digits.

pub(super) mod beta;
pub(super) mod erfcx;
pub(super) mod gamma;
pub(super) mod incomplete_beta;
pub(super) mod normal;
pub(super) mod owens_t;

/// 1/√π.
pub(super) const FRAC_1_SQRT_PI: f64 = 0.564_189_583_547_756_3;

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
const SERIES_FROM: f64 = 12.25;

/// Γ(a + 1/2) / Γ(a) for a > 0.
pub(super) fn gamma_half_step(a: f64) -> f64 {
    let mut product = 1.0;
    let mut a = a;
    while a < SERIES_FROM {
        product *= a / (a + 0.5);
        a += 1.0;
    }
    let w = a - 0.25;
    let inverse = 1.0 / (w * w);
    let series = HALF_STEP_SERIES.iter().rev().fold(0.0, |sum, c| (sum + c) * inverse);
    product * w.sqrt() * libm::exp(series)
}

/// ψ(a + 1/2) - ψ(a) for a > 0, the derivative of ln(Γ(a + 1/2) / Γ(a)).
pub(super) fn digamma_half_step(a: f64) -> f64 {
    let mut sum = 0.0;
    let mut a = a;
    while a < SERIES_FROM {
        sum += 0.5 / (a * (a + 0.5));
        a += 1.0;
    }
    let w = a - 0.25;
    let inverse = 1.0 / (w * w);
    let series = HALF_STEP_SERIES
        .iter()
        .enumerate()
        .rev()
        .fold(0.0, |sum, (k, c)| (sum + 2.0 * (k + 1) as f64 * c) * inverse);
    sum + (0.5 - series) / w
}

/// (e^y - 1) / y, and 1 at 0.
pub(super) fn exprel(y: f64) -> f64 {
    if y == 0.0 { 1.0 } else { libm::expm1(y) / y }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 4e-15 * b.abs()
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
            assert!(close(digamma_half_step(a), difference), "{a}");
        }
    }

    #[test]
    fn the_half_step_of_digamma_is_the_slope_of_that_of_gamma() {
        for a in [0.3, 1.7, 11.9, 12.4, 40.0, 1e4] {
            let h = 1e-4 * a;
            let slope = libm::log(gamma_half_step(a + h) / gamma_half_step(a - h)) / (2.0 * h);
            assert!((slope / digamma_half_step(a) - 1.0).abs() < 1e-7, "{a}");
        }
    }
}
