//! Owen's T function (Owen 1956), T(h, a) = ∫ exp(-h² (1 + x²) / 2) / (1 + x²) dx / 2π over 0 < x < a.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::super::quadrature;
use super::erfcx::normal_tail;

/// Where e^(-x²/2) is below rounding.
const FURTHEST: f64 = 9.0;

/// T(h, a) for h ≥ 0 and a ≥ 0.
pub(in crate::distribution) fn owens_t(h: f64, a: f64) -> f64 {
    if a > 1.0 {
        // T(h, a) + T(ah, 1/a), Owen's eq. 2.3
        let (near, far) = (normal_tail(h), normal_tail(a * h));
        return 0.5 * (near + far) - near * far - owens_t(a * h, 1.0 / a);
    }
    let end = a.min(FURTHEST / h);
    let mut sum = 0.0;
    for (from, to) in [(0.0, 0.5 * end), (0.5 * end, end)] {
        quadrature::for_each_node(from, to, |x, weight| sum += weight * integrand(h, x));
    }
    libm::exp(-0.5 * h * h) * sum / (2.0 * PI)
}

/// The same integral over x > a, the limit of T(h, ·) less T(h, a), for h ≥ 0 and a ≥ 0. Relatively accurate.
pub(in crate::distribution) fn owens_t_complement(h: f64, a: f64) -> f64 {
    match (a * h > 1.0, a < 1.0) {
        (true, _) => remote_complement(h, a),
        (false, true) => 0.5 * normal_tail(h) - owens_t(h, a),
        (false, false) => owens_t(a * h, 1.0 / a) - 0.5 * libm::erf(h * FRAC_1_SQRT_2) * normal_tail(a * h),
    }
}

/// For ah > 1 the integrand falls faster than any power of x/a.
fn remote_complement(h: f64, a: f64) -> f64 {
    let scale = libm::exp(-0.5 * h * h * (1.0 + a * a)) / (2.0 * PI);
    if scale == 0.0 {
        return 0.0;
    }
    let rate = h * h * a;
    let mut width = 1.0 / rate;
    let mut from = 0.0;
    let mut sum = 0.0;
    // e^-(rate · distance) has fallen below rounding after six doublings.
    for _ in 0..7 {
        quadrature::for_each_node(from, from + width, |beyond, weight| {
            let x = a + beyond;
            sum += weight * libm::exp(-beyond * (rate + 0.5 * h * h * beyond)) / (1.0 + x * x);
        });
        from += width;
        width = from;
    }
    scale * sum
}

fn integrand(h: f64, x: f64) -> f64 {
    libm::exp(-0.5 * (h * x) * (h * x)) / (1.0 + x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

}
