//! Leases: what one process at a time may do.

use async_trait::async_trait;
use domain::{Span, Timestamp};
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use storage::{Hold, Lease, LeaseHolder, LeaseName, LeaseRepository, Result, StorageError};

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows;

#[async_trait]
impl LeaseRepository for PostgresStore {
    async fn take_lease(&self, name: LeaseName, hold: &Hold) -> Result<Option<Lease>> {
        // Who stands by asks again and again: reading leaves no trace in the table.
        let sql = "SELECT EXISTS (SELECT 1 FROM leases
                                  WHERE name = $1 AND holder <> $2 AND until > clock_timestamp())";
        let is_taken: bool = sqlx::query_scalar(sql)
            .bind(name.as_str())
            .bind(hold.by.as_str())
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        if is_taken {
            return Ok(None);
        }
        let token: Option<i64> = sqlx::query_scalar(TAKE)
            .bind(name.as_str())
            .bind(hold.by.as_str())
            .bind(interval(hold.lasts))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        Ok(token.map(|token| Lease { name, token }))
    }

    async fn succeed_lease(&self, dead: &Lease, hold: &Hold) -> Result<Option<Lease>> {
        let sql = "UPDATE leases SET holder = $3, token = token + 1, until = clock_timestamp() + $4,
                                     since = clock_timestamp()
                   WHERE name = $1 AND token = $2 RETURNING token";
        let token: Option<i64> = sqlx::query_scalar(sql)
            .bind(dead.name.as_str())
            .bind(dead.token)
            .bind(hold.by.as_str())
            .bind(interval(hold.lasts))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        Ok(token.map(|token| Lease { name: dead.name, token }))
    }

    async fn lease_holder(&self, name: LeaseName, _now: Timestamp) -> Result<Option<LeaseHolder>> {
        let sql = "SELECT name, holder, since FROM leases WHERE name = $1 AND until > clock_timestamp()";
        let row = sqlx::query(sql).bind(name.as_str()).fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(rows::lease_holder).transpose()
    }

    async fn renew_lease(&self, lease: &Lease, hold: &Hold) -> Result<bool> {
        let sql = "UPDATE leases SET until = clock_timestamp() + $3 WHERE name = $1 AND token = $2";
        let result = sqlx::query(sql)
            .bind(lease.name.as_str())
            .bind(lease.token)
            .bind(interval(hold.lasts))
            .execute(&self.pool)
            .await
            .map_err(failed)?;
        Ok(result.rows_affected() == 1)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        sqlx::query("UPDATE leases SET until = NULL WHERE name = $1 AND token = $2")
            .bind(lease.name.as_str())
            .bind(lease.token)
            .execute(&self.pool)
            .await
            .map_err(failed)
            .map(drop)
    }
}

/// How long the holder of a lease may fall silent in a transaction.
const SILENCE_OF_HOLDERS: &str = "2s";

/// Takes a lease that the caller has or that nobody else has; returns its token.
const TAKE: &str = "INSERT INTO leases (name, holder, token, until, since)
     VALUES ($1, $2, 1, clock_timestamp() + $3, clock_timestamp())
     ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder, until = excluded.until,
         since = CASE WHEN leases.holder = excluded.holder THEN leases.since ELSE excluded.since END,
         token = leases.token + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END
     WHERE leases.holder = excluded.holder OR leases.until IS NULL OR leases.until <= clock_timestamp()
     RETURNING token";

/// Fails unless the lease is still the newest; nobody takes it before the transaction ends. The server ends the
/// transaction of a holder that falls silent in it, so that a connection that is cut there keeps nobody from taking the lease.
pub(crate) async fn guard(connection: &mut PgConnection, lease: &Lease) -> Result<()> {
    let sql = "SELECT token, set_config('idle_in_transaction_session_timeout', $2, true)
               FROM leases WHERE name = $1 FOR SHARE";
    let token: Option<i64> = sqlx::query_scalar(sql)
        .bind(lease.name.as_str())
        .bind(SILENCE_OF_HOLDERS)
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    if token == Some(lease.token) { Ok(()) } else { Err(StorageError::LeaseLost(lease.name)) }
}

pub(crate) fn interval(span: Span) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::from(span.as_secs()) * 1_000_000 }
}
