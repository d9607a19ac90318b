//! The ledger.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PricePoint, Timestamp};
use storage::{FeedStatus, PriceRepository, Result, storable_text};

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows::{self, stored};

#[async_trait]
impl PriceRepository for PostgresStore {
    async fn append_prices(&self, entries: &[LedgerEntry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut ordered: Vec<&LedgerEntry> = entries.iter().collect();
        ordered.sort_by_key(|entry| entry.position);
        let positions: Vec<i64> = ordered.iter().map(|entry| entry.position.0 as i64).collect();
        let assets: Vec<&str> = ordered.iter().map(|entry| entry.asset.as_str()).collect();
        let instants: Vec<Timestamp> = ordered.iter().map(|entry| stored(entry.point.at)).collect();
        let prices: Vec<f64> = ordered.iter().map(|entry| entry.point.price.value()).collect();
        let sources: Vec<Cow<'_, str>> = ordered.iter().map(|entry| storable_text(&entry.source)).collect();
        let mut transaction = self.begin_as_leader().await?;
        sqlx::query(
            "INSERT INTO prices (position, asset, at, price, source)
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::double precision[], $5::text[])
             ON CONFLICT (position) DO NOTHING",
        )
        .bind(positions)
        .bind(assets)
        .bind(instants)
        .bind(prices)
        .bind(sources)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn ledger_end(&self) -> Result<LedgerPosition> {
        let end: Option<i64> = sqlx::query_scalar("SELECT max(position) FROM prices")
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        Ok(LedgerPosition(end.unwrap_or(0).unsigned_abs()))
    }

    async fn ledger_since(&self, since: Timestamp) -> Result<Vec<LedgerEntry>> {
        let sql = "SELECT position, asset, at, price, source FROM prices WHERE at >= $1 ORDER BY position";
        let rows = sqlx::query(sql).bind(stored(since)).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::ledger_entry).collect()
    }

    async fn closes(&self, asset: &Asset, after: Timestamp, up_to: Timestamp) -> Result<Vec<PricePoint>> {
        let sql = "SELECT DISTINCT ON (at) at, price, position FROM prices
                   WHERE asset = $1 AND at > $2 AND at <= $3 ORDER BY at, position DESC";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(stored(after))
            .bind(stored(up_to))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::price_point).collect()
    }

    async fn newest_close_at(&self, asset: &Asset, up_to: Timestamp) -> Result<Option<Timestamp>> {
        let sql = "SELECT at, position FROM prices WHERE asset = $1 AND at <= $2 ORDER BY at DESC LIMIT 1";
        let query = sqlx::query(sql).bind(asset.as_str()).bind(stored(up_to));
        let row = query.fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(|row| rows::Reader::prices(&row).instant("at")).transpose()
    }

    async fn feed_status(&self) -> Result<Vec<FeedStatus>> {
        let sql = "SELECT asset, count, oldest_at, newest_at, position, source
                   FROM (SELECT asset, count(*) AS count, min(at) AS oldest_at, max(at) AS newest_at,
                                max(position) AS position
                         FROM prices GROUP BY asset) AS by_asset
                   JOIN (SELECT position, source FROM prices) AS newest USING (position)
                   ORDER BY asset";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::feed_status).collect()
    }
    async fn awaited_assets(&self) -> Result<BTreeMap<Asset, Timestamp>> {
        let sql = "SELECT asset, max(resolves_at) AS resolves_at FROM rounds
                   WHERE state IN ('asked', 'closed', 'interrupted') GROUP BY asset";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::awaited_asset).collect()
    }
}
