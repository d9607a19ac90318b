//! What holds for the CRPS of any density, whatever its family.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use scoring::distribution::Mixture;
use scoring::{Density, Distribution, Limits, parse_density};

fn parsed(spec: &str) -> Density {
    parse_density(spec.as_bytes(), &Limits::NONE).unwrap()
}

fn norm(loc: f64, scale: f64) -> Density {
    parsed(&format!(
        r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:e}, "scale": {scale:e}}}}}"#
    ))
}

fn laplace(loc: f64, scale: f64) -> Density {
    parsed(&format!(
        r#"{{"type": "builtin", "name": "laplace", "params": {{"loc": {loc:e}, "scale": {scale:e}}}}}"#
    ))
}

fn student(df: f64, loc: f64, scale: f64) -> Density {
    let params = format!(r#"{{"df": {df:e}, "loc": {loc:e}, "scale": {scale:e}}}"#);
    parsed(&format!(r#"{{"type": "builtin", "name": "t", "params": {params}}}"#))
}

fn points(masses: &[(f64, f64)]) -> Density {
    let members: Vec<String> =
        masses.iter().map(|(value, mass)| format!(r#""{value:e}": {mass:e}"#)).collect();
    parsed(&format!(r#"{{"type": "buckets", "probabilities": {{{}}}}}"#, members.join(", ")))
}

fn mixture(components: Vec<(f64, Density)>) -> Density {
    Density::Mixture(Mixture::new(components).unwrap())
}

/// A density with the same shape at any place and size: parameters are relative to both.
#[derive(Debug, Clone)]
enum Shape {
    Norm(f64, f64),
    Laplace(f64, f64),
    Student(f64, f64, f64),
    Points(Vec<(f64, f64)>),
    Mixture(Vec<(f64, Shape)>),
}

impl Shape {
    fn at(&self, place: f64, size: f64) -> Density {
        match self {
            Shape::Norm(loc, scale) => norm(place + size * loc, size * scale),
            Shape::Laplace(loc, scale) => laplace(place + size * loc, size * scale),
            Shape::Student(df, loc, scale) => student(*df, place + size * loc, size * scale),
            Shape::Points(masses) => {
                let moved: Vec<_> =
                    masses.iter().map(|(value, mass)| (place + size * value, *mass)).collect();
                points(&moved)
            }
            Shape::Mixture(components) => {
                mixture(components.iter().map(|(weight, shape)| (*weight, shape.at(place, size))).collect())
            }
        }
    }

    fn density(&self) -> Density {
        self.at(0.0, 1.0)
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let loc = -3.0..3.0;
    let scale = 0.05..4.0;
    let points = prop::collection::btree_map(-20i32..20, 0.01..1.0, 1..6)
        .prop_map(|points| points.into_iter().map(|(value, mass)| (f64::from(value) / 4.0, mass)).collect());
    let leaf = prop_oneof![
        (loc.clone(), scale.clone()).prop_map(|(loc, scale)| Shape::Norm(loc, scale)),
        (loc.clone(), scale.clone()).prop_map(|(loc, scale)| Shape::Laplace(loc, scale)),
        (0.6f64..30.0, loc, scale).prop_map(|(df, loc, scale)| Shape::Student(df, loc, scale)),
        points.prop_map(Shape::Points),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop::collection::vec((-2.0..2.0, inner), 1..4)
            .prop_filter("a weight above zero", |components| {
                components.iter().any(|(weight, _): &(f64, Shape)| weight.abs() > 0.01)
            })
            .prop_map(Shape::Mixture)
    })
}

/// ∫ F² left of x and S² right of it by the midpoint rule in u = asinh of the distance from x, cut beyond 1e12.
fn crps_by_midpoints(density: &Density, x: f64) -> f64 {
    const POINTS: u32 = 60_000;
    let furthest = libm::asinh(1e12);
    let width = furthest / f64::from(POINTS);
    let area = |side: f64, mass: &dyn Fn(f64) -> f64| -> f64 {
        let value = |k: u32| {
            let u = (f64::from(k) + 0.5) * width;
            mass(x + side * libm::sinh(u)).powi(2) * libm::cosh(u) * width
        };
        (0..POINTS).map(value).sum()
    };
    area(-1.0, &|u| density.cdf(u)) + area(1.0, &|u| density.sf(u))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn crps_is_convex_in_the_outcome_with_a_slope_between_minus_one_and_one(
        shape in shape(), x in -8.0..8.0, h in 0.001..3.0,
    ) {
        let density = shape.density();
        let (left, centre, right) = (density.crps(x - h), density.crps(x), density.crps(x + h));
        let rounding = 1e-10 * (left + centre + right);
        prop_assert!((right - centre).abs() <= h + rounding);
        prop_assert!((centre - left).abs() <= h + rounding);
        prop_assert!(left + right >= 2.0 * centre - rounding, "{} {} {}", left, centre, right);
        // The slope is 2F - 1, which lies between those of the chords.
        let slope = 2.0 * density.cdf(x) - 1.0;
        prop_assert!((centre - left) / h <= slope + rounding / h);
        prop_assert!(slope - rounding / h <= (right - centre) / h + 2.0 * point_mass_at(&density, x));
    }

    #[test]
    fn crps_moves_and_scales_with_the_density(
        shape in shape(), x in -8.0..8.0, place in -100.0..100.0, power in -9..9i32,
    ) {
        let size = 10f64.powi(power);
        let expected = shape.density().crps(x);
        let moved = shape.at(place, 1.0).crps(x + place);
        prop_assert!((moved - expected).abs() <= 1e-9 * expected.max(1e-3), "{} {}", moved, expected);
        let scaled = shape.at(0.0, size).crps(x * size) / size;
        prop_assert!((scaled - expected).abs() <= 1e-9 * expected.max(1e-3), "{} {}", scaled, expected);
    }

    #[test]
    fn crps_is_above_zero_but_for_certainty_at_the_outcome(shape in shape(), x in -8.0..8.0) {
        let crps = shape.density().crps(x);
        prop_assert!(crps > 0.0);
        let certain = points(&[(x, 1.0)]);
        prop_assert_eq!(certain.crps(x), 0.0);
        let nearly = mixture(vec![(1.0, certain), (0.01, shape.density())]).crps(x);
        prop_assert!(nearly > 0.0 && nearly < crps);
    }

    #[test]
    fn cdf_and_survival_function_add_up_and_rise_and_fall(shape in shape(), x in -8.0..8.0, h in 0.0..3.0) {
        let density = shape.density();
        prop_assert!((density.cdf(x) + density.sf(x) - 1.0).abs() < 1e-14);
        prop_assert!(density.cdf(x) <= density.cdf(x + h) + 1e-15);
        prop_assert!(density.pdf(x) >= 0.0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Tails lighter than those of two degrees of freedom, so that nothing is left beyond 1e12.
    #[test]
    fn crps_is_the_quadrature_of_its_own_cdf(
        weights in prop::collection::vec(0.01..1.0, 4), df in 2.0f64..20.0, x in -4.0..4.0,
        locs in prop::collection::vec(-3.0..3.0, 4), scales in prop::collection::vec(0.05..3.0, 4),
    ) {
        let nested = mixture(vec![
            (weights[0], student(df, locs[0], scales[0])),
            (weights[1], mixture(vec![
                (weights[2], laplace(locs[1], scales[1])),
                (weights[3], mixture(vec![(0.3, norm(locs[2], scales[2])), (0.7, norm(locs[3], scales[3]))])),
            ])),
        ]);
        let ours = nested.crps(x);
        let independent = crps_by_midpoints(&nested, x);
        prop_assert!((ours / independent - 1.0).abs() < 2e-6, "{} {}", ours, independent);
    }
}

/// What the cdf jumps by at `x`.
fn point_mass_at(density: &Density, x: f64) -> f64 {
    density.cdf(x) - density.cdf(x.next_down())
}

/// Trap 25: the mean density rewards a spike; the CRPS is proper, so that nothing beats the truth on average.
#[test]
fn a_spike_does_not_beat_the_truth() {
    let truth = norm(0.0, 1.0);
    let mean_crps = |forecast: &Density| -> f64 {
        let outcomes = (-800..=800).map(|k| f64::from(k) * 0.01);
        outcomes.map(|x| truth.pdf(x) * 0.01 * forecast.crps(x)).sum()
    };
    let honest = mean_crps(&truth);
    assert!((honest - 1.0 / std::f64::consts::PI.sqrt()).abs() < 1e-6, "{honest}");
    for other in [norm(0.0, 0.1), norm(0.0, 1e-9), norm(0.0, 1.1), norm(0.1, 1.0), student(3.0, 0.0, 1.0)] {
        assert!(mean_crps(&other) > honest + 1e-4, "{other:?}");
    }
}

/// Trap 25: a narrow density that is right is worth nearly nothing, one that is wrong its distance, with no grid between.
#[test]
fn a_narrow_density_is_scored_by_its_distance() {
    assert!((norm(5.0, 1e-9).crps(5.0) - 2.336_949_772_551_1e-10).abs() < 1e-20);
    assert!((norm(0.0, 3e-78).crps(5.0) - 5.0).abs() < 1e-14);
}

#[test]
fn absurd_scales_give_finite_scores_or_none_at_all() {
    for density in [norm(0.0, 1e50), student(2.0, 1e5, 6e53), laplace(0.0, 1e12), norm(0.0, 5e-324)] {
        let crps = density.crps(0.001);
        assert!(crps.is_finite() && crps > 0.0, "{density:?} {crps}");
    }
    let wide = mixture(vec![(0.5, student(1.5, 0.0, 1e50)), (0.5, norm(0.0, 1e-50))]);
    assert!(wide.crps(1.0).is_finite());
}
