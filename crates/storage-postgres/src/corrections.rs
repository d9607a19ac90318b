//! Corrections of prices, and the rounds that they touch.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, LedgerPosition, PriceCorrection, Question, RoundId, Timestamp};
use sqlx::PgConnection;
use storage::{CorrectionRepository, Result};

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows::{self, limit_of, place_of, stored};

#[async_trait]
impl CorrectionRepository for PostgresStore {
    async fn corrections(
        &self,
        asset: Option<&Asset>,
        before: Option<LedgerPosition>,
        limit: usize,
    ) -> Result<Vec<PriceCorrection>> {
        let sql = "SELECT * FROM price_corrections
                   WHERE ($1::text IS NULL OR asset = $1) AND ($2::bigint IS NULL OR position < $2)
                   ORDER BY position DESC LIMIT $3";
        let rows = sqlx::query(sql)
            .bind(asset.map(Asset::as_str))
            .bind(before.map(place_of))
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_correction).collect()
    }

    async fn corrected_closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
    ) -> Result<Vec<PriceCorrection>> {
        let sql =
            "SELECT * FROM price_corrections WHERE asset = $1 AND at > $2 AND at <= $3 ORDER BY position";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(stored(after))
            .bind(stored(up_to))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_correction).collect()
    }

    async fn unapplied_corrections(&self, limit: usize) -> Result<Vec<PriceCorrection>> {
        let sql = "SELECT * FROM price_corrections WHERE NOT is_applied ORDER BY position LIMIT $1";
        let rows = sqlx::query(sql).bind(limit_of(limit)).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::price_correction).collect()
    }

    async fn priced_rounds(&self, asset: &Asset, from: Timestamp, to: Timestamp) -> Result<Vec<Question>> {
        let sql = "SELECT * FROM rounds
                   WHERE state IN ('closed', 'scored', 'void') AND resolves_at >= $2 AND performed_at <= $3
                     AND asset = $1
                   ORDER BY round_id";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(stored(from))
            .bind(stored(to))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::question).collect()
    }

    async fn apply_corrections(
        &self,
        applied: &[LedgerPosition],
        touched: &BTreeMap<RoundId, LedgerPosition>,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        mark(&mut transaction, touched).await?;
        sqlx::query("UPDATE price_corrections SET is_applied = TRUE WHERE position = ANY($1)")
            .bind(applied.iter().copied().map(place_of).collect::<Vec<_>>())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }
}

/// Rounds are locked in the order of their ids, as by everybody who changes several.
async fn mark(connection: &mut PgConnection, touched: &BTreeMap<RoundId, LedgerPosition>) -> Result<()> {
    sqlx::query(
        "WITH touched AS MATERIALIZED (
             SELECT round_id, mark.position
             FROM rounds JOIN unnest($1::uuid[], $2::bigint[]) AS mark (round_id, position) USING (round_id)
             ORDER BY round_id FOR NO KEY UPDATE OF rounds)
         UPDATE rounds SET corrected_by = greatest(corrected_by, touched.position)
         FROM touched WHERE rounds.round_id = touched.round_id",
    )
    .bind(touched.keys().map(RoundId::as_uuid).collect::<Vec<_>>())
    .bind(touched.values().copied().map(place_of).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Puts the entries at these places on record as corrections that came at `at`, but for those that say what was known.
pub(crate) async fn record(
    connection: &mut PgConnection,
    positions: &[LedgerPosition],
    at: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO price_corrections (position, asset, at, old_price, new_price, source, recorded_at)
         SELECT new.position, new.asset, new.at, old.price, new.price, new.source, $2
         FROM prices AS new
         LEFT JOIN LATERAL (
             SELECT price FROM prices AS earlier
             WHERE earlier.asset = new.asset AND earlier.at = new.at AND earlier.position < new.position
             ORDER BY position DESC LIMIT 1) AS old ON TRUE
         WHERE new.position = ANY($1) AND new.price IS DISTINCT FROM old.price",
    )
    .bind(positions.iter().copied().map(place_of).collect::<Vec<_>>())
    .bind(stored(at))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}
