//! Scoring rules: one file each; a new one is a file and a line in `RULES`.

mod crps;
mod crps_grid;
mod log_score;
mod mean_density;

use std::fmt;
use std::sync::Arc;

use domain::{Asset, Span};
use serde::{Deserialize, Serialize};

use crate::Density;
pub(crate) use crps::Crps;
pub use crps_grid::{GridSettings, InvalidGridSettings};

/// How a density is judged against what happened. Lower is better for every rule.
pub trait Rule: Send + Sync {
    /// Its name in the configuration.
    fn id(&self) -> &'static str;
    /// Raised whenever its numbers change: scores of different versions are never mixed.
    fn version(&self) -> u32;
    /// The score of `density` over a step of this asset when the move was `x`; not finite where there is none.
    fn score(&self, density: &Density, x: f64, asset: &Asset, step: Span) -> f64;
    /// True when scores below zero occur, so that multiples of a median mean nothing.
    fn can_be_negative(&self) -> bool;
    /// False for an asset that its settings lack something for.
    fn covers(&self, _asset: &Asset) -> bool {
        true
    }
    /// Names and values of the settings that its numbers depend on.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// The settings of the rules that have any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    /// Of `crps_grid`.
    pub crps_grid: GridSettings,
}

type MakeRule = fn(&RuleSettings) -> Result<Arc<dyn Rule>, InvalidRule>;

const RULES: &[(&str, MakeRule)] = &[
    (crps::ID, |_| Ok(Arc::new(crps::Crps))),
    (crps_grid::ID, |settings| Ok(Arc::new(crps_grid::CrpsGrid::new(settings.crps_grid.clone())?))),
    (log_score::ID, |_| Ok(Arc::new(log_score::LogScore))),
    (mean_density::ID, |_| Ok(Arc::new(mean_density::MeanDensity))),
];

/// A name that is no rule, or settings that make none.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidRule {
    /// There is no such rule.
    #[error("`{name}` is no scoring rule: use {}", rule_names())]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The settings of `crps_grid` make no grid.
    #[error(transparent)]
    Grid(#[from] InvalidGridSettings),
}

fn rule_names() -> String {
    RULES.iter().map(|(id, _)| *id).collect::<Vec<_>>().join(", ")
}

/// The rule of this name.
pub fn rule(id: &str, settings: &RuleSettings) -> Result<Arc<dyn Rule>, InvalidRule> {
    let (_, make) = RULES
        .iter()
        .find(|(name, _)| *name == id)
        .ok_or_else(|| InvalidRule::Unknown { name: id.to_owned() })?;
    make(settings)
}

impl fmt::Display for dyn Rule {
    /// Name and version: `crps/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id(), self.version())
    }
}

impl fmt::Debug for dyn Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Distribution, Grid, Limits, grid_crps, parse_density};

    use super::*;

    const FIVE_MINUTES: Span = Span::minutes(5);

    fn asset() -> Asset {
        Asset::new("BTC").unwrap()
    }

    fn named(id: &str) -> Arc<dyn Rule> {
        rule(id, &RuleSettings::default()).unwrap()
    }

    fn norm(scale: f64) -> Density {
        let spec = format!(r#"{{"type": "scipy", "name": "norm", "params": {{"scale": {scale:e}}}}}"#);
        parse_density(spec.as_bytes(), &Limits::NONE).unwrap()
    }

    fn certain(x: f64) -> Density {
        let spec = format!(r#"{{"type": "buckets", "probabilities": {{"{x}": 1}}}}"#);
        parse_density(spec.as_bytes(), &Limits::NONE).unwrap()
    }

    fn grid(bound: f64, points: u32, base_step: Span) -> RuleSettings {
        let bounds = [(asset(), bound)].into_iter().collect();
        RuleSettings { crps_grid: GridSettings { bounds, points, base_step } }
    }

    #[test]
    fn rules_are_found_by_name_and_shown_with_their_version() {
        let shown: Vec<String> = RULES.iter().map(|(id, _)| named(id).to_string()).collect();
        assert_eq!(shown, ["crps/1", "crps_grid/1", "log_score/1", "mean_density/1"]);
        let error = rule("CRPS", &RuleSettings::default()).unwrap_err().to_string();
        assert_eq!(error, "`CRPS` is no scoring rule: use crps, crps_grid, log_score, mean_density");
    }

    #[test]
    fn of_every_rule_lower_is_better() {
        let (sharp, blunt) = (norm(0.1), norm(1.0));
        for (id, make) in RULES {
            let rule = make(&grid(10.0, 1024, FIVE_MINUTES)).unwrap();
            let score = |density: &Density| rule.score(density, 0.05, &asset(), FIVE_MINUTES);
            assert!(score(&sharp) < score(&blunt), "{id}");
        }
    }

    #[test]
    fn the_log_score_is_minus_the_log_density_also_where_the_density_underflows() {
        let rule = named("log_score");
        let score = |density: &Density, x| rule.score(density, x, &asset(), FIVE_MINUTES);
        let at_centre = 0.918_938_533_204_672_7; // ln(2 pi) / 2
        assert!((score(&norm(1.0), 0.0) - at_centre).abs() < 1e-15);
        assert!((score(&norm(1e-3), 0.0) - (at_centre + libm::log(1e-3))).abs() < 1e-14);
        assert!((score(&norm(1.0), 1e3) - (at_centre + 5e5)).abs() < 1e-9);
        assert!(rule.can_be_negative() && score(&norm(1e-3), 0.0) < 0.0);
    }

    #[test]
    fn certainty_has_no_log_score_and_no_mean_density() {
        for id in ["log_score", "mean_density"] {
            assert_eq!(
                named(id).score(&certain(1.0), 1.0, &asset(), FIVE_MINUTES),
                f64::NEG_INFINITY,
                "{id}"
            );
        }
        assert_eq!(named("log_score").score(&certain(1.0), 2.0, &asset(), FIVE_MINUTES), f64::INFINITY);
        assert_eq!(named("crps").score(&certain(1.0), 1.0, &asset(), FIVE_MINUTES), 0.0);
    }

    /// Trap 25: what makes the mean density unfit to rank by, and the log score and the CRPS fit.
    #[test]
    fn only_the_mean_density_rewards_a_spike() {
        let truth = norm(1.0);
        let mean_score = |rule: &dyn Rule, forecast: &Density| -> f64 {
            let outcomes = (-800..=800).map(|k| f64::from(k) * 0.01);
            outcomes.map(|x| truth.pdf(x) * 0.01 * rule.score(forecast, x, &asset(), FIVE_MINUTES)).sum()
        };
        let prefers_spike = |id: &str| {
            let rule = named(id);
            mean_score(rule.as_ref(), &norm(0.1)) < mean_score(rule.as_ref(), &truth)
        };
        assert!(prefers_spike("mean_density"));
        assert!(!prefers_spike("crps") && !prefers_spike("log_score"));
        let reward = -mean_score(named("mean_density").as_ref(), &norm(0.1));
        assert!((reward - 0.396_953).abs() < 1e-4, "{reward}");
    }

    #[test]
    fn the_grid_is_the_assets_and_widens_with_the_root_of_longer_steps() {
        let rule = rule("crps_grid", &grid(1500.0, 1024, FIVE_MINUTES)).unwrap();
        let density = norm(40.0);
        for (step, bound) in [
            (Span::minutes(1), 1500.0),
            (FIVE_MINUTES, 1500.0),
            (Span::HOUR, 1500.0 * 12.0_f64.sqrt()),
            (Span::hours(24), 1500.0 * 288.0_f64.sqrt()),
        ] {
            let expected = grid_crps(&density, 12.3, Grid::new(-bound, bound, 1024).unwrap());
            assert_eq!(rule.score(&density, 12.3, &asset(), step), expected, "{step}");
        }
        let narrow = crate::rule("crps_grid", &grid(100.0, 65, Span::minutes(1))).unwrap();
        let bound = 100.0 * 5.0_f64.sqrt();
        let expected = grid_crps(&density, 12.3, Grid::new(-bound, bound, 65).unwrap());
        assert_eq!(narrow.score(&density, 12.3, &asset(), FIVE_MINUTES), expected);
    }

    #[test]
    fn an_asset_without_a_bound_has_no_grid() {
        let rule = rule("crps_grid", &grid(1500.0, 1024, FIVE_MINUTES)).unwrap();
        let other = Asset::new("ETH").unwrap();
        assert!(rule.covers(&asset()) && !rule.covers(&other));
        assert!(rule.score(&norm(1.0), 0.0, &other, FIVE_MINUTES).is_nan());
        assert!(named("crps").covers(&other));
    }

    #[test]
    fn grids_of_nonsense_are_refused_with_what_to_write() {
        let refused = |settings| rule("crps_grid", &settings).unwrap_err().to_string();
        for bound in [0.0, -1.0, 1e-320, f64::NAN, f64::INFINITY, f64::MAX] {
            let error = refused(grid(bound, 1024, FIVE_MINUTES));
            assert!(error.starts_with("the bound of BTC is "), "{error}");
        }
        for points in [0, 1, 1_000_001] {
            let error = refused(grid(1.0, points, FIVE_MINUTES));
            assert_eq!(error, format!("{points} points: write a number from 2 to 1000000"));
        }
        assert!(refused(grid(1.0, 2, Span::ZERO)).starts_with("base_step is zero"));
    }
}
