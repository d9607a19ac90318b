//! Claims: which score worker works on which round.
//!
//! No statement here waits for a row that somebody else has locked: it leaves that row out.

use std::cmp::Reverse;

use async_trait::async_trait;
use domain::{Question, Timestamp};
use sqlx::postgres::PgRow;
use storage::{ClaimRepository, Hold, HolderId, OutdatedRounds, Result};

use crate::PostgresStore;
use crate::errors::failed;
use crate::leases::interval;
use crate::rows::{self, Reader, limit_of, stored};

/// Claims rounds for $1 that lasts $2, of which the rest of the statement says which and how many, by the clock $3. It is
/// for rounds that are free and not deferred.
macro_rules! claim {
    ($which:expr) => {
        concat!(
            "WITH free AS MATERIALIZED (
                 SELECT round_id FROM rounds
                 WHERE (claimed_until IS NULL OR claimed_until <= clock_timestamp() OR claimed_by = $1)
                   AND (score_after IS NULL OR score_after <= $3) AND ",
            $which,
            " FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE rounds SET claimed_by = $1, claimed_until = clock_timestamp() + $2
             FROM free WHERE rounds.round_id = free.round_id RETURNING rounds.*"
        )
    };
}

/// The rounds that resolved after `$resolved_after` and were scored or voided by another rule than `$rule`, or by a price that
/// was corrected since, but for those that an operator voided.
macro_rules! outdated {
    ($rule:literal, $resolved_after:literal) => {
        concat!(
            "state IN ('scored', 'void') AND rule IS DISTINCT FROM 'by hand' AND resolves_at > ",
            $resolved_after,
            " AND (corrected_by > coalesce(priced_up_to, 0) OR rule IS DISTINCT FROM ",
            $rule,
            ")"
        )
    };
}

#[async_trait]
impl ClaimRepository for PostgresStore {
    async fn claim_ready(&self, hold: &Hold, limit: usize) -> Result<Vec<Question>> {
        let sql = claim!("state = 'closed' AND resolves_at <= $3 ORDER BY resolves_at, round_id LIMIT $4");
        let rows = sqlx::query(sql)
            .bind(hold.by.as_str())
            .bind(interval(hold.lasts))
            .bind(stored(hold.now))
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut claimed = questions(&rows)?;
        claimed.sort_by_key(|question| (question.resolves_at(), question.id));
        Ok(claimed)
    }

    async fn claim_outdated(
        &self,
        hold: &Hold,
        rule: &str,
        resolved_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<Question>> {
        let sql = claim!(concat!(outdated!("$5", "$6"), " ORDER BY resolves_at DESC, round_id LIMIT $4"));
        let rows = sqlx::query(sql)
            .bind(hold.by.as_str())
            .bind(interval(hold.lasts))
            .bind(stored(hold.now))
            .bind(limit_of(limit))
            .bind(rule)
            .bind(stored(resolved_after))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let mut claimed = questions(&rows)?;
        claimed.sort_by_key(|question| (Reverse(question.resolves_at()), question.id));
        Ok(claimed)
    }

    async fn outdated_rounds(
        &self,
        rule: &str,
        resolved_after: Timestamp,
        now: Timestamp,
    ) -> Result<OutdatedRounds> {
        let sql = concat!(
            "SELECT count(*), count(*) FILTER (WHERE score_after IS NULL OR score_after <= $3)
             FROM rounds WHERE ",
            outdated!("$1", "$2")
        );
        let (all, due): (i64, i64) = sqlx::query_as(sql)
            .bind(rule)
            .bind(stored(resolved_after))
            .bind(stored(now))
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        Ok(OutdatedRounds { all: all.unsigned_abs(), due: due.unsigned_abs() })
    }

    async fn first_ready(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT round_id, resolves_at FROM rounds
                   WHERE state = 'closed' AND resolves_at <= $1 AND (score_after IS NULL OR score_after <= $1)
                   ORDER BY resolves_at LIMIT 1";
        let row = sqlx::query(sql).bind(stored(now)).fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("resolves_at")).transpose()
    }

    async fn renew_claims(&self, hold: &Hold) -> Result<()> {
        sqlx::query(
            "WITH held AS MATERIALIZED (
                 SELECT round_id FROM rounds WHERE claimed_by = $1 FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE rounds SET claimed_until = clock_timestamp() + $2
             FROM held WHERE rounds.round_id = held.round_id",
        )
        .bind(hold.by.as_str())
        .bind(interval(hold.lasts))
        .execute(&self.pool)
        .await
        .map_err(failed)
        .map(drop)
    }

    async fn release_claims(&self, by: &HolderId) -> Result<()> {
        sqlx::query(
            "WITH held AS MATERIALIZED (
                 SELECT round_id FROM rounds WHERE claimed_by = $1 FOR NO KEY UPDATE SKIP LOCKED)
             UPDATE rounds SET claimed_by = NULL, claimed_until = NULL
             FROM held WHERE rounds.round_id = held.round_id",
        )
        .bind(by.as_str())
        .execute(&self.pool)
        .await
        .map_err(failed)
        .map(drop)
    }
}

fn questions(rows: &[PgRow]) -> Result<Vec<Question>> {
    rows.iter().map(rows::question).collect()
}
