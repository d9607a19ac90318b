//! The ledger.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PricePoint, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{FeedStatus, PriceRepository, Result, storable_text};

use crate::errors::failed;
use crate::rows::{self, micros};
use crate::{ROWS_PER_STATEMENT, SqliteStore};

#[async_trait]
impl PriceRepository for SqliteStore {
    async fn append_prices(&self, entries: &[LedgerEntry]) -> Result<()> {
        let mut turn = self.turn_as_leader(entries.len()).await?;
        for chunk in entries.chunks(ROWS_PER_STATEMENT) {
            append(&mut turn, chunk).await?;
        }
        turn.finish().await
    }

    async fn ledger_end(&self) -> Result<LedgerPosition> {
        let end: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM prices")
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        Ok(LedgerPosition(end.unwrap_or(0).unsigned_abs()))
    }

    async fn ledger_since(&self, since: Timestamp) -> Result<Vec<LedgerEntry>> {
        let sql = "SELECT position, asset, at, price, source FROM prices WHERE at >= ?1 ORDER BY position";
        let rows = sqlx::query(sql).bind(micros(since)).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::ledger_entry).collect()
    }

    async fn closes(&self, asset: &Asset, after: Timestamp, up_to: Timestamp) -> Result<Vec<PricePoint>> {
        // Beside max(), SQLite takes the other columns from the row that has the maximum.
        let sql = "SELECT at, price, max(position) AS position FROM prices
                   WHERE asset = ?1 AND at > ?2 AND at <= ?3 GROUP BY at ORDER BY at";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(micros(after))
            .bind(micros(up_to))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_point).collect()
    }

    async fn newest_close_at(&self, asset: &Asset, up_to: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT at, position FROM prices WHERE asset = ?1 AND at <= ?2 ORDER BY at DESC LIMIT 1";
        let query = sqlx::query(sql).bind(asset.as_str()).bind(micros(up_to));
        let row = query.fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| rows::Reader::prices(&row).instant("at")).transpose()
    }

    async fn feed_status(&self) -> Result<Vec<FeedStatus>> {
        let sql = "SELECT asset, count, oldest_at, newest_at, position, source
                   FROM (SELECT asset, count(*) AS count, min(at) AS oldest_at, max(at) AS newest_at,
                                max(position) AS position
                         FROM prices GROUP BY asset)
                   JOIN (SELECT position, source FROM prices) USING (position)
                   ORDER BY asset";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::feed_status).collect()
    }

    async fn awaited_assets(&self) -> Result<BTreeMap<Asset, Timestamp>> {
        let sql = "SELECT asset, max(resolves_at) AS resolves_at FROM rounds
                   WHERE state IN ('asked', 'closed', 'interrupted') GROUP BY asset";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::awaited_asset).collect()
    }
}

async fn append(connection: &mut SqliteConnection, entries: &[LedgerEntry]) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO prices (position, asset, at, price, source) ");
    sql.push_values(entries, |mut row, entry| {
        row.push_bind(entry.position.0 as i64)
            .push_bind(entry.asset.as_str())
            .push_bind(micros(entry.point.at))
            .push_bind(entry.point.price.value())
            .push_bind(storable_text(&entry.source));
    });
    sql.push(" ON CONFLICT (position) DO NOTHING");
    sql.build().execute(connection).await.map_err(failed).map(drop)
}
