//! The incomplete beta function I_x(a, b) = ∫ t^(a-1) (1-t)^(b-1) dt / B(a, b) over 0 < t < x. Everywhere y = 1 - x is
//! taken as well as x: the caller knows both with all their digits.

use std::f64::consts::PI;

use super::super::quadrature;
use super::beta::{digamma_step, excess_over_log, scaled_gamma};

/// The incomplete beta function of fixed shapes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::distribution) struct IncompleteBeta {
    lower: Shapes,
    upper: Shapes,
}

impl IncompleteBeta {
    /// With shapes above zero.
    pub(in crate::distribution) fn new(a: f64, b: f64) -> Self {
        let peak = (a * (b / (a + b)) / (2.0 * PI)).sqrt() * scaled_gamma(a + b)
            / (scaled_gamma(a) * scaled_gamma(b));
        IncompleteBeta { lower: Shapes::new(a, b, peak), upper: Shapes::new(b, a, peak) }
    }

    /// I_x(a, b) and its complement, each accurate where it is small.
    pub(in crate::distribution) fn masses(&self, x: f64, y: f64) -> (f64, f64) {
        if self.lower.is_below_centre(x) {
            self.lower.masses(x, y)
        } else {
            let (above, below) = self.upper.masses(y, x);
            (below, above)
        }
    }

    /// ln(x^a y^b / B(a, b)).
    pub(in crate::distribution) fn ln_prefix(&self, x: f64, y: f64) -> f64 {
        libm::log(self.lower.peak) - self.lower.divergence(x, y)
    }

    /// x^a y^b / B(a, b).
    pub(in crate::distribution) fn prefix(&self, x: f64, y: f64) -> f64 {
        self.lower.prefix(x, y)
    }
}

/// From here on the continued fraction takes more time than quadrature.
const LARGE: f64 = 1e4;

/// The shapes as seen from the end of the interval where `a` rules.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shapes {
    a: f64,
    b: f64,
    /// x^a y^b / B(a, b) at its maximum, x = a / (a + b).
    peak: f64,
    /// ln(Γ(a + b) / (Γ(a + 1) Γ(b))) if a ≤ 1.
    ln_coefficient: f64,
}

impl Shapes {
    fn new(a: f64, b: f64, peak: f64) -> Self {
        let ln_coefficient = if a <= 1.0 {
            a * quadrature::mean(0.0, a, |s| digamma_step(1.0 + s, b)) - libm::log1p(a / b)
        } else {
            f64::NAN
        };
        Shapes { a, b, peak, ln_coefficient }
    }

    fn is_below_centre(&self, x: f64) -> bool {
        x * (self.a + self.b + 2.0) <= self.a + 1.0
    }

    /// I_x(a, b) and its complement, for x below the centre.
    fn masses(&self, x: f64, y: f64) -> (f64, f64) {
        if x <= 0.0 {
            return (0.0, 1.0);
        }
        if self.a <= 1.0 {
            let ln_mass = self.ln_mass_by_series(x);
            return (libm::exp(ln_mass), -libm::expm1(ln_mass));
        }
        let mass = if self.a.min(self.b) > LARGE {
            self.mass_by_quadrature(x, y)
        } else {
            self.prefix(x, y) / incomplete_beta_fraction(self.a, self.b, x, y)
        };
        (mass, 1.0 - mass)
    }

    /// ln I_x(a, b) by the power series (DLMF 8.17.7). In logarithms it is of the order of a, so that the complement keeps
    /// its digits however small a is.
    fn ln_mass_by_series(&self, x: f64) -> f64 {
        let Shapes { a, b, ln_coefficient, .. } = *self;
        let mut power = 1.0;
        let mut sum = 0.0;
        for n in 1..=200 {
            let n = f64::from(n);
            power *= (n - b) / n * x;
            let term = power / (a + n);
            sum += term;
            if term.abs() <= 1e-18 * (1.0 + sum.abs()) {
                break;
            }
        }
        a * libm::log(x) + ln_coefficient + libm::log1p(a * sum)
    }

    /// The integral of x^a y^b / B(a, b) over the logit v of x, for large shapes. There it is close to a normal density.
    fn mass_by_quadrature(&self, x: f64, y: f64) -> f64 {
        let Shapes { a, b, .. } = *self;
        const MAX_PANELS: u32 = 64;
        let curvature = (1.0 / a + 1.0 / b).sqrt().recip();
        let mut v = libm::log(x / y);
        let mut sum = 0.0;
        for _ in 0..MAX_PANELS {
            let (x, y) = from_logit(v);
            let end = v - 4.0 / (2.0 * curvature + (a * y - b * x).abs());
            let mut panel = 0.0;
            quadrature::for_each_node(end, v, |v, weight| {
                let (x, y) = from_logit(v);
                panel += weight * self.prefix(x, y);
            });
            sum += panel;
            if panel <= 1e-17 * sum {
                break;
            }
            v = end;
        }
        sum
    }

    fn prefix(&self, x: f64, y: f64) -> f64 {
        self.peak * libm::exp(-self.divergence(x, y))
    }

    /// a ln(m/x) + b ln((1-m)/y) with m = a / (a + b), by how much ln(x^a y^b) is below its maximum, as the sum of two
    /// terms above zero (DiDonato and Morris 1992, section 4).
    fn divergence(&self, x: f64, y: f64) -> f64 {
        let Shapes { a, b, .. } = *self;
        let offset = b * x - a * y;
        a * excess_over_log(offset / a, x * ((a + b) / a)) + b * excess_over_log(-offset / b, y * ((a + b) / b))
    }
}

fn from_logit(v: f64) -> (f64, f64) {
    (1.0 / (1.0 + libm::exp(-v)), 1.0 / (1.0 + libm::exp(v)))
}

/// The continued fraction q in I_x(a, b) = x^a y^b / (q B(a, b)), y = 1 - x (DiDonato and Morris 1992, eq. 9), by Lentz's
/// method. Taking y as well keeps the digits where x is next to 1. Converges fast for x < (a + 1) / (a + b + 2).
pub(in crate::distribution) fn incomplete_beta_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    const TINY: f64 = f64::MIN_POSITIVE;
    const MAX_ROUNDS: u32 = 10_000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let numerator = |m: f64| {
        let middle = a + 2.0 * m - 1.0;
        (a + m - 1.0) / middle * ((a + b + m - 1.0) / middle) * m * (b - m) * x * x
    };
    let denominator = |m: f64| {
        let shift = a * y - b * x + 1.0 + m * (1.0 + y);
        m + m * (b - m) * x / (a + 2.0 * m - 1.0) + (a + m) / (a + 2.0 * m + 1.0) * shift
    };
    let mut fraction = away_from_zero(a / (a + 1.0) * (a * y - b * x + 1.0));
    let mut c = fraction;
    let mut d = 0.0;
    for m in 1..=MAX_ROUNDS {
        let (over, under) = (numerator(f64::from(m)), denominator(f64::from(m)));
        d = 1.0 / away_from_zero(under + over * d);
        c = away_from_zero(under + over / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() <= 2.0 * f64::EPSILON {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

}
