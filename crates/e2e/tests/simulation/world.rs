//! The whole system over simulated time: orchestrator, models, prices, a database, and workers that can be killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use domain::{
    Asset, Clock, CrunchId, DeploymentId, Method, ModelId, Schedule, Schedules, SimulatedClock, Span,
    Stopwatch, Target, Timestamp, TimestampExt, Weights,
};
use journal::{Journal, JournalError, Owner};
use model_client::{Backoff, Cluster, ClusterConfig};
use predict_worker::{PredictSettings, PredictWorker, Status};
use score_worker::{ScoreSettings, ScoreWorker};
use scoring::{Limits, SettlementSettings};
use storage::{Action, Order, Store};
use testkit::{FakeOrchestrator, stopped};
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::facts::{Facts, Life};
use crate::models::{Deployment, Diary};
use crate::operation::{Decree, Feed, MODELS, Manner, Operation, SCORERS, TIMETABLES};
use crate::prices::Prices;
use crate::process::{PATIENCE, Process};
use crate::switched_store::{Line, Mode, SwitchedStore};

/// The price interval.
pub const INTERVAL: Span = Span::minutes(1);
/// From a slot to the deadline of its rounds: longer than the price interval, so that the next tick comes while questions
/// are under way, and shorter than the pause before the same question comes again.
pub const CALL_TIMEOUT: Span = Span::seconds(75);
/// How far back a new model is told prices.
pub const HISTORY: Span = Span::minutes(10);
/// Of all timetables.
const LONGEST_HORIZON: Span = Span::minutes(6);
/// How long scoring waits for prices.
const SETTLE_TIMEOUT: Span = Span::minutes(10);

/// The instants of a minute, in milliseconds, at which time stops for everything to come to rest: closer together where
/// something happens. Models answer, prices come and deadlines pass in between.
const STOPS: [u32; 16] = [
    25, 50, 75, 100, 125, 1_000, 3_200, 6_000, 9_000, 12_000, 14_900, 15_500, 25_000, 40_000, 50_000, 59_000,
];
/// So far into a minute operations find the world: with the answers that came at once in the journal, and the others not.
const OPERATIONS_AT: u32 = 125;

/// Real time in which nothing has happened, after which nothing will although something is left to do.
const STANDSTILL: Duration = Duration::from_millis(15);

const ASSETS: [&str; crate::operation::ASSETS] = ["BTC", "ETH"];
const NAMES: [&str; MODELS] = ["ant", "bee", "cat"];

/// A midnight.
fn start() -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200).unwrap()
}

pub fn crunch() -> CrunchId {
    CrunchId::new("condor").unwrap()
}

/// The first instant at or after this one at which time stops.
pub fn next_stop(instant: Timestamp) -> Timestamp {
    let minute = instant.floor_to(INTERVAL);
    let stops = STOPS.map(|stop| minute + Duration::from_millis(stop.into()));
    std::iter::once(minute).chain(stops).find(|stop| *stop >= instant).unwrap_or(minute + INTERVAL)
}

/// The slot of a question that comes at an instant. Whatever the timetable, nobody asks it again before its deadline.
pub fn slot_of(asset: &Asset, horizon: Span, step: Span, at: Timestamp) -> Timestamp {
    let is_asked = |slot: &Timestamp| {
        let mut questions = (0..TIMETABLES).flat_map(|it| timetable(it).questions_at(&crunch(), *slot));
        questions.any(|it| it.asset == *asset && it.horizon == horizon && it.steps == [step])
    };
    let minute = at.floor_to(INTERVAL);
    std::iter::successors(Some(minute), |slot| Some(*slot - INTERVAL)).find(is_asked).unwrap_or(minute)
}

/// What the workers may be asked to ask.
pub fn timetable(number: usize) -> Schedules {
    let schedule = |asset, [horizon, step, every, phase]: [u32; 4]| Schedule {
        assets: vec![Asset::new(asset).unwrap()],
        horizon: INTERVAL.times(horizon),
        steps: vec![INTERVAL.times(step)],
        every: INTERVAL.times(every),
        phase: INTERVAL.times(phase),
        method: Method::Predict,
        target: Target::LogReturn,
    };
    let schedules = match number % TIMETABLES {
        0 => vec![schedule("BTC", [4, 1, 2, 0]), schedule("ETH", [4, 1, 2, 0])],
        1 => vec![schedule("BTC", [3, 1, 3, 0]), schedule("ETH", [4, 2, 3, 1])],
        _ => {
            vec![schedule("BTC", [2, 1, 2, 1]), schedule("ETH", [4, 1, 2, 0]), schedule("BTC", [6, 2, 3, 0])]
        }
    };
    Schedules::new(schedules, INTERVAL).unwrap()
}

pub fn score_settings() -> ScoreSettings {
    let mut weights = Weights::default();
    weights.assets.insert(Asset::new("ETH").unwrap(), 0.7);
    weights.horizons.insert(INTERVAL.times(4), 1.3);
    ScoreSettings {
        scoring: scoring::ScoreSettings::with_rule("crps").unwrap(),
        settlement: SettlementSettings {
            settle_timeout: SETTLE_TIMEOUT,
            ..SettlementSettings::new(INTERVAL)
        },
        weights,
        retry_after: INTERVAL,
    }
}

fn predict_settings(number: usize) -> PredictSettings {
    PredictSettings {
        crunch_id: crunch(),
        schedules: timetable(number),
        only_assets: None,
        base_class: "crunch_synth.tracker.TrackerBase".into(),
        call_timeout: CALL_TIMEOUT,
        setup_timeout: Span::seconds(30),
        open_grace: PredictSettings::OPEN_GRACE,
        join_grace: PredictSettings::JOIN_GRACE,
        history: HISTORY,
        leave_after: Span::days(1),
        limits: Limits::default(),
    }
}

/// The predict worker's process.
struct Predict {
    process: Process,
    line: Arc<Line>,
    /// There once it has started.
    status: Arc<OnceLock<Status>>,
    shutdown: CancellationToken,
    has_ended: Arc<AtomicBool>,
}

/// A score worker's process.
struct Scorer {
    process: Process,
    line: Arc<Line>,
    worker: Arc<tokio::sync::Mutex<ScoreWorker>>,
    is_running: Arc<AtomicBool>,
}

/// Everything.
pub struct World {
    pub clock: Arc<SimulatedClock>,
    pub prices: Arc<Prices>,
    pub diary: Diary,
    pub deployments: Vec<Deployment>,
    pub facts: Facts,
    /// What a worker has died of by itself.
    faults: Arc<Mutex<Vec<String>>>,
    /// The database, past the line of every worker.
    pub store: Arc<dyn Store>,
    mode: Mode,
    predict: Option<Predict>,
    scorers: [Option<Scorer>; SCORERS],
    /// The lines of score workers that died since the last minute.
    severed: Vec<Arc<Line>>,
    orchestrator: Arc<FakeOrchestrator>,
    database: Arc<Database>,
    /// Where orchestrator and models run.
    outside: Process,
}

/// What changes while something happens.
#[derive(PartialEq)]
struct Activity {
    accesses: usize,
    asked: usize,
    unstored: usize,
    /// The database or the journal is at work: that ends by itself.
    is_writing: bool,
    /// Somebody is about to do something.
    is_busy: bool,
}

impl World {
    /// Models, a predict worker and a score worker, at a minute's beginning.
    pub fn new(database: Database) -> Self {
        let outside = Process::start();
        let database = Arc::new(database);
        let store = {
            let database = Arc::clone(&database);
            outside.run(async move {
                let store = database.open().await;
                store.migrate().await.unwrap();
                store
            })
        };
        let orchestrator = Arc::new(outside.run(FakeOrchestrator::start()));
        let clock = Arc::new(SimulatedClock::at(start() + Duration::from_millis(OPERATIONS_AT.into())));
        let mut world = World {
            prices: Arc::new(Prices::new(Arc::clone(&clock))),
            clock,
            diary: Diary::default(),
            deployments: Vec::new(),
            facts: Facts::default(),
            faults: Arc::default(),
            store,
            mode: Mode::Up,
            predict: None,
            scorers: [None, None],
            severed: Vec::new(),
            orchestrator,
            database,
            outside,
        };
        (0..MODELS).for_each(|model| world.deploy(model));
        world.start_predict(0);
        world.start_scorer(0);
        world
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does what an operation says, and waits until everything has come to rest.
    pub fn play(&mut self, operation: Operation) {
        match operation {
            Operation::Pass { minutes } => self.pass(INTERVAL.times(minutes)),
            Operation::Deploy { model } => self.deploy(model),
            Operation::Stop { model } => self.stop(model),
            Operation::Crash { model } => self.crash(model),
            Operation::Behave { model, manner } => {
                self.running(model).into_iter().for_each(|deployment| deployment.behave(manner));
            }
            Operation::Release { model } => {
                self.running(model).into_iter().for_each(|deployment| deployment.release());
            }
            Operation::Prices { asset, manner } => self.set_prices(asset, manner),
            Operation::Database { mode } => self.set_mode(mode),
            Operation::StartPredict { timetable } => self.start_predict(timetable),
            Operation::StopPredict => self.stop_predict(),
            Operation::KillPredict => self.end_predict(true),
            Operation::KillPredictAt { accesses, side } => {
                self.predict.iter().for_each(|predict| predict.line.light_fuse(accesses, side));
            }
            Operation::StartScorer { scorer } => self.start_scorer(scorer),
            Operation::KillScorer { scorer } => self.kill_scorer(scorer),
            Operation::KillScorerAt { scorer, accesses, side } => {
                self.scorers[scorer].iter().for_each(|scorer| scorer.line.light_fuse(accesses, side));
            }
            Operation::Order { order } => self.order(order),
        }
        self.settle();
    }

    /// Lets everything end well: whatever is broken is mended, all prices come, and every round resolves.
    pub fn finish(&mut self) {
        self.set_mode(Mode::Up);
        self.order(Decree::Resume);
        for asset in 0..ASSETS.len() {
            self.set_prices(asset, Feed::Prompt);
        }
        for deployment in &mut self.deployments {
            deployment.release();
        }
        self.lines().for_each(|line| line.put_fuse_out());
        self.settle();
        // Who has lived through all of it goes on.
        self.start_predict(0);
        self.start_scorer(0);
        self.pass(SETTLE_TIMEOUT + INTERVAL);
        self.order(Decree::Pause);
        self.pass(LONGEST_HORIZON + INTERVAL.times(2));
        self.stop_predict();
    }

    fn pass(&mut self, span: Span) {
        (0..span.divided_by(INTERVAL)).for_each(|_| self.pass_a_minute());
    }

    /// What a worker has died of, without being killed.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// True when everything that the predict worker wants to store is stored.
    pub fn is_caught_up(&self) -> bool {
        let is_stored = |predict: &Predict| predict.status.get().is_some_and(|it| it.unstored_writes() == 0);
        self.mode == Mode::Up && self.predict.as_ref().is_none_or(is_stored) && self.facts.is_predicting()
    }

    /// Reads the database.
    pub fn read<T, F>(&self, what: impl FnOnce(Arc<dyn Store>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.outside.run(what(Arc::clone(&self.store)))
    }

    fn pass_a_minute(&mut self) {
        let minute = self.now().floor_to(INTERVAL);
        let at = |minute: Timestamp, stop: u32| minute + Duration::from_millis(stop.into());
        for stop in STOPS {
            self.pass_until(at(minute, stop));
        }
        let next = minute + INTERVAL;
        self.prices.reach(next);
        self.note_prices(next);
        self.note_database(next);
        self.pass_until(next);
        for stop in STOPS.into_iter().take_while(|stop| *stop <= OPERATIONS_AT) {
            self.pass_until(at(next, stop));
        }
        self.expire_severed();
        self.score();
    }

    fn pass_until(&mut self, instant: Timestamp) {
        let left = instant.since(self.now());
        if left.is_zero() {
            return;
        }
        self.clock.set(instant);
        self.processes().for_each(|process| process.advance(left));
        self.settle();
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let predict = self.predict.iter().map(|predict| &predict.process);
        let scorers = self.scorers.iter().flatten().map(|scorer| &scorer.process);
        std::iter::once(&self.outside).chain(predict).chain(scorers)
    }

    fn lines(&self) -> impl Iterator<Item = &Arc<Line>> {
        let predict = self.predict.iter().map(|predict| &predict.line);
        predict.chain(self.scorers.iter().flatten().map(|scorer| &scorer.line))
    }

    /// Lets real time go by until nothing happens any more in this instant of simulated time. Who is at a fatal access is
    /// killed.
    fn settle(&mut self) {
        const ROUNDS: u32 = 3;
        let whole = Stopwatch::start();
        let mut quiet_since = Stopwatch::start();
        let mut quiet_rounds = 0;
        let mut last = None;
        loop {
            self.processes().for_each(Process::turn);
            self.bury();
            let activity = self.activity();
            if last.as_ref() == Some(&activity) {
                quiet_rounds += 1;
            } else {
                (quiet_rounds, quiet_since) = (0, Stopwatch::start());
            }
            let has_settled = !activity.is_writing
                && quiet_rounds >= ROUNDS
                && (!activity.is_busy || quiet_since.elapsed() > STANDSTILL);
            if has_settled {
                return;
            }
            if activity.is_writing || activity.is_busy {
                std::thread::sleep(Duration::from_micros(100));
            }
            last = Some(activity);
            assert!(whole.elapsed() < PATIENCE, "the world never comes to rest");
        }
    }

    fn activity(&self) -> Activity {
        let status = self.predict.as_ref().and_then(|predict| predict.status.get());
        let unstored = status.map_or(0, Status::unstored_writes);
        let is_starting = self.predict.as_ref().is_some_and(|predict| predict.status.get().is_none());
        let is_scoring = self.scorers.iter().flatten().any(|scorer| scorer.is_running.load(Ordering::SeqCst));
        Activity {
            accesses: self.lines().map(|line| line.count()).sum(),
            asked: self.diary.len(),
            unstored,
            is_writing: self.lines().any(|line| line.is_active())
                || status.is_some_and(|status| status.writes_in_memory() > 0),
            is_busy: is_starting || self.mode == Mode::Up && (unstored > 0 || is_scoring),
        }
    }

    /// Kills who is at a fatal access.
    fn bury(&mut self) {
        if self.predict.as_ref().is_some_and(|predict| predict.line.has_blown()) {
            self.end_predict(true);
        }
        for number in 0..SCORERS {
            if self.scorers[number].as_ref().is_some_and(|scorer| scorer.line.has_blown()) {
                self.kill_scorer(number);
            }
        }
    }

    fn running(&mut self, model: usize) -> Option<&mut Deployment> {
        self.deployments
            .iter_mut()
            .find(|deployment| deployment.model.as_str() == NAMES[model] && deployment.until.is_none())
    }

    fn deploy(&mut self, model: usize) {
        let now = self.now();
        let replaced = self.running(model).map(|deployment| {
            deployment.until = Some(now);
            stopped(deployment.model.as_str(), deployment.id.as_str())
        });
        let name = ModelId::new(NAMES[model]).unwrap();
        let id = DeploymentId::new(&format!("{name}-{}", self.deployments.len())).unwrap();
        let (clock, diary) = (Arc::clone(&self.clock), self.diary.clone());
        let deployment = self.outside.run(Deployment::start(name, id, Manner::Good, clock, diary));
        let running = deployment.node.running(deployment.model.as_str(), deployment.id.as_str());
        self.orchestrator.announce(std::iter::once(running).chain(replaced));
        self.deployments.push(deployment);
        self.await_setups();
    }

    fn stop(&mut self, model: usize) {
        let now = self.now();
        let Some(deployment) = self.running(model) else { return };
        deployment.until = Some(now);
        let stopped = stopped(deployment.model.as_str(), deployment.id.as_str());
        self.orchestrator.announce([stopped]);
        self.await_roster();
    }

    fn crash(&mut self, model: usize) {
        let Some(deployment) = self.running(model) else { return };
        deployment.crashed();
        let node = Arc::clone(&deployment.node);
        self.outside.run(async move { node.restart().await });
    }

    fn set_prices(&mut self, asset: usize, manner: Feed) {
        let asset = Asset::new(ASSETS[asset]).unwrap();
        self.prices.behave(&asset, manner);
        let minute = self.now().floor_to(INTERVAL);
        self.note_prices(minute);
    }

    /// Notes which assets have no prompt prices in a slot.
    fn note_prices(&mut self, slot: Timestamp) {
        for asset in ASSETS.map(|name| Asset::new(name).unwrap()) {
            if !matches!(self.prices.manner(&asset), Feed::Prompt | Feed::Slow) {
                self.facts.unpriced.insert((asset, slot));
            }
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.lines().for_each(|line| line.switch(mode));
        let minute = self.now().floor_to(INTERVAL);
        self.note_database(minute);
    }

    fn note_database(&mut self, slot: Timestamp) {
        if self.mode != Mode::Up {
            self.facts.cut.insert(slot);
        }
    }

    /// Only while the database is there, which is when a worker starts.
    fn start_predict(&mut self, timetable: usize) {
        if self.predict.is_some() || self.mode != Mode::Up {
            return;
        }
        let (process, line) = (Process::start(), Line::new(self.mode));
        let shutdown = CancellationToken::new();
        let (status, has_ended) = (Arc::new(OnceLock::new()), Arc::new(AtomicBool::new(false)));
        process.spawn(run_predict(PredictParts {
            settings: predict_settings(timetable),
            database: Arc::clone(&self.database),
            line: Arc::clone(&line),
            clock: Arc::clone(&self.clock),
            prices: Arc::clone(&self.prices),
            cluster: cluster_config(self.orchestrator.url()),
            status: Arc::clone(&status),
            shutdown: shutdown.clone(),
            has_ended: Arc::clone(&has_ended),
            faults: Arc::clone(&self.faults),
        }));
        self.predict = Some(Predict { process, line, status, shutdown, has_ended });
        self.facts.lives.push(Life {
            timetable,
            started_at: self.now(),
            asks_from: None,
            ended: None,
            was_killed: false,
        });
        self.await_start();
    }

    /// Lets simulated time go by if the start needs some.
    fn await_start(&mut self) {
        self.settle();
        while let Some(predict) = &self.predict
            && predict.status.get().is_none()
            && self.faults.lock().unwrap().is_empty()
        {
            self.pass_until(self.now() + Span::seconds(5));
        }
        let now = self.now();
        if self.predict.is_some()
            && let Some(life) = self.facts.lives.last_mut()
        {
            life.asks_from = Some(now);
        }
        self.await_setups();
    }

    /// Waits until the worker has set up every sound model that runs.
    fn await_setups(&mut self) {
        let is_waited_for =
            |deployment: &&Deployment| deployment.until.is_none() && deployment.unsound_since.is_none();
        let expected = self.deployments.iter().filter(is_waited_for).count();
        let watch = Stopwatch::start();
        self.await_roster();
        while expected > 0
            && watch.elapsed() < PATIENCE / 10
            && self
                .predict
                .as_ref()
                .and_then(|predict| predict.status.get())
                .is_some_and(|it| !it.is_started())
        {
            self.settle();
            if self.deployments.iter().any(|deployment| deployment.until.is_none() && deployment.was_orphaned)
            {
                return;
            }
        }
        self.settle();
    }

    /// Waits until the worker has heard of what the orchestrator has announced.
    fn await_roster(&mut self) {
        let running = self.deployments.iter().filter(|deployment| deployment.until.is_none()).count();
        let watch = Stopwatch::start();
        self.settle();
        while let Some(status) = self.predict.as_ref().and_then(|predict| predict.status.get())
            && status.running_models() != running
        {
            self.settle();
            assert!(watch.elapsed() < PATIENCE, "the worker does not hear what is announced");
        }
    }

    /// Tells the predict worker to stop, and lets the time go by that it needs.
    fn stop_predict(&mut self) {
        let Some(predict) = &self.predict else { return };
        predict.shutdown.cancel();
        self.settle();
        let give_up_at = self.now() + Span::minutes(2);
        while let Some(predict) = &self.predict
            && !predict.has_ended.load(Ordering::SeqCst)
            && self.now() < give_up_at
        {
            self.pass_until(self.now() + Span::seconds(1));
        }
        match &self.predict {
            Some(predict) if !predict.has_ended.load(Ordering::SeqCst) => {
                self.faults
                    .lock()
                    .unwrap()
                    .push("the predict worker does not stop within two minutes".into());
            }
            _ => {}
        }
        self.end_predict(false);
    }

    fn end_predict(&mut self, was_killed: bool) {
        if self.predict.take().is_none() {
            return;
        }
        let now = self.now();
        if let Some(life) = self.facts.lives.last_mut() {
            life.ended = Some(now);
            life.was_killed = was_killed;
        }
        self.deployments.iter_mut().for_each(Deployment::abandoned);
    }

    fn start_scorer(&mut self, number: usize) {
        if self.scorers[number].is_some() {
            return;
        }
        let (process, line) = (Process::start(), Line::new(self.mode));
        let (database, own_line) = (Arc::clone(&self.database), Arc::clone(&line));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let worker = process.run(async move {
            let store = SwitchedStore::new(database.open().await, own_line);
            ScoreWorker::new(score_settings(), Arc::new(store), clock)
        });
        let worker = Arc::new(tokio::sync::Mutex::new(worker));
        let is_running = Arc::new(AtomicBool::new(false));
        self.scorers[number] = Some(Scorer { process, line, worker, is_running });
    }

    fn kill_scorer(&mut self, number: usize) {
        if let Some(scorer) = self.scorers[number].take() {
            self.severed.push(scorer.line);
        }
    }

    /// Lets every score worker do what is due.
    fn score(&mut self) {
        for scorer in self.scorers.iter().flatten() {
            if scorer.is_running.swap(true, Ordering::SeqCst) {
                continue;
            }
            let (worker, is_running) = (Arc::clone(&scorer.worker), Arc::clone(&scorer.is_running));
            let faults = Arc::clone(&self.faults);
            scorer.process.spawn(async move {
                let mut worker = worker.lock().await;
                // As its loop does every few seconds; what fails shows in what it does next.
                let _ = worker.renew().await;
                match worker.run_once().await {
                    Err(error) if !error.is_transient() => {
                        faults.lock().unwrap().push(format!("a score worker ended: {error}"));
                    }
                    _ => {}
                }
                is_running.store(false, Ordering::SeqCst);
            });
        }
        self.settle();
    }

    fn expire_severed(&mut self) {
        for line in std::mem::take(&mut self.severed) {
            let store = Arc::clone(&self.store);
            self.outside.run(line.expire(store));
        }
    }

    fn order(&mut self, decree: Decree) {
        let Some(action) = self.action(decree) else { return };
        let order = Order { at: self.now(), by: "an operator".into(), action, reason: "a simulation".into() };
        let store = Arc::clone(&self.store);
        let given = order.clone();
        let answer = self.outside.run(async move { store.carry_out(&given).await }).unwrap();
        if answer.is_ok() {
            self.facts.note_order(order);
        }
    }

    fn action(&self, decree: Decree) -> Option<Action> {
        let model = |model: usize| ModelId::new(NAMES[model]).unwrap();
        Some(match decree {
            Decree::Void { round } => Action::VoidRound(self.recent_round(round)?),
            Decree::Rescore { round } => Action::RescoreRound(self.recent_round(round)?),
            Decree::Exclude { model: number } => Action::ExcludeModel(model(number)),
            Decree::Include { model: number } => Action::IncludeModel(model(number)),
            Decree::Pause => Action::Pause,
            Decree::Resume => Action::Resume,
        })
    }

    /// The id of a round, counted from the newest on record.
    fn recent_round(&self, number: usize) -> Option<domain::RoundId> {
        let store = Arc::clone(&self.store);
        let (from, to) = (start(), self.now());
        let rounds = self.outside.run(async move { store.export_rounds(from, to, None, usize::MAX).await });
        let rounds = rounds.unwrap();
        rounds.iter().rev().nth(number).map(|round| round.round_id)
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

struct PredictParts {
    settings: PredictSettings,
    database: Arc<Database>,
    line: Arc<Line>,
    clock: Arc<SimulatedClock>,
    prices: Arc<Prices>,
    cluster: ClusterConfig,
    status: Arc<OnceLock<Status>>,
    shutdown: CancellationToken,
    has_ended: Arc<AtomicBool>,
    faults: Arc<Mutex<Vec<String>>>,
}

/// What `condor predict` does.
async fn run_predict(parts: PredictParts) {
    let opening = parts.line.begin_work();
    let store = Arc::new(SwitchedStore::new(parts.database.open().await, parts.line));
    let journal = open_journal(&parts.database).await;
    drop(opening);
    let (cluster, events) = Cluster::start(parts.cluster);
    let started =
        PredictWorker::start(parts.settings, store, Some(journal), parts.clock, parts.prices, events).await;
    match started {
        Ok(worker) => {
            let _ = parts.status.set(worker.status());
            predict_worker::run(worker, parts.shutdown).await;
            cluster.shutdown().await;
        }
        Err(error) => parts.faults.lock().unwrap().push(error.to_string()),
    }
    parts.has_ended.store(true, Ordering::SeqCst);
}

async fn open_journal(database: &Database) -> Journal {
    let owner = Owner { crunch_id: crunch(), database: "the simulation's".into() };
    loop {
        match Journal::open(&database.journal(), &owner, journal::DEFAULT_MAX_BYTES).await {
            // The threads of a process that was killed just now let go of it in their own, real time.
            Err(JournalError::Locked(_)) => std::thread::sleep(Duration::from_millis(1)),
            journal => return journal.unwrap(),
        }
    }
}
