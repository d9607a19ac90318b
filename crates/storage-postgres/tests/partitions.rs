//! What PostgreSQL's partitions are for, and that they are in nobody's way.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::time::Duration;

use domain::{
    CrunchId, LedgerPosition, Method, ModelId, Prediction, PredictionStatus, Question, Span, Stopwatch,
    Target, Timestamp, TimestampExt,
};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use storage::{Expiry, Place, Portion, Prunable, RetentionRepository, RoundRepository, Store};
use storage_postgres::PostgresStore;
use uuid::Uuid;

struct Database {
    server: PgConnectOptions,
    name: String,
}

impl Database {
    async fn fresh() -> Option<Self> {
        let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
            println!("skipped: TEST_POSTGRES_URL is not set (cargo xtask test sets it)");
            return None;
        };
        let database = Database {
            server: url.parse().unwrap(),
            name: format!("partitions_{}", Uuid::new_v4().simple()),
        };
        database.on_server(format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    async fn migrated() -> Option<(Self, PostgresStore)> {
        let database = Database::fresh().await?;
        let store = database.open().await;
        store.migrate().await.unwrap();
        Some((database, store))
    }

    async fn open(&self) -> PostgresStore {
        let url = self.server.clone().database(&self.name).to_url_lossy().to_string();
        PostgresStore::open(&url).await.unwrap()
    }

    async fn connect(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.unwrap()
    }

    async fn on_server(&self, sql: String) {
        let mut connection = self.server.connect().await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// In which partitions the rows of a table lie, each once.
    async fn places(&self, table: &str) -> Vec<String> {
        let sql = format!("SELECT DISTINCT tableoid::regclass::text FROM {table} ORDER BY 1");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut self.connect().await).await.unwrap()
    }

    async fn partitions(&self, table: &str) -> Vec<String> {
        let sql = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1";
        sqlx::query_scalar(sql).bind(table).fetch_all(&mut self.connect().await).await.unwrap()
    }

    async fn remove(self) {
        self.on_server(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

/// 2025-05-20T00:00:00Z.
fn day(n: u32) -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200).unwrap() + Span::days(n)
}

fn question(performed_at: Timestamp) -> Question {
    let crunch = CrunchId::new("condor").unwrap();
    let steps = vec![Span::minutes(5)];
    Question::new(
        &crunch,
        "BTC".parse().unwrap(),
        Span::HOUR,
        steps,
        Method::Predict,
        Target::LogReturn,
        performed_at,
    )
}

fn outcome(model: &str) -> Prediction {
    Prediction {
        answer: Some(b"packed".as_slice().into()),
        reason: None,
        ..Prediction::unanswered(ModelId::new(model).unwrap(), None, PredictionStatus::Success, "")
    }
}

async fn close(store: &PostgresStore, performed_at: Timestamp) -> Question {
    let question = question(performed_at);
    store.close_round(&question, performed_at, &[outcome("a"), outcome("b")]).await.unwrap();
    question
}

/// A round of which nothing is needed.
async fn close_void(store: &PostgresStore, performed_at: Timestamp) -> Question {
    let question = close(store, performed_at).await;
    store
        .void_round(question.id, "crps/1", LedgerPosition::START, performed_at, "nobody knows")
        .await
        .unwrap();
    question
}

fn expiry(before: Timestamp) -> Expiry {
    Expiry { before, needed_after: day(900) }
}

async fn prune(store: &PostgresStore, before: Timestamp) -> Vec<Portion> {
    let mut portions =
        vec![store.prune(Prunable::Predictions, &expiry(before), &Place::Start).await.unwrap()];
    while let Some(Portion { next, .. }) = portions.last()
        && *next != Place::End
    {
        portions.push(store.prune(Prunable::Predictions, &expiry(before), next).await.unwrap());
    }
    portions
}

fn rows(portions: &[Portion]) -> u64 {
    portions.iter().map(|portion| portion.removed.rows).sum()
}

#[tokio::test]
async fn rows_lie_in_the_partition_of_their_day_and_the_next_days_have_theirs() {
    let Some((database, store)) = Database::migrated().await else { return };
    close(&store, day(0)).await;
    close(&store, day(1) - Span::seconds(1)).await;
    assert_eq!(database.places("predictions").await, ["predictions_2025_05_20"]);
    for table in ["predictions", "refused_answers", "scores"] {
        let names =
            ["2025_05_20", "2025_05_21", "2025_05_22", "default"].map(|part| format!("{table}_{part}"));
        assert_eq!(database.partitions(table).await, names);
    }
    close(&store, day(1)).await;
    close(&store, day(9)).await;
    let places = ["predictions_2025_05_20", "predictions_2025_05_21", "predictions_2025_05_29"];
    assert_eq!(database.places("predictions").await, places);
    database.remove().await;
}

#[tokio::test]
async fn partitions_are_like_their_table() {
    let Some((database, store)) = Database::migrated().await else { return };
    close(&store, day(0)).await;
    let sql = "SELECT attstorage::text || attnotnull || attcollation::regcollation FROM pg_attribute
               WHERE attrelid = $1::text::regclass AND attnum > 0 ORDER BY attname";
    let mut connection = database.connect().await;
    let mut columns = async |table: &'static str| -> Vec<String> {
        sqlx::query_scalar(sql).bind(table).fetch_all(&mut connection).await.unwrap()
    };
    let table = columns("predictions").await;
    assert_eq!(table, columns("predictions_2025_05_20").await);
    assert_eq!(table, columns("predictions_default").await);
    assert!(table.iter().any(|column| column.starts_with('e')), "answers are not compressed again");
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_make_them_at_once() {
    let Some((database, _)) = Database::migrated().await else { return };
    let mut running = tokio::task::JoinSet::new();
    for n in 0..6 {
        let store = database.open().await;
        running.spawn(async move {
            for today in 0..4 {
                close(&store, day(today) + Span::minutes(n)).await;
            }
        });
    }
    running.join_all().await;
    assert_eq!(database.partitions("predictions").await.len(), 4 + 2 + 1);
    assert_eq!(database.places("predictions").await.len(), 4, "not the default one");
    database.remove().await;
}

#[tokio::test]
async fn a_day_without_a_partition_is_stored_all_the_same_and_leaves_row_by_row() {
    let Some((database, store)) = Database::migrated().await else { return };
    // A row that is older than its partition.
    let strange = "INSERT INTO predictions (round_id, model_id, status) VALUES ($1, 'x', 'ABSENT')";
    let mut connection = database.connect().await;
    sqlx::query(strange).bind(question(day(0)).id.as_uuid()).execute(&mut connection).await.unwrap();
    let stored = close_void(&store, day(0) + Span::HOUR).await;
    close_void(&store, day(1)).await;
    assert_eq!(database.places("predictions").await, ["predictions_2025_05_21", "predictions_default"]);
    assert_eq!(store.predictions(stored.id).await.unwrap().len(), 2);
    close(&store, day(0) + Span::hours(2)).await;
    assert_eq!(rows(&prune(&store, day(1)).await), 3, "one round is not scored yet");
    assert_eq!(database.places("predictions").await, ["predictions_2025_05_21", "predictions_default"]);
    assert_eq!(rows(&prune(&store, day(2)).await), 2);
    database.remove().await;
}

#[tokio::test]
async fn a_partition_leaves_when_its_whole_day_may() {
    let Some((database, store)) = Database::migrated().await else { return };
    close_void(&store, day(0)).await;
    close_void(&store, day(1)).await;
    let waiting = close(&store, day(1) + Span::HOUR).await;
    close_void(&store, day(2)).await;
    assert_eq!(rows(&prune(&store, day(1) - Span::seconds(1)).await), 0, "the day is not over");
    let amount = store.prunable(Prunable::Predictions, &expiry(day(3))).await.unwrap();
    assert_eq!(amount.rows, 4);
    let portions = prune(&store, day(3)).await;
    assert_eq!(rows(&portions), 4);
    assert_eq!(portions.iter().map(|portion| portion.removed.bytes).sum::<u64>(), amount.bytes);
    assert_eq!(
        database.places("predictions").await,
        ["predictions_2025_05_21"],
        "a round of it is not scored yet"
    );
    store.void_round(waiting.id, "crps/1", LedgerPosition::START, day(1), "nobody knows").await.unwrap();
    assert_eq!(rows(&prune(&store, day(3)).await), 4);
    assert!(database.places("predictions").await.is_empty());
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_reader_keeps_a_partition_and_nobody_waits_for_either() {
    let Some((database, store)) = Database::migrated().await else { return };
    let old = close_void(&store, day(0)).await;
    close_void(&store, day(1)).await;
    let mut connection = database.connect().await;
    let mut long = connection.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM predictions").execute(&mut *long).await.unwrap();

    let watch = Stopwatch::start();
    let pruning = tokio::spawn({
        let store = store.clone();
        async move { prune(&store, day(2)).await }
    });
    let mut longest = Duration::ZERO;
    while !pruning.is_finished() {
        let read = Stopwatch::start();
        store.predictions(old.id).await.unwrap();
        longest = longest.max(read.elapsed());
    }
    let portions = pruning.await.unwrap();
    assert!(portions[..2].iter().all(|portion| portion.is_busy), "{portions:?}");
    assert_eq!(rows(&portions), 0);
    assert!(watch.elapsed() < Duration::from_secs(5), "{:?}", watch.elapsed());
    // A tenth of a second, and what a busy machine adds.
    assert!(longest < Duration::from_secs(2), "{longest:?}");

    long.rollback().await.unwrap();
    assert_eq!(rows(&prune(&store, day(2)).await), 4);
    database.remove().await;
}

#[tokio::test]
async fn what_was_stored_before_there_were_partitions_becomes_the_first_one_as_it_is() {
    let Some(database) = Database::fresh().await else { return };
    let migrations: Migrator = sqlx::migrate!();
    let before = migrations.iter().filter(|migration| migration.version < 6).cloned().collect();
    let mut connection = database.connect().await;
    Migrator::with_migrations(before).run_direct(None, &mut connection, false).await.unwrap();
    let old = question(day(0) + Span::hours(23));
    for (model, asked) in [("a", day(0)), ("b", day(0) + Span::hours(23))] {
        let sql = "INSERT INTO predictions (round_id, model_id, status, answer) VALUES ($1, $2, 'SUCCESS', '\\x00')";
        let id = question(asked).id.as_uuid();
        sqlx::query(sql).bind(id).bind(model).execute(&mut connection).await.unwrap();
    }
    let file = "SELECT relfilenode::bigint FROM pg_class WHERE relname = $1";
    let file_before: i64 =
        sqlx::query_scalar(file).bind("predictions").fetch_one(&mut connection).await.unwrap();

    let store = database.open().await;
    store.migrate().await.unwrap();
    let file_after: i64 =
        sqlx::query_scalar(file).bind("predictions_before").fetch_one(&mut connection).await.unwrap();
    assert_eq!(file_before, file_after, "no row was written anew");
    assert_eq!(database.partitions("scores").await, ["scores_default"], "nothing was stored there");
    assert_eq!(store.predictions(old.id).await.unwrap().len(), 1);
    close_void(&store, day(0) + Span::hours(1)).await;
    close_void(&store, day(1)).await;
    assert_eq!(database.places("predictions").await, ["predictions_2025_05_21", "predictions_before"]);
    assert_eq!(rows(&prune(&store, day(1)).await), 4);
    assert_eq!(database.places("predictions").await, ["predictions_2025_05_21"]);
    assert_eq!(rows(&prune(&store, day(2)).await), 2);
    database.remove().await;
}
