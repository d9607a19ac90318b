//! Opens the database that an address names.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use storage::{StorageError, Store};
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;

use crate::config::redact_password;

/// Opens a database for reading and writing.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StorageError> {
    match scheme(url)? {
        Scheme::Sqlite => Ok(Arc::new(SqliteStore::open(url).await?)),
        Scheme::Postgres => Ok(Arc::new(PostgresStore::open(url).await?)),
    }
}

/// Opens a database for reading only.
pub async fn open_read_only(url: &str) -> Result<Arc<dyn Store>, StorageError> {
    match scheme(url)? {
        Scheme::Sqlite => Ok(Arc::new(SqliteStore::open_read_only(url).await?)),
        Scheme::Postgres => Ok(Arc::new(PostgresStore::open_read_only(url).await?)),
    }
}

/// Opens the database of a worker: an SQLite file is brought up to date, a PostgreSQL schema must be.
pub async fn open_for_worker(url: &str) -> anyhow::Result<Arc<dyn Store>> {
    let store = open(url).await?;
    if scheme(url)? == Scheme::Sqlite {
        store.migrate().await?;
    } else {
        wait_for_schema(store.as_ref()).await?;
    }
    Ok(store)
}

/// The schema must fit; a database that is away is waited for.
pub async fn wait_for_schema(store: &dyn Store) -> Result<(), StorageError> {
    loop {
        match store.check_schema().await {
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Held by the one predict worker of an SQLite database; the operating system takes it back when the process ends.
pub struct PredictLock(#[allow(dead_code, reason = "held, not read")] Option<File>);

/// Makes sure that no second predict worker writes to the same SQLite file.
pub fn lock_for_predict(url: &str) -> anyhow::Result<PredictLock> {
    if scheme(url)? != Scheme::Sqlite {
        return Ok(PredictLock(None));
    }
    let path = PathBuf::from(format!("{}.predict-lock", sqlite_path(url)));
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(PredictLock(Some(file))),
        Err(TryLockError::WouldBlock) => bail!(
            "another predict worker runs on {url}: an SQLite database takes one. Stop that one, or use PostgreSQL"
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Sqlite,
    Postgres,
}

fn scheme(url: &str) -> Result<Scheme, StorageError> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("sqlite") => Ok(Scheme::Sqlite),
        Some("postgres" | "postgresql") => Ok(Scheme::Postgres),
        _ => Err(StorageError::InvalidUrl { url: redact_password(url), why: "unknown scheme".into() }),
    }
}

fn sqlite_path(url: &str) -> &str {
    let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    path.split('?').next().unwrap_or(path)
}
