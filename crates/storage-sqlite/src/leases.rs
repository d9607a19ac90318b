//! Leases: what one process at a time may do.

use async_trait::async_trait;
use domain::Timestamp;
use sqlx::SqliteConnection;
use storage::{Hold, Lease, LeaseHolder, LeaseName, LeaseRepository, Result, StorageError};

use crate::SqliteStore;
use crate::errors::failed;
use crate::rows::{self, micros};

/// True for a lease that ran out by ?3, or that ends after ?4, later than one that is granted now.
macro_rules! is_over {
    () => {
        "(leases.until IS NULL OR leases.until <= ?3 OR leases.until > ?4)"
    };
}

#[async_trait]
impl LeaseRepository for SqliteStore {
    async fn take_lease(&self, name: LeaseName, hold: &Hold) -> Result<Option<Lease>> {
        // Who stands by asks again and again: reading keeps no writer waiting.
        let sql = concat!(
            "SELECT EXISTS (SELECT 1 FROM leases WHERE name = ?1 AND holder <> ?2 AND NOT ",
            is_over!(),
            ")"
        );
        let is_taken: bool = sqlx::query_scalar(sql)
            .bind(name.as_str())
            .bind(hold.by.as_str())
            .bind(micros(hold.now))
            .bind(end_of(hold))
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        if is_taken {
            return Ok(None);
        }
        let mut turn = self.writer.turn().await?;
        let token: Option<i64> = sqlx::query_scalar(TAKE)
            .bind(name.as_str())
            .bind(hold.by.as_str())
            .bind(micros(hold.now))
            .bind(end_of(hold))
            .fetch_optional(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await?;
        Ok(token.map(|token| Lease { name, token }))
    }

    async fn succeed_lease(&self, dead: &Lease, hold: &Hold) -> Result<Option<Lease>> {
        let mut turn = self.writer.turn().await?;
        let sql = "UPDATE leases SET holder = ?3, token = token + 1, until = ?4, since = ?5
                   WHERE name = ?1 AND token = ?2 RETURNING token";
        let token: Option<i64> = sqlx::query_scalar(sql)
            .bind(dead.name.as_str())
            .bind(dead.token)
            .bind(hold.by.as_str())
            .bind(end_of(hold))
            .bind(micros(hold.now))
            .fetch_optional(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await?;
        Ok(token.map(|token| Lease { name: dead.name, token }))
    }

    async fn lease_holder(&self, name: LeaseName, now: Timestamp) -> Result<Option<LeaseHolder>> {
        let sql = "SELECT name, holder, since FROM leases WHERE name = ?1 AND until > ?2";
        let query = sqlx::query(sql).bind(name.as_str()).bind(micros(now));
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
        row.as_ref().map(rows::lease_holder).transpose()
    }

    async fn renew_lease(&self, lease: &Lease, hold: &Hold) -> Result<bool> {
        let mut turn = self.writer.turn().await?;
        let result = sqlx::query("UPDATE leases SET until = ?3 WHERE name = ?1 AND token = ?2")
            .bind(lease.name.as_str())
            .bind(lease.token)
            .bind(end_of(hold))
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await?;
        Ok(result.rows_affected() == 1)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        sqlx::query("UPDATE leases SET until = NULL WHERE name = ?1 AND token = ?2")
            .bind(lease.name.as_str())
            .bind(lease.token)
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await
    }
}

/// Takes a lease that the caller has or that nobody else has; returns its token.
const TAKE: &str = concat!(
    "INSERT INTO leases (name, holder, token, until, since) VALUES (?1, ?2, 1, ?4, ?3)
     ON CONFLICT (name) DO UPDATE
     SET holder = excluded.holder, until = excluded.until,
         since = CASE WHEN leases.holder = excluded.holder THEN leases.since ELSE excluded.since END,
         token = leases.token + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END
     WHERE leases.holder = excluded.holder OR ",
    is_over!(),
    " RETURNING token"
);

/// Fails unless the lease is still the newest, within a transaction that writes.
pub(crate) async fn guard(connection: &mut SqliteConnection, lease: &Lease) -> Result<()> {
    let token: Option<i64> = sqlx::query_scalar("SELECT token FROM leases WHERE name = ?1")
        .bind(lease.name.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    if token == Some(lease.token) { Ok(()) } else { Err(StorageError::LeaseLost(lease.name)) }
}

/// When something ends that is granted now, in microseconds: an instant past the last one that can be told is no error.
pub(crate) fn end_of(hold: &Hold) -> i64 {
    micros(hold.now).saturating_add(i64::from(hold.lasts.as_secs()) * 1_000_000)
}
