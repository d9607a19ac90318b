//! Distributions and scoring rules, as pure functions: the same inputs give the same bits, whatever the number of
//! threads and however often it runs. No I/O, no clock.
//!
//! In reading order: [`parse_answer`] turns a model's text into checked densities, [`settle`] turns prices into
//! realised moves, a [`Rule`] scores one density against one move, and [`score_round`] does a whole round. Between the
//! first and the last of these an answer is stored: as a [`PackedAnswer`].

mod answer;
mod batch;
mod calibration;
pub mod distribution;
mod explain;
mod grid;
mod raw;
mod relative;
mod round;
pub mod rule;
mod settlement;
mod stamp;
mod unit;
mod vectors;

pub use answer::{
    Answer, Expected, Limits, PackedAnswer, Refusal, StepAnswer, StoredAnswer, UnreadableAnswer, pack_answer,
    parse_answer, parse_buckets, parse_density, parse_quantiles, parse_samples,
};
pub use batch::{UnequalLengths, normal_crps_batch, normal_crps_batch_with};
pub use calibration::{Calibration, CalibrationShape, CalibrationSummary, PIT_BINS, Pit};
pub use distribution::{Density, Distribution};
pub use explain::{
    ExplainedIncrement, ExplainedStep, Explanation, Place, SettledRound, explain, explain_alone,
};
pub use grid::{Grid, InvalidGrid, grid_crps};
pub use raw::{Aggregation, RawScore, ScoreFailure, StepMean, raw_score};
pub use relative::{RelativeScores, relative_scores};
pub use round::{DEFAULT_OUTLIER_CAP, PredictionScore, RoundOutcome, ScoreSettings, score_round};
pub use rule::{GridSettings, InvalidRule, Rule, RuleSettings, rule};
pub use settlement::{
    Increment, PriceChoice, SettledStep, Settlement, SettlementSettings, is_for_want_of_prices, settle,
};
pub use stamp::stamp;
pub use unit::{UnitCheck, UnitDoubt};
pub use vectors::Vectors;
