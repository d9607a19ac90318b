//! The embedded store: SQLite, one machine, several processes.
//!
//! The database runs in WAL mode, where readers and the writer do not wait for each other. Each process writes through
//! one connection, in transactions that take the write lock when they begin (`BEGIN IMMEDIATE`), so that none fails half
//! way; reads go through a few others and hold a snapshot no longer than one method takes.

mod browse;
mod changes;
mod claims;
mod connect;
mod corrections;
mod errors;
mod leases;
mod models;
mod operations;
mod operator;
mod prices;
mod reports;
mod retention;
mod roll_ups;
mod rounds;
mod rows;
mod settings;
mod standings;
mod writer;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};
use storage::{Counts, Lease, Result, StorageError, Store};

use crate::errors::{failed, migration_failed};
use crate::rows::counted;
use crate::writer::{Turn, Writer};

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!();

/// How many rows one statement inserts at most; SQLite takes up to 32,766 values in one.
pub(crate) const ROWS_PER_STATEMENT: usize = 1000;

/// A SQLite database.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: Arc<Writer>,
    readers: SqlitePool,
    /// What the writes of the one leader need.
    lead: Option<Lease>,
}

impl SqliteStore {
    /// Opens the database at `sqlite://relative.db` or `sqlite:///absolute.db`; makes the file and its folder when they
    /// are missing. The schema is left as it is.
    pub async fn open(url: &str) -> Result<Self> {
        let path = connect::path_of(url)?;
        connect::create(url, &path).await?;
        Ok(Self::connect(&path, false))
    }

    /// Opens an existing database for reading: every write is refused.
    pub async fn open_read_only(url: &str) -> Result<Self> {
        let path = connect::path_of(url)?;
        if !path.exists() {
            return Err(StorageError::SchemaTooOld { found: 0, needed: newest_version() });
        }
        Ok(Self::connect(&path, true))
    }

    fn connect(path: &Path, read_only: bool) -> Self {
        SqliteStore {
            writer: Arc::new(Writer::new(connect::options(path, read_only))),
            readers: connect::readers(path),
            lead: None,
        }
    }

    /// Waits for its turn to write so many rows of a kind: in one statement, or in several that are one transaction.
    pub(crate) async fn turn_for(&self, rows: usize) -> Result<Turn<'_>> {
        if rows <= ROWS_PER_STATEMENT { self.writer.turn().await } else { self.writer.begin().await }
    }

    /// The same for what the one leader may write.
    pub(crate) async fn turn_as_leader(&self, rows: usize) -> Result<Turn<'_>> {
        if self.lead.is_some() { self.begin_as_leader().await } else { self.turn_for(rows).await }
    }

    /// The same for several statements, as one transaction.
    pub(crate) async fn begin_as_leader(&self) -> Result<Turn<'_>> {
        let mut turn = self.writer.begin().await?;
        if let Some(lead) = &self.lead {
            leases::guard(&mut turn, lead).await?;
        }
        Ok(turn)
    }

    /// Begins a transaction whose reads all see the same state.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>> {
        self.readers.begin().await.map_err(failed)
    }
}

/// The version of the newest migration.
pub(crate) fn newest_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The version of the schema; 0 for a database without one.
async fn schema_version(connection: &mut SqliteConnection) -> Result<i64> {
    let is_migrated = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations')";
    if !sqlx::query_scalar::<_, bool>(is_migrated).fetch_one(&mut *connection).await.map_err(failed)? {
        return Ok(0);
    }
    let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(version.unwrap_or(0))
}

#[async_trait]
impl Store for SqliteStore {
    async fn migrate(&self) -> Result<()> {
        // All in one transaction, which is the lock: a second process waits here and then finds nothing to do.
        let mut turn = self.writer.turn().await?;
        let mut transaction = turn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        MIGRATOR.run_direct(None, &mut *transaction, false).await.map_err(migration_failed)?;
        transaction.commit().await.map_err(failed)?;
        turn.finish().await
    }

    async fn check_schema(&self) -> Result<()> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let (found, known) = (schema_version(&mut connection).await?, newest_version());
        match found.cmp(&known) {
            std::cmp::Ordering::Less => Err(StorageError::SchemaTooOld { found, needed: known }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(StorageError::SchemaTooNew { found, known }),
        }
    }

    fn known_schema(&self) -> i64 {
        newest_version()
    }

    fn led_by(&self, lease: &Lease) -> Arc<dyn Store> {
        Arc::new(SqliteStore { lead: Some(lease.clone()), ..self.clone() })
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(failed).map(drop)
    }

    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        let mut snapshot = self.snapshot().await?;
        let mut counts = Counts::default();
        rounds::count(&mut snapshot, active_since, &mut counts).await?;
        let (models, active_models) = models::count(&mut snapshot, active_since).await?;
        let size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        Ok(Counts {
            models,
            active_models,
            prices: counted(&mut snapshot, "SELECT count(*) FROM prices").await?,
            size_bytes: counted(&mut snapshot, size).await?,
            schema_version: schema_version(&mut snapshot).await?,
            ..counts
        })
    }
}
