//! The ledger.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PricePoint, Span, Timestamp};
use sqlx::PgConnection;
use storage::{FeedStatus, Hole, PriceRepository, Result, may_correct, storable_text};

use crate::errors::failed;
use crate::rows::{self, place_of, stored};
use crate::{PostgresStore, corrections};

#[async_trait]
impl PriceRepository for PostgresStore {
    async fn append_prices(&self, entries: &[LedgerEntry], at: Timestamp) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut transaction = self.begin_as_leader().await?;
        let newest = newest_closes(&mut transaction, entries).await?;
        let fresh = append(&mut transaction, entries).await?;
        let fresh = entries.iter().filter(|entry| fresh.contains(&entry.position));
        let late = may_correct(fresh, &newest);
        if !late.is_empty() {
            corrections::record(&mut transaction, &late, at).await?;
        }
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

    async fn holes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        interval: Span,
    ) -> Result<Vec<Hole>> {
        let sql = "SELECT at AS after, next AS before, position
                   FROM (SELECT at, position, lead(at) OVER (ORDER BY at) AS next FROM prices
                         WHERE asset = $1 AND at > $2 AND at <= $3) AS closes
                   WHERE next - at > $4 ORDER BY at";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(stored(after))
            .bind(stored(up_to))
            .bind(crate::leases::interval(interval))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::hole).collect()
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

/// The newest close of each asset that entries are about.
async fn newest_closes(
    connection: &mut PgConnection,
    entries: &[LedgerEntry],
) -> Result<BTreeMap<Asset, Timestamp>> {
    let assets: BTreeSet<&str> = entries.iter().map(|entry| entry.asset.as_str()).collect();
    let rows = sqlx::query(
        "SELECT newest.* FROM unnest($1::text[]) AS wanted (asset)
         CROSS JOIN LATERAL (SELECT asset, at, position FROM prices WHERE prices.asset = wanted.asset
                             ORDER BY at DESC LIMIT 1) AS newest",
    )
    .bind(assets.into_iter().collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(rows::newest_close).collect()
}

/// Stores entries; returns the places of those that were not there.
async fn append(connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<HashSet<LedgerPosition>> {
    let mut ordered: Vec<&LedgerEntry> = entries.iter().collect();
    ordered.sort_by_key(|entry| entry.position);
    let sources: Vec<Cow<'_, str>> = ordered.iter().map(|entry| storable_text(&entry.source)).collect();
    let rows = sqlx::query(
        "INSERT INTO prices (position, asset, at, price, source)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::double precision[], $5::text[])
         ON CONFLICT (position) DO NOTHING RETURNING position",
    )
    .bind(ordered.iter().map(|entry| place_of(entry.position)).collect::<Vec<_>>())
    .bind(ordered.iter().map(|entry| entry.asset.as_str()).collect::<Vec<_>>())
    .bind(ordered.iter().map(|entry| stored(entry.point.at)).collect::<Vec<_>>())
    .bind(ordered.iter().map(|entry| entry.point.price.value()).collect::<Vec<_>>())
    .bind(sources)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(rows::position).collect()
}
