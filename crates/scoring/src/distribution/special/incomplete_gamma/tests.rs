use super::values::INCOMPLETE_GAMMA;
use super::*;

fn gap(ours: f64, truth: f64) -> f64 {
    (ours / truth - 1.0).abs()
}

#[test]
fn both_incomplete_gamma_functions_agree_with_mpmath_from_tiny_to_huge_shapes() {
    let (mut body, mut tails) = (0.0_f64, 0.0_f64);
    for &[a, x, lower, upper] in INCOMPLETE_GAMMA {
        let ours = incomplete_gamma(a, x, libm::log(x));
        for (ours, truth) in [(ours.lower, lower), (ours.upper, upper)] {
            let worst = if truth > 1e-20 { &mut body } else { &mut tails };
            *worst = worst.max(gap(ours, truth));
        }
    }
    assert!(body < 1.5e-14 && tails < 1.5e-13, "{body:e} {tails:e}");
}

#[test]
fn the_two_functions_add_up_to_one_where_the_method_changes() {
    for a in [1e-3, 0.4, 1.0, 3.7, 9.99, 10.0, 80.0, 149.0, 151.0, 1e3] {
        let x = f64::max(a, 1.0);
        let left = incomplete_gamma(a, x.next_down(), libm::log(x));
        let right = incomplete_gamma(a, x, libm::log(x));
        assert!((left.lower + right.upper - 1.0).abs() < 5e-15, "{a}: {left:?} {right:?}");
    }
}

#[test]
fn the_exponential_integrals_agree_with_mpmath() {
    for (x, truth) in [
        (1.0, 0.21938393439552029),
        (1.5, 0.10001958240663265),
        (4.0, 0.0037793524098489067),
        (30.0, 3.0215520106888124e-15),
        (600.0, 4.409989794509838e-264),
    ] {
        assert!(gap(exponential_integral(x), truth) < 1e-14, "{x}: {:e}", exponential_integral(x));
    }
    for (x, truth) in [
        (1e-12, 9.9999999999975e-13),
        (0.01, 0.009975055451555324),
        (0.4, 0.3633050518930403),
        (1.0, 0.7965995992970532),
    ] {
        assert!(gap(entire_exponential_integral(x), truth) < 1e-15, "{x}");
    }
}

#[test]
fn an_argument_that_underflows_counts_by_its_logarithm() {
    let ln_x = -2000.0;
    let both = incomplete_gamma(1e-3, 0.0, ln_x);
    let lower = libm::exp(1e-3 * ln_x - ln_gamma_1p(1e-3));
    assert!(gap(both.lower, lower) < 1e-15 && gap(both.upper, 1.0 - lower) < 1e-15, "{both:?}");
}

#[test]
fn at_the_ends_all_mass_is_on_one_side() {
    for a in [1e-300, 0.5, 1.0, 20.0, 1e3, 1e300] {
        let at_zero = incomplete_gamma(a, 0.0, f64::NEG_INFINITY);
        let at_infinity = incomplete_gamma(a, f64::INFINITY, f64::INFINITY);
        let far = incomplete_gamma(a, 1e308, libm::log(1e308));
        assert_eq!((at_zero.lower, at_zero.upper), (0.0, 1.0), "{a}");
        assert_eq!((at_infinity.lower, at_infinity.upper), (1.0, 0.0), "{a}");
        assert_eq!((far.lower, far.upper), (1.0, 0.0), "{a}");
    }
}
