//! Doubts about the unit of an answer: price changes where log returns are asked, and the other way round. Such answers are
//! valid, and lose every round.

use std::collections::BTreeMap;

use domain::{Asset, Price, Span, Target};
use serde::Serialize;

use crate::{Answer, Density, Distribution};

/// A log return of a half is a price up by two thirds: no asset that is asked about does that within a step as a rule.
const WIDEST_RETURN: f64 = 0.5;
/// Even a currency that is held to another one moves more than this share of its price in a minute.
const NARROWEST_CHANGE: f64 = 2e-6;
/// Where a normal has its standard deviations: half the distance of these quantiles is its scale, and a scale for any other.
const ONE_BELOW: f64 = 0.158_655_253_931_457_05;
const ONE_ABOVE: f64 = 0.841_344_746_068_542_9;
/// Of each step size so many densities are looked at, evenly over the horizon.
const LOOKED_AT: usize = 8;

/// A model's answers about one asset look as if they had another unit than was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitDoubt {
    /// About what.
    pub asset: Asset,
    /// What was asked for.
    pub asked: Target,
    /// What the answers look like.
    pub looks_like: Target,
    /// The median scale of the distributions in the unit that was asked for, over one step.
    pub median_scale: f64,
    /// What makes it doubtful and what would help, in words.
    pub statement: String,
}

/// The scales of a model's answers, by asset and target.
#[derive(Debug, Clone, Default)]
pub struct UnitCheck {
    scales: BTreeMap<(Asset, &'static str), Scales>,
}

#[derive(Debug, Clone)]
struct Scales {
    target: Target,
    /// In the unit that was asked for.
    absolute: Vec<f64>,
    /// In units of the price, over a minute by the square root of time.
    per_minute: Vec<f64>,
}

impl UnitCheck {
    /// Takes an answer in. `price` is the asset's when it was asked.
    pub fn add(&mut self, asset: &Asset, target: Target, answer: &Answer, price: Price) {
        let empty = || Scales { target, absolute: Vec::new(), per_minute: Vec::new() };
        let scales = self.scales.entry((asset.clone(), target.as_str())).or_insert_with(empty);
        for answered in &answer.steps {
            let stride = answered.densities.len().div_ceil(LOOKED_AT).max(1);
            let looked_at = answered.densities.iter().step_by(stride);
            for scale in looked_at.map(|density| scale(density)).filter(|scale| scale.is_finite()) {
                scales.absolute.push(scale);
                scales.per_minute.push(scale / (price.value() * root_of_minutes(answered.step)));
            }
        }
    }

    /// What is doubtful, by asset.
    pub fn doubts(&self) -> Vec<UnitDoubt> {
        self.scales.iter().filter_map(|((asset, _), scales)| scales.doubt(asset)).collect()
    }
}

impl Scales {
    fn doubt(&self, asset: &Asset) -> Option<UnitDoubt> {
        let (median_scale, per_minute) = (median(&self.absolute)?, median(&self.per_minute)?);
        let (looks_like, statement) = match self.target {
            Target::LogReturn | Target::Return if median_scale > WIDEST_RETURN => (
                Target::PriceChange,
                format!(
                    "{} is asked, and half of its distributions of {asset} are wider than {median_scale:.3} per step: these look like \
                     price changes; divide locations and scales by the price",
                    self.target
                ),
            ),
            Target::PriceChange if per_minute < NARROWEST_CHANGE => (
                Target::LogReturn,
                format!(
                    "price_change is asked, and half of its distributions of {asset} are narrower than {median_scale:.2e} in currency, \
                     {per_minute:.1e} of the price for a minute: these look like log returns; multiply locations and scales by the \
                     price"
                ),
            ),
            Target::LogReturn | Target::Return | Target::PriceChange => return None,
        };
        Some(UnitDoubt { asset: asset.clone(), asked: self.target, looks_like, median_scale, statement })
    }
}

fn scale(density: &Density) -> f64 {
    (density.quantile(ONE_ABOVE) - density.quantile(ONE_BELOW)) / 2.0
}

fn root_of_minutes(step: Span) -> f64 {
    libm::sqrt(f64::from(step.as_secs()) / 60.0)
}

/// The lower one of two in the middle; `None` of nothing.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use domain::Method;

    use super::*;
    use crate::{Expected, Limits, parse_answer};

    fn answer(step: Span, scale: f64) -> Answer {
        let density = format!(
            r#"{{"type": "scipy", "name": "t", "params": {{"df": 4, "scale": {:?}}}}}"#,
            // the scale of this t, as it is measured here, is 1.142
            scale / 1.142
        );
        let expected = Expected { horizon: step.times(12), steps: vec![step], method: Method::Predict };
        let text = format!("[{}]", vec![density; 12].join(","));
        parse_answer(text.as_bytes(), &expected, &Limits::default()).unwrap()
    }

    fn doubts(target: Target, step: Span, scale: f64, price: f64) -> Vec<UnitDoubt> {
        let mut check = UnitCheck::default();
        let asset = "BTC".parse().unwrap();
        check.add(&asset, target, &answer(step, scale), Price::new(price).unwrap());
        check.doubts()
    }

    #[test]
    fn price_changes_where_returns_are_asked_are_doubted_and_wide_returns_are_not() {
        for target in [Target::LogReturn, Target::Return] {
            let found = doubts(target, Span::minutes(1), 57.0, 100_000.0);
            let [doubt] = &found[..] else { panic!("{found:?}") };
            assert_eq!((doubt.asked, doubt.looks_like), (target, Target::PriceChange));
            assert!((doubt.median_scale - 57.0).abs() < 0.1, "{doubt:?}");
            assert!(doubt.statement.contains("divide locations and scales by the price"), "{doubt:?}");
            assert!(doubts(target, Span::hours(24), 0.2, 100_000.0).is_empty(), "a wild day is possible");
            assert!(doubts(target, Span::minutes(1), 6e-4, 100_000.0).is_empty());
        }
    }

    #[test]
    fn log_returns_where_price_changes_are_asked_are_doubted_and_calm_changes_are_not() {
        let found = doubts(Target::PriceChange, Span::minutes(1), 6e-4, 100_000.0);
        let [doubt] = &found[..] else { panic!("{found:?}") };
        assert_eq!((doubt.asked, doubt.looks_like), (Target::PriceChange, Target::LogReturn));
        assert!(doubt.statement.contains("multiply locations and scales by the price"), "{doubt:?}");
        // a longer step has wider log returns all the same
        assert_eq!(doubts(Target::PriceChange, Span::hours(24), 0.02, 100_000.0).len(), 1);
        assert!(doubts(Target::PriceChange, Span::minutes(1), 57.0, 100_000.0).is_empty());
        // a log return of 6e-4 might be a change of an asset at 0.2
        assert!(doubts(Target::PriceChange, Span::minutes(1), 6e-4, 0.2).is_empty());
    }

    #[test]
    fn one_odd_answer_makes_no_doubt_and_assets_are_judged_apart() {
        let (btc, eth): (Asset, Asset) = ("BTC".parse().unwrap(), "ETH".parse().unwrap());
        let (step, price) = (Span::minutes(1), Price::new(1000.0).unwrap());
        let mut check = UnitCheck::default();
        assert!(check.doubts().is_empty());
        for scale in [1e-3, 1e-3, 50.0] {
            check.add(&btc, Target::LogReturn, &answer(step, scale), price);
        }
        check.add(&eth, Target::LogReturn, &answer(step, 50.0), price);
        let doubted: Vec<Asset> = check.doubts().into_iter().map(|doubt| doubt.asset).collect();
        assert_eq!(doubted, [eth]);
    }
}
