//! A predict worker's process: it does what `condor predict` does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Clock, SimulatedClock, Timestamp};
use journal::{Journal, JournalError, Owner};
use model_client::{Backoff, Cluster, ClusterConfig};
use predict_worker::{
    Candidate, Leadership, Lobby, Metrics, PredictSettings, PredictWorker, StartError, Status,
};
use storage::Store;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::line::Line;
use crate::prices::Prices;
use crate::process::Process;
use crate::world::crunch;

/// A pause before the next attempt to lead when one failed for a reason that may pass.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A predict worker's process, as its surroundings see it.
pub struct Predictor {
    pub process: Process,
    pub line: Line,
    pub timetable: usize,
    /// The number of its run among the facts.
    pub life: usize,
    /// It has the lead, and was not told to stop.
    pub leads: bool,
    /// Once it leads and has started.
    pub status: Option<Arc<Status>>,
    shutdown: CancellationToken,
    news: Arc<News>,
}

/// What a predict worker begins to do.
pub enum Step {
    /// It has the lead, and starts.
    Leads,
    /// It has started.
    Asks(Arc<Status>),
    /// It has the lead no more.
    StandsBy,
}

#[derive(Default)]
struct News {
    steps: Mutex<Vec<(Timestamp, Step)>>,
    has_ended: AtomicBool,
}

/// What a predict worker is started with.
pub struct Parts {
    /// Which of the workers it is.
    pub number: usize,
    pub settings: PredictSettings,
    pub database: Arc<Database>,
    pub line: Line,
    pub clock: Arc<SimulatedClock>,
    pub prices: Arc<Prices>,
    /// Where the orchestrator is.
    pub orchestrator: String,
    /// What it dies of by itself.
    pub faults: Arc<Mutex<Vec<String>>>,
}

impl Predictor {
    pub fn start(timetable: usize, life: usize, parts: Parts) -> Self {
        let (process, line) = (Process::start(), parts.line.clone());
        let (shutdown, news) = (CancellationToken::new(), Arc::new(News::default()));
        process.spawn(Job { parts, shutdown: shutdown.clone(), news: Arc::clone(&news) }.run());
        Predictor { process, line, timetable, life, leads: false, status: None, shutdown, news }
    }

    /// Tells it to stop.
    pub fn stop(&mut self) {
        self.leads = false;
        self.shutdown.cancel();
    }

    /// True once it has stopped.
    pub fn has_ended(&self) -> bool {
        self.news.has_ended.load(Ordering::SeqCst)
    }

    /// True when it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// What it has begun to do since the last time.
    pub fn steps(&self) -> Vec<(Timestamp, Step)> {
        std::mem::take(&mut self.news.steps.lock().unwrap())
    }

    /// How many writes wait for the database.
    pub fn unstored(&self) -> usize {
        self.status.as_ref().map_or(0, |status| status.unstored_writes())
    }
}

struct Job {
    parts: Parts,
    shutdown: CancellationToken,
    news: Arc<News>,
}

impl Job {
    async fn run(self) {
        let opening = self.parts.line.begin_work();
        let store = self.parts.line.to(self.parts.database.open().await);
        let journal = self.open_journal().await;
        drop(opening);
        while !self.shutdown.is_cancelled() {
            match self.serve_once(&store, &journal).await {
                Err(error) if error.may_pass() => {
                    self.shutdown.run_until_cancelled(tokio::time::sleep(RETRY_PAUSE)).await;
                }
                Err(error) => {
                    self.parts.faults.lock().unwrap().push(error.to_string());
                    break;
                }
                Ok(()) => {}
            }
        }
        self.news.has_ended.store(true, Ordering::SeqCst);
    }

    /// Stands by until it leads, and leads until it is told to stop or another worker leads.
    async fn serve_once(&self, store: &Arc<dyn Store>, journal: &Journal) -> Result<(), StartError> {
        let (cluster, events) = Cluster::start(cluster_config(self.parts.orchestrator.clone()));
        let mut lobby = Lobby::new(events);
        let standing_by = lobby.meanwhile(self.stand_by(store, journal));
        let Some(leadership) = self.shutdown.run_until_cancelled(standing_by).await else { return Ok(()) };
        self.tell(Step::Leads);
        let outcome = self.lead(leadership.clone(), lobby, journal.clone()).await;
        leadership.give_back().await;
        self.tell(Step::StandsBy);
        cluster.shutdown().await;
        outcome
    }

    async fn stand_by(&self, store: &Arc<dyn Store>, journal: &Journal) -> Leadership {
        let (store, clock) = (Arc::clone(store), Arc::clone(&self.parts.clock));
        if self.parts.database.predictors() == 1 {
            return Leadership::sole(store);
        }
        Candidate::new(store, clock, "here").stand_by(journal).await
    }

    async fn lead(&self, leadership: Leadership, lobby: Lobby, journal: Journal) -> Result<(), StartError> {
        let Parts { settings, clock, prices, .. } = &self.parts;
        let (clock, prices) = (Arc::clone(clock), Arc::clone(prices));
        let starting = PredictWorker::lead(
            leadership,
            settings.clone(),
            Some(journal),
            clock,
            prices,
            lobby.leave(),
            Metrics::default(),
        );
        let Some(worker) = self.shutdown.run_until_cancelled(starting).await else { return Ok(()) };
        let worker = worker?;
        self.tell(Step::Asks(Arc::new(worker.status())));
        predict_worker::run(worker, self.shutdown.clone()).await;
        Ok(())
    }

    fn tell(&self, step: Step) {
        self.news.steps.lock().unwrap().push((self.parts.clock.now(), step));
    }

    async fn open_journal(&self) -> Journal {
        let owner = Owner { crunch_id: crunch(), database: "the simulation's".into() };
        let path = self.parts.database.journal(self.parts.number);
        loop {
            match Journal::open(&path, &owner, journal::DEFAULT_MAX_BYTES).await {
                // The threads of a process that was killed just now let go of it in their own, real time.
                Err(JournalError::Locked(_)) => std::thread::sleep(Duration::from_millis(1)),
                journal => return journal.unwrap(),
            }
        }
    }
}

fn cluster_config(url: String) -> ClusterConfig {
    let quick = Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(50) };
    ClusterConfig {
        reconnect: quick,
        ping_every: Duration::from_secs(3600),
        report_failures: false,
        ..ClusterConfig::new(url, crunch().as_str())
    }
}
