//! A whole round.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Asset, Question};
use rayon::prelude::*;

use crate::rule::Crps;
use crate::{
    Aggregation, Expected, InvalidRule, RawScore, Rule, RuleSettings, SettledStep, StepMean, StoredAnswer,
    UnreadableAnswer, raw_score, relative_scores, rule,
};

/// How many times the round's median raw score the worst may count.
pub const DEFAULT_OUTLIER_CAP: f64 = 10.0;

/// Smaller rounds are scored on one thread: waking the others takes longer than they save.
const PARALLEL_FROM: usize = 16;

/// How a round is scored.
#[derive(Debug, Clone)]
pub struct ScoreSettings {
    /// The scoring rule.
    pub rule: Arc<dyn Rule>,
    /// How the scores of all increments become one.
    pub aggregation: Aggregation,
    /// Raw scores are divided by their asset's; 1 unless set.
    pub asset_scales: BTreeMap<Asset, f64>,
    /// Raw scores are capped at this many times their median, unless the rule can be negative.
    pub outlier_cap: f64,
}

impl Default for ScoreSettings {
    /// By the exact CRPS.
    fn default() -> Self {
        ScoreSettings::new(Arc::new(Crps))
    }
}

impl ScoreSettings {
    /// Everything but the rule at its default.
    pub fn new(rule: Arc<dyn Rule>) -> Self {
        ScoreSettings {
            rule,
            aggregation: Aggregation::default(),
            asset_scales: BTreeMap::new(),
            outlier_cap: DEFAULT_OUTLIER_CAP,
        }
    }

    /// The same for the rule of this name, without settings of its own.
    pub fn with_rule(id: &str) -> Result<Self, InvalidRule> {
        Ok(ScoreSettings::new(rule(id, &RuleSettings::default())?))
    }

    /// How many times their median raw scores may count; `None` where multiples of a median mean nothing.
    pub fn cap(&self) -> Option<f64> {
        (!self.rule.can_be_negative()).then_some(self.outlier_cap)
    }

    /// What raw scores of an asset are divided by.
    pub fn scale_of(&self, asset: &Asset) -> f64 {
        self.asset_scales.get(asset).copied().unwrap_or(1.0)
    }
}

/// What became of a settled round.
#[derive(Debug, Clone, PartialEq)]
pub enum RoundOutcome {
    /// It has scores.
    Scored {
        /// The best raw score.
        best: f64,
        /// The 95 % quantile of the raw scores over the whole field.
        q95: f64,
        /// In the order of the answers. One that cannot be read is left out: that is a fault of ours, so it neither
        /// counts for its model nor against it, nor is it in the field of the others.
        predictions: Vec<Result<PredictionScore, UnreadableAnswer>>,
    },
    /// Nobody has a score.
    Void {
        /// Why, in words.
        reason: String,
    },
}

/// One prediction's score.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionScore {
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// Why an answer has no score.
    pub failure: Option<String>,
    /// By step size; empty without a valid answer.
    pub steps: Vec<StepMean>,
}

/// Scores a settled round as a whole. `answers` are those that were accepted, packed or as text, `None` for any other
/// outcome. What was accepted once counts, however the limits of a competition are set by now.
///
/// The answers of large rounds are scored in parallel on rayon's current pool; the result is the same to the bit on any number of threads.
pub fn score_round<A: StoredAnswer>(
    question: &Question,
    answers: &[Option<A>],
    settled: &[SettledStep],
    settings: &ScoreSettings,
) -> RoundOutcome {
    let expected = Expected::from(question);
    let asset = &question.asset;
    let score = |answer: &Option<A>| match answer {
        Some(answer) => score_answer(answer, &expected, asset, settled, settings),
        None => Ok(Score::NoAnswer),
    };
    let scores: Vec<Result<Score, UnreadableAnswer>> = if answers.len() < PARALLEL_FROM {
        answers.iter().map(score).collect()
    } else {
        answers.par_iter().map(score).collect()
    };
    let field: Vec<Option<f64>> = scores.iter().flatten().map(Score::raw).collect();
    let Some(relative) = relative_scores(&field, settings.cap()) else {
        return RoundOutcome::Void { reason: nobody_valid(&scores) };
    };
    let mut of_field = relative.scores.into_iter();
    let predictions = scores
        .into_iter()
        .map(|score| score.map(|score| PredictionScore::new(score, of_field.next().unwrap_or_default())))
        .collect();
    RoundOutcome::Scored { best: relative.best, q95: relative.q95, predictions }
}

/// One prediction's score by itself, as in its round; relative scores are 0 here.
pub(crate) fn score_alone<A: StoredAnswer>(
    question: &Question,
    answer: &Option<A>,
    settled: &[SettledStep],
    settings: &ScoreSettings,
) -> Result<PredictionScore, UnreadableAnswer> {
    let score = match answer {
        Some(answer) => score_answer(answer, &Expected::from(question), &question.asset, settled, settings)?,
        None => Score::NoAnswer,
    };
    Ok(PredictionScore::new(score, 0.0))
}

/// What an outcome comes to by itself.
enum Score {
    Raw(RawScore),
    Failed(String),
    NoAnswer,
}

impl Score {
    fn raw(&self) -> Option<f64> {
        match self {
            Score::Raw(raw) => Some(raw.value),
            Score::Failed(_) | Score::NoAnswer => None,
        }
    }
}

fn score_answer(
    answer: &impl StoredAnswer,
    expected: &Expected,
    asset: &Asset,
    settled: &[SettledStep],
    settings: &ScoreSettings,
) -> Result<Score, UnreadableAnswer> {
    let raw = raw_score(&answer.answer(expected)?, settled, asset, settings);
    Ok(raw.map_or_else(|failure| Score::Failed(failure.to_string()), Score::Raw))
}

fn nobody_valid(scores: &[Result<Score, UnreadableAnswer>]) -> String {
    let failure = scores.iter().find_map(|score| match score {
        Ok(Score::Failed(failure)) => Some(failure.clone()),
        Ok(Score::Raw(_) | Score::NoAnswer) => None,
        Err(unreadable) => Some(unreadable.to_string()),
    });
    match failure {
        Some(failure) => format!("no valid answer; the first has no score: {failure}"),
        None => "no valid answer".into(),
    }
}

impl PredictionScore {
    fn new(score: Score, relative: f64) -> Self {
        let without = PredictionScore { raw: None, relative, failure: None, steps: Vec::new() };
        match score {
            Score::Raw(RawScore { value, steps }) => PredictionScore { raw: Some(value), steps, ..without },
            Score::Failed(failure) => PredictionScore { failure: Some(failure), ..without },
            Score::NoAnswer => without,
        }
    }
}
