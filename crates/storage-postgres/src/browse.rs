//! What people look at. Only reads.

use async_trait::async_trait;
use domain::{Asset, ModelId, Prediction, PricePoint, RoundId, Span, Timestamp, TimestampExt};
use sqlx::PgConnection;
use storage::{
    BrowseRepository, ModelActivity, ModelOutcome, Outcome, OutcomeFilter, PORTION, Page, Result,
    RoundFilter, RoundRecord,
};
use uuid::Uuid;

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows::{self, limit_of, stored};

#[async_trait]
impl BrowseRepository for PostgresStore {
    async fn list_rounds(
        &self,
        filter: &RoundFilter,
        before: Option<RoundId>,
        limit: usize,
    ) -> Result<Page<RoundRecord>> {
        let (from, below) = filter.bounds(before);
        let mut snapshot = self.snapshot().await?;
        let walked_to = end_of_walk(&mut snapshot, from, below).await?;
        let sql = "SELECT * FROM rounds
                   WHERE round_id >= $1 AND round_id < $2 AND ($3::text IS NULL OR asset = $3)
                     AND ($4::bigint IS NULL OR horizon_s = $4) AND ($5::text IS NULL OR state = $5)
                   ORDER BY round_id DESC LIMIT $6";
        let rows = sqlx::query(sql)
            .bind(walked_to.unwrap_or(from).as_uuid())
            .bind(below.as_uuid())
            .bind(filter.asset.as_ref().map(Asset::as_str))
            .bind(filter.horizon.map(|horizon| i64::from(horizon.as_secs())))
            .bind(filter.state.map(|state| state.as_str()))
            .bind(limit_of(limit.saturating_add(1)))
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        let found = rows.iter().map(rows::round).collect::<Result<Vec<_>>>()?;
        Ok(Page::of_walk(found, limit, walked_to, |round| round.question.id))
    }

    async fn round_outcomes(&self, id: RoundId) -> Result<Vec<Outcome>> {
        let sql = "SELECT p.round_id, p.model_id, deployment_id, status, reason, received_at, took_us,
                          raw, relative, failure
                   FROM predictions p LEFT JOIN scores USING (round_id, model_id)
                   WHERE p.round_id = $1 ORDER BY p.model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::outcome).collect()
    }

    async fn prediction(&self, id: RoundId, model: &ModelId) -> Result<Option<Prediction>> {
        let sql = "SELECT p.*, r.answer AS refused
                   FROM predictions p LEFT JOIN refused_answers r USING (round_id, model_id)
                   WHERE round_id = $1 AND model_id = $2";
        let query = sqlx::query(sql).bind(id.as_uuid()).bind(model.as_str());
        let row = query.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(rows::prediction).transpose()
    }

    async fn model_outcomes(
        &self,
        model: &ModelId,
        filter: &OutcomeFilter,
        before: Option<RoundId>,
        limit: usize,
    ) -> Result<Page<ModelOutcome>> {
        let (from, below) = filter.rounds.bounds(before);
        let mut snapshot = self.snapshot().await?;
        let walked_to = end_of_walk(&mut snapshot, from, below).await?;
        // The bounds are there for each table, so that only the partitions between them are looked into.
        let sql = "SELECT r.*, p.model_id, deployment_id, status, p.reason AS cause, received_at, took_us,
                          raw, relative, failure
                   FROM rounds r
                   JOIN predictions p ON p.round_id = r.round_id AND p.model_id = $1
                        AND p.round_id >= $2 AND p.round_id < $3
                   LEFT JOIN scores s ON s.round_id = r.round_id AND s.model_id = $1
                        AND s.round_id >= $2 AND s.round_id < $3
                   WHERE r.round_id >= $2 AND r.round_id < $3 AND ($4::text IS NULL OR r.asset = $4)
                     AND ($5::bigint IS NULL OR r.horizon_s = $5) AND ($6::text IS NULL OR r.state = $6)
                     AND ($7::text IS NULL OR p.status = $7)
                   ORDER BY r.round_id DESC LIMIT $8";
        let rows = sqlx::query(sql)
            .bind(model.as_str())
            .bind(walked_to.unwrap_or(from).as_uuid())
            .bind(below.as_uuid())
            .bind(filter.rounds.asset.as_ref().map(Asset::as_str))
            .bind(filter.rounds.horizon.map(|horizon| i64::from(horizon.as_secs())))
            .bind(filter.rounds.state.map(|state| state.as_str()))
            .bind(filter.status.map(|status| status.as_str()))
            .bind(limit_of(limit.saturating_add(1)))
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        let found = rows.iter().map(rows::model_outcome).collect::<Result<Vec<_>>>()?;
        Ok(Page::of_walk(found, limit, walked_to, |found| found.round.question.id))
    }

    async fn answered_rounds(&self, from: Timestamp, to: Timestamp) -> Result<Vec<RoundId>> {
        let sql = "SELECT round_id FROM rounds
                   WHERE round_id >= $1 AND round_id < $2 AND state IN ('closed', 'scored', 'void')
                   ORDER BY round_id";
        let rows = sqlx::query(sql)
            .bind(RoundId::first_at(from).as_uuid())
            .bind(RoundId::first_at(to).as_uuid())
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::round_id).collect()
    }

    async fn activity(&self, rounds: &[RoundId]) -> Result<Vec<ModelActivity>> {
        if rounds.is_empty() {
            return Ok(Vec::new());
        }
        let sql = "SELECT model_id,
                          count(*) FILTER (WHERE status = 'SUCCESS') AS success,
                          count(*) FILTER (WHERE status = 'FAILED') AS failed,
                          count(*) FILTER (WHERE status = 'TIMEOUT') AS timeout,
                          count(*) FILTER (WHERE status = 'ABSENT') AS absent,
                          count(took_us) AS timed, coalesce(sum(took_us), 0)::bigint AS took_us,
                          coalesce(max(took_us), 0) AS longest_us
                   FROM predictions WHERE round_id = ANY ($1::uuid[])
                   GROUP BY model_id ORDER BY model_id";
        let ids: Vec<Uuid> = rounds.iter().map(RoundId::as_uuid).collect();
        let rows = sqlx::query(sql).bind(ids).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::model_activity).collect()
    }

    async fn spaced_closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        spacing: Span,
    ) -> Result<Vec<PricePoint>> {
        if spacing.is_zero() {
            return Ok(Vec::new());
        }
        let sql = "SELECT at, price, position
                   FROM generate_series($4::timestamptz, $3::timestamptz + $5 * interval '1 second',
                                        $5 * interval '1 second') AS slot
                   CROSS JOIN LATERAL (
                       SELECT at, price, position FROM prices
                       WHERE asset = $1 AND at > greatest($2, slot - $5 * interval '1 second') AND at <= least($3, slot)
                       ORDER BY at DESC, position DESC LIMIT 1
                   ) AS closes ORDER BY at";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(stored(after))
            .bind(stored(up_to))
            .bind(stored(after.floor_to(spacing) + spacing))
            .bind(f64::from(spacing.as_secs()))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_point).collect()
    }
}

/// The last round that one walk looks at; `None` when it comes to the end.
async fn end_of_walk(
    connection: &mut PgConnection,
    from: RoundId,
    below: RoundId,
) -> Result<Option<RoundId>> {
    // One more than a walk looks at: to end with the very last one would promise a page with nothing on it.
    let sql = "SELECT round_id FROM rounds WHERE round_id >= $1 AND round_id < $2
               ORDER BY round_id DESC LIMIT 2 OFFSET $3";
    let rows = sqlx::query(sql)
        .bind(from.as_uuid())
        .bind(below.as_uuid())
        .bind(limit_of(PORTION - 1))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    match &rows[..] {
        [last, _] => rows::round_id(last).map(Some),
        _ => Ok(None),
    }
}
