//! A prediction's raw score.

use domain::{Asset, Span};
use serde::{Deserialize, Serialize};

use crate::{Answer, Density, Rule, ScoreSettings, SettledStep, StepAnswer};

/// How many scores become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The mean over the steps of the mean over each one's increments.
    #[default]
    Mean,
    /// The sum over all increments of all steps, so that steps of many increments count more.
    Sum,
}

/// A prediction's score before it is compared with its round. Lower is better.
#[derive(Debug, Clone, PartialEq)]
pub struct RawScore {
    /// Over the steps, divided by the asset's scale.
    pub value: f64,
    /// By step size, in the order that was asked.
    pub steps: Vec<StepMean>,
}

/// The score over the increments of one step size, as the rule gives it: not divided by a scale.
#[derive(Debug, Clone, PartialEq)]
pub struct StepMean {
    /// The step size.
    pub step: Span,
    /// The mean over the increments that counted, also where the raw score is a sum.
    pub mean: f64,
    /// How many increments counted.
    pub increments: u32,
    /// How many were left out, for every model alike.
    pub left_out: u32,
}

/// Why a valid answer has no score.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScoreFailure {
    /// The rule gives no finite number.
    #[error("the {rule} score of density [{index}] of step {step} at {move_:?} is not finite: {score}")]
    NotFinite {
        /// The rule's name.
        rule: &'static str,
        /// The step size.
        step: Span,
        /// The density's place.
        index: usize,
        /// What happened.
        move_: f64,
        /// What the rule gives.
        score: f64,
    },
    /// The scores are finite, what is made of them is not; or there is nothing to make it of.
    #[error("the {rule} score over all increments is no finite number")]
    NoTotal {
        /// The rule's name.
        rule: &'static str,
    },
    /// The answer lacks densities that the question asked for.
    #[error("the answer has not one density for each increment of step {step}")]
    Incomplete {
        /// The step size.
        step: Span,
    },
    /// The asset was asked about when the configuration was another.
    #[error("the rule {rule} has no settings for {asset}: add them in [scoring.{rule}]")]
    NotCovered {
        /// The rule's name.
        rule: &'static str,
        /// The asset.
        asset: Asset,
    },
}

/// What the settings make of the scores of all increments; sums are taken in the order of time, then of steps.
pub fn raw_score(
    answer: &Answer,
    settled: &[SettledStep],
    asset: &Asset,
    settings: &ScoreSettings,
) -> Result<RawScore, ScoreFailure> {
    let rule = settings.rule.as_ref();
    if !rule.covers(asset) {
        return Err(ScoreFailure::NotCovered { rule: rule.id(), asset: asset.clone() });
    }
    let totals = settled
        .iter()
        .map(|step| {
            let incomplete = ScoreFailure::Incomplete { step: step.step };
            let answered =
                answer.steps.iter().find(|answered| answered.step == step.step).ok_or(incomplete)?;
            step_total(answered, step, asset, rule)
        })
        .collect::<Result<Vec<StepTotal>, ScoreFailure>>()?;
    let value = aggregate(&totals, settings.aggregation) / settings.scale_of(asset);
    if value.is_finite() {
        Ok(RawScore { value, steps: totals.iter().map(StepTotal::mean).collect() })
    } else {
        Err(ScoreFailure::NoTotal { rule: rule.id() })
    }
}

/// The scores of one step size, added up.
struct StepTotal {
    step: Span,
    sum: f64,
    increments: u32,
    left_out: u32,
}

impl StepTotal {
    fn mean(&self) -> StepMean {
        let StepTotal { step, sum, increments, left_out } = *self;
        StepMean { step, mean: sum / f64::from(increments), increments, left_out }
    }
}

fn aggregate(totals: &[StepTotal], aggregation: Aggregation) -> f64 {
    match aggregation {
        Aggregation::Mean => totals.iter().map(|total| total.mean().mean).sum::<f64>() / totals.len() as f64,
        Aggregation::Sum => totals.iter().map(|total| total.sum).sum(),
    }
}

fn step_total(
    answered: &StepAnswer,
    settled: &SettledStep,
    asset: &Asset,
    rule: &dyn Rule,
) -> Result<StepTotal, ScoreFailure> {
    let step = settled.step;
    if answered.densities.len() != settled.increments.len() {
        return Err(ScoreFailure::Incomplete { step });
    }
    let score = |density: &Density, x: f64| rule.score(density, x, asset, step);
    let mut total = StepTotal { step, sum: 0.0, increments: 0, left_out: settled.left_out() as u32 };
    for (index, (density, increment)) in answered.densities.iter().zip(&settled.increments).enumerate() {
        let Some(increment) = increment else { continue };
        let (move_, score) = (increment.move_, score(density, increment.move_));
        if !score.is_finite() {
            return Err(ScoreFailure::NotFinite { rule: rule.id(), step, index, move_, score });
        }
        total.sum += score;
        total.increments += 1;
    }
    Ok(total)
}
