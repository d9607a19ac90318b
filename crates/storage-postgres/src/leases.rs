//! Leases: what one process at a time may do.

use async_trait::async_trait;
use domain::Span;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use storage::{Hold, Lease, LeaseName, LeaseRepository, Result, StorageError};

use crate::PostgresStore;
use crate::errors::failed;

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

/// Takes a lease that the caller has or that nobody else has; returns its token.
const TAKE: &str = "INSERT INTO leases (name, holder, token, until)
     VALUES ($1, $2, 1, clock_timestamp() + $3)
     ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder, until = excluded.until,
         token = leases.token + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END
     WHERE leases.holder = excluded.holder OR leases.until IS NULL OR leases.until <= clock_timestamp()
     RETURNING token";

/// Fails unless the lease is still the newest; nobody takes it before the transaction ends.
pub(crate) async fn guard(connection: &mut PgConnection, lease: &Lease) -> Result<()> {
    let token: Option<i64> = sqlx::query_scalar("SELECT token FROM leases WHERE name = $1 FOR SHARE")
        .bind(lease.name.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    if token == Some(lease.token) { Ok(()) } else { Err(StorageError::LeaseLost(lease.name)) }
}

pub(crate) fn interval(span: Span) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::from(span.as_secs()) * 1_000_000 }
}
