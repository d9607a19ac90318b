//! A worker over a database of its own, and what tests put into that.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{
    Asset, CrunchId, Cruncher, DeploymentId, LedgerPosition, Method, Model, ModelId, ModelStanding,
    Parameter, ParameterStanding, PerWindow, Prediction, PredictionStatus, Question, Schedule, Schedules,
    SimulatedClock, Span, Standings, Target, Timestamp, Window, WindowScore, rank,
};
use report_worker::{Process, ReportSettings};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use storage::{ChangeNumber, Hold, HolderId, Lease, LeaseName, ReportStore, RoundScores, ScoreRecord};
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A quarter past a full hour, on the second day of a week.
pub fn now() -> Timestamp {
    "2026-01-30T12:15:07Z".parse().unwrap()
}

/// The last full hour.
pub fn last_hour() -> Timestamp {
    "2026-01-30T12:00:00Z".parse().unwrap()
}

pub fn asset(name: &str) -> Asset {
    Asset::new(name).unwrap()
}

pub fn model_id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

pub fn model(id: &str) -> Model {
    Model {
        id: model_id(id),
        deployment_id: DeploymentId::new(&format!("deployment-{id}")).unwrap(),
        name: Some(format!("the {id}")),
        cruncher: Cruncher { id: Some(format!("c-{id}")), name: Some(format!("Ann of {id}")) },
        joined_at: now() - Span::days(40),
        last_connected_at: now(),
        is_baseline: false,
    }
}

/// BTC over an hour in steps of 1 and 5 minutes, and ETH over a day in one of 5 minutes.
pub fn schedules() -> Schedules {
    let schedule = |name: &str, horizon, steps| Schedule {
        assets: vec![asset(name)],
        horizon,
        steps,
        every: Span::HOUR,
        phase: Span::ZERO,
        method: Method::Predict,
        target: Target::LogReturn,
    };
    let btc = Schedule {
        method: Method::PredictAll,
        ..schedule("BTC", Span::HOUR, vec![Span::minutes(1), Span::minutes(5)])
    };
    let eth = schedule("ETH", Span::hours(24), vec![Span::minutes(5)]);
    Schedules::new(vec![btc, eth], Span::minutes(1)).unwrap()
}

pub fn settings() -> ReportSettings {
    ReportSettings::new(crunch(), schedules())
}

fn crunch() -> CrunchId {
    CrunchId::new("condor").unwrap()
}

/// A worker over a database of its own.
pub struct Stage {
    pub store: Arc<dyn ReportStore>,
    pub settings: watch::Sender<Arc<ReportSettings>>,
    /// Where the worker answers, once it was asked for something: so it starts with what the test has stored.
    base: OnceCell<String>,
    shutdown: CancellationToken,
    client: reqwest::Client,
    postgres: Option<(String, String)>,
    _folder: tempfile::TempDir,
    _running: DropGuard,
}

impl Stage {
    /// One over SQLite, and where tests may use a PostgreSQL one over that.
    pub async fn all() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("reports.db").display());
        let sqlite = Arc::new(SqliteStore::open(&url).await.unwrap());
        let mut all = vec![Stage::over(sqlite, folder, None).await];
        match std::env::var("TEST_POSTGRES_URL") {
            Ok(server) => all.push(Stage::over_postgres(server).await),
            Err(_) => {
                println!("skipped on PostgreSQL: TEST_POSTGRES_URL is not set (cargo xtask test sets it)")
            }
        }
        all
    }

    async fn over_postgres(server: String) -> Self {
        let name = format!("reports_{}", HolderId::random().as_str().replace('-', "_"));
        run_on(&server, format!("CREATE DATABASE {name}")).await;
        let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let store = Arc::new(PostgresStore::open(&url).await.unwrap());
        Stage::over(store, tempfile::tempdir().unwrap(), Some((server, name))).await
    }

    async fn over(
        store: Arc<dyn ReportStore>,
        folder: tempfile::TempDir,
        postgres: Option<(String, String)>,
    ) -> Self {
        store.migrate().await.unwrap();
        let settings = watch::Sender::new(Arc::new(settings()));
        let shutdown = CancellationToken::new();
        Stage {
            store,
            settings,
            base: OnceCell::new(),
            client: reqwest::Client::new(),
            postgres,
            _folder: folder,
            _running: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let clock = Arc::new(SimulatedClock::at(now()));
        let (in_force, shutdown) = (self.settings.subscribe(), self.shutdown.clone());
        let worker =
            report_worker::run(listener, self.store.clone(), clock, in_force, Process::unnamed(), shutdown);
        tokio::spawn(async { worker.await.unwrap() });
        base
    }

    /// Removes the database.
    pub async fn end(self) {
        if let Some((server, name)) = self.postgres {
            run_on(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// The status and the text of an answer.
    pub async fn text(&self, path: &str) -> (u16, String) {
        let base = self.base.get_or_init(|| self.start()).await;
        let response = self.client.get(format!("{base}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The rows of an answer.
    pub async fn rows(&self, path: &str) -> Vec<Value> {
        let Value::Array(rows) = self.json(path).await else { panic!("{path} answers no list") };
        rows
    }

    /// What is answered.
    pub async fn json(&self, path: &str) -> Value {
        let (status, text) = self.text(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn save_models(&self, ids: &[&str]) {
        let models: Vec<Model> = ids.iter().map(|id| model(id)).collect();
        self.store.save_models(&models).await.unwrap();
    }

    pub async fn ranking_lease(&self) -> Lease {
        let hold = Hold { by: HolderId::random(), now: now(), lasts: Span::HOUR };
        self.store.take_lease(LeaseName::Ranking, &hold).await.unwrap().unwrap()
    }

    pub async fn save_leaderboard(&self, standings: &Standings, ranked_up_to: i64, lease: &Lease) {
        let leaderboard = rank(standings, "crps/1");
        let number = ChangeNumber(ranked_up_to);
        self.store.save_leaderboard(&leaderboard, standings, number, lease).await.unwrap();
    }

    /// A round of BTC over an hour, closed with these outcomes.
    pub async fn close(&self, performed_at: Timestamp, predictions: &[Prediction]) -> Question {
        let question = question(performed_at);
        self.store.close_round(&question, performed_at, predictions).await.unwrap();
        question
    }

    /// The same, and scored as soon as it resolved.
    pub async fn score(&self, performed_at: Timestamp, predictions: &[Prediction], scores: Vec<ScoreRecord>) {
        let question = self.close(performed_at, predictions).await;
        let scores = RoundScores {
            round_id: question.id,
            rule: "crps/1".to_owned(),
            priced_up_to: LedgerPosition::START,
            scored_at: question.resolves_at() + Span::seconds(3),
            best: 0.1,
            q95: 0.9,
            scores,
        };
        self.store.store_scores(&scores).await.unwrap();
    }
}

async fn run_on(server: &str, sql: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn question(performed_at: Timestamp) -> Question {
    let steps = vec![Span::minutes(1), Span::minutes(5)];
    Question::new(
        &crunch(),
        asset("BTC"),
        Span::HOUR,
        steps,
        Method::PredictAll,
        Target::LogReturn,
        performed_at,
    )
}

pub fn answered(id: &str) -> Prediction {
    Prediction {
        reason: None,
        answer: Some(vec![1].into()),
        ..Prediction::unanswered(model_id(id), None, PredictionStatus::Success, "")
    }
}

pub fn timed_out(id: &str) -> Prediction {
    Prediction::unanswered(model_id(id), None, PredictionStatus::Timeout, "no answer within 60 s")
}

pub fn scored(id: &str, relative: Option<f64>) -> ScoreRecord {
    ScoreRecord {
        model_id: model_id(id),
        raw: relative.map(|relative| 1.0 - relative),
        relative: relative.unwrap_or(0.0),
        failure: None,
        steps: Vec::new(),
    }
}

/// Window scores with 17 digits, different from model to model.
pub fn standings(ids: &[String], as_of: Timestamp) -> Standings {
    let standing = |(i, id): (usize, &String)| {
        let window = |window: Window| WindowScore {
            score: Some(((i + 1) as f64).sqrt().fract() / (1.0 + f64::from(window.span().as_secs()) / 1e7)),
            raw: Some(0.1 / (i + 3) as f64),
            predictions: u64::from(window.span().as_secs()) / 3600,
            valid: u64::from(window.span().as_secs()) / 3600 - (i as u64 % 3),
            full: true,
        };
        let windows = PerWindow::from_fn(window);
        let parameters = [("BTC", Span::HOUR), ("ETH", Span::hours(24))].map(|(name, horizon)| {
            ParameterStanding { parameter: Parameter { asset: asset(name), horizon }, windows }
        });
        ModelStanding {
            model_id: model_id(id),
            first_scored_at: Some(as_of - Span::days(9)),
            windows,
            parameters: parameters.to_vec(),
        }
    };
    let mut models: Vec<ModelStanding> = ids.iter().enumerate().map(standing).collect();
    models.sort_by(|a, b| a.model_id.cmp(&b.model_id));
    Standings { as_of, models }
}

/// The different values of a field.
pub fn values<'a>(rows: &'a [Value], field: &str) -> BTreeSet<&'a str> {
    rows.iter().map(|row| row[field].as_str().unwrap()).collect()
}

pub fn fields(row: &Value) -> Vec<&str> {
    row.as_object().unwrap().keys().map(String::as_str).collect()
}
