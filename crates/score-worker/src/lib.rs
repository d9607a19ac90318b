//! The score worker: scores, windows, snapshots and the leaderboard.
//!
//! [`ScoreWorker::run_once`] does everything that is due; [`run`] does it again and again. Scores are a pure function of
//! what is stored, and every write is idempotent, so the worker may be late, killed, restarted or run many times at once.
//!
//! Many workers over one database share the rounds by claims, a few rounds each, and one of them holds the lease on the
//! ranking: it alone writes leaderboard and snapshots, and follows the changes of scores for that. It also removes what is
//! older than the settings keep.

mod corrections;
mod holdings;
mod in_force;
mod metrics;
mod prices;
mod pruner;
mod ranker;
mod reload;
mod rescoring;
mod scorer;
mod settings;
mod spent;
mod status;
mod what_if;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::ops::{Add, AddAssign};
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Span, Stopwatch, Timestamp, TimestampExt, Weights};
use storage::{Lease, LeaseName, OutdatedRounds, Pruned, Result, Retention, StorageError, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use holdings::Holdings;
pub use holdings::LEASE;
use in_force::InForce;
pub use metrics::Metrics;
use pruner::Pruner;
use ranker::{Ranker, first_in_windows};
pub use reload::Reloadable;
use rescoring::Tally;
use scorer::Scorer;
pub use scorer::VOID;
pub use settings::ScoreSettings;
use spent::Meter;
pub use spent::Spent;
pub use status::Status;
pub use what_if::{WhatIf, WhatIfOutcome};

/// What one run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rounds scored.
    pub scored: u64,
    /// Predictions in them.
    pub predictions: u64,
    /// Rounds voided.
    pub void: u64,
    /// Rounds scored or voided again, because another rule had judged them or a price was corrected.
    pub rescored: u64,
    /// Rounds put off, because their prices are not there yet.
    pub waiting: u64,
    /// The instant of the leaderboard, when a new one was written.
    pub leaderboard: Option<Timestamp>,
}

impl AddAssign for Progress {
    /// Of one after the other: the later leaderboard is the one that counts.
    fn add_assign(&mut self, later: Self) {
        self.scored += later.scored;
        self.predictions += later.predictions;
        self.void += later.void;
        self.rescored += later.rescored;
        self.waiting += later.waiting;
        self.leaderboard = later.leaderboard.or(self.leaderboard);
    }
}

impl Add for Progress {
    type Output = Progress;

    fn add(mut self, later: Self) -> Progress {
        self += later;
        self
    }
}

/// Scores what is due and ranks.
pub struct ScoreWorker {
    in_force: InForce,
    holdings: Arc<Holdings>,
    scorer: Scorer,
    ranker: Ranker,
    /// Unless everything is kept.
    pruner: Option<Arc<Pruner>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Leaderboards are written at multiples of this alone; at any time when there is none.
    ranking_every: Option<Span>,
    /// Its settings were in force when it last looked.
    is_active: bool,
    /// The lease with which the ranker last worked.
    lease: Option<Lease>,
    /// The rounds in the windows that another rule, or a price that was corrected since, has judged; `None` until they are
    /// counted. Once there are none, they are counted again only after a correction, or after somebody else has changed a
    /// round's scores.
    outdated: Option<OutdatedRounds>,
    tally: Tally,
    meter: Arc<Meter>,
    metrics: Metrics,
    weights: Reloadable,
    /// Tells when there are others.
    weights_changed: watch::Receiver<Weights>,
}

impl ScoreWorker {
    /// A worker over `store`; it reads what it needs when it first runs.
    pub fn new(settings: ScoreSettings, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let holdings = Arc::new(Holdings::new(Arc::clone(&store), Arc::clone(&clock)));
        let meter = Arc::new(Meter::default());
        let weights = Reloadable::new(settings.weights.clone());
        ScoreWorker {
            in_force: InForce::new(Arc::clone(&store), settings.clone()),
            ranker: Ranker::new(Arc::clone(&store), settings.weights.clone(), settings.stamp()),
            tally: Tally::new(settings.stamp()),
            scorer: Scorer::new(Arc::clone(&store), Arc::clone(&holdings), settings, Arc::clone(&meter)),
            meter,
            metrics: Metrics::default(),
            holdings,
            pruner: None,
            store,
            clock,
            ranking_every: None,
            is_active: false,
            lease: None,
            outdated: None,
            weights_changed: weights.subscribe(),
            weights,
        }
    }

    /// Limits the threads that score, of which there are as many as cores otherwise, and so the groups of rounds that are worked
    /// on side by side: with one, the worker does one thing after the other. Results do not depend on it. Fails when the system
    /// has no room for the threads.
    pub fn with_threads(mut self, threads: NonZeroUsize) -> std::io::Result<Self> {
        self.scorer.limit_threads(threads)?;
        Ok(self)
    }

    /// Has [`ScoreWorker::run_once`] write leaderboards at multiples of `span` alone, for a clock that leaps: what is scored
    /// in between is in the next one.
    pub fn ranking_every(mut self, span: Span) -> Self {
        self.ranking_every = Some(span);
        self
    }

    /// Where its time went so far.
    pub fn spent(&self) -> Spent {
        self.meter.read()
    }

    /// Has `metrics` count what it does.
    pub fn counted_by(mut self, metrics: Metrics) -> Self {
        self.scorer.count_with(metrics.clone());
        self.metrics = metrics;
        self
    }

    /// Has [`run`] remove what is older than `retention` says, while it is this worker that ranks.
    pub fn pruning(mut self, retention: Retention) -> Self {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        self.pruner = Some(Arc::new(Pruner::new(store, clock, Arc::clone(&self.holdings), retention)));
        self
    }

    /// Takes other weights while the worker runs.
    pub fn reloadable(&self) -> Reloadable {
        self.weights.clone()
    }

    /// What the worker says of itself, also while it runs.
    pub fn status(&self) -> Status {
        let meter = Arc::clone(&self.meter);
        Status { others: self.in_force.watch_others(), ranking: self.holdings.watch_ranking(), meter }
    }

    /// Scores every round that is due and that no other worker has claimed. Then, while it is this worker that ranks, writes
    /// the snapshot of each full hour that has none or lacks a late score, and, when scores have changed, the leaderboard as
    /// of the full minute.
    ///
    /// Rounds of the last 168 hours that another rule has judged, or a price that was corrected since, are scored again, some at
    /// a time: between them new rounds have their turn and the leaderboard says how many are left.
    ///
    /// Does nothing while a worker that was started later has other settings: those are in force.
    pub async fn run_once(&mut self) -> Result<Progress> {
        let mut progress = Progress::default();
        loop {
            self.adopt_weights()?;
            if !self.is_in_force().await? {
                break;
            }
            let now = self.clock.now();
            self.scorer.score_due(now, &mut progress).await?;
            let is_last = match self.rescore_and_rank(now, &mut progress).await {
                // Another worker has taken it since; the next turn finds out whether it still has it.
                Err(StorageError::LeaseLost(_)) => {
                    self.holdings.lose_ranking();
                    false
                }
                rescored => rescored? == 0,
            };
            if is_last {
                break;
            }
        }
        Ok(progress)
    }

    /// Writes the leaderboard as of `as_of`, whether or not scores have changed. Fails with [`StorageError::LeaseLost`]
    /// while another worker ranks.
    pub async fn rank(&mut self, as_of: Timestamp) -> Result<()> {
        let lease = self.ranking_lease(as_of).await?.ok_or(StorageError::LeaseLost(LeaseName::Ranking))?;
        let since = self.ranker.first_in_own_windows(as_of, &lease).await?;
        let outdated = self.outdated(since, as_of).await?;
        self.ranker.rank(as_of, outdated, &lease).await
    }

    /// Makes what this worker holds last [`LEASE`] longer. [`run`] sees to it by itself.
    pub async fn renew(&self) -> Result<()> {
        self.holdings.renew().await
    }

    /// Removes what is old, with pauses for others who write, if it is this worker that ranks; returns how much. [`run`] sees
    /// to it by itself.
    pub async fn prune(&self) -> Result<Vec<Pruned>> {
        match &self.pruner {
            Some(pruner) => pruner.prune().await,
            None => Ok(Vec::new()),
        }
    }

    /// Gives back what this worker has claimed, and the ranking, so that others need not wait until that ends by itself. To
    /// be called when it stops.
    pub async fn give_back(&self) -> Result<()> {
        self.holdings.give_back().await
    }

    /// Puts weights in force that were handed in: they go on record, and the leaderboard is made anew from the same scores.
    fn adopt_weights(&mut self) -> Result<()> {
        if self.weights_changed.has_changed().unwrap_or_default() {
            let weights = self.weights_changed.borrow_and_update().clone();
            self.in_force.weigh(&weights, self.clock.now())?;
            self.ranker.weigh(weights);
        }
        Ok(())
    }

    /// False while others are in force; what is known of scores and leaderboards is theirs by the time it is true again.
    async fn is_in_force(&mut self) -> Result<bool> {
        let is_in_force = self.in_force.check(self.clock.now()).await?;
        if self.is_active && !is_in_force {
            self.give_back().await?;
            self.ranker.forget();
            self.outdated = None;
        }
        self.is_active = is_in_force;
        Ok(is_in_force)
    }

    /// Scores some rounds again, if there are any, and ranks when that is this worker's part; returns how many it took.
    async fn rescore_and_rank(&mut self, now: Timestamp, progress: &mut Progress) -> Result<usize> {
        let lease = self.ranking_lease(now).await?;
        let since = match &lease {
            Some(lease) => self.ranker.first_in_own_windows(now, lease).await?,
            None => first_in_windows(now),
        };
        if lease.is_some() && self.scorer.apply_corrections(since).await? > 0 {
            self.outdated = None;
        }
        let rescored = self.rescore_some(since, now, progress).await?;
        if let Some(lease) = lease.filter(|_| self.ranking_every.is_none_or(|span| now.floor_to(span) == now))
        {
            let follow = self.ranker.follow(now, &lease);
            if self.meter.time(|spent| &mut spent.ranking, follow).await? {
                self.outdated = None;
            }
            let outdated = self.outdated(since, now).await?;
            let write = self.ranker.write_due(now, outdated, &lease);
            let written = self.meter.time(|spent| &mut spent.ranking, write).await?;
            progress.leaderboard = written.or(progress.leaderboard);
        }
        Ok(rescored)
    }

    /// The lease on the ranking, if this worker has it or can have it. With a new one the ranker begins anew, from what others
    /// have written meanwhile.
    async fn ranking_lease(&mut self, now: Timestamp) -> Result<Option<Lease>> {
        let lease = self.holdings.ranking(now).await?;
        if self.lease != lease {
            self.ranker.forget();
            self.outdated = None;
            self.lease = lease.clone();
        }
        Ok(lease)
    }

    /// The rounds that resolved after `since` and are left to score again.
    async fn outdated(&mut self, since: Timestamp, now: Timestamp) -> Result<OutdatedRounds> {
        match self.outdated {
            Some(outdated) => Ok(outdated),
            None => Ok(*self.outdated.insert(self.scorer.outdated(since, now).await?)),
        }
    }

    /// Scores some of them again, if there are any; returns how many it took.
    async fn rescore_some(
        &mut self,
        since: Timestamp,
        now: Timestamp,
        progress: &mut Progress,
    ) -> Result<usize> {
        if self.outdated(since, now).await?.all == 0 {
            return Ok(0);
        }
        let before = progress.rescored;
        let taken = self.scorer.rescore_some(since, now, progress).await?;
        self.outdated = None;
        let left = self.outdated(since, now).await?;
        self.tally.add(progress.rescored - before, left.all);
        Ok(taken)
    }
}

/// The pause between two looks for work.
const IDLE: Duration = Duration::from_secs(1);
/// The pause after an error, so that a database that is away is not hammered.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// How long a stop waits for the database to take back what is held.
const FAREWELL: Duration = Duration::from_secs(2);

/// Works until `shutdown`, also in the middle of a backlog: what is not stored by then is done at the next start, or by
/// another worker, for claims and ranking are given back at once. An error of the database that may pass is logged and waited
/// out; any other ends the worker.
pub async fn run(mut worker: ScoreWorker, shutdown: CancellationToken) -> Result<()> {
    let (holdings, pruner) = (Arc::clone(&worker.holdings), worker.pruner.clone());
    let outcome = tokio::select! {
        outcome = work(&mut worker, &shutdown) => outcome,
        never = holdings.keep() => match never {},
        never = keep_pruning(pruner) => match never {},
    };
    match tokio::time::timeout(FAREWELL, worker.give_back()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot give claims and lease back: they end within {LEASE}")
        }
        Err(_) => tracing::warn!("the database does not answer: claims and lease end within {LEASE}"),
    }
    outcome
}

async fn keep_pruning(pruner: Option<Arc<Pruner>>) -> Infallible {
    match pruner {
        Some(pruner) => pruner.keep().await,
        None => std::future::pending().await,
    }
}

async fn work(worker: &mut ScoreWorker, shutdown: &CancellationToken) -> Result<()> {
    let (mut away, metrics): (Option<Stopwatch>, _) = (None, worker.metrics.clone());
    loop {
        let cycle = Stopwatch::start();
        let Some(result) = shutdown.run_until_cancelled(worker.run_once()).await else { return Ok(()) };
        let pause = match result {
            Ok(progress) => {
                metrics.cycle(cycle.elapsed(), &progress);
                if let Some(away) = away.take() {
                    tracing::info!(away_s = away.elapsed().as_secs(), "the database is back");
                }
                log(&progress);
                IDLE
            }
            Err(error) if error.is_transient() => {
                metrics.failed_cycle();
                let away_s = away.get_or_insert_with(Stopwatch::start).elapsed().as_secs();
                tracing::warn!(%error, away_s, "cannot score now, trying again");
                AFTER_ERROR
            }
            Err(error) => return Err(error),
        };
        shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
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
