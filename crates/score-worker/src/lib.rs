//! The score worker: scores, windows, snapshots and the leaderboard.
//!
//! [`ScoreWorker::run_once`] does everything that is due; [`run`] does it again and again. Scores are a pure function of
//! what is stored, and every write is idempotent, so the worker may be late, killed, restarted or run twice.

mod in_force;
mod ranker;
mod rescoring;
mod scorer;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Timestamp};
use storage::{Result, Store};
use tokio_util::sync::CancellationToken;

use in_force::InForce;
use ranker::Ranker;
use rescoring::Tally;
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
    in_force: InForce,
    scorer: Scorer,
    ranker: Ranker,
    clock: Arc<dyn Clock>,
    /// How many rounds in the windows another rule has judged; `None` until they are counted. Once there are none, they
    /// are counted again only after somebody else has changed a round's scores.
    outdated: Option<u64>,
    tally: Tally,
}

impl ScoreWorker {
    /// A worker over `store`; it reads what it needs when it first runs.
    pub fn new(settings: ScoreSettings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        ScoreWorker {
            in_force: InForce::new(Arc::clone(&store), settings.clone()),
            ranker: Ranker::new(Arc::clone(&store), settings.weights.clone(), settings.stamp()),
            tally: Tally::new(settings.stamp()),
            scorer: Scorer::new(store, settings),
            clock,
            outdated: None,
        }
    }

    /// Scores every round that is due; then writes the snapshot of each full hour that has none or lacks a late score,
    /// and, when scores have changed, the leaderboard as of the full minute.
    ///
    /// Rounds of the last 168 hours that another rule has judged are scored again, a few at a time: between them new
    /// rounds have their turn and the leaderboard says how many are left.
    ///
    /// Does nothing while a worker that was started later has other settings: those are in force.
    pub async fn run_once(&mut self) -> Result<Progress> {
        let mut progress = Progress::default();
        while self.is_in_force().await? {
            let now = self.clock.now();
            self.scorer.score_due(now, &mut progress).await?;
            let rescored = self.rescore_some(now, &mut progress).await?;
            if self.ranker.follow(now).await? {
                self.outdated = None;
            }
            let outdated = self.outdated(now).await?;
            let written = self.ranker.write_due(now, outdated, rescored > 0).await?;
            progress.leaderboard = written.or(progress.leaderboard);
            if rescored == 0 {
                break;
            }
        }
        Ok(progress)
    }

    /// Writes the leaderboard as of `as_of`, whether or not scores have changed.
    pub async fn rank(&mut self, as_of: Timestamp) -> Result<()> {
        let outdated = self.outdated(as_of).await?;
        self.ranker.rank(as_of, outdated).await
    }

    /// False while others are in force; what is known of scores and leaderboards is theirs by the time it is true again.
    async fn is_in_force(&mut self) -> Result<bool> {
        let is_in_force = self.in_force.check(self.clock.now()).await?;
        if !is_in_force {
            self.ranker.forget();
            self.outdated = None;
        }
        Ok(is_in_force)
    }

    /// How many rounds in the windows as of `now` are left to score again.
    async fn outdated(&mut self, now: Timestamp) -> Result<u64> {
        match self.outdated {
            Some(count) => Ok(count),
            None => {
                let since = self.ranker.first_in_windows(now).await?;
                Ok(*self.outdated.insert(self.scorer.outdated_count(since).await?))
            }
        }
    }

    /// Scores a few rounds again, if there are any; returns how many.
    async fn rescore_some(&mut self, now: Timestamp, progress: &mut Progress) -> Result<usize> {
        if self.outdated(now).await? == 0 {
            return Ok(0);
        }
        let since = self.ranker.first_in_windows(now).await?;
        let before = progress.rescored;
        let taken = self.scorer.rescore_some(since, now, progress).await?;
        self.outdated = None;
        let rounds_left = self.outdated(now).await?;
        self.tally.add(progress.rescored - before, rounds_left);
        Ok(taken)
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
