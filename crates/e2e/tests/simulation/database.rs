//! An empty database of either kind, opened by each process for itself.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use storage::{HolderId, Store};
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;
use tempfile::TempDir;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// An empty database, and the folder of its predict worker's journal.
pub struct Database {
    url: String,
    server: Option<String>,
    folder: TempDir,
}

impl Database {
    /// `None` where no server is named.
    pub fn fresh(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match kind {
            Kind::Sqlite => {
                let url = format!("sqlite://{}", folder.path().join("condor.db").display());
                Some(Database { url, server: None, folder })
            }
            Kind::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL").ok()?;
                let name = format!("simulation_{}", HolderId::random().as_str().replace('-', "_"));
                run_on(&server, format!("CREATE DATABASE {name}"));
                let (address, _) = server.rsplit_once('/').unwrap();
                Some(Database { url: format!("{address}/{name}"), server: Some(server), folder })
            }
        }
    }

    /// Opens it, as a process does.
    pub async fn open(&self) -> Arc<dyn Store> {
        match self.server {
            None => Arc::new(SqliteStore::open(&self.url).await.unwrap()),
            Some(_) => Arc::new(PostgresStore::open(&self.url).await.unwrap()),
        }
    }

    /// Where the predict worker's journal is.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            let (_, name) = self.url.rsplit_once('/').unwrap();
            run_on(server, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Runs a statement on a server, whatever runs in this thread.
fn run_on(server: &str, sql: String) {
    let server = server.to_owned();
    let statement = async move {
        let mut connection = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    crate::process::Process::start().run(statement);
}
