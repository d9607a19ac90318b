//! A PostgreSQL database for one test.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use storage::{HolderId, Store};
use storage_postgres::PostgresStore;

pub struct Postgres {
    server: String,
    name: String,
}

impl Postgres {
    /// An empty one, on the server that `TEST_POSTGRES_URL` names.
    pub async fn fresh() -> Option<Self> {
        let Ok(server) = std::env::var("TEST_POSTGRES_URL") else {
            println!("skipped on PostgreSQL: TEST_POSTGRES_URL is not set (cargo xtask test sets it)");
            return None;
        };
        let name = format!("score_{}", HolderId::random().as_str().replace('-', "_"));
        let database = Postgres { server, name };
        database.run(format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    /// Opens it, as a process of its own would.
    pub async fn open(&self) -> Arc<dyn Store> {
        let (server, _) = self.server.rsplit_once('/').unwrap();
        Arc::new(PostgresStore::open(&format!("{server}/{}", self.name)).await.unwrap())
    }

    pub async fn remove(self) {
        self.run(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn run(&self, sql: String) {
        let mut connection = PgConnection::connect(&self.server).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}
