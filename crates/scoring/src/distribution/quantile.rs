//! Quantiles where there is no closed form.

/// The least double in `support` whose probability at and below it is at least `p`, by bisection over the doubles: at
/// most 64 steps whatever the shape and scale. The upper half looks at the survival function, which keeps its digits
/// there.
pub(super) fn search(p: f64, support: (f64, f64), cdf: impl Fn(f64) -> f64, sf: impl Fn(f64) -> f64) -> f64 {
    let is_reached = |x: f64| if p <= 0.5 { cdf(x) >= p } else { sf(x) <= 1.0 - p };
    let (mut below, mut reached) = (to_ordered(support.0), to_ordered(support.1));
    while below < reached {
        let middle = below.midpoint(reached).min(reached - 1);
        if is_reached(from_ordered(middle)) {
            reached = middle;
        } else {
            below = middle + 1;
        }
    }
    from_ordered(reached)
}

/// A number for each double, in their order.
fn to_ordered(x: f64) -> i64 {
    let bits = x.to_bits() as i64;
    if bits < 0 { i64::MIN - bits } else { bits }
}

fn from_ordered(number: i64) -> f64 {
    let bits = if number < 0 { i64::MIN - number } else { number };
    f64::from_bits(bits as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_double_that_reaches_the_probability_is_found() {
        let uniform = |x: f64| x.clamp(0.0, 1.0);
        let find = |p| search(p, (f64::NEG_INFINITY, f64::INFINITY), uniform, |x| 1.0 - uniform(x));
        for p in [1e-300, 1e-9, 0.25, 0.5, 0.75] {
            assert_eq!(find(p), p);
        }
        let step = |x: f64| if x < -3.0 { 0.0 } else { 1.0 };
        let jump = search(0.3, (f64::NEG_INFINITY, f64::INFINITY), step, |x| 1.0 - step(x));
        assert_eq!(jump, -3.0);
    }
}
