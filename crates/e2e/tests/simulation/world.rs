//! The whole system over simulated time: orchestrator, models, prices, a database, and workers that can be killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{
    Asset, Clock, CrunchId, DeploymentId, LedgerEntry, Markets, Method, ModelId, Price, PricePoint,
    RoundState, Schedule, Schedules, SimulatedClock, Span, Stopwatch, Target, Timestamp, TimestampExt,
    Weights,
};
use predict_worker::{PredictSettings, Status};
use score_worker::{ScoreSettings, ScoreWorker};
use scoring::{Limits, SettlementSettings};
use storage::{Action, Order, ReportStore};
use testkit::{FakeOrchestrator, stopped};

use crate::database::Database;
use crate::facts::{Facts, Life};
use crate::line::{Line, Mode};
use crate::models::{Deployment, Diary};
use crate::operation::{Decree, Feed, MODELS, Manner, Operation, PREDICTORS, SCORERS, TIMETABLES};
use crate::predictor::{Parts, Predictor, Step};
use crate::prices::Prices;
use crate::process::{PATIENCE, Process};
use crate::report::{Page, pages};

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

/// So often time stops while a worker stands by: who leads renews the lead every second.
const LEASE_STOP: Span = Span::seconds(1);
/// A worker that stands by leads so soon after the leader has died, and after it was told to stop.
const TAKEOVER: Span = Span::seconds(10);
const HANDOVER: Span = Span::seconds(3);
/// When no more than this is left of either, the workers get real time: a busy disk holds up a journal that nobody sees at work.
const LAST_CALL: Span = Span::seconds(2);

/// Real time in which nothing has happened, after which nothing will although something is left to do.
const STANDSTILL: Duration = Duration::from_millis(15);
/// The same while something is in memory that journal or database can take: syncing takes its time, and nobody sees it at work.
const JOURNAL_STANDSTILL: Duration = Duration::from_millis(250);

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
        markets: Markets::default(),
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

/// A score worker's process.
struct Scorer {
    process: Process,
    line: Line,
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
    pub store: Arc<dyn ReportStore>,
    mode: Mode,
    /// Of the predict workers' own lines.
    partitions: [Mode; PREDICTORS],
    predictors: [Option<Predictor>; PREDICTORS],
    /// Since when nobody leads although somebody could, and how long that may last.
    unled: Option<(Timestamp, Span)>,
    scorers: [Option<Scorer>; SCORERS],
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
    /// The database, the journal or a score worker is at work: that ends by itself.
    is_writing: bool,
    /// Somebody is about to do something: that may take so long.
    standstill: Option<Duration>,
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
        database.set_clock(clock.now());
        let mut world = World {
            prices: Arc::new(Prices::new(Arc::clone(&clock))),
            clock,
            diary: Diary::default(),
            deployments: Vec::new(),
            facts: Facts::default(),
            faults: Arc::default(),
            store,
            mode: Mode::Up,
            partitions: [Mode::Up; PREDICTORS],
            predictors: [None, None],
            unled: None,
            scorers: [None, None],
            orchestrator,
            database,
            outside,
        };
        (0..MODELS).for_each(|model| world.deploy(model));
        world.start_predictor(0, 0);
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
            Operation::Partition { predictor, mode } => self.partition(predictor, mode),
            Operation::Disk { is_full } => self.set_full(is_full),
            Operation::StartPredict { predictor, timetable } => self.start_predictor(predictor, timetable),
            Operation::StopPredict { predictor } => self.stop_predictor(predictor),
            Operation::KillPredict { predictor } => self.end_predictor(self.number_of(predictor), true),
            Operation::KillPredictAt { predictor, accesses, side } => {
                let predictor = &self.predictors[self.number_of(predictor)];
                predictor.iter().for_each(|it| it.line.light_fuse(accesses, side));
            }
            Operation::Correct { asset, minutes } => self.correct(asset, minutes),
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
        (0..PREDICTORS).for_each(|number| self.partition(number, Mode::Up));
        self.set_full(false);
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
        (0..self.database.predictors()).for_each(|number| self.start_predictor(number, 0));
        self.start_scorer(0);
        self.pass(SETTLE_TIMEOUT + INTERVAL);
        self.order(Decree::Pause);
        self.pass(LONGEST_HORIZON + INTERVAL.times(2));
        (0..self.database.predictors()).for_each(|number| self.stop_predictor(number));
    }

    fn pass(&mut self, span: Span) {
        (0..span.divided_by(INTERVAL)).for_each(|_| self.pass_a_minute());
    }

    /// What a worker has died of, without being killed.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// True when everything that the predict workers want to store is stored, also those that do not run.
    pub fn is_caught_up(&self) -> bool {
        let is_stored = |number: usize| match &self.predictors[number] {
            Some(Predictor { line, status: Some(status), .. }) => {
                line.is_up() && status.unstored_writes() == 0
            }
            _ => self.is_journal_empty(number),
        };
        self.mode == Mode::Up && self.facts.is_predicting() && (0..self.database.predictors()).all(is_stored)
    }

    fn is_journal_empty(&self, predictor: usize) -> bool {
        let database = Arc::clone(&self.database);
        self.outside.run(async move { database.journal_depth(predictor).await }) == 0
    }

    /// How the predict workers that lead are doing.
    pub fn leaders(&self) -> impl Iterator<Item = &Status> {
        self.predictors.iter().flatten().filter_map(|it| it.status.as_deref())
    }

    /// What is priced.
    pub fn assets(&self) -> Vec<Asset> {
        ASSETS.map(|name| Asset::new(name).unwrap()).to_vec()
    }

    /// What the report worker shows.
    pub fn pages(&self) -> Vec<Page> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let models = NAMES.map(|name| ModelId::new(name).unwrap());
        self.read(move |store| pages(store, clock, models.to_vec()))
    }

    /// True when the score workers have nothing left to do in this minute.
    pub fn is_ranked(&self) -> bool {
        let is_idle = |scorer: &Scorer| !scorer.is_running.load(Ordering::SeqCst);
        self.mode == Mode::Up && self.scorers.iter().flatten().all(is_idle)
    }

    /// Reads the database.
    pub fn read<T, F>(&self, what: impl FnOnce(Arc<dyn ReportStore>) -> F) -> T
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
        self.score();
    }

    fn pass_until(&mut self, instant: Timestamp) {
        while self.now() < instant {
            let stop = self.now() + LEASE_STOP;
            let next = if self.has_standby() { instant.min(stop) } else { instant };
            let left = next.since(self.now());
            self.clock.set(next);
            self.database.set_clock(next);
            self.processes().for_each(|process| process.advance(left));
            self.settle();
            self.watch_lead();
        }
    }

    fn has_standby(&self) -> bool {
        self.predictors.iter().flatten().any(|it| !it.leads)
    }

    /// Has a worker that stands by lead when nobody else does.
    fn watch_lead(&mut self) {
        let now = self.now();
        let in_reach = || self.predictors.iter().flatten().filter(|it| it.line.reaches());
        if in_reach().any(|it| it.leads) || in_reach().all(Predictor::is_stopping) {
            self.unled = None;
            return;
        }
        let (since, patience) = *self.unled.get_or_insert((now, TAKEOVER));
        if now > since + patience {
            let fault = format!("nobody leads since {since}, although somebody stands by");
            self.faults.lock().unwrap().push(fault);
        }
    }

    /// True when somebody must lead soon.
    fn is_lead_overdue(&self) -> bool {
        self.unled.is_some_and(|(since, patience)| self.now() + LAST_CALL > since + patience)
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let predictors = self.predictors.iter().flatten().map(|it| &it.process);
        let scorers = self.scorers.iter().flatten().map(|scorer| &scorer.process);
        std::iter::once(&self.outside).chain(predictors).chain(scorers)
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        let predictors = self.predictors.iter().flatten().map(|it| &it.line);
        predictors.chain(self.scorers.iter().flatten().map(|scorer| &scorer.line))
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
            self.observe();
            let activity = self.activity();
            if last.as_ref() == Some(&activity) {
                quiet_rounds += 1;
            } else {
                (quiet_rounds, quiet_since) = (0, Stopwatch::start());
            }
            let has_settled = !activity.is_writing
                && quiet_rounds >= ROUNDS
                && activity.standstill.is_none_or(|patience| quiet_since.elapsed() > patience);
            if has_settled {
                return;
            }
            if activity.is_writing || activity.standstill.is_some() {
                std::thread::sleep(Duration::from_micros(100));
            }
            last = Some(activity);
            assert!(whole.elapsed() < PATIENCE, "the world never comes to rest");
        }
    }

    fn activity(&self) -> Activity {
        let predictors = || self.predictors.iter().flatten();
        let is_in_memory = |status: &Status| status.writes_in_memory() > 0;
        // What cannot be journaled is tried again in a while.
        let is_journaling = |status: &Status| is_in_memory(status) && status.journal_fault().is_none();
        let is_busy = |it: &Predictor| it.line.is_up() && (it.unstored() > 0 || self.is_starting(it));
        // Nothing but a database that hangs keeps a score worker from ending its turn: its scores are stored or they are not.
        let is_scoring = self.mode != Mode::Hung
            && self.scorers.iter().flatten().any(|scorer| scorer.is_running.load(Ordering::SeqCst));
        let has_room = self.facts.full_since().is_none();
        let has_place = |it: &Predictor| has_room || it.line.is_up();
        let is_held = |it: &Predictor| has_place(it) && it.status.as_deref().is_some_and(is_in_memory);
        let standstill = if predictors().any(is_held) || self.is_lead_overdue() {
            Some(JOURNAL_STANDSTILL)
        } else {
            predictors().any(is_busy).then_some(STANDSTILL)
        };
        Activity {
            accesses: self.lines().map(Line::count).sum(),
            asked: self.diary.len(),
            unstored: predictors().map(Predictor::unstored).sum(),
            is_writing: self.lines().any(Line::is_active) || self.leaders().any(is_journaling) || is_scoring,
            standstill,
        }
    }

    /// True for a worker that will ask soon: one that leads or can.
    fn is_starting(&self, predictor: &Predictor) -> bool {
        let others_lead = self.predictors.iter().flatten().any(|it| it.leads && it.line.reaches());
        predictor.status.is_none() && (predictor.leads || !others_lead) && !predictor.is_stopping()
    }

    /// Kills who is at a fatal access.
    fn bury(&mut self) {
        for number in 0..PREDICTORS {
            if self.predictors[number].as_ref().is_some_and(|it| it.line.has_blown()) {
                self.end_predictor(number, true);
            }
        }
        for number in 0..SCORERS {
            if self.scorers[number].as_ref().is_some_and(|scorer| scorer.line.has_blown()) {
                self.kill_scorer(number);
            }
        }
    }

    /// Takes note of what the predict workers have begun to do.
    fn observe(&mut self) {
        for number in 0..PREDICTORS {
            let steps = self.predictors[number].as_ref().map(Predictor::steps).unwrap_or_default();
            for (at, step) in steps {
                self.note_step(number, at, step);
            }
        }
    }

    fn note_step(&mut self, number: usize, at: Timestamp, step: Step) {
        let stopping: BTreeSet<usize> =
            self.predictors.iter().flatten().filter(|it| it.is_stopping()).map(|it| it.life).collect();
        let Some(predictor) = &mut self.predictors[number] else { return };
        match step {
            Step::Leads => {
                predictor.leads = !predictor.is_stopping();
                let has_rival = self.facts.note_leads(predictor.life, at, |life| stopping.contains(&life));
                if has_rival {
                    self.deployments.iter_mut().for_each(Deployment::shared);
                }
                if !stopping.is_empty() {
                    self.deployments.iter_mut().for_each(Deployment::abandoned);
                }
            }
            Step::Asks(status) => {
                predictor.status = Some(status);
                self.facts.lives[predictor.life].asks_from = Some(at);
            }
            Step::StandsBy => {
                (predictor.leads, predictor.status) = (false, None);
                self.facts.lives[predictor.life].ended = Some(at);
                predictor.life = self.facts.lives.len();
                self.facts.lives.push(Life::new(number, predictor.timetable, at));
                self.deployments.iter_mut().for_each(Deployment::abandoned);
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
        let mut deployment = self.outside.run(Deployment::start(name, id, Manner::Good, clock, diary));
        if self.facts.had_rivals(now, now) {
            deployment.shared();
        }
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
        for asset in self.assets() {
            if !matches!(self.prices.manner(&asset), Feed::Prompt | Feed::Slow) {
                self.facts.unpriced.insert((asset, slot));
            }
        }
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
        self.switch_lines();
    }

    fn partition(&mut self, predictor: usize, mode: Mode) {
        self.partitions[self.number_of(predictor)] = mode;
        self.switch_lines();
    }

    fn switch_lines(&mut self) {
        for (number, predictor) in self.predictors.iter().enumerate() {
            predictor.iter().for_each(|it| it.line.switch(self.mode_of(number)));
        }
        self.scorers.iter().flatten().for_each(|scorer| scorer.line.switch(self.mode));
        let minute = self.now().floor_to(INTERVAL);
        self.note_database(minute);
    }

    /// How the database is doing as a predict worker sees it.
    fn mode_of(&self, predictor: usize) -> Mode {
        if self.mode == Mode::Up { self.partitions[predictor] } else { self.mode }
    }

    fn note_database(&mut self, slot: Timestamp) {
        if (0..self.database.predictors()).any(|number| self.mode_of(number) != Mode::Up) {
            self.facts.cut.insert(slot);
        }
    }

    fn set_full(&mut self, is_full: bool) {
        if self.facts.full_since().is_some() != is_full {
            let (database, now) = (Arc::clone(&self.database), self.now());
            self.outside.run(async move { database.set_full(is_full).await });
            self.facts.note_full(is_full, now);
        }
    }

    /// The number of a predict worker, of as many as there are.
    fn number_of(&self, predictor: usize) -> usize {
        predictor % self.database.predictors()
    }

    /// Only while the database is there, which is when a worker starts, and its journal can be made. All go by one timetable.
    fn start_predictor(&mut self, predictor: usize, timetable: usize) {
        let number = self.number_of(predictor);
        let has_room = self.facts.full_since().is_none() || self.database.journal(number).exists();
        if self.predictors[number].is_some() || self.mode_of(number) != Mode::Up || !has_room {
            return;
        }
        let timetable = self.predictors.iter().flatten().next().map_or(timetable, |other| other.timetable);
        let life = self.facts.lives.len();
        self.facts.lives.push(Life::new(number, timetable, self.now()));
        self.predictors[number] = Some(Predictor::start(
            timetable,
            life,
            Parts {
                number,
                settings: predict_settings(timetable),
                database: Arc::clone(&self.database),
                line: Line::new(Mode::Up),
                clock: Arc::clone(&self.clock),
                prices: Arc::clone(&self.prices),
                orchestrator: self.orchestrator.url(),
                faults: Arc::clone(&self.faults),
            },
        ));
        self.await_start(number);
    }

    /// Lets simulated time go by if the start needs some.
    fn await_start(&mut self, number: usize) {
        self.settle();
        let give_up_at = self.now() + Span::minutes(3);
        while self.predictors[number].as_ref().is_some_and(|it| self.is_starting(it))
            && self.faults().is_empty()
            && self.now() < give_up_at
        {
            self.pass_until(self.now() + Span::seconds(5));
        }
        self.await_setups();
    }

    /// Waits until the workers that lead have set up every sound model that runs.
    fn await_setups(&mut self) {
        let is_waited_for =
            |deployment: &&Deployment| deployment.until.is_none() && deployment.unsound_since.is_none();
        let expected = self.deployments.iter().filter(is_waited_for).count();
        let watch = Stopwatch::start();
        self.await_roster();
        while expected > 0
            && watch.elapsed() < PATIENCE / 10
            && self.leaders().any(|status| !status.is_started())
        {
            self.settle();
            if self.deployments.iter().any(|deployment| deployment.until.is_none() && deployment.was_orphaned)
            {
                return;
            }
        }
        self.settle();
    }

    /// Waits until the workers that lead have heard of what the orchestrator has announced.
    fn await_roster(&mut self) {
        let running = self.deployments.iter().filter(|deployment| deployment.until.is_none()).count();
        let watch = Stopwatch::start();
        self.settle();
        while self.leaders().any(|status| status.running_models() != running) {
            self.settle();
            assert!(watch.elapsed() < PATIENCE, "the worker does not hear what is announced");
        }
    }

    /// Tells a predict worker to stop, and lets the time go by that it needs.
    fn stop_predictor(&mut self, predictor: usize) {
        let (number, now) = (self.number_of(predictor), self.now());
        let Some(predictor) = &mut self.predictors[number] else { return };
        if predictor.leads && predictor.line.is_up() {
            self.unled = Some((now, HANDOVER));
        }
        predictor.stop();
        self.settle();
        let give_up_at = now + Span::minutes(2);
        while self.predictors[number].as_ref().is_some_and(|it| !it.has_ended()) {
            if self.now() >= give_up_at {
                let fault = "a predict worker does not stop within two minutes";
                self.faults.lock().unwrap().push(fault.into());
                break;
            }
            self.pass_until(self.now() + Span::seconds(1));
        }
        self.end_predictor(number, false);
    }

    fn end_predictor(&mut self, number: usize, was_killed: bool) {
        self.observe();
        let Some(predictor) = self.predictors[number].take() else { return };
        let now = self.now();
        let life = &mut self.facts.lives[predictor.life];
        (life.ended, life.was_killed) = (Some(now), was_killed);
        if life.leads_from.is_some() {
            self.deployments.iter_mut().for_each(Deployment::abandoned);
        }
    }

    /// Has the predict workers stop, stores a price of the past anew as nobody else but them may, and starts them again. A price
    /// is newest that was the newest before.
    fn correct(&mut self, asset: usize, minutes: u32) {
        if self.mode != Mode::Up {
            return;
        }
        let running = self.predictors.iter().enumerate();
        let running: Vec<(usize, usize)> =
            running.filter_map(|(number, it)| Some((number, it.as_ref()?.timetable))).collect();
        running.iter().for_each(|(number, _)| self.stop_predictor(*number));
        if (0..self.database.predictors()).all(|number| self.is_journal_empty(number)) {
            self.store_anew(Asset::new(ASSETS[asset]).unwrap(), minutes);
        }
        running.iter().for_each(|(number, timetable)| self.start_predictor(*number, *timetable));
    }

    fn store_anew(&mut self, asset: Asset, minutes: u32) {
        let now = self.now();
        let at = now.floor_to(INTERVAL) - INTERVAL.times(minutes);
        let price = Price::new(120.0 + self.facts.corrections.len() as f64).unwrap();
        let position = self.read(move |store| async move {
            let newest = store.newest_close_at(&asset, Timestamp::MAX_UTC).await.unwrap();
            newest.filter(|newest| at <= *newest)?;
            let position = store.ledger_end().await.unwrap().next();
            let point = PricePoint { at, price };
            let entry = LedgerEntry { position, asset, point, source: "correction".to_owned() };
            store.append_prices(&[entry], now).await.unwrap();
            Some(position)
        });
        self.facts.corrections.extend(position.map(|position| (position, now)));
    }

    fn start_scorer(&mut self, number: usize) {
        if self.scorers[number].is_some() {
            return;
        }
        let (process, line) = (Process::start(), Line::new(self.mode));
        let (database, own_line) = (Arc::clone(&self.database), line.clone());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let worker = process.run(async move {
            ScoreWorker::new(score_settings(), own_line.to(database.open().await), clock)
        });
        let worker = Arc::new(tokio::sync::Mutex::new(worker));
        let is_running = Arc::new(AtomicBool::new(false));
        self.scorers[number] = Some(Scorer { process, line, worker, is_running });
    }

    fn kill_scorer(&mut self, number: usize) {
        self.scorers[number] = None;
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

    /// The id of a round, counted from the newest on record that was not missed.
    fn recent_round(&self, number: usize) -> Option<domain::RoundId> {
        let (from, to) = (start(), self.now());
        let rounds = self
            .read(move |store| async move { store.export_rounds(from, to, None, usize::MAX).await.unwrap() });
        let mut asked = rounds.iter().rev().filter(|round| round.state != RoundState::Missed);
        asked.nth(number).map(|round| round.round_id)
    }
}
