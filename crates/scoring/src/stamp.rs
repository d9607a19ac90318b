//! By which rule and settings scores were made, in a word that is stored with them.

use std::collections::BTreeMap;

use domain::{Asset, Span};

use crate::{Aggregation, DEFAULT_OUTLIER_CAP, PriceChoice, ScoreSettings, SettlementSettings};

/// How old a price may be where closes are a minute apart and nothing else is set.
const USUAL_PRICE_AGE: Span = Span::minutes(1);

/// What every score carries: scores with different stamps are never mixed.
///
/// It begins with the rule and its version. Where everything else is at its default that is all: `crps/1`. Else what
/// differs follows: `crps/1;sum;outlier_cap=5;nearest;max_price_age=5m`. Settings that are long are there as the first
/// eight digits of their hash, `crps_grid/1;settings=1f0d3b77;asset_scales=90ac24e1`; in full they are in the record of
/// changes. Weights, the limits of answers and the time that prices are waited for change no score, so they are not in it.
pub fn stamp(scoring: &ScoreSettings, settlement: &SettlementSettings) -> String {
    let mut stamp = scoring.rule.to_string();
    for part in parts(scoring, settlement) {
        stamp.push(';');
        stamp.push_str(&part);
    }
    stamp
}

fn parts(scoring: &ScoreSettings, settlement: &SettlementSettings) -> Vec<String> {
    let mut parts = Vec::new();
    let of_rule: Vec<String> =
        scoring.rule.settings().iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !of_rule.is_empty() {
        parts.push(format!("settings={}", digest(&of_rule.join(";"))));
    }
    if scoring.aggregation == Aggregation::Sum {
        parts.push("sum".to_owned());
    }
    let scales = in_words(&scoring.asset_scales);
    if !scales.is_empty() {
        parts.push(format!("asset_scales={}", digest(&scales)));
    }
    if !scoring.rule.can_be_negative() && scoring.outlier_cap != DEFAULT_OUTLIER_CAP {
        parts.push(format!("outlier_cap={}", scoring.outlier_cap));
    }
    if settlement.choice == PriceChoice::Nearest {
        parts.push("nearest".to_owned());
    }
    if settlement.max_price_age != USUAL_PRICE_AGE {
        parts.push(format!("max_price_age={}", settlement.max_price_age));
    }
    parts
}

/// The scales that scale, in the order of assets.
fn in_words(scales: &BTreeMap<Asset, f64>) -> String {
    let scales = scales.iter().filter(|(_, scale)| **scale != 1.0);
    scales.map(|(asset, scale)| format!("{asset}={scale}")).collect::<Vec<_>>().join(",")
}

/// Eight hexadecimal digits of a text: FNV-1a (Fowler, Noll and Vo), folded to 32 bits.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::Span;

    use super::*;
    use crate::{GridSettings, RuleSettings, rule};

    fn settlement() -> SettlementSettings {
        SettlementSettings::new(Span::minutes(1))
    }

    fn asset(name: &str) -> Asset {
        Asset::new(name).unwrap()
    }

    fn crps() -> ScoreSettings {
        ScoreSettings::with_rule("crps").unwrap()
    }

    fn grid(bounds: &[(&str, f64)]) -> ScoreSettings {
        let bounds = bounds.iter().map(|(name, bound)| (asset(name), *bound)).collect();
        let settings = RuleSettings { crps_grid: GridSettings { bounds, ..GridSettings::default() } };
        ScoreSettings::new(rule("crps_grid", &settings).unwrap())
    }

    #[test]
    fn at_the_defaults_it_is_the_rule_and_its_version() {
        assert_eq!(stamp(&crps(), &settlement()), "crps/1");
        let mut as_good_as_default = crps();
        as_good_as_default.asset_scales.insert(asset("BTC"), 1.0);
        let patient = SettlementSettings { settle_timeout: Span::hours(1), ..settlement() };
        assert_eq!(stamp(&as_good_as_default, &patient), "crps/1");
    }

    #[test]
    fn what_differs_is_readable() {
        let scoring = ScoreSettings { aggregation: Aggregation::Sum, outlier_cap: 2.5, ..crps() };
        let nearest = SettlementSettings {
            choice: PriceChoice::Nearest,
            max_price_age: Span::minutes(5),
            ..settlement()
        };
        assert_eq!(stamp(&scoring, &nearest), "crps/1;sum;outlier_cap=2.5;nearest;max_price_age=5m");
        let uncapped = ScoreSettings { outlier_cap: 2.5, ..ScoreSettings::with_rule("log_score").unwrap() };
        assert_eq!(stamp(&uncapped, &settlement()), "log_score/1", "it has no cap");
    }

    /// Else scores made with closes five minutes apart would be mixed with those made with closes a minute apart.
    #[test]
    fn how_old_a_price_may_be_counts_also_where_it_follows_from_the_price_interval() {
        assert_eq!(
            stamp(&crps(), &SettlementSettings::new(Span::minutes(5))),
            "crps/1;max_price_age=5m",
            "as good as set"
        );
        let finer = SettlementSettings { interval: Span::seconds(30), ..settlement() };
        assert_eq!(stamp(&crps(), &finer), "crps/1", "the same prices count");
    }

    #[test]
    fn long_settings_are_hashed_the_same_on_every_machine() {
        let scoring = grid(&[("BTC", 1500.0), ("ETH", 80.0)]);
        assert_eq!(stamp(&scoring, &settlement()), "crps_grid/1;settings=dbdcd9d6");
        let mut scaled = crps();
        scaled.asset_scales.insert(asset("BTC"), 1500.0);
        assert_eq!(stamp(&scaled, &settlement()), "crps/1;asset_scales=9b9bb2be");
    }

    #[test]
    fn every_setting_that_changes_a_number_changes_it() {
        let with_scale = |scale| {
            let mut scoring = crps();
            scoring.asset_scales.insert(asset("BTC"), scale);
            scoring
        };
        let mut coarse = GridSettings { points: 256, ..GridSettings::default() };
        coarse.bounds.insert(asset("BTC"), 1500.0);
        let other_base = GridSettings { base_step: Span::minutes(1), ..coarse.clone() };
        let of_grid = |settings: GridSettings| {
            ScoreSettings::new(rule("crps_grid", &RuleSettings { crps_grid: settings }).unwrap())
        };
        let all = [
            crps(),
            with_scale(2.0),
            with_scale(3.0),
            ScoreSettings { aggregation: Aggregation::Sum, ..crps() },
            ScoreSettings { outlier_cap: 9.0, ..crps() },
            ScoreSettings::with_rule("log_score").unwrap(),
            ScoreSettings::with_rule("mean_density").unwrap(),
            grid(&[("BTC", 1500.0)]),
            grid(&[("BTC", 1500.5)]),
            of_grid(coarse),
            of_grid(other_base),
        ];
        let stamps: BTreeSet<String> = all.iter().map(|scoring| stamp(scoring, &settlement())).collect();
        assert_eq!(stamps.len(), all.len(), "{stamps:?}");
    }
}
