//! What an operator asks.

use async_trait::async_trait;
use domain::Timestamp;
use storage::{
    DueRounds, FORGOTTEN_AFTER, OperationsRepository, Result, SeenWorker, SlotTally, WorkerSign,
    storable_text,
};

use crate::SqliteStore;
use crate::errors::failed;
use crate::rows::{self, micros};

const NOTE: &str = "INSERT INTO workers
         (instance, role, host, version, schema_version, started_at, seen_at, state, waiting_writes, journal_bytes,
          oldest_waiting_at, due_rounds, scoring_lag_s)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
     ON CONFLICT (instance) DO UPDATE
     SET seen_at = excluded.seen_at, state = excluded.state, waiting_writes = excluded.waiting_writes,
         journal_bytes = excluded.journal_bytes, oldest_waiting_at = excluded.oldest_waiting_at,
         due_rounds = excluded.due_rounds, scoring_lag_s = excluded.scoring_lag_s";

#[async_trait]
impl OperationsRepository for SqliteStore {
    async fn note_worker(&self, sign: &WorkerSign, now: Timestamp) -> Result<()> {
        let WorkerSign { identity, schema, state, facts } = sign;
        let mut turn = self.writer.begin().await?;
        sqlx::query("DELETE FROM workers WHERE seen_at < ?1 AND instance <> ?2")
            .bind(micros(now - FORGOTTEN_AFTER))
            .bind(&identity.instance)
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        sqlx::query(NOTE)
            .bind(&identity.instance)
            .bind(identity.role.as_str())
            .bind(storable_text(&identity.host))
            .bind(storable_text(&identity.version))
            .bind(schema)
            .bind(micros(identity.started_at))
            .bind(micros(now))
            .bind(storable_text(state))
            .bind(count(facts.waiting_writes))
            .bind(count(facts.journal_bytes))
            .bind(facts.oldest_waiting_at.map(micros))
            .bind(count(facts.due_rounds))
            .bind(count(facts.scoring_lag_s))
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await
    }

    async fn forget_worker(&self, instance: &str) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        let sql = "DELETE FROM workers WHERE instance = ?1";
        sqlx::query(sql).bind(instance).execute(&mut *turn).await.map_err(failed)?;
        turn.finish().await
    }

    async fn workers(&self, now: Timestamp) -> Result<Vec<SeenWorker>> {
        // A clock that was set back since has seen nobody in the future.
        let sql = "SELECT *, max(0, ?1 - seen_at) AS silent_us FROM workers
                   ORDER BY CASE role WHEN 'predict' THEN 1 WHEN 'score' THEN 2 ELSE 3 END, started_at, instance";
        let rows = sqlx::query(sql).bind(micros(now)).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::seen_worker).collect()
    }

    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally> {
        // Of a reason what is before its first colon: the rest tells of single slots.
        let sql = "SELECT state, count(*) AS count,
                          CASE WHEN state = 'missed' THEN substr(reason, 1, instr(reason || ':', ':') - 1) END AS reason
                   FROM rounds WHERE performed_at > ?1 AND performed_at <= ?2 GROUP BY 1, 3";
        let rows = sqlx::query(sql)
            .bind(micros(after))
            .bind(micros(up_to))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let mut tally = SlotTally::default();
        for row in &rows {
            let row = rows::Reader::rounds(row);
            tally.add(row.parse("state")?, row.get("reason")?, row.count("count")?);
        }
        Ok(tally)
    }

    async fn due_rounds(&self, now: Timestamp) -> Result<DueRounds> {
        let sql = "SELECT count(*) AS count, min(resolves_at) AS oldest FROM rounds
                   WHERE state = 'closed' AND resolves_at <= ?1";
        let row = sqlx::query(sql).bind(micros(now)).fetch_one(&self.readers).await.map_err(failed)?;
        rows::due_rounds(&row)
    }
}

fn count(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}
