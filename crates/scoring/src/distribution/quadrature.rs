//! Gauss-Legendre quadrature with 24 nodes on panels that grow geometrically away from where a distribution changes.
//! Next to a singularity at the distance of a third of a panel's width the error is below rounding (Trefethen 2008,
//! theorem 4.5).

/// Positive nodes on [-1, 1] and their weights; the others mirror them.
const NODES: [(f64, f64); 12] = [
    (0.064_056_892_862_605_63, 0.127_938_195_346_752_16),
    (0.191_118_867_473_616_3, 0.125_837_456_346_828_3),
    (0.315_042_679_696_163_4, 0.121_670_472_927_803_39),
    (0.433_793_507_626_045_1, 0.115_505_668_053_725_6),
    (0.545_421_471_388_839_6, 0.107_444_270_115_965_63),
    (0.648_093_651_936_975_5, 0.097_618_652_104_113_88),
    (0.740_124_191_578_554_4, 0.086_190_161_531_953_27),
    (0.820_001_985_973_903, 0.073_346_481_411_080_3),
    (0.886_415_527_004_401_1, 0.059_298_584_915_436_78),
    (0.938_274_552_002_732_8, 0.044_277_438_817_419_81),
    (0.974_728_555_971_309_5, 0.028_531_388_628_933_663),
    (0.995_187_219_997_021_3, 0.012_341_229_799_987_2),
];

/// Calls `sample` with each node between `a` and `b` and its weight; the weights add up to |b - a|.
pub(super) fn for_each_node(a: f64, b: f64, mut sample: impl FnMut(f64, f64)) {
    let (centre, half) = (0.5 * a + 0.5 * b, 0.5 * b - 0.5 * a);
    for (node, weight) in NODES {
        sample(centre - half * node, half.abs() * weight);
        sample(centre + half * node, half.abs() * weight);
    }
}

/// The mean of a smooth function between `a` and `b`.
pub(super) fn mean(a: f64, b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    for_each_node(-1.0, 1.0, |node, weight| sum += 0.5 * weight * f(0.5 * (a + b) + 0.5 * (b - a) * node));
    sum
}

/// Adds `centre` and `centre ± unit · 2^k` for k from 0 to `doublings`, further out for every other k; points out of
/// range are left out.
pub(super) fn geometric_cuts(centre: f64, unit: f64, doublings: u32, cuts: &mut Vec<f64>) {
    const FURTHEST: f64 = 1e300;
    /// Up to here exponential tails fall, for which panels must be narrow. The power tails beyond bear a factor of 4.
    const NEAR: u32 = 6;
    cuts.push(centre);
    let further = (NEAR + 2..doublings + 2).step_by(2);
    for k in (0..=NEAR.min(doublings)).chain(further) {
        let distance = libm::scalbn(unit, k as i32);
        cuts.extend([centre - distance, centre + distance].into_iter().filter(|cut| cut.abs() < FURTHEST));
    }
}

/// Adds `end` and `end + width · 4^-k`, from k = 0 until what is left beside `extent` is below rounding: towards an end
/// of the support next to which the cdf rises as the distance to the `power`, which no polynomial follows. That begins
/// at the distance `extent` from the end. A width below zero comes from the left.
pub(super) fn shrinking_cuts(end: f64, width: f64, extent: f64, power: f64, cuts: &mut Vec<f64>) {
    /// Where the power is cut off by a factor with an essential singularity, e^(-1/z), this much further is enough.
    const SPARE: f64 = 8.0;
    cuts.push(end);
    let halvings = doublings_to(SPARE + 53.0 / (1.0 + power) + libm::log2(width.abs() / extent));
    cuts.extend((0..halvings + 2).step_by(2).map(|k| end + libm::scalbn(width, -(k as i32))));
}

/// How often 1 is doubled until it reaches 2^`exponent`, but no further than doubles do.
pub(super) fn doublings_to(exponent: f64) -> u32 {
    exponent.clamp(0.0, 1024.0).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        let mut integral = 0.0;
        for_each_node(-1.0, 2.0, |x, weight| integral += weight * x.powi(7));
        assert!((integral - (2.0_f64.powi(8) - 1.0) / 8.0).abs() < 1e-12);
        assert!((mean(0.0, 2.0, |x| x.powi(3)) - 2.0).abs() < 1e-14);
        assert!((mean(3.0, 3.0, |x| x) - 3.0).abs() < 1e-14);
    }

    #[test]
    fn a_root_at_the_end_of_the_support_is_integrated_to_rounding() {
        for power in [0.01, 0.3, 0.5, 1.7, 4.2] {
            for (end, width) in [(0.0, 1.0), (5.0, -2.0)] {
                let mut cuts = Vec::new();
                shrinking_cuts(end, width, width.abs(), power, &mut cuts);
                cuts.sort_by(f64::total_cmp);
                let mut integral = 0.0;
                for panel in cuts.windows(2) {
                    for_each_node(panel[0], panel[1], |x, weight| {
                        integral += weight * (x - end).abs().powf(power);
                    });
                }
                let truth = f64::abs(width).powf(power + 1.0) / (power + 1.0);
                assert!((integral / truth - 1.0).abs() < 1e-13, "{power} {end}: {integral} {truth}");
            }
        }
    }
}
