//! The score worker beside the predict worker: it scores an instant while later ones are played. Scores and ranks as of an
//! instant depend on nothing that is later.

use std::sync::Arc;

use anyhow::{Context, bail};
use domain::{Clock, Schedules, SimulatedClock, Span, Timestamp, TimestampExt};
use futures::future::BoxFuture;
use score_worker::ScoreWorker;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Plan;
use crate::commands::score;
use storage::Store;

/// How many instants scoring may lag behind: as many are in memory until they are stored.
const LAG: usize = 32;

/// Between two leaderboards.
const RANKING: Span = Span::HOUR;

/// The score worker at work. Instants are handed in one after the other.
pub struct Scoring {
    instants: mpsc::Sender<Played>,
    worker: JoinHandle<anyhow::Result<ScoreWorker>>,
}

/// An instant that was played.
struct Played {
    at: Timestamp,
    /// Resolves when all of it is stored.
    stored: BoxFuture<'static, ()>,
}

impl Scoring {
    /// Begins with nothing to score. What is on record may be scored in part until `play_from`.
    pub fn start(plan: &Plan, store: Arc<dyn Store>, play_from: Timestamp) -> anyhow::Result<Self> {
        let clock = Arc::new(SimulatedClock::at(plan.from));
        let worker =
            ScoreWorker::new(score::settings(&plan.config)?, store, Arc::clone(&clock) as Arc<dyn Clock>)
                .ranking_every(RANKING);
        let (instants, played) = mpsc::channel(LAG);
        let timetable = plan.config.schedules()?;
        let caught_up_at = play_from + plan.config.prices.interval;
        let follower = Follower { clock, worker, timetable, caught_up_at, end: plan.to, has_deferred: false };
        Ok(Scoring { instants, worker: tokio::spawn(follower.follow(played)) })
    }

    /// Has an instant scored once it is `stored`; waits while scoring lags too far behind.
    pub async fn score(
        &mut self,
        at: Timestamp,
        stored: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let played = Played { at, stored: Box::pin(stored) };
        if self.instants.send(played).await.is_ok() {
            return Ok(());
        }
        (&mut self.worker).await.context("the score worker failed")??;
        bail!("the score worker has ended")
    }

    /// Resolves when everything that was handed in is scored.
    pub async fn finish(self) -> anyhow::Result<ScoreWorker> {
        drop(self.instants);
        self.worker.await.context("the score worker failed")?
    }
}

/// Scores what is handed in, in order.
struct Follower {
    clock: Arc<SimulatedClock>,
    worker: ScoreWorker,
    timetable: Schedules,
    /// Until then rounds may wait that an earlier run has put off.
    caught_up_at: Timestamp,
    end: Timestamp,
    /// Rounds wait for their prices: they are looked at again at the next instant.
    has_deferred: bool,
}

impl Follower {
    async fn follow(mut self, mut played: mpsc::Receiver<Played>) -> anyhow::Result<ScoreWorker> {
        while let Some(Played { at, stored }) = played.recv().await {
            stored.await;
            if self.is_due(at) {
                self.clock.set(at);
                let progress =
                    self.worker.run_once().await.with_context(|| format!("cannot score at {at}"))?;
                self.has_deferred = progress.waiting > 0;
            }
        }
        Ok(self.worker)
    }

    /// False when there can be nothing to score nor to rank.
    fn is_due(&self, at: Timestamp) -> bool {
        self.has_deferred
            || at <= self.caught_up_at
            || at == self.end
            || at.floor_to(RANKING) == at
            || self.timetable.resolves_any(at)
    }
}
