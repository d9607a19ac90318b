//! A prediction's raw score.

use domain::Span;

use crate::{Answer, Density, Rule, SettledStep, StepAnswer};

/// A prediction's score before it is compared with its round. Lower is better.
#[derive(Debug, Clone, PartialEq)]
pub struct RawScore {
    /// The mean over the steps.
    pub value: f64,
    /// By step size, in the order that was asked.
    pub steps: Vec<StepMean>,
}

/// The score over the increments of one step size.
#[derive(Debug, Clone, PartialEq)]
pub struct StepMean {
    /// The step size.
    pub step: Span,
    /// The mean over the increments that counted.
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
    /// The scores are finite, their mean is not; or there is nothing to take it of.
    #[error("the mean {rule} score is no finite number")]
    NoMean {
        /// The rule's name.
        rule: &'static str,
    },
    /// The answer lacks densities that the question asked for.
    #[error("the answer has not one density for each increment of step {step}")]
    Incomplete {
        /// The step size.
        step: Span,
    },
}

/// The mean over the settled steps of the mean over their increments; sums are taken in the order of time.
pub fn raw_score(
    answer: &Answer,
    settled: &[SettledStep],
    rule: &dyn Rule,
) -> Result<RawScore, ScoreFailure> {
    let steps = settled
        .iter()
        .map(|step| {
            let incomplete = ScoreFailure::Incomplete { step: step.step };
            let answered =
                answer.steps.iter().find(|answered| answered.step == step.step).ok_or(incomplete)?;
            step_mean(answered, step, rule)
        })
        .collect::<Result<Vec<StepMean>, ScoreFailure>>()?;
    let value = steps.iter().map(|step| step.mean).sum::<f64>() / steps.len() as f64;
    if value.is_finite() {
        Ok(RawScore { value, steps })
    } else {
        Err(ScoreFailure::NoMean { rule: rule.id() })
    }
}

fn step_mean(
    answered: &StepAnswer,
    settled: &SettledStep,
    rule: &dyn Rule,
) -> Result<StepMean, ScoreFailure> {
    let step = settled.step;
    if answered.densities.len() != settled.increments.len() {
        return Err(ScoreFailure::Incomplete { step });
    }
    let mut sum = 0.0;
    let mut count = 0;
    for (index, (density, increment)) in answered.densities.iter().zip(&settled.increments).enumerate() {
        let Some(increment) = increment else { continue };
        sum += finite_score(density, increment.move_, rule).map_err(|score| ScoreFailure::NotFinite {
            rule: rule.id(),
            step,
            index,
            move_: increment.move_,
            score,
        })?;
        count += 1;
    }
    let left_out = settled.left_out() as u32;
    Ok(StepMean { step, mean: sum / f64::from(count), increments: count, left_out })
}

fn finite_score(density: &Density, x: f64, rule: &dyn Rule) -> Result<f64, f64> {
    let score = rule.score(density, x);
    if score.is_finite() { Ok(score) } else { Err(score) }
}
