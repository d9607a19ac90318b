//! Mixtures of distributions.

use std::sync::OnceLock;

use super::{Density, Distribution, PowerTail, Total, quadrature, quantile};
use crate::Grid;

/// A weighted mean of distributions.
#[derive(Debug, Clone)]
pub struct Mixture {
    components: Vec<Weighted>,
    /// Computed when first asked for: most answers are parsed long before they are scored.
    separation: OnceLock<f64>,
}

/// A component. Any weight will do until it is part of a mixture.
#[derive(Debug, Clone)]
pub(crate) struct Weighted {
    pub weight: f64,
    pub density: Density,
}

impl Weighted {
    /// With its share of a weight. It never becomes zero, so that an infinite CRPS stays infinite.
    fn scaled(self, share: f64) -> Self {
        Weighted { weight: (share * self.weight).max(f64::MIN_POSITIVE), density: self.density }
    }
}

/// With the components of mixtures in the place of those mixtures.
fn flattened(components: Vec<Weighted>) -> Vec<Weighted> {
    let mut flat = Vec::with_capacity(components.len());
    for component in components {
        match component.density {
            Density::Mixture(inner) => {
                flat.extend(inner.components.into_iter().map(|leaf| leaf.scaled(component.weight)));
            }
            _ => flat.push(component),
        }
    }
    flat
}

/// Components that make no mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mixture needs at least one component, finite weights, and one weight that is not zero")]
pub struct InvalidMixture;

/// Beyond this ratio the decomposition has lost too many digits and the integral is taken directly.
const MAX_CANCELLATION: f64 = 1e4;

/// A panel, or all that is left beyond a point, is left out when it is below this share of the whole; there are a
/// thousand panels at most.
const NEGLIGIBLE: f64 = 1e-17;

impl Mixture {
    /// The mean of `components` by the absolute value of their weights, on any scale. Mixtures among them are taken
    /// apart; components of weight zero are dropped.
    pub fn new(components: Vec<(f64, Density)>) -> Result<Self, InvalidMixture> {
        let weighted = |(weight, density)| Weighted { weight, density };
        Mixture::of(components.into_iter().map(weighted).collect())
    }

    /// [`Mixture::new`]. Components stay where they are: there are many mixtures, and moving densities is most of the work.
    #[inline]
    pub(crate) fn of(mut components: Vec<Weighted>) -> Result<Self, InvalidMixture> {
        let total = Total::of(components.iter().map(|component| component.weight)).ok_or(InvalidMixture)?;
        components.retain(|component| component.weight != 0.0);
        for component in &mut components {
            component.weight = total.share(component.weight).max(f64::MIN_POSITIVE);
        }
        let is_flat = !components.iter().any(|component| matches!(component.density, Density::Mixture(_)));
        let components = if is_flat { components } else { flattened(components) };
        Ok(Mixture { components, separation: OnceLock::new() })
    }

    fn mean(&self, value: impl Fn(&Density) -> f64) -> f64 {
        self.components.iter().map(|component| component.weight * value(&component.density)).sum()
    }

    /// Σ w_i w_j ∫ (F_i - F_j)² over pairs: by how much the mixture's CRPS is below the mean of its components', the
    /// same for every outcome.
    fn separation(&self) -> f64 {
        *self.separation.get_or_init(|| {
            self.closed_separation().unwrap_or_else(|| {
                let areas = self.areas(self.centre());
                areas.within - areas.pooled
            })
        })
    }

    /// The centre of the heaviest component, where the mixture's CRPS is small and takes few digits from the
    /// separation.
    fn centre(&self) -> f64 {
        let heaviest = self.components.iter().max_by(|a, b| a.weight.total_cmp(&b.weight));
        let mut cuts = Vec::new();
        heaviest.into_iter().for_each(|component| component.density.add_cuts(&mut cuts));
        cuts.first().copied().unwrap_or_default()
    }

    /// The same in closed form: of a single component, and where all are normal (Grimit et al. 2006).
    fn closed_separation(&self) -> Option<f64> {
        if self.components.len() == 1 {
            return Some(0.0);
        }
        let mut sum = 0.0;
        for (i, a) in self.components.iter().enumerate() {
            let Density::Norm(first) = &a.density else { return None };
            for b in &self.components[..i] {
                let Density::Norm(second) = &b.density else { return None };
                sum += a.weight * b.weight * first.squared_distance(second);
            }
        }
        Some(sum)
    }

    /// The integrals of the CRPS with the outcome `x`.
    fn areas(&self, x: f64) -> Areas {
        let mut cuts = vec![x];
        self.components.iter().for_each(|component| component.density.add_cuts(&mut cuts));
        cuts.sort_by(f64::total_cmp);
        cuts.dedup();
        let outcome = cuts.partition_point(|&cut| cut < x);
        let least = self.least_areas(x);
        let mut areas = Areas::default();
        let leftwards: Vec<f64> = cuts[..=outcome].iter().rev().copied().collect();
        self.add_side(Side::Left, &leftwards, least, &mut areas);
        self.add_side(Side::Right, &cuts[outcome..], least, &mut areas);
        areas
    }

    /// What the integrals come to at least: the square of a sum of masses is no less than the sum of their squares.
    fn least_areas(&self, x: f64) -> Areas {
        let mut least = Areas::default();
        for Weighted { weight, density } in &self.components {
            let share = weight * density.crps(x);
            least.add(Areas { within: share, pooled: weight * share });
        }
        least
    }

    /// Adds the integrals over one side of the outcome, panel by panel outwards, but for what is negligible beside the
    /// `least` that they come to. Masses fall outwards.
    fn add_side(&self, side: Side, outwards: &[f64], least: Areas, areas: &mut Areas) {
        let end = outwards[outwards.len() - 1];
        for panel in outwards.windows(2) {
            let squares = self.squares(side, panel[0]);
            if squares.times((end - panel[0]).abs()).is_negligible_beside(least) {
                return;
            }
            if squares.times((panel[1] - panel[0]).abs()).is_negligible_beside(least) {
                continue;
            }
            quadrature::for_each_node(panel[0], panel[1], |x, weight| {
                areas.add(self.squares(side, x).times(weight));
            });
        }
        areas.add(self.tail(side, end));
    }

    fn squares(&self, side: Side, x: f64) -> Areas {
        let (mut within, mut mean) = (0.0, 0.0);
        for Weighted { weight, density } in &self.components {
            let mass = side.mass(density, x);
            within += weight * mass * mass;
            mean += weight * mass;
        }
        Areas { within, pooled: mean * mean }
    }

    /// The integrals beyond `end`, where only power tails are left: S_i S_j falls as d^-(v_i + v_j).
    fn tail(&self, side: Side, end: f64) -> Areas {
        let mut areas = Areas::default();
        for a in &self.components {
            let Some(tail_a) = a.density.power_tail() else { continue };
            let mass_a = side.mass(&a.density, end);
            for b in &self.components {
                let Some(tail_b) = b.density.power_tail() else { continue };
                let distance = 0.5 * ((end - tail_a.centre).abs() + (end - tail_b.centre).abs());
                let mass_b = side.mass(&b.density, end);
                areas.pooled +=
                    a.weight * b.weight * mass_a * mass_b * distance / (tail_a.index + tail_b.index - 1.0);
            }
            let distance = (end - tail_a.centre).abs();
            areas.within += a.weight * mass_a * mass_a * distance / (2.0 * tail_a.index - 1.0);
        }
        areas
    }
}

/// Two integrals over F² left of the outcome and S² right of it, both sums of positive terms.
#[derive(Debug, Clone, Copy, Default)]
struct Areas {
    /// Of the mean of the components' squares: the mean of their CRPS.
    within: f64,
    /// Of the square of the components' mean: the mixture's CRPS.
    pooled: f64,
}

impl Areas {
    fn times(self, factor: f64) -> Self {
        Areas { within: self.within * factor, pooled: self.pooled * factor }
    }

    fn add(&mut self, other: Areas) {
        self.within += other.within;
        self.pooled += other.pooled;
    }

    fn is_negligible_beside(self, whole: Areas) -> bool {
        self.within <= NEGLIGIBLE * whole.within && self.pooled <= NEGLIGIBLE * whole.pooled
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Side {
    /// The mass beyond `x` on this side.
    fn mass(self, density: &Density, x: f64) -> f64 {
        match self {
            Side::Left => density.cdf(x),
            Side::Right => density.sf(x),
        }
    }
}

impl Distribution for Mixture {
    fn pdf(&self, x: f64) -> f64 {
        self.mean(|density| density.pdf(x))
    }

    fn ln_pdf(&self, x: f64) -> f64 {
        let terms = || {
            self.components.iter().map(|Weighted { weight, density }| libm::log(*weight) + density.ln_pdf(x))
        };
        let largest = terms().fold(f64::NEG_INFINITY, f64::max);
        if largest.is_infinite() {
            return largest;
        }
        largest + libm::log(terms().map(|term| libm::exp(term - largest)).sum())
    }

    fn cdf(&self, x: f64) -> f64 {
        self.mean(|density| density.cdf(x))
    }

    fn sf(&self, x: f64) -> f64 {
        self.mean(|density| density.sf(x))
    }

    fn quantile(&self, p: f64) -> f64 {
        let quantiles = self.components.iter().map(|component| component.density.quantile(p));
        let (least, greatest) =
            quantiles.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), q| (a.min(q), b.max(q)));
        quantile::search(p, (least, greatest), |x| self.cdf(x), |x| self.sf(x))
    }

    /// The mean of the components' CRPS less their separation, which holds for any mixture; as one integral where that
    /// difference loses digits, as with a far component of tiny weight.
    fn crps(&self, x: f64) -> f64 {
        let mean = self.mean(|density| density.crps(x));
        if mean == f64::INFINITY {
            return mean;
        }
        let crps = mean - self.separation();
        if mean <= MAX_CANCELLATION * crps { crps } else { self.areas(x).pooled }
    }

    fn add_cuts(&self, cuts: &mut Vec<f64>) {
        self.components.iter().for_each(|component| component.density.add_cuts(cuts));
    }

    /// That of the heaviest component, which outlasts the others.
    fn power_tail(&self) -> Option<PowerTail> {
        let tails = self.components.iter().filter_map(|component| component.density.power_tail());
        tails.min_by(|a, b| a.index.total_cmp(&b.index))
    }

    fn add_pdf(&self, weight: f64, points: &[f64], sums: &mut [f64]) {
        for component in &self.components {
            component.density.add_pdf(weight * component.weight, points, sums);
        }
    }

    fn bulk_on(&self, grid: &Grid) -> (f64, f64) {
        let bulks = self.components.iter().map(|component| component.density.bulk_on(grid));
        bulks.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (from, to)| (a.min(from), b.max(to)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FAMILIES, Norm, PointMasses};
    use super::*;

    fn family(name: &str, shapes: &[f64], loc: f64, scale: f64) -> Density {
        let family = FAMILIES.iter().find(|family| family.name == name).unwrap();
        (family.build)(shapes, loc, scale).unwrap()
    }

    fn norm(loc: f64, scale: f64) -> Density {
        Density::Norm(Norm::new(loc, scale).unwrap())
    }

    #[test]
    fn weights_count_in_absolute_value_on_any_scale_and_nested_ones_multiply() {
        let inner = Mixture::new(vec![(-3e-300, norm(0.0, 1.0)), (1e-300, norm(2.0, 0.5))]).unwrap();
        let outer =
            Mixture::new(vec![(5e307, Density::Mixture(inner)), (-1.5e308, norm(-1.0, 2.0))]).unwrap();
        let weights: Vec<f64> = outer.components.iter().map(|component| component.weight).collect();
        assert_eq!(weights, [0.1875, 0.0625, 0.75]);
    }

    #[test]
    fn a_mixture_of_nothing_is_refused() {
        for weights in [vec![], vec![0.0, -0.0], vec![1.0, f64::NAN], vec![f64::INFINITY]] {
            let components = weights.into_iter().map(|weight| (weight, norm(0.0, 1.0))).collect();
            assert_eq!(Mixture::new(components).unwrap_err(), InvalidMixture);
        }
    }

    #[test]
    fn a_far_component_of_tiny_weight_costs_no_digits() {
        let mixture = Mixture::new(vec![(1.0, norm(0.0, 1e-6)), (1e-9, norm(1e5, 1.0))]).unwrap();
        let alone = Norm::new(0.0, 1e-6).unwrap().crps(5e-7);
        // The far mass adds w² times its distance, and takes w of the near one's weight.
        let expected = alone + 1e-18 * 1e5;
        assert!((mixture.crps(5e-7) / expected - 1.0).abs() < 1e-6, "{} {expected}", mixture.crps(5e-7));
    }

    #[test]
    fn a_light_component_far_away_costs_the_decomposition_no_digits() {
        let light = family("t", &[5.0], 1e6, 1.0);
        let heavy = family("laplace", &[], 0.0, 1e-3);
        for weight in [0.1, 1e-3, 1e-6] {
            let mixture = Mixture::new(vec![(weight, light.clone()), (1.0, heavy.clone())]).unwrap();
            for x in [0.0, 0.002, 1e6, 5e5] {
                let direct = mixture.areas(x).pooled;
                assert!(
                    (mixture.crps(x) / direct - 1.0).abs() < 1e-10,
                    "{weight} {x}: {} {direct}",
                    mixture.crps(x)
                );
            }
        }
    }

    #[test]
    fn the_panels_agree_with_the_closed_forms_of_the_components() {
        let components = vec![
            (0.5, family("t", &[0.8], 0.1, 0.3)),
            (0.3, family("laplace", &[], -1.0, 2.0)),
            (0.1, Density::other(PointMasses::new(vec![(0.0, 1.0), (1.0, 3.0)]).unwrap())),
            (0.1, norm(4.0, 0.01)),
        ];
        let mixture = Mixture::new(components).unwrap();
        for x in [0.0, 0.1, 4.001, -7.0, 300.0] {
            let areas = mixture.areas(x);
            let mean = mixture.mean(|density| density.crps(x));
            assert!((areas.within / mean - 1.0).abs() < 1e-11, "{x}: {} {mean}", areas.within);
            assert!((areas.pooled / mixture.crps(x) - 1.0).abs() < 1e-11, "{x}");
        }
    }

    #[test]
    fn families_of_extreme_shapes_are_cut_where_they_are_not_smooth() {
        let members: [(&str, &[f64]); 27] = [
            ("beta", &[0.05, 0.05]),
            ("beta", &[0.03, 2000.0]),
            ("beta", &[1500.0, 0.2]),
            ("beta", &[2.5, 1.3]),
            ("beta", &[300.0, 700.0]),
            ("cauchy", &[]),
            ("f", &[0.1, 1.05]),
            ("f", &[0.1, 3.0]),
            ("f", &[1.0, 2.0]),
            ("f", &[5.0, 1.01]),
            ("f", &[800.0, 1.2]),
            ("f", &[800.0, 2.0]),
            ("f", &[1.0, 1e4]),
            ("f", &[20.0, 30.0]),
            ("f", &[0.02, 300.0]),
            ("johnsonsu", &[0.0, 0.2]),
            ("johnsonsu", &[1.0, 0.7]),
            ("johnsonsu", &[-3.0, 1.5]),
            ("johnsonsu", &[5.0, 20.0]),
            ("pareto", &[0.51]),
            ("pareto", &[1.0]),
            ("pareto", &[3.3]),
            ("pareto", &[900.0]),
            ("skewnorm", &[0.0]),
            ("skewnorm", &[-1.5]),
            ("skewnorm", &[40.0]),
            ("skewnorm", &[-1e7]),
        ];
        for (name, shapes) in members {
            let components = vec![(0.6, family(name, shapes, 0.3, 1.3)), (0.4, norm(0.2, 3.0))];
            let mixture = Mixture::new(components).unwrap();
            for x in [-5.0, 0.3, 1.2, 1.6, 700.0] {
                let areas = mixture.areas(x);
                let mean = mixture.mean(|density| density.crps(x));
                assert!((areas.within / mean - 1.0).abs() < 1e-12, "{name} {shapes:?} {x}: {}", areas.within);
                assert!((areas.pooled / mixture.crps(x) - 1.0).abs() < 1e-12, "{name} {shapes:?} {x}");
            }
        }
    }

    #[test]
    fn a_leaf_of_infinite_crps_makes_the_mixture_infinite_unless_its_weight_is_zero() {
        let heavy = || family("t", &[0.4], 0.0, 1.0);
        let with = |weight| Mixture::new(vec![(1.0, norm(0.0, 1.0)), (weight, heavy())]).unwrap().crps(0.0);
        assert_eq!(with(0.1), f64::INFINITY);
        let tiny = Mixture::new(vec![(1e300, norm(0.0, 1.0)), (1e-300, heavy())]).unwrap();
        assert_eq!(tiny.crps(0.0), f64::INFINITY);
        assert!(with(0.0).is_finite());
    }
}
