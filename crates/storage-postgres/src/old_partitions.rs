//! Partitions that are old leave as a whole.

use domain::{RoundId, Timestamp};
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use storage::{Amount, Expiry, Place, Portion, Result, StorageError};
use uuid::Uuid;

use crate::errors::failed;
use crate::partitions::{limit_waiting, partitions};
use crate::rows::{self, stored};

/// True of a round that is still to be scored or that resolved after `$needed_after`: nothing of it may go.
macro_rules! is_needed {
    ($needed_after:literal) => {
        concat!("(rounds.state IN ('asked', 'closed') OR rounds.resolves_at > ", $needed_after, ")")
    };
}
pub(crate) use is_needed;

/// A partition that may go.
#[derive(Debug, FromRow)]
pub(crate) struct OldPartition {
    name: String,
    lower: Uuid,
    upper: Uuid,
}

/// The partitions of a table that lie after `after` and hold old rounds alone, none of which is needed; oldest first.
pub(crate) async fn old(
    pool: &PgPool,
    table: &str,
    expiry: &Expiry,
    after: Uuid,
) -> Result<Vec<OldPartition>> {
    let sql = concat!(
        "SELECT * FROM ",
        partitions!(),
        " WHERE upper > $2 AND upper <= $3
            AND NOT EXISTS (SELECT 1 FROM rounds WHERE round_id >= lower AND round_id < upper AND ",
        is_needed!("$4"),
        ") ORDER BY upper"
    );
    sqlx::query_as(sql)
        .bind(table)
        .bind(after)
        .bind(RoundId::first_at(expiry.before).as_uuid())
        .bind(stored(expiry.needed_after))
        .fetch_all(pool)
        .await
        .map_err(failed)
}

impl OldPartition {
    /// What it holds: nothing when others have dropped it.
    pub(crate) async fn amount(&self, pool: &PgPool) -> Result<Amount> {
        let sql = format!(
            "SELECT count(*) AS rows, pg_total_relation_size($1::text::regclass) AS bytes FROM {}",
            self.name
        );
        match sqlx::query(AssertSqlSafe(sql)).bind(&self.name).fetch_one(pool).await.map_err(failed) {
            Ok(row) => rows::amount(&row),
            Err(error) if has_code(&error, UNDEFINED_TABLE) => Ok(Amount::default()),
            Err(error) => Err(error),
        }
    }

    /// Drops it, unless others use it, have dropped it, or need it by now.
    pub(crate) async fn remove(
        &self,
        pool: &PgPool,
        table: &str,
        needed_after: Timestamp,
    ) -> Result<Portion> {
        let next = Place::After(RoundId::from_uuid(self.upper), None);
        let portion = |removed, is_busy| Portion { removed, is_busy, next };
        match self.count_and_drop(pool, table, needed_after).await {
            Ok(removed) => Ok(portion(removed, false)),
            Err(error) if has_code(&error, LOCK_NOT_AVAILABLE) => Ok(portion(Amount::default(), true)),
            Err(error) if has_code(&error, UNDEFINED_TABLE) => Ok(portion(Amount::default(), false)),
            Err(error) => Err(error),
        }
    }

    async fn count_and_drop(&self, pool: &PgPool, table: &str, needed_after: Timestamp) -> Result<Amount> {
        let amount = self.amount(pool).await?;
        let is_dropped = self.drop(pool, table, needed_after).await?;
        Ok(if is_dropped { amount } else { Amount::default() })
    }

    /// Drops it in one transaction, so that no crash leaves it half gone; false when a round of it is needed by now. To detach
    /// it first, and concurrently, is what PostgreSQL refuses for a table with a default partition.
    async fn drop(&self, pool: &PgPool, table: &str, needed_after: Timestamp) -> Result<bool> {
        let mut transaction = pool.begin().await.map_err(failed)?;
        limit_waiting(&mut transaction).await?;
        // From here on nobody stores a round in it: who is about to waits, and then finds the default partition.
        let lock = format!("LOCK TABLE ONLY {table}, {} IN ACCESS EXCLUSIVE MODE", self.name);
        sqlx::query(AssertSqlSafe(lock)).execute(&mut *transaction).await.map_err(failed)?;
        let is_needed: bool = sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM rounds WHERE round_id >= $1 AND round_id < $2 AND ",
            is_needed!("$3"),
            ")"
        ))
        .bind(self.lower)
        .bind(self.upper)
        .bind(stored(needed_after))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
        if is_needed {
            return Ok(false);
        }
        let drop = format!("DROP TABLE {}", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(true)
    }
}

const LOCK_NOT_AVAILABLE: &str = "55P03";
const UNDEFINED_TABLE: &str = "42P01";

fn has_code(error: &StorageError, code: &str) -> bool {
    let (StorageError::Unavailable(source) | StorageError::Refused(source)) = error else { return false };
    let error = source.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    error.and_then(|error| error.code()).is_some_and(|found| found == code)
}
