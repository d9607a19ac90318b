//! What an operator asks.

use async_trait::async_trait;
use domain::Timestamp;
use storage::{
    DueRounds, FORGOTTEN_AFTER, OperationsRepository, Result, SeenWorker, SlotTally, WorkerSign,
    storable_text,
};

use crate::PostgresStore;
use crate::errors::failed;
use crate::leases::interval;
use crate::rows::{self, stored};

/// Says what a worker says, and removes those that have fallen silent, in one statement.
const NOTE: &str = "WITH gone AS (
         DELETE FROM workers WHERE seen_at < clock_timestamp() - $1 AND instance <> $2)
     INSERT INTO workers (instance, role, host, version, schema_version, started_at, seen_at, state, waiting_writes,
                          journal_bytes, oldest_waiting_at, due_rounds, scoring_lag_s)
     VALUES ($2, $3, $4, $5, $6, $7, clock_timestamp(), $8, $9, $10, $11, $12, $13)
     ON CONFLICT (instance) DO UPDATE
     SET seen_at = excluded.seen_at, state = excluded.state, waiting_writes = excluded.waiting_writes,
         journal_bytes = excluded.journal_bytes, oldest_waiting_at = excluded.oldest_waiting_at,
         due_rounds = excluded.due_rounds, scoring_lag_s = excluded.scoring_lag_s";

#[async_trait]
impl OperationsRepository for PostgresStore {
    async fn note_worker(&self, sign: &WorkerSign, _now: Timestamp) -> Result<()> {
        let WorkerSign { identity, schema, state, facts } = sign;
        sqlx::query(NOTE)
            .bind(interval(FORGOTTEN_AFTER))
            .bind(&identity.instance)
            .bind(identity.role.as_str())
            .bind(storable_text(&identity.host))
            .bind(storable_text(&identity.version))
            .bind(schema)
            .bind(stored(identity.started_at))
            .bind(storable_text(state))
            .bind(count(facts.waiting_writes))
            .bind(count(facts.journal_bytes))
            .bind(facts.oldest_waiting_at.map(stored))
            .bind(count(facts.due_rounds))
            .bind(count(facts.scoring_lag_s))
            .execute(&self.pool)
            .await
            .map_err(failed)
            .map(drop)
    }

    async fn forget_worker(&self, instance: &str) -> Result<()> {
        let sql = "DELETE FROM workers WHERE instance = $1";
        sqlx::query(sql).bind(instance).execute(&self.pool).await.map_err(failed).map(drop)
    }

    async fn workers(&self, _now: Timestamp) -> Result<Vec<SeenWorker>> {
        let sql = "SELECT *, greatest(0, extract(epoch FROM clock_timestamp() - seen_at) * 1000000)::bigint AS silent_us
                   FROM workers
                   ORDER BY array_position(ARRAY['predict', 'score', 'report'], role), started_at, instance";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::seen_worker).collect()
    }

    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally> {
        // Of a reason what is before its first colon: the rest tells of single slots.
        let sql = "SELECT state, CASE WHEN state = 'missed' THEN split_part(reason, ':', 1) END AS reason, count(*) AS count
                   FROM rounds WHERE performed_at > $1 AND performed_at <= $2 GROUP BY 1, 2";
        let rows = sqlx::query(sql)
            .bind(stored(after))
            .bind(stored(up_to))
            .fetch_all(&self.pool)
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
                   WHERE state = 'closed' AND resolves_at <= $1";
        let row = sqlx::query(sql).bind(stored(now)).fetch_one(&self.pool).await.map_err(failed)?;
        rows::due_rounds(&row)
    }
}

fn count(count: Option<u64>) -> Option<i64> {
    count.map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}
