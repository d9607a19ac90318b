//! What charts over days are made from.

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, ModelId, RoundId, Timestamp};
use storage::{PackedSnapshot, ReportRepository, Result, ScoredOutcome, ScoredQuestion, SnapshotMark};
use uuid::Uuid;

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows::{self, limit_of, stored};

#[async_trait]
impl ReportRepository for PostgresStore {
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>> {
        let sql = "SELECT (SELECT min(as_of) FROM snapshots) AS oldest,
                          (SELECT max(as_of) FROM snapshots) AS newest,
                          (SELECT as_of FROM standings) AS ranked_as_of,
                          (SELECT ranked_up_to FROM standings) AS ranked_up_to";
        let row = sqlx::query(sql).fetch_one(&self.pool).await.map_err(failed)?;
        rows::snapshot_mark(&row)
    }

    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>> {
        let instants: Vec<Timestamp> = instants.iter().map(|at| stored(*at)).collect();
        let sql = "SELECT as_of, document FROM snapshots WHERE as_of = ANY($1) ORDER BY as_of";
        let rows = sqlx::query(sql).bind(instants).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::packed_snapshot).collect()
    }

    async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>> {
        let sql = "SELECT * FROM rounds WHERE performed_at >= $1 AND performed_at <= $2 AND state = 'scored'
                   ORDER BY performed_at, round_id LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(stored(from))
            .bind(stored(to))
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::scored_question).collect()
    }

    async fn scored_outcomes(&self, rounds: &[RoundId], models: &[ModelId]) -> Result<Vec<ScoredOutcome>> {
        let rounds: Vec<Uuid> = rounds.iter().map(RoundId::as_uuid).collect();
        let models: Vec<&str> = models.iter().map(ModelId::as_str).collect();
        // OFFSET 0 keeps each part a look-up by key for each row before it: of millions of predictions the planner must
        // not read all to join them.
        let sql = r#"SELECT s.round_id, s.model_id, s.relative, s.raw, s.failure, p.status, p.reason
                   FROM unnest($1::uuid[]) AS wanted (round_id)
                   CROSS JOIN LATERAL (SELECT round_id, model_id, relative, raw, failure FROM scores
                                       WHERE scores.round_id = wanted.round_id AND model_id = ANY($2)
                                       OFFSET 0) AS s
                   LEFT JOIN LATERAL (SELECT status, reason FROM predictions
                                      WHERE s.raw IS NULL AND predictions.round_id = s.round_id
                                        AND predictions.model_id = s.model_id
                                      OFFSET 0) AS p ON TRUE
                   ORDER BY s.round_id, s.model_id COLLATE "C""#;
        let query = sqlx::query(sql).bind(rounds).bind(models);
        let rows = query.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::scored_outcome).collect()
    }

    async fn latest_prices(&self, asset: &Asset, limit: usize) -> Result<Vec<LedgerEntry>> {
        let sql = "SELECT position, asset, at, price, source FROM prices WHERE asset = $1
                   ORDER BY at DESC, position DESC LIMIT $2";
        let query = sqlx::query(sql).bind(asset.as_str()).bind(limit_of(limit));
        let rows = query.fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::ledger_entry).collect()
    }
}
