//! The ledger.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use async_trait::async_trait;
use domain::{Asset, LedgerEntry, LedgerPosition, PricePoint, Span, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{FeedStatus, Hole, PriceRepository, Result, may_correct, storable_text};

use crate::errors::failed;
use crate::rows::{self, micros, place_of};
use crate::{ROWS_PER_STATEMENT, SqliteStore, corrections};

#[async_trait]
impl PriceRepository for SqliteStore {
    async fn append_prices(&self, entries: &[LedgerEntry], at: Timestamp) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut turn = self.begin_as_leader().await?;
        let newest = newest_closes(&mut turn, entries).await?;
        let mut fresh = HashSet::new();
        for chunk in entries.chunks(ROWS_PER_STATEMENT) {
            fresh.extend(append(&mut turn, chunk).await?);
        }
        let fresh = entries.iter().filter(|entry| fresh.contains(&entry.position));
        for position in may_correct(fresh, &newest) {
            corrections::record(&mut turn, position, at).await?;
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

    async fn holes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
        interval: Span,
    ) -> Result<Vec<Hole>> {
        let sql = "SELECT at AS after, next AS before, position
                   FROM (SELECT at, position, lead(at) OVER (ORDER BY at) AS next FROM prices
                         WHERE asset = ?1 AND at > ?2 AND at <= ?3) AS closes
                   WHERE next - at > ?4 ORDER BY at";
        let rows = sqlx::query(sql)
            .bind(asset.as_str())
            .bind(micros(after))
            .bind(micros(up_to))
            .bind(i64::from(interval.as_secs()) * 1_000_000)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::hole).collect()
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

/// The newest close of each asset that entries are about.
async fn newest_closes(
    connection: &mut SqliteConnection,
    entries: &[LedgerEntry],
) -> Result<BTreeMap<Asset, Timestamp>> {
    let assets: BTreeSet<&Asset> = entries.iter().map(|entry| &entry.asset).collect();
    let mut newest = BTreeMap::new();
    for asset in assets {
        let sql = "SELECT at, position FROM prices WHERE asset = ?1 ORDER BY at DESC LIMIT 1";
        let query = sqlx::query(sql).bind(asset.as_str());
        if let Some(row) = query.fetch_optional(&mut *connection).await.map_err(failed)? {
            newest.insert(asset.clone(), rows::Reader::prices(&row).instant("at")?);
        }
    }
    Ok(newest)
}

/// Stores entries; returns the places of those that were not there.
async fn append(connection: &mut SqliteConnection, entries: &[LedgerEntry]) -> Result<Vec<LedgerPosition>> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO prices (position, asset, at, price, source) ");
    sql.push_values(entries, |mut row, entry| {
        row.push_bind(place_of(entry.position))
            .push_bind(entry.asset.as_str())
            .push_bind(micros(entry.point.at))
            .push_bind(entry.point.price.value())
            .push_bind(storable_text(&entry.source));
    });
    sql.push(" ON CONFLICT (position) DO NOTHING RETURNING position");
    let rows = sql.build().fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(rows::position).collect()
}
