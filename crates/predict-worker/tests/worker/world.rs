//! The worker's surroundings: an orchestrator, models, prices, a database and a clock that a test sets.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::{
    Asset, CrunchId, Markets, Method, Prediction, PredictionStatus, Question, Schedule, Schedules,
    SimulatedClock, Span, Target, Timestamp, TimestampExt,
};
use journal::{Journal, JournalError, Owner};
use model_client::{Backoff, Cluster, ClusterConfig};
use predict_worker::{ClosedRound, OpenRound, PredictSettings, PredictWorker};
use protocol::Value;
use scoring::{Limits, PackedAnswer};
use storage::{RoundRecord, RoundRepository, Store};
use storage_sqlite::SqliteStore;
use tempfile::TempDir;
use testkit::{Behaviour, FakeModel, FakeOrchestrator, Received, Reply, soon};

use crate::prices::Prices;

/// The instant so many minutes after a midnight; rounds are asked in even minutes.
pub fn at(minute: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200 + minute * 60).unwrap()
}

/// BTC alone is asked for four densities every other minute, with ten minutes of history and a second to answer.
pub struct World {
    pub orchestrator: FakeOrchestrator,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<SimulatedClock>,
    pub prices: Arc<Prices>,
    pub settings: PredictSettings,
    pub folder: TempDir,
}

/// A worker that follows the world's orchestrator.
pub struct Worker {
    pub worker: PredictWorker,
    clock: Arc<SimulatedClock>,
    _cluster: Cluster,
}

/// A round as stored.
pub struct Stored {
    pub record: RoundRecord,
    pub predictions: Vec<Prediction>,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World {
            orchestrator: FakeOrchestrator::start().await,
            store: Arc::new(open(&folder).await),
            clock: Arc::new(SimulatedClock::at(at(0))),
            prices: Arc::new(Prices::every(Span::minutes(1))),
            settings: settings(Span::minutes(1)),
            folder,
        };
        world.store.migrate().await.unwrap();
        world
    }

    /// As [`World::new`], but ETH is asked in the same minutes too.
    pub async fn with_two_assets() -> Self {
        let mut world = World::new().await;
        world.settings.only_assets = None;
        world
    }

    /// A running model that the orchestrator has announced as its deployment `ID-d1`.
    pub async fn model(&self, id: &str, behaviour: Behaviour) -> FakeModel {
        let model = FakeModel::start(behaviour).await;
        self.orchestrator.announce([model.running(id, &format!("{id}-d1"))]);
        model
    }

    /// A worker whose models are set up.
    pub async fn worker(&self) -> Worker {
        self.worker_on(self.store.clone()).await
    }

    /// The same on another database.
    pub async fn worker_on(&self, store: Arc<dyn Store>) -> Worker {
        let worker = self.starting_worker_on(store).await;
        soon("the models are set up", worker.wait_until_started()).await;
        worker
    }

    /// The same with a client of its own kind.
    pub async fn worker_of(&self, config: ClusterConfig) -> Worker {
        let worker = self.start_worker(self.store.clone(), config).await;
        soon("the models are set up", worker.wait_until_started()).await;
        worker
    }

    /// A worker that waits for nobody.
    pub async fn starting_worker_on(&self, store: Arc<dyn Store>) -> Worker {
        self.start_worker(store, cluster_config(&self.orchestrator)).await
    }

    /// The journal of the world's worker, which may grow so far.
    pub async fn journal(&self, max_bytes: u64) -> Journal {
        let owner = Owner { crunch_id: self.settings.crunch_id.clone(), database: "a test's".into() };
        let path = self.folder.path().join("journal.db");
        // The connections of a worker that was killed just now close in their own time.
        let open = async {
            loop {
                match Journal::open(&path, &owner, max_bytes).await {
                    Err(JournalError::Locked(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                    journal => return journal.unwrap(),
                }
            }
        };
        soon("the journal is free", open).await
    }

    async fn start_worker(&self, store: Arc<dyn Store>, config: ClusterConfig) -> Worker {
        let journal = self.journal(journal::DEFAULT_MAX_BYTES).await;
        self.start_with(store, journal, config).await
    }

    /// A worker whose models are set up, with a journal of its own kind.
    pub async fn worker_with(&self, store: Arc<dyn Store>, journal: Journal) -> Worker {
        let worker = self.start_with(store, journal, cluster_config(&self.orchestrator)).await;
        soon("the models are set up", worker.wait_until_started()).await;
        worker
    }

    async fn start_with(&self, store: Arc<dyn Store>, journal: Journal, config: ClusterConfig) -> Worker {
        let (cluster, events) = Cluster::start(config);
        let (clock, prices) = (self.clock.clone(), self.prices.clone());
        let settings = self.settings.clone();
        let worker = PredictWorker::start(settings, store, Some(journal), clock, prices, events);
        self.alive(worker.await.unwrap(), cluster)
    }

    /// A worker together with the client that it uses.
    pub fn alive(&self, worker: PredictWorker, cluster: Cluster) -> Worker {
        Worker { worker, clock: self.clock.clone(), _cluster: cluster }
    }

    /// What is asked about an asset in a minute.
    pub fn question(&self, asset: &str, minute: i64) -> Question {
        let questions = self.settings.schedules.questions_at(&self.settings.crunch_id, at(minute));
        questions.into_iter().find(|question| question.asset.as_str() == asset).expect("a minute with a slot")
    }

    /// The round about an asset in a minute.
    pub async fn stored(&self, asset: &str, minute: i64) -> Stored {
        let id = self.question(asset, minute).id;
        let record = self.store.round(id).await.unwrap().expect("a round on record");
        Stored { record, predictions: self.store.predictions(id).await.unwrap() }
    }
}

/// The database in a folder, through connections of its own.
pub async fn open(folder: &TempDir) -> SqliteStore {
    SqliteStore::open(&format!("sqlite://{}", folder.path().join("condor.db").display())).await.unwrap()
}

/// Every other price interval, four steps of one interval each.
pub fn settings(interval: Span) -> PredictSettings {
    let schedule = |asset| Schedule {
        assets: vec![Asset::new(asset).unwrap()],
        horizon: interval.times(4),
        steps: vec![interval],
        every: interval.times(2),
        phase: Span::ZERO,
        method: Method::Predict,
        target: Target::LogReturn,
    };
    PredictSettings {
        crunch_id: CrunchId::new("condor").unwrap(),
        schedules: Schedules::new(vec![schedule("BTC"), schedule("ETH")], interval).unwrap(),
        markets: Markets::default(),
        only_assets: Some(vec![Asset::new("BTC").unwrap()]),
        base_class: "crunch_synth.tracker.TrackerBase".into(),
        call_timeout: Span::seconds(1),
        setup_timeout: Span::seconds(5),
        open_grace: Span::seconds(1),
        join_grace: Span::seconds(5),
        history: interval.times(10),
        leave_after: Span::minutes(5),
        limits: Limits::default(),
    }
}

pub fn cluster_config(orchestrator: &FakeOrchestrator) -> ClusterConfig {
    let quick = Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(50) };
    ClusterConfig {
        max_answer_bytes: 1_000_000,
        reconnect: quick,
        report_failures: false,
        report_hold: Duration::from_millis(20),
        ..ClusterConfig::new(orchestrator.url(), "condor")
    }
}

impl Worker {
    /// Moves the clock to a minute, looks for a pause, takes the minute's prices, and opens its rounds.
    pub async fn open(&self, minute: i64) -> Vec<OpenRound> {
        self.clock.set(at(minute));
        self.look_for_pause().await;
        self.take_prices(at(minute)).await;
        self.open_slot(at(minute)).await
    }

    /// Plays a minute until its rounds are closed and stored.
    pub async fn play(&self, minute: i64) -> Vec<ClosedRound> {
        let rounds = closed(self.open(minute).await).await;
        soon("everything is stored", self.flush()).await;
        rounds
    }

    /// Plays a minute with one round.
    pub async fn play_one(&self, minute: i64) -> ClosedRound {
        let mut rounds = self.play(minute).await;
        assert_eq!(rounds.len(), 1, "one round in minute {minute}");
        rounds.remove(0)
    }
}

impl Deref for Worker {
    type Target = PredictWorker;
    fn deref(&self) -> &PredictWorker {
        &self.worker
    }
}

/// Waits until all these rounds are closed.
pub async fn closed(rounds: Vec<OpenRound>) -> Vec<ClosedRound> {
    let mut closed = Vec::new();
    for round in rounds {
        closed.push(soon("a round closes", round).await.unwrap());
    }
    closed
}

/// A model's outcome in a round.
pub fn of<'a>(predictions: &'a [Prediction], model: &str) -> &'a Prediction {
    predictions.iter().find(|prediction| prediction.model_id.as_str() == model).expect("it is in the field")
}

/// The models of a round.
pub fn field(predictions: &[Prediction]) -> Vec<&str> {
    predictions.iter().map(|prediction| prediction.model_id.as_str()).collect()
}

/// Checks how a model's part in a round ended, and that the reason says so.
#[track_caller]
pub fn assert_outcome(predictions: &[Prediction], model: &str, status: PredictionStatus, reason: &str) {
    let prediction = of(predictions, model);
    assert_eq!(prediction.status, status, "{prediction:?}");
    let given = prediction.reason.as_deref().unwrap_or_default();
    assert!(given.contains(reason), "`{reason}` is not in `{given}`");
}

/// Four densities, as many as are asked for.
pub fn four_densities() -> String {
    densities(0.0)
}

fn densities(loc: f64) -> String {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": 0.001}}}}"#);
    format!("[{}]", [density.as_str(); 4].join(", "))
}

/// A good model.
pub fn good() -> Behaviour {
    Behaviour::answer(four_densities())
}

/// A model that answers with the newest instant of which it was told a price; [`witnessed`] reads it. In ticks it takes
/// `tick_pause`.
pub fn witness(tick_pause: Duration) -> Behaviour {
    let newest = AtomicI64::new(0);
    Behaviour::new(move |method, arguments| {
        if method != protocol::method::TICK {
            return Reply::Value(Value::Json(densities(newest.load(Ordering::SeqCst) as f64)));
        }
        let instants = prices_in(arguments).into_values().flatten();
        newest.fetch_max(instants.map(|at| at.timestamp()).max().unwrap_or(0), Ordering::SeqCst);
        Reply::After(tick_pause, Box::new(Reply::Value(Value::None)))
    })
}

/// A valid answer as JSON.
pub fn text(prediction: &Prediction) -> String {
    PackedAnswer::new(prediction.answer.as_ref().expect("an answer")).to_json().unwrap()
}

/// The newest instant of which a witness had been told a price when it was asked.
pub fn witnessed(prediction: &Prediction) -> Timestamp {
    let densities: serde_json::Value = serde_json::from_str(&text(prediction)).unwrap();
    Timestamp::from_unix_seconds(densities[0]["params"]["loc"].as_f64().unwrap() as i64).unwrap()
}

/// All calls that a model took, in short words: `Setup`, `tick BTC -10..0`, `predict BTC`; numbers are minutes.
pub fn told(model: &FakeModel) -> Vec<String> {
    model.calls().iter().map(in_words).collect()
}

/// The minutes of which a model was told prices of BTC, in the order of telling, from its call number `from` on.
pub fn minutes_told(model: &FakeModel, from: usize) -> Vec<i64> {
    let calls = model.calls();
    let ticks = calls[from..].iter().filter(|call| call.method == protocol::method::TICK);
    let instants = ticks.flat_map(|call| prices_in(&call.arguments).remove("BTC").unwrap_or_default());
    instants.map(minute_of).collect()
}

fn in_words(call: &Received) -> String {
    match (call.method.as_str(), call.arguments.as_slice()) {
        (method @ protocol::method::TICK, arguments) => {
            let prices = prices_in(arguments);
            let prices: Vec<String> =
                prices.iter().map(|(asset, instants)| format!("{asset} {}", stretch(instants))).collect();
            format!("{method} {}", prices.join(", "))
        }
        (method, [Value::String(asset), ..]) if method != "Setup" => format!("{method} {asset}"),
        (method, _) => method.to_owned(),
    }
}

fn stretch(instants: &[Timestamp]) -> String {
    let minutes: Vec<i64> = instants.iter().copied().map(minute_of).collect();
    match minutes.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.to_string(),
        [first, .., last] if minutes.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
            format!("{first}..{last}")
        }
        gaps => format!("{gaps:?}"),
    }
}

fn minute_of(instant: Timestamp) -> i64 {
    (instant.timestamp() - at(0).timestamp()).div_euclid(60)
}

/// The instants in a tick, by asset.
fn prices_in(arguments: &[Value]) -> BTreeMap<String, Vec<Timestamp>> {
    let [Value::Json(json)] = arguments else { panic!("a tick has one JSON argument, got {arguments:?}") };
    let prices: BTreeMap<String, Vec<(i64, f64)>> = serde_json::from_str(json).unwrap();
    let instants = |points: Vec<(i64, f64)>| {
        points.into_iter().map(|(at, _)| Timestamp::from_unix_seconds(at).unwrap()).collect()
    };
    prices.into_iter().map(|(asset, points)| (asset, instants(points))).collect()
}
