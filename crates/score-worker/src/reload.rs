//! What of a score worker's settings may change while it runs.

use domain::Weights;
use tokio::sync::watch;

/// Hands other weights to a score worker that runs.
#[derive(Debug, Clone)]
pub struct Reloadable(watch::Sender<Weights>);

impl Reloadable {
    pub(crate) fn new(weights: Weights) -> Self {
        Reloadable(watch::Sender::new(weights))
    }

    /// Has the worker weigh assets and horizons so from its next turn on. No round is scored again: windows are summed anew.
    pub fn weigh(&self, weights: Weights) {
        self.0.send_if_modified(|current| {
            let is_other = *current != weights;
            *current = weights;
            is_other
        });
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Weights> {
        self.0.subscribe()
    }
}
