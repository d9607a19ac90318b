//! A worker on a port, over a database with one round in each state.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{
    Asset, Clock, CrunchId, Cruncher, DeploymentId, LedgerEntry, LedgerPosition, Market, Markets, Method,
    Model, ModelId, Prediction, PredictionStatus, Price, PricePoint, Question, Schedules, SimulatedClock,
    Span, Target, Timestamp,
};
use report_worker::{Access, AnswersTo, Key, Process, ReportSettings, Role, run};
use scoring::{Expected, Limits, RoundOutcome, Settlement, pack_answer, score_round, settle};
use serde_json::Value;
use storage::{
    ModelRepository, PriceRepository, RoundRepository, RoundScores, ScoreRecord, StepScore, Store,
};
use storage_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Digits that only one round's answers hold.
pub struct Marks {
    /// Of alpha's distributions: their mean is 0.000, these and a 5. As a median the last may be others.
    pub mean: &'static str,
    /// Of what was refused of beta's answer, and of the reason for it.
    pub refused: &'static str,
}

/// Those of the scored round.
pub const SCORED: Marks = Marks { mean: "1234567", refused: "87654321" };

/// Those of the open round.
pub const OPEN: Marks = Marks { mean: "3141592", refused: "27182818" };

/// The round in which everybody answered, which has resolved and is scored.
pub fn scored() -> Question {
    question("2025-05-28T20:00:00Z")
}

/// The round in which everybody answered, and which is closed and has not resolved.
pub fn open() -> Question {
    question("2025-05-28T23:30:00Z")
}

/// The round that is being asked.
pub fn asked() -> Question {
    question("2025-05-29T00:00:00Z")
}

pub fn now() -> Timestamp {
    "2025-05-29T00:00:07Z".parse().unwrap()
}

/// By then every round has resolved.
pub fn later() -> Timestamp {
    "2025-05-29T02:00:00Z".parse().unwrap()
}

fn question(at: &str) -> Question {
    let (crunch, steps) = (CrunchId::new("condor").unwrap(), vec![Span::minutes(20)]);
    Question::new(&crunch, btc(), Span::HOUR, steps, Method::Predict, Target::LogReturn, at.parse().unwrap())
}

fn btc() -> Asset {
    Asset::new("BTC").unwrap()
}

pub fn id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

fn model(name: &str, cruncher: &str) -> Model {
    Model {
        id: id(name),
        deployment_id: DeploymentId::new("d-1").unwrap(),
        name: Some(format!("the {name}")),
        cruncher: Cruncher { id: Some(cruncher.to_owned()), name: Some(cruncher.to_uppercase()) },
        joined_at: now() - Span::days(9),
        last_connected_at: now(),
        is_baseline: false,
    }
}

fn answer(name: &str, loc: f64, scale: f64, question: &Question) -> Prediction {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": {scale:?}}}}}"#);
    let text = format!("[{}]", vec![density; 3].join(", "));
    let (_, packed) = pack_answer(text.as_bytes(), &Expected::from(question), &Limits::default()).unwrap();
    Prediction {
        model_id: id(name),
        deployment_id: Some(DeploymentId::new("d-1").unwrap()),
        status: PredictionStatus::Success,
        reason: None,
        answer: Some(packed.into()),
        refused: None,
        received_at: Some(question.performed_at + Span::seconds(2)),
        took: Some(Duration::from_micros(1_234_500)),
    }
}

/// An outcome of every kind.
fn outcomes(question: &Question, marks: &Marks) -> Vec<Prediction> {
    let mean: f64 = format!("0.000{}5", marks.mean).parse().unwrap();
    let sent = answer("beta", 0.0, 1.0, question);
    let refused = Prediction {
        status: PredictionStatus::Failed,
        reason: Some(format!("[0].params.scale: must be > 0, got -0.00{}", marks.refused)),
        answer: None,
        refused: Some(format!(r#"[{{"type": "builtin", "params": {{"scale": -0.00{}}}}}, "#, marks.refused)),
        ..sent
    };
    let without = |name, status, reason| Prediction::unanswered(id(name), None, status, reason);
    vec![
        answer("alpha", mean, 0.01, question),
        refused,
        answer("coarse", 0.0, 1.0, question),
        without("delta", PredictionStatus::Absent, "it does not run"),
        without("late", PredictionStatus::Timeout, "no answer within 50 s"),
    ]
}

/// A close for each minute.
fn prices() -> Vec<LedgerEntry> {
    let start = scored().performed_at - Span::minutes(10);
    let entry = |minute: u32| LedgerEntry {
        position: LedgerPosition(u64::from(minute) + 1),
        asset: btc(),
        point: PricePoint {
            at: start + Span::minutes(minute),
            price: Price::new(100.0 + f64::from(minute % 7)).unwrap(),
        },
        source: "made up".to_owned(),
    };
    (0..360).map(entry).collect()
}

/// Scores a round as the score worker does.
pub async fn score(store: &SqliteStore, question: &Question) {
    let judging = settings().judging;
    let predictions = store.predictions(question.id).await.unwrap();
    let (after, up_to) = judging.settlement.needed_closes(question, later());
    let closes = store.closes(&question.asset, after, up_to).await.unwrap();
    let Settlement::Settled(steps) = settle(question, &closes, &judging.settlement, later(), Some(later()))
    else {
        panic!("prices are missing")
    };
    let answers: Vec<_> = predictions.iter().map(|prediction| prediction.answer.as_ref()).collect();
    let RoundOutcome::Scored { best, q95, predictions: scored } =
        score_round(question, &answers, &steps, &judging.scoring)
    else {
        panic!("void")
    };
    let score = |(prediction, score): (&Prediction, scoring::PredictionScore)| ScoreRecord {
        model_id: prediction.model_id.clone(),
        raw: score.raw,
        relative: score.relative,
        failure: score.failure,
        steps: score
            .steps
            .iter()
            .map(|step| StepScore {
                step: step.step,
                mean: step.mean,
                increments: step.increments,
                left_out: step.left_out,
            })
            .collect(),
    };
    let scores = predictions.iter().zip(scored.into_iter().map(Result::unwrap)).map(score).collect();
    let (rule, scored_at) = ("crps/1".to_owned(), question.resolves_at());
    let priced_up_to = store.ledger_end().await.unwrap();
    let scores = RoundScores { round_id: question.id, rule, priced_up_to, scored_at, best, q95, scores };
    store.store_scores(&scores).await.unwrap();
}

/// Whose key somebody may send: nobody's, one to read, those of the crunchers of alpha and beta, an administrator's.
pub const VIEWERS: [Option<&str>; 5] = [None, Some("reader"), Some("ann"), Some("bob"), Some("admin")];

/// The keys of all of them.
fn keys() -> Vec<Key> {
    let role = |name: &str| match name {
        "reader" => Role::Read,
        "admin" => Role::Admin,
        cruncher => Role::Cruncher(cruncher.to_owned()),
    };
    let key = |name: &str| {
        let sha256 = digest(&SHA256, key_of(name).as_bytes()).as_ref().try_into().unwrap();
        Key { name: name.to_owned(), sha256, role: role(name) }
    };
    VIEWERS.into_iter().flatten().map(key).collect()
}

fn key_of(name: &str) -> String {
    format!("the key of {name}")
}

/// The worker, its clock and its database.
pub struct World {
    pub store: SqliteStore,
    pub clock: Arc<SimulatedClock>,
    client: reqwest::Client,
    base: String,
    settings: watch::Sender<Arc<ReportSettings>>,
    shutdown: CancellationToken,
    _folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("t.db").display());
        let store = SqliteStore::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        fill(&store).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let settings = watch::Sender::new(Arc::new(settings()));
        let (clock, shutdown) = (Arc::new(SimulatedClock::at(now())), CancellationToken::new());
        let reading = Arc::new(SqliteStore::open_read_only(&url).await.unwrap());
        let in_force = settings.subscribe();
        tokio::spawn(run(listener, reading, clock.clone(), in_force, Process::unnamed(), shutdown.clone()));
        World { store, clock, client: reqwest::Client::new(), base, settings, shutdown, _folder: folder }
    }

    /// Shows answers to others.
    pub fn show_answers_to(&self, answers: AnswersTo) {
        self.settings.send_modify(|settings| Arc::make_mut(settings).answers = answers);
    }

    /// Has BTC traded in this session of the week.
    pub fn trade_in(&self, session: &str) {
        let market = Market {
            name: "exchange".to_owned(),
            assets: vec![btc()],
            zone: "UTC".parse().unwrap(),
            sessions: vec![session.parse().unwrap()],
            holidays: Vec::new(),
        };
        let markets = Markets::new(vec![market]).unwrap();
        self.settings.send_modify(|settings| Arc::make_mut(settings).markets = markets);
    }

    /// Corrects a price of BTC; returns its place in the ledger.
    pub async fn correct(&self, at: Timestamp, price: f64) -> LedgerPosition {
        let position = self.store.ledger_end().await.unwrap().next();
        let point = PricePoint { at, price: Price::new(price).unwrap() };
        let entry = LedgerEntry { position, asset: btc(), point, source: "second look".to_owned() };
        self.store.append_prices(&[entry], now()).await.unwrap();
        position
    }

    /// Lets a second pass: answers that are read from the database are as new as that.
    pub fn pass_a_second(&self) {
        self.clock.set(self.clock.now() + Span::seconds(1));
    }

    /// The answer to a request.
    pub async fn ask(&self, path: &str) -> reqwest::Response {
        self.ask_with(path, None).await
    }

    /// The answer to a request of somebody whose key this is.
    pub async fn ask_with(&self, path: &str, viewer: Option<&str>) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = match viewer {
            Some(name) => request.bearer_auth(key_of(name)),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// The JSON that is answered.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.ask(path).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The problem that is answered.
    pub async fn problem(&self, path: &str) -> (u16, String) {
        let response = self.ask(path).await;
        let status = response.status().as_u16();
        let problem: Value = response.json().await.unwrap();
        (status, problem["detail"].as_str().unwrap().to_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn settings() -> ReportSettings {
    let schedules = Schedules::new(Schedules::standard(&[btc()]), Span::minutes(1)).unwrap();
    ReportSettings {
        access: Access { keys: keys(), ..Access::default() },
        ..ReportSettings::new(CrunchId::new("condor").unwrap(), schedules)
    }
}

async fn fill(store: &SqliteStore) {
    let models = [("alpha", "ann"), ("beta", "bob"), ("coarse", "cid"), ("delta", "dee"), ("late", "lee")];
    store.save_models(&models.map(|(name, cruncher)| model(name, cruncher))).await.unwrap();
    store.append_prices(&prices(), Timestamp::UNIX_EPOCH).await.unwrap();
    for (question, marks) in [(scored(), SCORED), (open(), OPEN)] {
        let closed_at = question.performed_at + Span::seconds(50);
        store.close_round(&question, closed_at, &outcomes(&question, &marks)).await.unwrap();
    }
    store.mark_asked(&[asked()], now()).await.unwrap();
    score(store, &scored()).await;
}
