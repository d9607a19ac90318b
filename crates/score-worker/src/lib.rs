//! The score worker: scores, windows, snapshots and the leaderboard.
//!
//! [`ScoreWorker::run_once`] does everything that is due; [`run`] does it again and again. Scores are a pure function of
//! what is stored, and every write is idempotent, so the worker may be late, killed, restarted or run twice.

mod ranker;
mod scorer;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Timestamp};
use storage::{Result, StorageError, Store};
use tokio_util::sync::CancellationToken;

use ranker::Ranker;
use scorer::Scorer;
pub use settings::ScoreSettings;

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rounds scored.
    pub scored: u64,
    /// Predictions in them.
    pub predictions: u64,
    /// Rounds voided.
    pub void: u64,
    /// Rounds scored or voided again, because another rule had judged them.
    pub rescored: u64,
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
    store: Arc<dyn Store>,
    settings: ScoreSettings,
    has_recorded_settings: bool,
    /// How many rounds in the windows another rule has judged; `None` until they are counted. Once there are none, none
    /// is looked for again: what this worker stores is by the rule in force.
    outdated: Option<u64>,
}

impl ScoreWorker {
    /// A worker over `store`; it reads what it needs when it first runs.
    pub fn new(settings: ScoreSettings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        ScoreWorker {
            scorer: Scorer::new(Arc::clone(&store), settings.clone()),
            ranker: Ranker::new(Arc::clone(&store), settings.weights.clone(), settings.stamp()),
            clock,
            store,
            settings,
            has_recorded_settings: false,
            outdated: None,
        }
    }

    /// Scores every round that is due; then writes the snapshot of each full hour that has none or lacks a late score,
    /// and, when scores have changed, the leaderboard as of the full minute.
    ///
    /// Rounds of the last 168 hours that another rule has judged are scored again, a few at a time: between them new
    /// rounds have their turn and the leaderboard says how many are left.
    pub async fn run_once(&mut self) -> Result<Progress> {
        self.record_settings().await?;
        let mut progress = Progress::default();
        loop {
            let now = self.clock.now();
            self.scorer.score_due(now, &mut progress).await?;
            let rescored = self.rescore_some(now, &mut progress).await?;
            let outdated = self.outdated(now).await?;
            let written = self.ranker.rank_if_changed(now, outdated).await?;
            progress.leaderboard = written.or(progress.leaderboard);
            if rescored == 0 {
                return Ok(progress);
            }
        }
    }

    /// Writes the leaderboard as of `as_of`, whether or not scores have changed.
    pub async fn rank(&mut self, as_of: Timestamp) -> Result<()> {
        let outdated = self.outdated(as_of).await?;
        self.ranker.rank(as_of, outdated).await
    }

    /// How many rounds in the windows as of `now` are left to score again.
    async fn outdated(&mut self, now: Timestamp) -> Result<u64> {
        match self.outdated {
            Some(count) => Ok(count),
            None => Ok(*self.outdated.insert(self.scorer.outdated_count(now).await?)),
        }
    }

    /// Scores a few rounds again, if there are any; returns how many.
    async fn rescore_some(&mut self, now: Timestamp, progress: &mut Progress) -> Result<usize> {
        if self.outdated(now).await? == 0 {
            return Ok(0);
        }
        let taken = self.scorer.rescore_some(now, progress).await?;
        self.outdated = None;
        let rounds_left = self.outdated(now).await?;
        if taken > 0 {
            let rule = self.settings.stamp();
            tracing::info!(taken, rounds_left, rule, "the rule has changed: rounds scored again by {rule}");
        }
        Ok(taken)
    }

    /// Puts the settings on record with the time from which they are in force, unless they are already.
    async fn record_settings(&mut self) -> Result<()> {
        if !self.has_recorded_settings {
            let change = self.settings.on_record(self.clock.now());
            let change = change.map_err(|error| StorageError::Refused(error.into()))?;
            self.store.record_scoring_change(&change).await?;
            self.has_recorded_settings = true;
        }
        Ok(())
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
    let Progress { scored, predictions, void, rescored, waiting, leaderboard } = *progress;
    if scored + void + rescored + waiting > 0 {
        tracing::info!(scored, predictions, void, rescored, waiting, "rounds scored");
    }
    if let Some(as_of) = leaderboard {
        tracing::info!(%as_of, "leaderboard written");
    }
}
