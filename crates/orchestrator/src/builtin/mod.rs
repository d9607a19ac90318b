//! Built-in models: honest, deterministic baselines that keep price state from ticks.
//!
//! They forecast log returns without drift. Each is a `Forecast`: a pure function of the prices known, so that
//! the same prices give the same bytes, in whatever order and however often they came. To add one: a file with its
//! card, and a line in `catalogue::CATALOGUE`.

mod catalogue;
mod density;
mod empirical_histogram;
mod ewma_volatility;
mod history;
mod random_walk;
mod returns;
mod roster;
mod spec;
mod student_t;
mod two_state_mixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use domain::{Asset, PricePoint, Span};

pub use catalogue::describe;
pub use roster::{BuiltinEntry, roster};
pub use spec::{BuiltinSpec, SpecError};

use density::{Buckets, Densities};
use history::History;

/// The prices of one tick: per asset, usually oldest first; doubles, late and corrected prices are welcome.
pub type Prices = BTreeMap<Asset, Vec<PricePoint>>;

/// More densities than this are never asked in earnest; the limit keeps an answer below the message size.
const MAX_DENSITIES: usize = 10_000;

/// Why a model gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The question makes no sense: the caller's mistake.
    #[error("{0}")]
    InvalidQuestion(String),
    /// The model raised.
    #[error("{0}")]
    Raised(String),
}

/// A model that the host serves from within the program.
pub trait BuiltinModel: Send {
    /// Takes new prices. Prices may come twice, late, or corrected: the one that came last counts.
    fn tick(&mut self, prices: &Prices) -> Result<(), ModelError>;

    /// The JSON list of `horizon / step` densities of the log return over each step; for a single step perhaps a
    /// bucket dictionary instead.
    fn predict(&self, asset: &Asset, horizon: Span, step: Span) -> Result<String, ModelError>;

    /// The JSON object from step, in seconds, to the list of its densities. Steps longer than the horizon are left out.
    fn predict_all(&self, asset: &Asset, horizon: Span, steps: &[Span]) -> Result<String, ModelError>;
}

/// What distinguishes one baseline from another.
trait Forecast: Send + Sync + 'static {
    /// The densities of the log returns over the steps of `horizon`, as wide as the model believes.
    fn densities(&self, history: &History, horizon: Span, step: Span) -> Densities;

    /// Point masses for the log return over the whole horizon, where the model has them.
    fn buckets(&self, _history: &History, _horizon: Span) -> Option<Buckets> {
        None
    }
}

/// A forecast with the prices that it is made from.
struct Baseline {
    forecast: Arc<dyn Forecast>,
    /// Multiplies every width; 1 is honest.
    scale: f64,
    histories: BTreeMap<Asset, History>,
    /// What is known of an asset that never ticked.
    nothing: History,
}

impl Baseline {
    fn new(forecast: Arc<dyn Forecast>, scale: f64) -> Self {
        Baseline { forecast, scale, histories: BTreeMap::new(), nothing: History::default() }
    }

    fn history(&self, asset: &Asset) -> &History {
        self.histories.get(asset).unwrap_or(&self.nothing)
    }

    fn list(&self, asset: &Asset, horizon: Span, step: Span) -> Result<String, ModelError> {
        let count = count(horizon, step)?;
        Ok(self.forecast.densities(self.history(asset), horizon, step).widened(self.scale).to_json(count))
    }
}

impl BuiltinModel for Baseline {
    fn tick(&mut self, prices: &Prices) -> Result<(), ModelError> {
        for (asset, points) in prices {
            self.histories.entry(asset.clone()).or_default().record(points);
        }
        Ok(())
    }

    fn predict(&self, asset: &Asset, horizon: Span, step: Span) -> Result<String, ModelError> {
        if count(horizon, step)? == 1
            && let Some(buckets) = self.forecast.buckets(self.history(asset), horizon)
        {
            return Ok(buckets.widened(self.scale).to_json());
        }
        self.list(asset, horizon, step)
    }

    fn predict_all(&self, asset: &Asset, horizon: Span, steps: &[Span]) -> Result<String, ModelError> {
        let steps: BTreeSet<Span> = steps.iter().copied().filter(|step| *step <= horizon).collect();
        let mut json = String::from("{");
        for step in steps {
            let comma = if json.len() > 1 { "," } else { "" };
            let list = self.list(asset, horizon, step)?;
            // writing to a String cannot fail
            let _ = write!(json, "{comma}\"{}\":{list}", step.as_secs());
        }
        json.push('}');
        Ok(json)
    }
}

/// The number of densities that a question asks for.
fn count(horizon: Span, step: Span) -> Result<usize, ModelError> {
    let (h, s) = (horizon.as_secs(), step.as_secs());
    if horizon.is_zero() || step.is_zero() || !horizon.is_multiple_of(step) {
        return Err(ModelError::InvalidQuestion(format!(
            "a step of {s} s does not divide a horizon of {h} s: both must be above 0, and the step must divide"
        )));
    }
    match horizon.divided_by(step) {
        count if count <= MAX_DENSITIES => Ok(count),
        count => Err(ModelError::InvalidQuestion(format!(
            "a horizon of {h} s in steps of {s} s has {count} densities, more than {MAX_DENSITIES}"
        ))),
    }
}

#[cfg(test)]
mod tests;
