//! A small game: a database of its own, a clock that is set, prices each twenty minutes, models that answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{
    Asset, Clock, CrunchId, Cruncher, DeploymentId, LedgerEntry, LedgerPosition, Method, Model, ModelId,
    Prediction, PredictionStatus, Price, PricePoint, Question, SimulatedClock, Span, Target, Timestamp,
    TimestampExt, Weights,
};
use score_worker::{Progress, ScoreSettings, ScoreWorker};
use scoring::{Expected, Limits, SettlementSettings, pack_answer};
use storage::{ExportedRound, RoundRecord, Store};
use storage_sqlite::SqliteStore;
use tempfile::TempDir;

/// The price interval, and the step of every question.
pub const INTERVAL: Span = Span::minutes(20);
/// The stamp of the scores, unless the settings are changed.
pub const CRPS: &str = "crps/1;max_price_age=20m";
/// How long prices are waited for.
pub const SETTLE_TIMEOUT: Span = Span::hours(6);

pub struct Game {
    pub store: Arc<dyn Store>,
    pub clock: Arc<SimulatedClock>,
    pub settings: ScoreSettings,
    /// Where the SQLite database is, when it is one.
    folder: Option<TempDir>,
    last_position: AtomicU64,
}

/// Midnight, a Tuesday.
pub fn start() -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200).unwrap()
}

pub fn hour(n: u32) -> Timestamp {
    start() + Span::hours(n)
}

pub fn asset(name: &str) -> Asset {
    Asset::new(name).unwrap()
}

pub fn model_id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

/// A question about `name` that was asked at `performed_at`.
pub fn question(name: &str, horizon: Span, performed_at: Timestamp) -> Question {
    let crunch = CrunchId::new("condor").unwrap();
    let steps = vec![INTERVAL];
    Question::new(&crunch, asset(name), horizon, steps, Method::Predict, Target::LogReturn, performed_at)
}

/// A valid answer to a question over `horizon`: normal distributions of this scale.
pub fn answer(model: &str, horizon: Span, scale: f64) -> Prediction {
    let text = normals(horizon.divided_by(INTERVAL), scale);
    answer_to(&question("BTC", horizon, start()), model, &text)
}

/// A list of so many normal distributions of this scale.
pub fn normals(count: usize, scale: f64) -> String {
    let density = format!(r#"{{"type":"builtin","name":"norm","params":{{"loc":0,"scale":{scale:e}}}}}"#);
    format!("[{}]", vec![density; count].join(","))
}

/// A valid answer, by its text.
pub fn answer_to(question: &Question, model: &str, text: &str) -> Prediction {
    let (_, packed) = pack_answer(text.as_bytes(), &Expected::from(question), &Limits::NONE).unwrap();
    Prediction { reason: None, answer: Some(packed.into()), ..miss(model, PredictionStatus::Success) }
}

/// Any other outcome.
pub fn miss(model: &str, status: PredictionStatus) -> Prediction {
    Prediction::unanswered(model_id(model), None, status, "for a reason")
}

impl Game {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&url_in(&folder)).await.unwrap();
        let mut game = Game::over(Arc::new(store)).await;
        game.folder = Some(folder);
        game
    }

    /// A game over an empty database.
    pub async fn over(store: Arc<dyn Store>) -> Self {
        store.migrate().await.unwrap();
        Game {
            store,
            clock: Arc::new(SimulatedClock::at(start())),
            settings: settings(),
            folder: None,
            last_position: AtomicU64::new(0),
        }
    }

    pub fn is_on_postgres(&self) -> bool {
        self.folder.is_none()
    }

    /// Opens the SQLite database once more, as another process would.
    pub async fn open_again(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&url_in(self.folder.as_ref().unwrap())).await.unwrap())
    }

    /// A score worker that has just been started.
    pub fn worker(&self) -> ScoreWorker {
        self.worker_over(Arc::clone(&self.store))
    }

    /// It has one thread, so that it takes one group of rounds after the other.
    pub fn worker_over(&self, store: Arc<dyn Store>) -> ScoreWorker {
        self.worker_with_threads(store, 1)
    }

    pub fn worker_with_threads(&self, store: Arc<dyn Store>, threads: usize) -> ScoreWorker {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let worker = ScoreWorker::new(self.settings.clone(), store, clock);
        worker.with_threads(threads.try_into().unwrap()).unwrap()
    }

    /// Sets the clock and runs a worker that has just been started and is stopped afterwards.
    pub async fn run_at(&self, now: Timestamp) -> Progress {
        let mut worker = self.worker();
        let progress = self.run_with(&mut worker, now).await;
        worker.give_back().await.unwrap();
        progress
    }

    pub async fn run_with(&self, worker: &mut ScoreWorker, now: Timestamp) -> Progress {
        self.clock.set(now);
        worker.run_once().await.unwrap()
    }

    /// Stores models as joined at `joined_at`.
    pub async fn join(&self, names: &[&str], joined_at: Timestamp) {
        let model = |name: &&str| Model {
            id: model_id(name),
            deployment_id: DeploymentId::new("d-1").unwrap(),
            name: None,
            cruncher: Cruncher::default(),
            joined_at,
            last_connected_at: joined_at,
            is_baseline: false,
        };
        let models: Vec<Model> = names.iter().map(model).collect();
        self.store.save_models(&models).await.unwrap();
    }

    /// Stores an asset's closes from `from` to `to`, both included, but for those `without`.
    pub async fn prices(&self, name: &str, from: Timestamp, to: Timestamp, without: &[Timestamp]) {
        self.store.append_prices(&self.entries(name, from, to, without), self.clock.now()).await.unwrap();
    }

    /// The same as ledger entries, which take the next positions.
    pub fn entries(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
        without: &[Timestamp],
    ) -> Vec<LedgerEntry> {
        let instants = std::iter::successors(Some(from), |at| Some(*at + INTERVAL));
        instants
            .take_while(|at| *at <= to)
            .filter(|at| !without.contains(at))
            .map(|at| self.entry(name, at, price(at)))
            .collect()
    }

    /// Stores the close of this instant once more, by a factor different.
    pub async fn correct_price(&self, name: &str, at: Timestamp, factor: f64) {
        self.store
            .append_prices(&[self.entry(name, at, price(at) * factor)], self.clock.now())
            .await
            .unwrap();
    }

    pub fn entry(&self, name: &str, at: Timestamp, price: f64) -> LedgerEntry {
        LedgerEntry {
            position: LedgerPosition(self.last_position.fetch_add(1, Ordering::SeqCst) + 1),
            asset: asset(name),
            point: PricePoint { at, price: Price::new(price).unwrap() },
            source: "made up".to_owned(),
        }
    }

    /// Closes a round with these outcomes.
    pub async fn close(&self, question: &Question, outcomes: &[Prediction]) {
        self.store.close_round(question, question.performed_at, outcomes).await.unwrap();
    }

    pub async fn round(&self, question: &Question) -> RoundRecord {
        self.store.round(question.id).await.unwrap().unwrap()
    }

    /// Each model's relative score in a round.
    pub async fn relative(&self, question: &Question) -> Vec<(String, f64)> {
        let scores = self.store.export_scores(question.id).await.unwrap();
        scores.into_iter().map(|score| (score.model_id.to_string(), score.relative)).collect()
    }

    pub async fn rounds(&self) -> Vec<ExportedRound> {
        let (first, last) = (Timestamp::MIN_UTC, Timestamp::MAX_UTC);
        self.store.export_rounds(first, last, None, usize::MAX).await.unwrap()
    }

    /// Every score of every round, to the bit; when they were computed is left out.
    pub async fn scores(&self) -> Vec<String> {
        let mut scores = Vec::new();
        for round in self.rounds().await {
            let (state, best, q95) = (round.state, round.best, round.q95);
            let reason = round.reason;
            let of_round = self.store.export_scores(round.round_id).await.unwrap();
            scores.push(format!("{} {state} {reason:?} {best:?} {q95:?} {of_round:?}", round.round_id));
        }
        scores
    }

    /// The newest leaderboard and its standings, to the bit.
    pub async fn leaderboard(&self) -> String {
        let leaderboard = self.store.latest_leaderboard().await.unwrap();
        let standings = self.store.latest_standings().await.unwrap();
        format!("{leaderboard:?} {standings:?}")
    }

    /// Every leaderboard, to the bit, by its instant.
    pub async fn leaderboards(&self) -> Vec<(Timestamp, String)> {
        let (first, last) = (Timestamp::MIN_UTC, Timestamp::MAX_UTC);
        let all = self.store.leaderboards(first, last, usize::MAX).await.unwrap();
        all.iter().map(|leaderboard| (leaderboard.as_of, format!("{leaderboard:?}"))).collect()
    }

    /// Every snapshot, to the bit, by its instant.
    pub async fn snapshots(&self) -> Vec<(Timestamp, String)> {
        let all = self.store.snapshots(Timestamp::MIN_UTC, Timestamp::MAX_UTC).await.unwrap();
        all.iter().map(|standings| (standings.as_of, format!("{standings:?}"))).collect()
    }

    /// Runs a statement behind the store's back.
    pub async fn execute(&self, sql: &'static str) {
        use sqlx::ConnectOptions;
        let file = self.folder.as_ref().unwrap().path().join("game.db");
        let mut connection =
            sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
        let changed = sqlx::query(sql).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{sql}");
    }
}

fn url_in(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("game.db").display())
}

fn settings() -> ScoreSettings {
    ScoreSettings {
        scoring: scoring::ScoreSettings::with_rule("crps").unwrap(),
        settlement: SettlementSettings {
            settle_timeout: SETTLE_TIMEOUT,
            ..SettlementSettings::new(INTERVAL)
        },
        weights: Weights::default(),
        retry_after: INTERVAL,
    }
}

/// A price that moves by about a percent each time.
fn price(at: Timestamp) -> f64 {
    let k = at.timestamp() / i64::from(INTERVAL.as_secs());
    100.0 + (k * 7919 % 211) as f64 / 100.0
}
