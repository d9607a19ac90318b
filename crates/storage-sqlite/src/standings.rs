//! Window scores, leaderboards and snapshots.

use async_trait::async_trait;
use domain::{Leaderboard, Standings, Timestamp};
use storage::{
    ChangeNumber, Lease, Result, ScoringChange, StandingsRepository, encode_document, encode_standings,
};

use crate::errors::{failed, unstorable};
use crate::rows::{self, Reader, limit_of, micros};
use crate::{SqliteStore, leases};

#[async_trait]
impl StandingsRepository for SqliteStore {
    async fn save_leaderboard(
        &self,
        leaderboard: &Leaderboard,
        standings: &Standings,
        ranked_up_to: ChangeNumber,
        lease: &Lease,
    ) -> Result<()> {
        let leaderboard_document = encode_document(leaderboard).map_err(unstorable)?;
        let mut turn = self.writer.begin().await?;
        leases::guard(&mut turn, lease).await?;
        sqlx::query(
            "INSERT INTO leaderboards (as_of, document) VALUES (?1, ?2)
             ON CONFLICT (as_of) DO UPDATE SET document = excluded.document",
        )
        .bind(micros(leaderboard.as_of))
        .bind(leaderboard_document)
        .execute(&mut *turn)
        .await
        .map_err(failed)?;
        sqlx::query(
            "INSERT INTO standings (only_row, as_of, document, ranked_up_to) VALUES (1, ?1, ?2, ?3)
             ON CONFLICT (only_row) DO UPDATE
             SET as_of = excluded.as_of, document = excluded.document, ranked_up_to = excluded.ranked_up_to
             WHERE excluded.as_of >= standings.as_of",
        )
        .bind(micros(standings.as_of))
        .bind(encode_standings(standings))
        .bind(ranked_up_to.0)
        .execute(&mut *turn)
        .await
        .map_err(failed)?;
        turn.finish().await
    }

    async fn ranked_up_to(&self) -> Result<ChangeNumber> {
        let number: Option<i64> = sqlx::query_scalar("SELECT ranked_up_to FROM standings")
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        Ok(number.map_or(ChangeNumber::default(), ChangeNumber))
    }

    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>> {
        let sql = "SELECT as_of, document FROM leaderboards ORDER BY as_of DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| Reader::documents(&row, "leaderboards").document()).transpose()
    }

    async fn leaderboards(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Leaderboard>> {
        let sql = "SELECT as_of, document FROM leaderboards WHERE as_of >= ?1 AND as_of < ?2
                   ORDER BY as_of DESC LIMIT ?3";
        let rows = sqlx::query(sql)
            .bind(micros(from))
            .bind(micros(to))
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().rev().map(|row| Reader::documents(row, "leaderboards").document()).collect()
    }

    async fn leaderboard_instants(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timestamp>> {
        let sql =
            "SELECT as_of FROM leaderboards WHERE as_of >= ?1 AND as_of < ?2 ORDER BY as_of DESC LIMIT ?3";
        let rows = sqlx::query(sql)
            .bind(micros(from))
            .bind(micros(to))
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| Reader::documents(row, "leaderboards").instant("as_of")).collect()
    }

    async fn latest_standings(&self) -> Result<Option<Standings>> {
        let sql = "SELECT as_of, document FROM standings";
        let row = sqlx::query(sql).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| Reader::documents(&row, "standings").standings()).transpose()
    }

    async fn save_snapshot(&self, standings: &Standings, lease: &Lease) -> Result<()> {
        let mut turn = self.writer.begin().await?;
        leases::guard(&mut turn, lease).await?;
        sqlx::query(
            "INSERT INTO snapshots (as_of, document) VALUES (?1, ?2)
             ON CONFLICT (as_of) DO UPDATE SET document = excluded.document",
        )
        .bind(micros(standings.as_of))
        .bind(encode_standings(standings))
        .execute(&mut *turn)
        .await
        .map_err(failed)?;
        turn.finish().await
    }

    async fn newest_snapshot_at(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT as_of FROM snapshots ORDER BY as_of DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| Reader::documents(&row, "snapshots").instant("as_of")).transpose()
    }

    async fn snapshots(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Standings>> {
        let sql = "SELECT as_of, document FROM snapshots WHERE as_of >= ?1 AND as_of < ?2 ORDER BY as_of";
        let rows = sqlx::query(sql)
            .bind(micros(from))
            .bind(micros(to))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| Reader::documents(row, "snapshots").standings()).collect()
    }

    async fn record_scoring_change(&self, change: &ScoringChange) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        sqlx::query(RECORD_CHANGE)
            .bind(micros(change.at))
            .bind(change.rule.as_str())
            .bind(change.settings.as_str())
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        turn.finish().await
    }

    async fn scoring_changes(&self) -> Result<Vec<ScoringChange>> {
        let sql = "SELECT number, at, rule, settings FROM scoring_changes ORDER BY number";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::scoring_change).collect()
    }
}

/// Appends a change, unless the newest one is the same.
const RECORD_CHANGE: &str = "INSERT INTO scoring_changes (number, at, rule, settings)
     SELECT coalesce((SELECT max(number) FROM scoring_changes), 0) + 1, ?1, ?2, ?3
     WHERE NOT EXISTS (SELECT 1 FROM scoring_changes
                       WHERE number = (SELECT max(number) FROM scoring_changes)
                         AND rule = ?2 AND settings = ?3)";
