//! What is borne from models, and may change while they are called.

use std::sync::{Arc, PoisonError, RwLock};

use crate::health::HealthLimits;

/// What is borne from models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The largest value that a model may answer, in bytes; what is larger is refused as it arrives.
    pub max_answer_bytes: usize,
    /// How much is borne from a model.
    pub health: HealthLimits,
    /// Models past those limits are reported to the orchestrator, which stops them. When this is off nothing is sent, and
    /// they stay.
    pub report_failures: bool,
}

/// The bounds of a cluster's models. Changed ones hold for the calls, and the outcomes, that come after.
#[derive(Debug, Clone)]
pub struct LiveBounds(Arc<RwLock<Bounds>>);

impl LiveBounds {
    pub(crate) fn new(bounds: Bounds) -> Self {
        LiveBounds(Arc::new(RwLock::new(bounds)))
    }

    /// Those in force.
    pub fn get(&self) -> Bounds {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts others in force.
    pub fn set(&self, bounds: Bounds) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = bounds;
    }
}
