//! Opens the database that an address names.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use storage::{InterceptedStore, Patience, ReportStore, StorageError, Store, without_secrets};
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;

use crate::config::DatabaseConfig;
use crate::waiting::DatabaseWait;

/// How often a database that is away is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Opens a database for reading and writing.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StorageError> {
    match scheme(url)? {
        Scheme::Sqlite => Ok(Arc::new(SqliteStore::open(url).await?)),
        Scheme::Postgres => Ok(Arc::new(PostgresStore::open(url).await?)),
    }
}

/// Opens a database for reading only.
pub async fn open_read_only(url: &str) -> Result<Arc<dyn ReportStore>, StorageError> {
    match scheme(url)? {
        Scheme::Sqlite => Ok(Arc::new(SqliteStore::open_read_only(url).await?)),
        Scheme::Postgres => Ok(Arc::new(PostgresStore::open_read_only(url).await?)),
    }
}

/// Opens the database of a worker. A new SQLite file gets its schema; any other must have the one of this program: it is brought
/// up to date by hand, when no worker of the program before runs any more. Returns when the database is there; `wait` says
/// meanwhile that it is not.
pub async fn open_for_worker(config: &DatabaseConfig, wait: &DatabaseWait) -> anyhow::Result<Arc<dyn Store>> {
    let (store, scheme) = (open(&config.url).await?, scheme(&config.url)?);
    let store: Arc<dyn Store> = match scheme {
        Scheme::Sqlite => store,
        Scheme::Postgres => {
            let patience = Patience(config.answer_timeout.as_duration());
            Arc::new(InterceptedStore::new(store, patience))
        }
    };
    match wait_for_schema(store.as_ref(), wait).await {
        Err(StorageError::SchemaTooOld { found: 0, .. }) if scheme == Scheme::Sqlite => {
            store.migrate().await?
        }
        checked => checked?,
    }
    Ok(store)
}

/// How often a worker looks whether its database is still for it.
const LOOK_AT_SCHEMA: Duration = Duration::from_secs(5);

/// Ends a worker that writes when its database was migrated, or restored, under it: cancels `shutdown` and says why. Without
/// that, it ends with `shutdown`.
///
/// What it writes until then is none the worse for it: a migration first adds, and takes away only what no program of the version
/// before needs. But what it reads may be what it does not know.
pub async fn watch_schema(store: Arc<dyn Store>, shutdown: CancellationToken) -> Result<(), StorageError> {
    while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_AT_SCHEMA)).await.is_some() {
        // A database that is away is its users' matter.
        if let Err(error @ (StorageError::SchemaTooNew { .. } | StorageError::SchemaTooOld { .. })) =
            store.check_schema().await
        {
            tracing::error!(%error, "the database was changed under this worker, which ends: {error}");
            shutdown.cancel();
            return Err(error);
        }
    }
    Ok(())
}

/// The schema must fit; a database that is away is waited for.
async fn wait_for_schema(store: &dyn Store, wait: &DatabaseWait) -> Result<(), StorageError> {
    loop {
        match store.check_schema().await {
            Err(error) if error.is_transient() => wait.note(&error),
            outcome => {
                wait.end();
                return outcome;
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What tells one database from another, without secrets: the absolute path of an SQLite file, or a server's address.
pub fn identity(url: &str) -> std::io::Result<String> {
    match url.strip_prefix("sqlite://") {
        Some(path) => Ok(format!("sqlite://{}", std::path::absolute(path)?.display())),
        None => Ok(without_secrets(url)),
    }
}

/// True for a database that processes on several machines may use.
pub fn is_shared(url: &str) -> bool {
    matches!(scheme(url), Ok(Scheme::Postgres))
}

/// Held by the one predict worker of an SQLite database; the operating system takes it back when the process ends.
pub struct PredictLock(#[allow(dead_code, reason = "held, not read")] Option<File>);

/// Makes sure that no second predict worker or replay writes to the same SQLite file, which has been opened before.
pub fn lock_for_predict(url: &str) -> anyhow::Result<PredictLock> {
    let Some(path) = url.strip_prefix("sqlite://") else { return Ok(PredictLock(None)) };
    let held = format!("another predict worker or replay writes to {url}: stop it first");
    Ok(PredictLock(Some(lock_file(Path::new(&format!("{path}.predict-lock")), &held)?)))
}

/// Locks a file for as long as it is kept open; `held` is the error when another process has it.
pub fn lock_file(path: &Path, held: &str) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(anyhow!("{held}")),
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
        _ => Err(StorageError::invalid_url(url, "unknown scheme")),
    }
}
