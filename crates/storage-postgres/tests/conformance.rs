//! PostgreSQL passes the tests that every database passes.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::{Arc, Once};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use storage::conformance::TestDatabase;
use storage::{ReportStore, Store};
use storage_postgres::PostgresStore;
use uuid::Uuid;

/// A database of its own for each test, on the server that `TEST_POSTGRES_URL` names.
struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    fn url(&self) -> String {
        self.server.clone().database(&self.name).to_url_lossy().to_string()
    }

    async fn run_on_server(&self, sql: String) {
        let mut connection = self.server.connect().await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[async_trait::async_trait]
impl TestDatabase for PostgresDatabase {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&self.url()).await.unwrap())
    }

    async fn open_read_only(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open_read_only(&self.url()).await.unwrap())
    }

    async fn open_for_report(&self) -> Arc<dyn ReportStore> {
        Arc::new(PostgresStore::open_read_only(&self.url()).await.unwrap())
    }

    async fn execute(&self, sql: &'static str) {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn remove(&self) {
        self.run_on_server(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn fresh_database() -> Option<PostgresDatabase> {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else {
        static SAID: Once = Once::new();
        SAID.call_once(|| println!("skipped: TEST_POSTGRES_URL is not set (cargo xtask test sets it)"));
        return None;
    };
    let name = format!("condor_test_{}", Uuid::new_v4().simple());
    let database = PostgresDatabase { server: url.parse().unwrap(), name };
    // A sort order unlike that of bytes, so that no test passes by luck.
    let name = &database.name;
    let sql = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en'"
    );
    database.run_on_server(sql).await;
    Some(database)
}

storage::conformance_tests!(fresh_database);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a gigabyte: for figures, with --ignored --nocapture"]
async fn a_day_of_a_thousand_models_leaves() {
    if let Some(database) = fresh_database().await {
        storage::conformance::a_day_of_a_thousand_models_leaves(&database, 0).await;
        database.remove().await;
    }
}
