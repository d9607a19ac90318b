//! SQLite passes the tests that every database passes.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use storage::conformance::TestDatabase;
use storage::{ReportStore, Store};
use storage_sqlite::SqliteStore;
use tempfile::TempDir;

struct SqliteDatabase(TempDir);

impl SqliteDatabase {
    fn url(&self) -> String {
        format!("sqlite://{}", self.0.path().join("condor.db").display())
    }
}

#[async_trait::async_trait]
impl TestDatabase for SqliteDatabase {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.url()).await.unwrap())
    }

    async fn open_read_only(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open_read_only(&self.url()).await.unwrap())
    }

    async fn open_for_report(&self) -> Arc<dyn ReportStore> {
        Arc::new(SqliteStore::open_read_only(&self.url()).await.unwrap())
    }

    async fn execute(&self, sql: &'static str) {
        let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn remove(&self) {
        // The folder goes when this is dropped.
    }
}

async fn fresh_database() -> Option<SqliteDatabase> {
    Some(SqliteDatabase(tempfile::tempdir().unwrap()))
}

storage::conformance_tests!(fresh_database);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and a gigabyte: for figures, with --ignored --nocapture"]
async fn a_day_of_a_thousand_models_leaves() {
    if let Some(database) = fresh_database().await {
        storage::conformance::a_day_of_a_thousand_models_leaves(&database, 1500).await;
        database.remove().await;
    }
}
