//! The production store: PostgreSQL, several processes on several machines.
//!
//! Every method is one transaction at the default isolation (read committed); rows are locked in the order of their
//! keys, so that no two writers wait for each other. Connections are made when they are needed, so that a worker starts
//! while the database is away.

mod browse;
mod changes;
mod claims;
mod connect;
mod corrections;
mod errors;
mod leases;
mod models;
mod old_partitions;
mod operations;
mod operator;
mod partitions;
mod prices;
mod reports;
mod retention;
mod roll_ups;
mod rounds;
mod rows;
mod settings;
mod standings;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use storage::{Counts, Lease, Result, StorageError, Store};

use crate::errors::{failed, migration_failed};
use crate::partitions::Partitions;
use crate::rows::counted;

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!();

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    pool: PgPool,
    partitions: Arc<Partitions>,
    /// What the writes of the one leader need.
    lead: Option<Lease>,
}

impl PostgresStore {
    /// Prepares to use the database at `postgres://user:password@host:port/name`. Nothing is sent before the first use;
    /// the schema is left as it is.
    pub async fn open(url: &str) -> Result<Self> {
        Self::connect(url, false)
    }

    /// The same for reading: every write is refused.
    pub async fn open_read_only(url: &str) -> Result<Self> {
        Self::connect(url, true)
    }

    fn connect(url: &str, read_only: bool) -> Result<Self> {
        Ok(PostgresStore { pool: connect::pool(url, read_only)?, partitions: Arc::default(), lead: None })
    }

    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.pool.begin().await.map_err(failed)
    }

    /// Begins a transaction that writes what the one leader may.
    pub(crate) async fn begin_as_leader(&self) -> Result<Transaction<'static, Postgres>> {
        let mut transaction = self.begin().await?;
        if let Some(lead) = &self.lead {
            leases::guard(&mut transaction, lead).await?;
        }
        Ok(transaction)
    }

    /// Begins a transaction whose reads all see the same state.
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Postgres>> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.pool.begin_with(begin).await.map_err(failed)
    }
}

/// The version of the newest migration.
pub(crate) fn newest_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The version of the schema; 0 for a database without one.
async fn schema_version(connection: &mut PgConnection) -> Result<i64> {
    let is_migrated = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
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
impl Store for PostgresStore {
    async fn migrate(&self) -> Result<()> {
        // Migrations run one process at a time under an advisory lock. It belongs to the connection, which is therefore
        // closed afterwards: a failed migration would leave the lock behind in the pool.
        let mut connection = self.pool.acquire().await.map_err(failed)?.detach();
        let result = MIGRATOR.run_direct(None, &mut connection, false).await.map_err(migration_failed);
        let closed = connection.close().await.map_err(failed);
        result.and(closed)
    }

    async fn check_schema(&self) -> Result<()> {
        let mut connection = self.pool.acquire().await.map_err(failed)?;
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
        Arc::new(PostgresStore { lead: Some(lease.clone()), ..self.clone() })
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map_err(failed).map(drop)
    }

    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        let mut snapshot = self.snapshot().await?;
        let mut counts = Counts::default();
        rounds::count(&mut snapshot, active_since, &mut counts).await?;
        let (models, active_models) = models::count(&mut snapshot, active_since).await?;
        let size = "SELECT pg_database_size(current_database())";
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
