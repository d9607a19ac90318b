//! The score worker: scores, windows, snapshots and the leaderboard.
//!
//! [`ScoreWorker::run_once`] does everything that is due; [`run`] does it again and again. Scores are a pure function of
//! what is stored, and every write is idempotent, so the worker may be late, killed, restarted or run twice.

mod ranker;
mod scorer;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Span, Timestamp, Weights};
use scoring::SettlementSettings;
use storage::{Result, Store};
use tokio_util::sync::CancellationToken;

use ranker::Ranker;
use scorer::Scorer;

/// What the score worker needs to know.
#[derive(Debug, Clone)]
pub struct ScoreSettings {
    /// Rule, outlier cap, limits.
    pub scoring: scoring::ScoreSettings,
    /// How prices become moves.
    pub settlement: SettlementSettings,
    /// How much assets and horizons count in windows.
    pub weights: Weights,
    /// How long a round waits before its prices are looked for again.
    pub retry_after: Span,
}

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rounds scored.
    pub scored: u64,
    /// Predictions in them.
    pub predictions: u64,
    /// Rounds voided.
    pub void: u64,
    /// Rounds put off, because their prices are not there yet.
    pub waiting: u64,
    /// The instant of the leaderboard, when a new one was written.
    pub leaderboard: Option<Timestamp>,
}

/// Scores what is due and ranks.
pub struct ScoreWorker {
    scorer: Scorer,
    ranker: Ranker,
    clock: Arc<dyn Clock>,
}

impl ScoreWorker {
    /// A worker over `store`; it reads what it needs when it first runs.
    pub fn new(settings: ScoreSettings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let rule = settings.scoring.rule.to_string();
        let ranker = Ranker::new(Arc::clone(&store), settings.weights.clone(), rule);
        ScoreWorker { scorer: Scorer::new(store, settings), ranker, clock }
    }

    /// Scores every round that is due; then writes the snapshot of each full hour that has none or lacks a late score,
    /// and, when scores have changed, the leaderboard as of the full minute.
    pub async fn run_once(&mut self) -> Result<Progress> {
        let now = self.clock.now();
        let mut progress = self.scorer.score_due(now).await?;
        progress.leaderboard = self.ranker.rank_if_changed(now).await?;
        Ok(progress)
    }

    /// Writes the leaderboard as of `as_of`, whether or not scores have changed.
    pub async fn rank(&mut self, as_of: Timestamp) -> Result<()> {
        self.ranker.rank(as_of).await
    }
}

/// The pause between two looks for work.
const IDLE: Duration = Duration::from_secs(1);
/// The pause after an error, so that a database that is away is not hammered.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Works until `shutdown`, also in the middle of a backlog: what is not stored by then is done at the next start. An error
/// of the database that may pass is logged and waited out; any other ends the worker.
pub async fn run(mut worker: ScoreWorker, shutdown: CancellationToken) -> Result<()> {
    while let Some(result) = shutdown.run_until_cancelled(worker.run_once()).await {
        let pause = match result {
            Ok(progress) => {
                log(&progress);
                IDLE
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "cannot score now, trying again");
                AFTER_ERROR
            }
            Err(error) => return Err(error),
        };
        shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    Ok(())
}

fn log(progress: &Progress) {
    let Progress { scored, predictions, void, waiting, leaderboard } = *progress;
    if scored + void + waiting > 0 {
        tracing::info!(scored, predictions, void, waiting, "rounds scored");
    }
    if let Some(as_of) = leaderboard {
        tracing::info!(%as_of, "leaderboard written");
    }
}
