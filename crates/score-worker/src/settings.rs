//! How predictions are scored and ranked, and how that is put on record.

use std::collections::BTreeMap;

use domain::{Asset, Span, Timestamp, Weights};
use scoring::{Aggregation, PriceChoice, SettlementSettings, stamp};
use serde::Serialize;
use storage::ScoringChange;

/// What the score worker needs to know.
#[derive(Debug, Clone)]
pub struct ScoreSettings {
    /// Rule, aggregation, scales, outlier cap.
    pub scoring: scoring::ScoreSettings,
    /// How prices become moves.
    pub settlement: SettlementSettings,
    /// How much assets and horizons count in windows.
    pub weights: Weights,
    /// How long a round waits before its prices are looked for again.
    pub retry_after: Span,
}

/// The settings as they are put on record.
#[derive(Serialize)]
struct OnRecord<'a> {
    rule: String,
    rule_settings: BTreeMap<&'static str, String>,
    aggregation: Aggregation,
    asset_scales: &'a BTreeMap<Asset, f64>,
    outlier_cap: f64,
    settlement: PriceChoice,
    price_interval: Span,
    max_price_age: Span,
    settle_timeout: Span,
    asset_weights: &'a BTreeMap<Asset, f64>,
    horizon_weights: &'a BTreeMap<Span, f64>,
}

impl ScoreSettings {
    /// What every score made with these settings carries: see [`scoring::stamp`].
    pub fn stamp(&self) -> String {
        stamp(&self.scoring, &self.settlement)
    }

    /// The record that from `at` on scoring works with these settings.
    pub(crate) fn on_record(&self, at: Timestamp) -> serde_json::Result<ScoringChange> {
        let ScoreSettings { scoring, settlement, weights, .. } = self;
        let settings = OnRecord {
            rule: scoring.rule.to_string(),
            rule_settings: scoring.rule.settings().into_iter().collect(),
            aggregation: scoring.aggregation,
            asset_scales: &scoring.asset_scales,
            outlier_cap: scoring.outlier_cap,
            settlement: settlement.choice,
            price_interval: settlement.interval,
            max_price_age: settlement.max_price_age,
            settle_timeout: settlement.settle_timeout,
            asset_weights: &weights.assets,
            horizon_weights: &weights.horizons,
        };
        Ok(ScoringChange { at, rule: self.stamp(), settings: serde_json::to_string(&settings)? })
    }
}
