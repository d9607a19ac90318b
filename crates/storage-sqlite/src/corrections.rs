//! Corrections of prices, and the rounds that they touch.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, LedgerPosition, PriceCorrection, Question, RoundId, Timestamp};
use sqlx::SqliteConnection;
use storage::{CorrectionRepository, Result};

use crate::SqliteStore;
use crate::errors::failed;
use crate::rows::{self, limit_of, micros, place_of};

#[async_trait]
impl CorrectionRepository for SqliteStore {
    async fn corrections(
        &self,
        asset: Option<&Asset>,
        before: Option<LedgerPosition>,
        limit: usize,
    ) -> Result<Vec<PriceCorrection>> {
        let sql = "SELECT * FROM price_corrections
                   WHERE (?1 IS NULL OR asset = ?1) AND (?2 IS NULL OR position < ?2)
                   ORDER BY position DESC LIMIT ?3";
        let rows = sqlx::query(sql)
            .bind(asset.map(Asset::as_str))
            .bind(before.map(place_of))
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
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
            "SELECT * FROM price_corrections WHERE asset = ?1 AND at > ?2 AND at <= ?3 ORDER BY position";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(micros(after))
            .bind(micros(up_to))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_correction).collect()
    }

    async fn unapplied_corrections(&self, limit: usize) -> Result<Vec<PriceCorrection>> {
        let sql = "SELECT * FROM price_corrections WHERE is_applied = 0 ORDER BY position LIMIT ?1";
        let rows = sqlx::query(sql).bind(limit_of(limit)).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::price_correction).collect()
    }

    async fn priced_rounds(&self, asset: &Asset, from: Timestamp, to: Timestamp) -> Result<Vec<Question>> {
        let sql = "SELECT * FROM rounds
                   WHERE state IN ('closed', 'scored', 'void') AND resolves_at >= ?2 AND performed_at <= ?3
                     AND asset = ?1
                   ORDER BY round_id";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(micros(from))
            .bind(micros(to))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::question).collect()
    }

    async fn apply_corrections(
        &self,
        applied: &[LedgerPosition],
        touched: &BTreeMap<RoundId, LedgerPosition>,
    ) -> Result<()> {
        let mut turn = self.writer.begin().await?;
        for (round, position) in touched {
            mark(&mut turn, *round, *position).await?;
        }
        for position in applied {
            let sql = "UPDATE price_corrections SET is_applied = 1 WHERE position = ?1";
            sqlx::query(sql).bind(place_of(*position)).execute(&mut *turn).await.map_err(failed)?;
        }
        turn.finish().await
    }
}

async fn mark(connection: &mut SqliteConnection, round: RoundId, position: LedgerPosition) -> Result<()> {
    sqlx::query("UPDATE rounds SET corrected_by = max(coalesce(corrected_by, 0), ?2) WHERE round_id = ?1")
        .bind(round.as_uuid())
        .bind(place_of(position))
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

/// Puts the entry at a place on record as a correction that came at `at`, unless it says what was known.
pub(crate) async fn record(
    connection: &mut SqliteConnection,
    position: LedgerPosition,
    at: Timestamp,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO price_corrections (position, asset, at, old_price, new_price, source, recorded_at)
         SELECT new.position, new.asset, new.at, old.price, new.price, new.source, ?2
         FROM prices AS new
         LEFT JOIN prices AS old ON old.position = (
             SELECT max(position) FROM prices AS earlier
             WHERE earlier.asset = new.asset AND earlier.at = new.at AND earlier.position < new.position)
         WHERE new.position = ?1 AND new.price IS DISTINCT FROM old.price",
    )
    .bind(place_of(position))
    .bind(micros(at))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}
