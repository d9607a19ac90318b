//! What holds for the CRPS of any density, whatever its family.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::ops::Range;

use proptest::prelude::*;
use scoring::{Density, Distribution, Limits, parse_density};
use serde_json::{Map, Value, json};

fn parsed(spec: &Value) -> Density {
    parse_density(spec.to_string().as_bytes(), &Limits::NONE).unwrap()
}

fn family(name: &str, shapes: &[(&str, f64)], loc: f64, scale: f64) -> Value {
    let params = [shapes, &[("loc", loc), ("scale", scale)]].concat();
    let params: Map<String, Value> =
        params.into_iter().map(|(key, value)| (key.into(), json!(value))).collect();
    json!({"type": "scipy", "name": name, "params": params})
}

fn points(masses: &[(f64, f64)]) -> Value {
    let masses: Map<String, Value> =
        masses.iter().map(|(value, mass)| (format!("{value:e}"), json!(mass))).collect();
    json!({"type": "buckets", "probabilities": masses})
}

fn mixture(components: &[(f64, Value)]) -> Value {
    let components: Vec<Value> =
        components.iter().map(|(weight, density)| json!({"weight": weight, "density": density})).collect();
    json!({"type": "mixture", "components": components})
}

fn norm(loc: f64, scale: f64) -> Density {
    parsed(&family("norm", &[], loc, scale))
}

fn laplace(loc: f64, scale: f64) -> Density {
    parsed(&family("laplace", &[], loc, scale))
}

fn student(df: f64, loc: f64, scale: f64) -> Density {
    parsed(&family("t", &[("df", df)], loc, scale))
}

/// A density with the same shape at any place and size: parameters are relative to both.
#[derive(Debug, Clone)]
enum Shape {
    Family { name: &'static str, shapes: Vec<(&'static str, f64)>, loc: f64, scale: f64 },
    Points(Vec<(f64, f64)>),
    Histogram { edges: Vec<f64>, probabilities: Vec<f64> },
    Samples { values: Vec<f64>, weights: Vec<f64> },
    Quantiles { levels: Vec<f64>, values: Vec<f64> },
    Mixture(Vec<(f64, Shape)>),
}

impl Shape {
    fn spec(&self, place: f64, size: f64) -> Value {
        let moved = |value: &f64| place + size * value;
        let all_moved = |values: &[f64]| values.iter().map(moved).collect::<Vec<_>>();
        match self {
            Shape::Family { name, shapes, loc, scale } => family(name, shapes, moved(loc), size * scale),
            Shape::Points(masses) => {
                points(&masses.iter().map(|(value, mass)| (moved(value), *mass)).collect::<Vec<_>>())
            }
            Shape::Histogram { edges, probabilities } => {
                json!({"type": "histogram", "edges": all_moved(edges), "probabilities": probabilities})
            }
            Shape::Samples { values, weights } => {
                json!({"type": "samples", "values": all_moved(values), "weights": weights})
            }
            Shape::Quantiles { levels, values } => {
                json!({"type": "quantiles", "levels": levels, "values": all_moved(values)})
            }
            Shape::Mixture(components) => {
                let components = components.iter().map(|(weight, shape)| (*weight, shape.spec(place, size)));
                mixture(&components.collect::<Vec<_>>())
            }
        }
    }

    fn at(&self, place: f64, size: f64) -> Density {
        parsed(&self.spec(place, size))
    }

    fn density(&self) -> Density {
        self.at(0.0, 1.0)
    }
}

/// From where to where a shape parameter is drawn.
#[derive(Debug, Clone)]
enum Draw {
    /// Evenly.
    Linear(Range<f64>),
    /// Evenly in the logarithm.
    Log(Range<f64>),
}

/// Every family with its shapes. All have a finite CRPS.
fn families() -> Vec<(&'static str, Vec<(&'static str, Draw)>)> {
    let wide = || Draw::Log(0.01..1e4);
    vec![
        ("beta", vec![("a", wide()), ("b", wide())]),
        ("cauchy", vec![]),
        ("chi", vec![("df", wide())]),
        ("chi2", vec![("df", wide())]),
        ("expon", vec![]),
        ("f", vec![("dfn", wide()), ("dfd", Draw::Log(1.1..1e4))]),
        ("gamma", vec![("a", wide())]),
        ("gennorm", vec![("beta", Draw::Log(0.2..1e3))]),
        ("gumbel_l", vec![]),
        ("gumbel_r", vec![]),
        ("halfnorm", vec![]),
        ("johnsonsu", vec![("a", Draw::Linear(-5.0..5.0)), ("b", Draw::Log(0.4..100.0))]),
        ("laplace", vec![]),
        ("logistic", vec![]),
        ("lognorm", vec![("s", Draw::Log(0.001..3.0))]),
        ("norm", vec![]),
        ("pareto", vec![("b", Draw::Log(0.6..1e4))]),
        ("rayleigh", vec![]),
        ("skewnorm", vec![("a", Draw::Linear(-30.0..30.0))]),
        ("t", vec![("df", Draw::Log(0.6..1e4))]),
        ("triang", vec![("c", Draw::Linear(0.0..1.0))]),
        ("uniform", vec![]),
        ("weibull_max", vec![("c", Draw::Log(0.2..1e3))]),
        ("weibull_min", vec![("c", Draw::Log(0.2..1e3))]),
    ]
}

fn family_shape() -> impl Strategy<Value = Shape> {
    let drawn = |draw: Draw| match draw {
        Draw::Linear(range) => range.boxed(),
        Draw::Log(range) => (range.start.ln()..range.end.ln()).prop_map(f64::exp).boxed(),
    };
    prop::sample::select(families()).prop_flat_map(move |(name, draws)| {
        let (keys, draws): (Vec<&'static str>, Vec<Draw>) = draws.into_iter().unzip();
        let shapes = draws.into_iter().map(drawn).collect::<Vec<_>>();
        (shapes, -3.0..3.0, 0.05..4.0).prop_map(move |(shapes, loc, scale)| Shape::Family {
            name,
            shapes: keys.iter().copied().zip(shapes).collect(),
            loc,
            scale,
        })
    })
}

/// `start`, and after it the sum of the first one, two, three … steps.
fn sums(start: f64, steps: &[f64]) -> Vec<f64> {
    let sum = |sum: &mut f64, step: &f64| {
        *sum += step;
        Some(*sum)
    };
    std::iter::once(start).chain(steps.iter().scan(start, sum)).collect()
}

fn leaf() -> impl Strategy<Value = Shape> {
    // Quarters, so that equal ones occur.
    let value = || (-20i32..20).prop_map(|quarters| f64::from(quarters) / 4.0);
    let points = prop::collection::btree_map(-20i32..20, 0.01..1.0, 1..6).prop_map(|points| {
        Shape::Points(points.into_iter().map(|(value, mass)| (f64::from(value) / 4.0, mass)).collect())
    });
    let histogram =
        (-4.0..2.0, prop::collection::vec((0.01..2.0, 0.0..1.0), 1..6)).prop_map(|(start, bins)| {
            let (widths, probabilities): (Vec<f64>, Vec<f64>) = bins.into_iter().unzip();
            Shape::Histogram { edges: sums(start, &widths), probabilities }
        });
    let samples = prop::collection::vec((value(), 0.01..1.0), 1..8).prop_map(|samples| {
        let (values, weights) = samples.into_iter().unzip();
        Shape::Samples { values, weights }
    });
    let step = prop_oneof![Just(0.0), 0.01..2.0];
    let quantiles = (-4.0..2.0, prop::collection::vec((step, 0.01..1.0), 1..6)).prop_map(|(start, steps)| {
        let (widths, masses): (Vec<f64>, Vec<f64>) = steps.into_iter().unzip();
        let total = masses.iter().sum::<f64>() + 0.2;
        let levels = sums(0.1, &masses).into_iter().map(|level| level / total).collect();
        Shape::Quantiles { levels, values: sums(start, &widths) }
    });
    prop_oneof![8 => family_shape(), 1 => points, 1 => histogram, 1 => samples, 1 => quantiles]
}

fn shape() -> impl Strategy<Value = Shape> {
    leaf().prop_recursive(2, 6, 3, |inner| {
        prop::collection::vec((-2.0..2.0, inner), 1..4)
            .prop_filter("a weight above zero", |components| {
                components.iter().any(|(weight, _): &(f64, Shape)| weight.abs() > 0.01)
            })
            .prop_map(Shape::Mixture)
    })
}

/// The integral of `f` from `a` to `b` by Simpson's rule, halving until it changes by less than `tolerance`.
fn simpson(f: &dyn Fn(f64) -> f64, a: f64, b: f64, tolerance: f64) -> f64 {
    /// Two neighbouring intervals between three points, with the values there.
    struct Pair {
        a: (f64, f64),
        middle: (f64, f64),
        b: (f64, f64),
    }
    fn area(pair: &Pair) -> f64 {
        (pair.b.0 - pair.a.0) / 6.0 * (pair.a.1 + 4.0 * pair.middle.1 + pair.b.1)
    }
    fn refined(f: &dyn Fn(f64) -> f64, pair: Pair, tolerance: f64, depth: u32) -> f64 {
        let between = |a: (f64, f64), b: (f64, f64)| {
            let middle = 0.5 * (a.0 + b.0);
            Pair { a, middle: (middle, f(middle)), b }
        };
        let (left, right) = (between(pair.a, pair.middle), between(pair.middle, pair.b));
        let fine = area(&left) + area(&right);
        if depth == 0 || (fine - area(&pair)).abs() <= tolerance {
            return fine;
        }
        refined(f, left, 0.5 * tolerance, depth - 1) + refined(f, right, 0.5 * tolerance, depth - 1)
    }
    let at = |x: f64| (x, f(x));
    refined(f, Pair { a: at(a), middle: at(0.5 * (a + b)), b: at(b) }, tolerance, 40)
}

/// ∫ F² left of x and S² right of it in u = asinh of the distance from x, to about 1e-8.
fn crps_by_simpson(density: &Density, x: f64) -> f64 {
    /// Where asinh reaches the end of the doubles.
    const FURTHEST: u32 = 700;
    const CELLS: u32 = 8;
    let tolerance = 1e-9 * density.crps(x) / f64::from(CELLS);
    let area = |side: f64, mass: &dyn Fn(f64) -> f64| -> f64 {
        let value = |u: f64| {
            let mass = mass(x + side * libm::sinh(u));
            if mass == 0.0 { 0.0 } else { mass * (mass * libm::cosh(u)) }
        };
        let mut sum = 0.0;
        for cell in 0..CELLS * FURTHEST {
            let (from, to) = (f64::from(cell) / f64::from(CELLS), f64::from(cell + 1) / f64::from(CELLS));
            sum += simpson(&value, from, to, tolerance);
            if value(to) <= 1e-11 * sum {
                break;
            }
        }
        sum
    };
    area(-1.0, &|u| density.cdf(u)) + area(1.0, &|u| density.sf(u))
}

/// What the cdf jumps by at `x`.
fn point_mass_at(density: &Density, x: f64) -> f64 {
    density.cdf(x) - density.cdf(x.next_down())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

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
        prop_assert_eq!(parsed(&certain).crps(x), 0.0);
        // What is left of F - 1{· ≥ x} is in proportion to the weight.
        let nearly = parsed(&mixture(&[(1.0, certain), (0.01, shape.spec(0.0, 1.0))])).crps(x);
        let share = 0.01 / 1.01;
        prop_assert!((nearly / (share * share * crps) - 1.0).abs() < 1e-9, "{} {}", nearly, crps);
    }

    #[test]
    fn cdf_and_survival_function_add_up_and_rise_and_fall(shape in shape(), x in -8.0..8.0, h in 0.0..3.0) {
        let density = shape.density();
        prop_assert!((density.cdf(x) + density.sf(x) - 1.0).abs() < 1e-14);
        prop_assert!(density.cdf(x) <= density.cdf(x + h) + 1e-15);
        prop_assert!(density.sf(x) >= density.sf(x + h) - 1e-15);
        prop_assert!(density.pdf(x) >= 0.0);
    }

    #[test]
    fn the_quantile_is_where_the_cdf_reaches_the_probability(shape in shape(), p in 1e-6..0.999_999) {
        let density = shape.density();
        let x = density.quantile(p);
        let step = 1e-13 * (1.0 + x.abs());
        prop_assert!(density.cdf(x + step) >= p - 1e-12, "{} {}", x, density.cdf(x + step));
        prop_assert!(density.cdf(x - step) <= p + 1e-12, "{} {}", x, density.cdf(x - step));
    }

    /// Propriety with nothing left to chance: the difference is the integral of (F - G)².
    #[test]
    fn no_forecast_beats_the_outcomes_own_distribution_on_them(
        shape in shape(), outcomes in prop::collection::vec(-8.0..8.0, 1..12),
    ) {
        let hindsight = parsed(&json!({"type": "samples", "values": &outcomes}));
        let mean = |density: &Density| outcomes.iter().map(|&x| density.crps(x)).sum::<f64>();
        let (forecast, best) = (mean(&shape.density()), mean(&hindsight));
        prop_assert!(forecast >= best - 1e-12 * forecast, "{} {}", forecast, best);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn crps_is_the_quadrature_of_its_own_cdf(shape in shape(), x in -4.0..4.0) {
        let density = shape.density();
        let (ours, independent) = (density.crps(x), crps_by_simpson(&density, x));
        prop_assert!((ours / independent - 1.0).abs() < 1e-6, "{} {}", ours, independent);
    }
}

/// Outcomes drawn evenly from the truth: one from the middle of each of many equal shares of probability.
fn outcomes_of(truth: &Density) -> Vec<f64> {
    const SHARES: u32 = 400;
    (0..SHARES).map(|k| truth.quantile((f64::from(k) + 0.5) / f64::from(SHARES))).collect()
}

#[test]
fn nothing_beats_the_truth_on_average() {
    let truths = [
        family("norm", &[], 0.0, 1.0),
        family("skewnorm", &[("a", 4.0)], -1.0, 2.0),
        family("gamma", &[("a", 2.0)], -0.5, 0.7),
        family("t", &[("df", 3.0)], 0.2, 0.8),
        family("beta", &[("a", 0.8), ("b", 2.0)], -1.0, 3.0),
        json!({"type": "histogram", "edges": [-2.0, -0.5, 0.5, 3.0], "probabilities": [0.2, 0.5, 0.3]}),
        json!({"type": "quantiles", "levels": [0.1, 0.5, 0.9], "values": [-1.5, 0.0, 1.0]}),
        mixture(&[(0.7, family("laplace", &[], 0.0, 0.5)), (0.3, family("gumbel_r", &[], 1.0, 1.0))]),
    ];
    let densities = truths.each_ref().map(parsed);
    for (index, truth) in densities.iter().enumerate() {
        let outcomes = outcomes_of(truth);
        let mean = |forecast: &Density| {
            outcomes.iter().map(|&x| forecast.crps(x)).sum::<f64>() / outcomes.len() as f64
        };
        let honest = mean(truth);
        let median = truth.quantile(0.5);
        let spikes = [norm(median, 1e-9), norm(median, 0.1)];
        let others = densities.iter().enumerate().filter(|(other, _)| *other != index);
        for forecast in others.map(|(_, density)| density).chain(&spikes) {
            assert!(mean(forecast) > honest + 1e-3, "{forecast:?} against {truth:?}: {honest}");
        }
    }
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
    let wide = [(0.5, family("t", &[("df", 1.5)], 0.0, 1e50)), (0.5, family("norm", &[], 0.0, 1e-50))];
    assert!(parsed(&mixture(&wide)).crps(1.0).is_finite());
}
