//! What people look at. Only reads.

use async_trait::async_trait;
use domain::{Asset, ModelId, Prediction, PricePoint, RoundId, Span, Timestamp, TimestampExt};
use sqlx::SqliteConnection;
use storage::{
    BrowseRepository, ModelActivity, ModelOutcome, Outcome, OutcomeFilter, PORTION, Page, Result,
    RoundFilter, RoundRecord,
};

use crate::SqliteStore;
use crate::errors::{failed, unstorable};
use crate::rows::{self, limit_of, micros};

#[async_trait]
impl BrowseRepository for SqliteStore {
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
                   WHERE round_id >= ?1 AND round_id < ?2 AND (?3 IS NULL OR asset = ?3)
                     AND (?4 IS NULL OR horizon_s = ?4) AND (?5 IS NULL OR +state = ?5)
                   ORDER BY round_id DESC LIMIT ?6";
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
                   WHERE p.round_id = ?1 ORDER BY p.model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::outcome).collect()
    }

    async fn prediction(&self, id: RoundId, model: &ModelId) -> Result<Option<Prediction>> {
        let sql = "SELECT p.*, r.answer AS refused
                   FROM predictions p LEFT JOIN refused_answers r USING (round_id, model_id)
                   WHERE round_id = ?1 AND model_id = ?2";
        let query = sqlx::query(sql).bind(id.as_uuid()).bind(model.as_str());
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
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
        // The join is a CROSS JOIN for SQLite to walk along the rounds, and nothing else.
        let sql = "SELECT r.*, p.model_id, deployment_id, status, p.reason AS cause, received_at, took_us,
                          raw, relative, failure
                   FROM rounds r
                   CROSS JOIN predictions p ON p.round_id = r.round_id AND p.model_id = ?1
                   LEFT JOIN scores s ON s.round_id = r.round_id AND s.model_id = ?1
                   WHERE r.round_id >= ?2 AND r.round_id < ?3 AND (?4 IS NULL OR r.asset = ?4)
                     AND (?5 IS NULL OR r.horizon_s = ?5) AND (?6 IS NULL OR +r.state = ?6)
                     AND (?7 IS NULL OR p.status = ?7)
                   ORDER BY r.round_id DESC LIMIT ?8";
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
                   WHERE round_id >= ?1 AND round_id < ?2 AND +state IN ('closed', 'scored', 'void')
                   ORDER BY round_id";
        let rows = sqlx::query(sql)
            .bind(RoundId::first_at(from).as_uuid())
            .bind(RoundId::first_at(to).as_uuid())
            .fetch_all(&self.readers)
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
                          count(took_us) AS timed, coalesce(sum(took_us), 0) AS took_us,
                          coalesce(max(took_us), 0) AS longest_us
                   FROM json_each(?1) CROSS JOIN predictions ON round_id = unhex(value)
                   GROUP BY model_id ORDER BY model_id";
        let ids: Vec<String> = rounds.iter().map(|id| id.as_uuid().simple().to_string()).collect();
        let ids = serde_json::to_string(&ids).map_err(|error| unstorable(error.to_string()))?;
        let rows = sqlx::query(sql).bind(ids).fetch_all(&self.readers).await.map_err(failed)?;
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
        let sql = "WITH RECURSIVE slots (slot) AS (
                       SELECT ?4 WHERE ?2 < ?3
                       UNION ALL SELECT slot + ?5 FROM slots WHERE slot < ?3
                   )
                   SELECT at, price, position FROM slots CROSS JOIN prices ON position = (
                       SELECT position FROM prices
                       WHERE asset = ?1 AND at > max(?2, slot - ?5) AND at <= min(?3, slot)
                       ORDER BY at DESC, position DESC LIMIT 1
                   ) ORDER BY at";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(micros(after))
            .bind(micros(up_to))
            .bind(micros(after.floor_to(spacing) + spacing))
            .bind(spacing.as_micros())
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_point).collect()
    }
}

/// The last round that one walk looks at; `None` when it comes to the end.
async fn end_of_walk(
    connection: &mut SqliteConnection,
    from: RoundId,
    below: RoundId,
) -> Result<Option<RoundId>> {
    // One more than a walk looks at: to end with the very last one would promise a page with nothing on it.
    let sql = "SELECT round_id FROM rounds WHERE round_id >= ?1 AND round_id < ?2
               ORDER BY round_id DESC LIMIT 2 OFFSET ?3";
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
