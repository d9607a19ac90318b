//! What charts over days are made from.

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, ModelId, RoundId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{PackedSnapshot, ReportRepository, Result, ScoredOutcome, ScoredQuestion, SnapshotMark};

use crate::errors::failed;
use crate::rows::{self, limit_of, micros};
use crate::{ROWS_PER_STATEMENT, SqliteStore};

#[async_trait]
impl ReportRepository for SqliteStore {
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>> {
        let sql = "SELECT (SELECT min(as_of) FROM snapshots) AS oldest,
                          (SELECT max(as_of) FROM snapshots) AS newest,
                          (SELECT as_of FROM standings) AS ranked_as_of,
                          (SELECT ranked_up_to FROM standings) AS ranked_up_to";
        let row = sqlx::query(sql).fetch_one(&self.readers).await.map_err(failed)?;
        rows::snapshot_mark(&row)
    }

    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>> {
        let mut instants = instants.to_vec();
        instants.sort_unstable();
        instants.dedup();
        let mut snapshot = self.snapshot().await?;
        let mut found = Vec::with_capacity(instants.len());
        for chunk in instants.chunks(ROWS_PER_STATEMENT) {
            let mut sql =
                QueryBuilder::<Sqlite>::new("SELECT as_of, document FROM snapshots WHERE as_of IN (");
            let mut list = sql.separated(", ");
            for at in chunk {
                list.push_bind(micros(*at));
            }
            list.push_unseparated(") ORDER BY as_of");
            let rows = sql.build().fetch_all(&mut *snapshot).await.map_err(failed)?;
            found.extend(rows.iter().map(rows::packed_snapshot).collect::<Result<Vec<_>>>()?);
        }
        Ok(found)
    }

    async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>> {
        // The sign keeps the state out of the choice of an index: half of all rounds ever are scored.
        let sql = "SELECT * FROM rounds WHERE performed_at >= ?1 AND performed_at <= ?2 AND +state = 'scored'
                   ORDER BY performed_at, round_id LIMIT ?3";
        let rows = sqlx::query(sql)
            .bind(micros(from))
            .bind(micros(to))
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::scored_question).collect()
    }

    async fn scored_outcomes(&self, rounds: &[RoundId], models: &[ModelId]) -> Result<Vec<ScoredOutcome>> {
        let mut snapshot = self.snapshot().await?;
        let mut outcomes = Vec::new();
        for rounds in rounds.chunks(ROWS_PER_STATEMENT) {
            for models in models.chunks(ROWS_PER_STATEMENT) {
                let rows = outcomes_in(&mut snapshot, rounds, models).await?;
                outcomes.extend(rows.iter().map(rows::scored_outcome).collect::<Result<Vec<_>>>()?);
            }
        }
        outcomes.sort_by(|a, b| (a.round_id, &a.model_id).cmp(&(b.round_id, &b.model_id)));
        Ok(outcomes)
    }

    async fn latest_prices(&self, asset: &Asset, limit: usize) -> Result<Vec<LedgerEntry>> {
        let sql = "SELECT position, asset, at, price, source FROM prices WHERE asset = ?1
                   ORDER BY at DESC, position DESC LIMIT ?2";
        let query = sqlx::query(sql).bind(asset.as_str()).bind(limit_of(limit));
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::ledger_entry).collect()
    }
}

/// Both are not empty.
async fn outcomes_in(
    connection: &mut SqliteConnection,
    rounds: &[RoundId],
    models: &[ModelId],
) -> Result<Vec<SqliteRow>> {
    let mut sql = QueryBuilder::<Sqlite>::new("WITH wanted (round_id) AS (");
    sql.push_values(rounds, |mut row, round| {
        row.push_bind(round.as_uuid());
    });
    // A cross join keeps the order: one look-up by key for each round and model, and another where there is no score.
    sql.push(
        ") SELECT s.round_id, s.model_id, s.relative, s.raw, s.failure, p.status, p.reason
         FROM wanted CROSS JOIN scores s ON s.round_id = wanted.round_id
         LEFT JOIN predictions p ON s.raw IS NULL AND p.round_id = s.round_id AND p.model_id = s.model_id
         WHERE s.model_id IN (",
    );
    let mut list = sql.separated(", ");
    for model in models {
        list.push_bind(model.as_str());
    }
    list.push_unseparated(")");
    sql.build().fetch_all(connection).await.map_err(failed)
}
