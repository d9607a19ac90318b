//! Claims: which score worker works on which round.

use std::cmp::Reverse;

use async_trait::async_trait;
use domain::{Question, Timestamp};
use sqlx::sqlite::SqliteRow;
use storage::{ClaimRepository, Hold, HolderId, OutdatedRounds, Result};

use crate::SqliteStore;
use crate::errors::failed;
use crate::leases::end_of;
use crate::rows::{self, Reader, limit_of, micros};

/// True at ?2 for a round that is free for ?1 and not deferred; a claim that is granted now ends at ?3.
macro_rules! is_free {
    () => {
        "(claimed_until IS NULL OR claimed_until <= ?2 OR claimed_until > ?3 OR claimed_by = ?1)
         AND (score_after IS NULL OR score_after <= ?2)"
    };
}

macro_rules! is_ready {
    () => {
        concat!("state = 'closed' AND resolves_at <= ?2 AND ", is_free!())
    };
}

/// The rounds that resolved after `$resolved_after` and were scored or voided by another rule than `$rule`, or by a price that
/// was corrected since, but for those that an operator voided.
macro_rules! is_outdated {
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

/// Claims for ?1 until ?3 the rounds that the rest of the statement picks.
macro_rules! claim {
    ($which:expr) => {
        concat!(
            "UPDATE rounds SET claimed_by = ?1, claimed_until = ?3
             WHERE round_id IN (SELECT round_id FROM rounds WHERE ",
            $which,
            ") RETURNING *"
        )
    };
}

#[async_trait]
impl ClaimRepository for SqliteStore {
    async fn claim_ready(&self, hold: &Hold, limit: usize) -> Result<Vec<Question>> {
        // Most often nothing is ready: that is for a reader to find out, who keeps no writer waiting.
        let any = concat!("SELECT EXISTS (SELECT 1 FROM rounds WHERE ", is_ready!(), ")");
        let any: bool = sqlx::query_scalar(any)
            .bind(hold.by.as_str())
            .bind(micros(hold.now))
            .bind(end_of(hold))
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        if !any {
            return Ok(Vec::new());
        }
        let sql = claim!(concat!(is_ready!(), " ORDER BY resolves_at, round_id LIMIT ?4"));
        let mut turn = self.writer.turn().await?;
        let rows = sqlx::query(sql)
            .bind(hold.by.as_str())
            .bind(micros(hold.now))
            .bind(end_of(hold))
            .bind(limit_of(limit))
            .fetch_all(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await?;
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
        let sql = claim!(concat!(
            is_outdated!("?5", "?6"),
            " AND ",
            is_free!(),
            " ORDER BY resolves_at DESC, round_id LIMIT ?4"
        ));
        let mut turn = self.writer.turn().await?;
        let rows = sqlx::query(sql)
            .bind(hold.by.as_str())
            .bind(micros(hold.now))
            .bind(end_of(hold))
            .bind(limit_of(limit))
            .bind(rule)
            .bind(micros(resolved_after))
            .fetch_all(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await?;
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
            "SELECT count(*), count(*) FILTER (WHERE score_after IS NULL OR score_after <= ?3)
             FROM rounds WHERE ",
            is_outdated!("?1", "?2")
        );
        let (all, due): (i64, i64) = sqlx::query_as(sql)
            .bind(rule)
            .bind(micros(resolved_after))
            .bind(micros(now))
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        Ok(OutdatedRounds { all: all.unsigned_abs(), due: due.unsigned_abs() })
    }

    async fn first_ready(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT round_id, resolves_at FROM rounds
                   WHERE state = 'closed' AND resolves_at <= ?1 AND (score_after IS NULL OR score_after <= ?1)
                   ORDER BY resolves_at LIMIT 1";
        let row = sqlx::query(sql).bind(micros(now)).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("resolves_at")).transpose()
    }

    async fn renew_claims(&self, hold: &Hold) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        sqlx::query("UPDATE rounds SET claimed_until = ?2 WHERE claimed_by = ?1")
            .bind(hold.by.as_str())
            .bind(end_of(hold))
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await
    }

    async fn release_claims(&self, by: &HolderId) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        sqlx::query("UPDATE rounds SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by = ?1")
            .bind(by.as_str())
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await
    }
}

fn questions(rows: &[SqliteRow]) -> Result<Vec<Question>> {
    rows.iter().map(rows::question).collect()
}
