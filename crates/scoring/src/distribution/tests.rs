//! What holds for every family: identities between its functions, over example shapes.

use super::quadrature::for_each_node;
use super::{Density, Distribution, FAMILIES, Family};

/// Shapes at which a family is tested: typical and extreme ones.
fn example_shapes(family: &str) -> &'static [&'static [f64]] {
    match family {
        "beta" => &[&[1e-3, 0.3], &[0.5, 0.5], &[1.0, 1.0], &[2.5, 0.7], &[30.0, 4.0], &[1e5, 1e5]],
        "chi" => &[&[1e-3], &[0.5], &[1.0], &[2.7], &[150.0], &[1e6]],
        "chi2" => &[&[1e-3], &[0.5], &[2.0], &[5.3], &[250.0], &[1e6]],
        "f" => &[&[1.0, 1.2], &[0.3, 2.0], &[4.0, 7.5], &[30.0, 3.0], &[1e3, 1e4]],
        "gamma" => &[&[1e-6], &[1e-3], &[0.2], &[1.0], &[1.5], &[30.0], &[1e3], &[1e6]],
        "gennorm" => &[&[0.02], &[0.1], &[0.7], &[1.0], &[2.0], &[4.5], &[80.0], &[1e4]],
        "johnsonsu" => &[&[0.0, 1.0], &[-2.0, 0.4], &[3.0, 5.0]],
        "lognorm" => &[&[1e-3], &[0.3], &[1.0], &[2.5], &[8.0], &[30.0]],
        "pareto" => &[&[0.6], &[1.0], &[2.5], &[200.0]],
        "skewnorm" => &[&[0.0], &[0.7], &[-5.0], &[1e4]],
        "t" => &[&[0.7], &[1.0], &[2.5], &[30.0], &[1e6]],
        "triang" => &[&[0.0], &[0.1], &[0.5], &[1.0]],
        "weibull_max" | "weibull_min" => {
            &[&[0.01], &[0.05], &[0.3], &[1.0], &[1.7], &[4.0], &[200.0], &[1e4]]
        }
        "cauchy" | "expon" | "gumbel_l" | "gumbel_r" | "halfnorm" | "laplace" | "logistic" | "norm"
        | "rayleigh" | "uniform" => &[&[]],
        other => panic!("{other} has no example shapes: add them here"),
    }
}

/// Calls `check` with every example, by name and with its standard form.
fn for_each_example(check: impl Fn(&str, &Density)) {
    for family in FAMILIES {
        for shapes in example_shapes(family.name) {
            let density = (family.build)(shapes, 0.0, 1.0).unwrap();
            check(&format!("{}{shapes:?}", family.name), &density);
        }
    }
}

/// Whether a shape may be any finite number; the others are above zero.
fn is_signed(family: &str, shape: &str) -> bool {
    matches!((family, shape), ("johnsonsu" | "skewnorm", "a"))
}

fn scaled(name: &str, shapes: &[f64], scale: f64) -> Density {
    let family = FAMILIES.iter().find(|family| family.name == name).unwrap();
    (family.build)(shapes, 0.0, scale).unwrap()
}

fn standard(name: &str, shapes: &[f64]) -> Density {
    scaled(name, shapes, 1.0)
}

const PROBABILITIES: [f64; 11] = [1e-12, 1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999_9, 1.0 - 1e-12];

fn cuts_with(density: &Density, points: &[f64]) -> Vec<f64> {
    let mut cuts = points.to_vec();
    density.add_cuts(&mut cuts);
    cuts.sort_by(f64::total_cmp);
    cuts.dedup();
    cuts
}

/// The integral over the panels between `from` and `to`, which double where they come near 0.
fn integral(density: &Density, from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let mut points = vec![from, to];
    if from * to > 0.0 {
        let (nearer, further) = if from > 0.0 { (from, to) } else { (to, from) };
        points.extend((1..1100).map(|k| nearer * 2.0_f64.powi(k)).take_while(|x| x.abs() < further.abs()));
    }
    let cuts = cuts_with(density, &points);
    let mut sum = 0.0;
    for panel in cuts.windows(2).filter(|panel| from <= panel[0] && panel[1] <= to) {
        for_each_node(panel[0], panel[1], |x, weight| sum += weight * f(x));
    }
    sum
}

/// ∫ F² left of `x` and S² right of it, over all panels and what power tails leave beyond.
fn crps_by_panels(density: &Density, x: f64) -> f64 {
    let cuts = cuts_with(density, &[x]);
    let (first, last) = (cuts[0], cuts[cuts.len() - 1]);
    let tails = density.power_tail().map_or(0.0, |tail| {
        let beyond = |end: f64, mass: f64| mass * mass * (end - tail.centre).abs() / (2.0 * tail.index - 1.0);
        beyond(first, density.cdf(first)) + beyond(last, density.sf(last))
    });
    integral(density, first, x, |u| density.cdf(u).powi(2))
        + integral(density, x, last, |u| density.sf(u).powi(2))
        + tails
}

/// Neighbouring quantiles that are apart, and not where doubles are too coarse: next to 0 or to a pole elsewhere.
fn quantile_pairs(density: &Density) -> Vec<(f64, f64)> {
    let quantiles = PROBABILITIES.map(|p| density.quantile(p));
    let kept = |pair: &&[f64]| {
        pair[0] < pair[1] && pair.iter().all(|&x| x.abs() > 1e-290 && density.pdf(x).is_finite())
    };
    quantiles.windows(2).filter(kept).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn probabilities_below_and_above_add_up_and_never_fall_or_rise() {
    for_each_example(|name, density| {
        let mut last = (0.0, 1.0);
        for p in PROBABILITIES {
            let x = density.quantile(p);
            let (below, above) = (density.cdf(x), density.sf(x));
            assert!((below + above - 1.0).abs() < 1e-14, "{name} at {x:e}: {below} {above}");
            assert!(below >= last.0 && above <= last.1, "{name} at {x:e}");
            last = (below, above);
        }
    });
}

#[test]
fn the_quantile_is_where_the_probability_is_reached() {
    for_each_example(|name, density| {
        for p in PROBABILITIES {
            let x = density.quantile(p);
            let step = 8.0 * f64::EPSILON * x.abs() + f64::MIN_POSITIVE;
            let slack = 1e-12 * p.min(1.0 - p);
            assert!(density.sf(x + step) <= 1.0 - p + slack, "{name} at {p}: {x:e}");
            assert!(density.cdf(x - step) <= p + slack, "{name} at {p}: {x:e}");
            if p <= 0.5 {
                assert!(density.cdf(x + step) >= p - slack, "{name} at {p}: {x:e}");
            } else {
                assert!(density.sf(x - step) >= 1.0 - p - slack, "{name} at {p}: {x:e}");
            }
        }
    });
}

#[test]
fn the_logarithm_of_the_density_is_just_that() {
    for_each_example(|name, density| {
        for p in PROBABILITIES {
            let x = density.quantile(p);
            let (ln, direct) = (density.ln_pdf(x), libm::log(density.pdf(x)));
            let close = ln == direct || (ln - direct).abs() <= 1e-13 * (1.0 + ln.abs());
            assert!(
                close || density.pdf(x) < f64::MIN_POSITIVE || ln > 709.0,
                "{name} at {x:e}: {ln} {direct}"
            );
        }
    });
}

#[test]
fn the_density_is_the_slope_of_the_probability() {
    for_each_example(|name, density| {
        for (from, to) in quantile_pairs(density) {
            let mass = integral(density, from, to, |x| density.pdf(x));
            let truth = density.cdf(to) - density.cdf(from);
            let truth =
                if truth > 0.5 || density.sf(from) > 0.5 { truth } else { density.sf(from) - density.sf(to) };
            assert!(
                (mass - truth).abs() < 1e-9 * truth,
                "{name} from {from:e} to {to:e}: {mass:e} {truth:e}"
            );
        }
    });
}

#[test]
fn the_slope_of_the_crps_is_the_difference_of_the_probabilities() {
    for_each_example(|name, density| {
        let (low, high) = (density.quantile(1e-12), density.quantile(1.0 - 1e-12));
        let outside = [(low - 1.0, low), (high, high + 1.0)];
        for (from, to) in quantile_pairs(density).into_iter().chain(outside) {
            let (left, right) = (density.crps(from), density.crps(to));
            let rise = integral(density, from, to, |x| density.cdf(x) - density.sf(x));
            assert!((right - left - rise).abs() < 1e-10 * left.max(right), "{name} from {from:e} to {to:e}");
        }
    });
}

#[test]
fn the_crps_is_the_integral_over_the_panels() {
    for_each_example(|name, density| {
        for p in [1e-4, 0.1, 0.5, 0.8, 0.999_9] {
            let x = density.quantile(p);
            let (closed, panels) = (density.crps(x), crps_by_panels(density, x));
            assert!((closed / panels - 1.0).abs() < 1e-10, "{name} at {x:e}: {closed:e} {panels:e}");
        }
    });
}

#[test]
fn far_out_nothing_is_lost_and_nothing_is_not_a_number() {
    for_each_example(|name, density| {
        for x in [-1e308, -1e200, -1e30, -1e3, -0.0, 0.0, 1e-310, 1e3, 1e30, 1e200, 1e308] {
            let (below, above) = (density.cdf(x), density.sf(x));
            assert!((below + above - 1.0).abs() < 1e-14, "{name} at {x:e}: {below} {above}");
            assert!(density.pdf(x) >= 0.0 && !density.ln_pdf(x).is_nan(), "{name} at {x:e}");
            assert!(density.crps(x) > 0.0, "{name} at {x:e}: {}", density.crps(x));
        }
    });
}

/// All combinations of shapes from end to end of what is accepted.
fn extreme_shapes(family: &Family) -> Vec<Vec<f64>> {
    const POSITIVE: [f64; 9] = [1e-100, 1e-30, 1e-9, 1e-3, 1.0, 1e3, 1e9, 1e30, 1e100];
    let mut combinations = vec![Vec::new()];
    for name in family.shapes {
        let mut choices = POSITIVE.to_vec();
        if is_signed(family.name, name) {
            choices.extend(POSITIVE.map(|shape| -shape));
            choices.extend([0.0, f64::MAX, f64::MIN, 5e-324]);
        }
        let extended = |shapes: &Vec<f64>| -> Vec<Vec<f64>> {
            choices.iter().map(|&shape| [&shapes[..], &[shape]].concat()).collect()
        };
        combinations = combinations.iter().flat_map(extended).collect();
    }
    combinations
}

#[test]
fn whatever_shape_is_accepted_gives_numbers() {
    let mut failures = Vec::new();
    for family in FAMILIES {
        for shapes in extreme_shapes(family) {
            let Ok(density) = (family.build)(&shapes, 0.0, 1.0) else { continue };
            for x in [-1e300, -1.0, 0.0, 1e-300, 0.3, 1.0, 1e3, 1e300] {
                let (below, above) = (density.cdf(x), density.sf(x));
                let values = [density.pdf(x), density.crps(x), below, above];
                let is_fine = !density.ln_pdf(x).is_nan()
                    && values.iter().all(|&value| value >= 0.0)
                    && (below + above - 1.0).abs() < 1e-13;
                if !is_fine {
                    failures.push(format!("{}{shapes:?} at {x:e}: {values:?}", family.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_tiny_scale_is_a_point_far_out() {
    for family in FAMILIES {
        for shapes in example_shapes(family.name) {
            let density = (family.build)(shapes, 1.0, 1e-300).unwrap();
            for (x, below) in [(-1e10, 0.0), (1e10, 1.0)] {
                let name = family.name;
                assert_eq!(
                    (density.cdf(x), density.sf(x), density.pdf(x)),
                    (below, 1.0 - below, 0.0),
                    "{name}"
                );
                assert_eq!(density.ln_pdf(x), f64::NEG_INFINITY, "{name}");
                assert_eq!(density.crps(x), (x - 1.0).abs(), "{name}");
            }
        }
    }
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    for family in FAMILIES {
        let shapes = example_shapes(family.name)[0];
        for (loc, scale, name) in [(f64::NAN, 1.0, "loc"), (0.0, 0.0, "scale"), (0.0, -1.0, "scale")] {
            assert_eq!((family.build)(shapes, loc, scale).unwrap_err().name, name, "{}", family.name);
        }
        for index in 0..family.shapes.len() {
            let name = family.shapes[index];
            let beyond: &[f64] = if is_signed(family.name, name) { &[] } else { &[-0.5, -5e-324, 2e100] };
            for &wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].iter().chain(beyond) {
                let mut shapes = shapes.to_vec();
                shapes[index] = wrong;
                let refusal = (family.build)(&shapes, 0.0, 1.0).unwrap_err();
                assert_eq!(refusal.name, name, "{}", family.name);
                assert!(refusal.value.is_nan() || refusal.value == wrong, "{}: {refusal}", family.name);
            }
        }
    }
}

#[test]
fn a_shape_so_small_or_large_that_sums_and_products_lose_it_is_refused() {
    for family in FAMILIES.iter().filter(|family| family.name != "triang") {
        for (index, name) in
            family.shapes.iter().enumerate().filter(|(_, name)| !is_signed(family.name, name))
        {
            for value in [5e-324, 9e-101, 1.1e100, f64::MAX] {
                let mut shapes = example_shapes(family.name)[0].to_vec();
                shapes[index] = value;
                let refusal = (family.build)(&shapes, 0.0, 1.0).unwrap_err().to_string();
                assert_eq!(refusal, format!("{name} must be between 1e-100 and 1e100, got {value}"));
            }
        }
    }
}

#[test]
fn families_are_listed_by_name() {
    assert!(FAMILIES.is_sorted_by_key(|family| family.name));
}

#[test]
fn families_that_coincide_agree() {
    let half = |name: &str, shapes: &[f64]| scaled(name, shapes, 0.5);
    let root_2 = |name: &str, shapes: &[f64]| scaled(name, shapes, std::f64::consts::SQRT_2);
    let pairs = [
        (half("chi2", &[2.0]), standard("expon", &[])),
        (half("chi2", &[9.0]), standard("gamma", &[4.5])),
        (standard("gamma", &[1.0]), standard("expon", &[])),
        (standard("weibull_min", &[1.0]), standard("expon", &[])),
        (root_2("weibull_min", &[2.0]), standard("rayleigh", &[])),
        (standard("chi", &[2.0]), standard("rayleigh", &[])),
        (standard("chi", &[1.0]), standard("halfnorm", &[])),
        (standard("gennorm", &[1.0]), standard("laplace", &[])),
        (root_2("gennorm", &[2.0]), standard("norm", &[])),
    ];
    for (a, b) in &pairs {
        for x in [-2.0, 0.0, 1e-8, 0.02, 0.4, 1.0, 2.2, 7.0, 25.0] {
            for (what, a, b) in [
                ("pdf", a.pdf(x), b.pdf(x)),
                ("cdf", a.cdf(x), b.cdf(x)),
                ("sf", a.sf(x), b.sf(x)),
                ("crps", a.crps(x), b.crps(x)),
            ] {
                assert!(a == b || (a / b - 1.0).abs() < 1e-12, "{what} at {x}: {a:e} {b:e}");
            }
        }
    }
}

#[test]
fn mirror_images_mirror() {
    for (name, image, shapes) in [("weibull_min", "weibull_max", &[1.3][..]), ("gumbel_r", "gumbel_l", &[])] {
        let (original, image) = (standard(name, shapes), standard(image, shapes));
        for x in [-3.0, -0.5, 0.0, 0.1, 2.0] {
            assert_eq!(original.pdf(x), image.pdf(-x), "{name} at {x}");
            assert_eq!((original.cdf(x), original.sf(x)), (image.sf(-x), image.cdf(-x)), "{name} at {x}");
            assert_eq!(original.crps(x), image.crps(-x), "{name} at {x}");
        }
    }
}
