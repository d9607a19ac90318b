//! An empty database of each kind.

use std::path::Path;

use sqlx::{Connection, PgConnection};

/// An empty database.
pub struct Database {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// Its address.
    pub url: String,
}

/// One of each kind, or of the one that `E2E_DATABASE` names; the SQLite file is in `folder`. PostgreSQL is left out, with a
/// word, when no server is named.
pub async fn databases(folder: &Path, name: &str) -> Vec<Database> {
    let mut all =
        vec![Database { kind: "sqlite", url: format!("sqlite://{}", folder.join("condor.db").display()) }];
    match std::env::var("TEST_POSTGRES_URL") {
        Ok(server) => all.push(Database { kind: "postgres", url: create_database(&server, name).await }),
        Err(_) => {
            println!("skipped on PostgreSQL: TEST_POSTGRES_URL is not set (cargo xtask test sets it)")
        }
    }
    let wanted: String = crate::setting("E2E_DATABASE", String::new());
    all.retain(|database| wanted.is_empty() || database.kind == wanted);
    all
}

async fn create_database(server: &str, name: &str) -> String {
    let name = format!("e2e_{name}_{}", std::process::id());
    let mut connection = PgConnection::connect(server).await.unwrap();
    for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    let (server, _) = server.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}
