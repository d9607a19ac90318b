//! What is old leaves, some rows at a time.
//!
//! Pages that become free are used again by what is stored next: the file grows until the first rows leave, and no more. They
//! are not given back to the file system, for to move pages down from the end of the file costs as much again as to delete
//! from them, and the next day needs them anyway. `VACUUM` does it for who wants it.

use async_trait::async_trait;
use domain::{ModelId, RoundId, Timestamp};
use sqlx::SqliteConnection;
use storage::{Amount, Expiry, Place, Portion, Prunable, Result, RetentionRepository, Unfinished};
use uuid::Uuid;

use crate::SqliteStore;
use crate::errors::{failed, unstorable};
use crate::rounds::first_scored;
use crate::rows::{self, Reader, limit_of, micros};

#[async_trait]
impl RetentionRepository for SqliteStore {
    async fn prunable(&self, what: Prunable, expiry: &Expiry) -> Result<Amount> {
        let query = match Table::of(what) {
            Table::ByRound(table) => sqlx::query(table.survey)
                .bind(RoundId::first_at(expiry.before).as_uuid())
                .bind(micros(expiry.needed_after)),
            Table::ByKey(table) => sqlx::query(table.survey).bind(micros(expiry.before)),
        };
        let row = query.fetch_one(&self.readers).await.map_err(failed)?;
        rows::amount(&row)
    }

    async fn prune(&self, what: Prunable, expiry: &Expiry, from: &Place) -> Result<Portion> {
        if what == Prunable::Scores && *from == Place::Start {
            self.note_first_scored(expiry.needed_after).await?;
        }
        match Table::of(what) {
            Table::ByRound(table) => self.prune_rounds(&table, expiry, from).await,
            Table::ByKey(table) => self.prune_keys(&table, expiry.before).await,
        }
    }

    async fn unfinished(&self, asked_before: Timestamp) -> Result<Unfinished> {
        let sql = "SELECT count(*) FILTER (WHERE performed_at < ?1) AS rounds, min(performed_at) AS oldest
                   FROM rounds WHERE state IN ('asked', 'closed')";
        let row =
            sqlx::query(sql).bind(micros(asked_before)).fetch_one(&self.readers).await.map_err(failed)?;
        rows::unfinished(&row)
    }
}

/// What is removed, how much at once, and how. So little at once that it takes some milliseconds, and that is the more the
/// more pages of its own a row has.
enum Table {
    ByRound(ByRound),
    ByKey(ByKey),
}

/// A table with rows by round and model.
struct ByRound {
    at_once: usize,
    /// Counts what may go of the rounds before ?1; those that are not scored or resolved after ?2 are needed.
    survey: &'static str,
    /// The row that is the ?4th after that of round ?2 and model ?3, in the rounds before ?1.
    end_of_portion: &'static str,
    /// Removes what may go after round ?3 and model ?4, up to round ?5 and model ?6.
    removal: &'static str,
}

/// A table with a number as key.
struct ByKey {
    at_once: usize,
    /// Counts what may go from before ?1.
    survey: &'static str,
    /// The first ?2 keys of that.
    old: &'static str,
    /// Removes rows by their keys, a list as JSON.
    removal: &'static str,
}

macro_rules! by_round {
    ($table:literal, $bytes:literal, $at_once:literal) => {
        Table::ByRound(ByRound {
            at_once: $at_once,
            survey: concat!(
                "SELECT count(*) AS rows, coalesce(sum(",
                $bytes,
                "), 0) AS bytes FROM ",
                $table,
                " WHERE round_id < ?1
                    AND round_id NOT IN (SELECT round_id FROM rounds
                                         WHERE round_id < ?1
                                           AND (state IN ('asked', 'closed') OR resolves_at > ?2))"
            ),
            end_of_portion: concat!(
                "SELECT round_id, model_id FROM ",
                $table,
                " WHERE round_id < ?1 AND (round_id, model_id) > (?2, ?3)
                  ORDER BY round_id, model_id LIMIT 1 OFFSET ?4"
            ),
            removal: concat!(
                "DELETE FROM ",
                $table,
                " WHERE (round_id, model_id) > (?3, ?4) AND (round_id, model_id) <= (?5, ?6)
                    AND round_id NOT IN (SELECT round_id FROM rounds
                                         WHERE round_id >= ?3 AND round_id <= ?5
                                           AND (state IN ('asked', 'closed') OR resolves_at > ?2))
                    AND round_id < ?1"
            ),
        })
    };
}

macro_rules! by_key {
    ($table:literal, $key:literal, $bytes:literal, $old:expr, $at_once:literal) => {
        Table::ByKey(ByKey {
            at_once: $at_once,
            survey: concat!(
                "SELECT count(*) AS rows, coalesce(sum(",
                $bytes,
                "), 0) AS bytes FROM ",
                $table,
                " AS old WHERE ",
                $old
            ),
            old: concat!("SELECT ", $key, " FROM ", $table, " AS old WHERE ", $old, " ORDER BY 1 LIMIT ?2"),
            removal: concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $key,
                " IN (SELECT value FROM json_each(?1))"
            ),
        })
    };
}

impl Table {
    fn of(what: Prunable) -> Self {
        match what {
            Prunable::RefusedAnswers => by_round!("refused_answers", "length(answer)", 250),
            Prunable::Predictions => by_round!("predictions", "coalesce(length(answer), 0)", 250),
            Prunable::Scores => by_round!("scores", "length(steps)", 1000),
            Prunable::Leaderboards => by_key!(
                "leaderboards",
                "as_of",
                "length(document)",
                // The newest stays, and the first of each hour.
                "as_of < ?1 AND as_of < (SELECT max(as_of) FROM leaderboards)
                 AND EXISTS (SELECT 1 FROM leaderboards AS earlier
                             WHERE earlier.as_of >= old.as_of - old.as_of % 3600000000
                               AND earlier.as_of < old.as_of)",
                20
            ),
            Prunable::Snapshots => by_key!(
                "snapshots",
                "as_of",
                "length(document)",
                "as_of < ?1 AND as_of < (SELECT max(as_of) FROM snapshots)",
                5
            ),
            // The last one stays: the next position follows from it.
            Prunable::Prices => by_key!(
                "prices",
                "position",
                "length(source)",
                // An index holds them by asset and close: so nothing is read that stays.
                "asset IN (WITH RECURSIVE assets (asset) AS (
                               SELECT min(asset) FROM prices
                               UNION ALL
                               SELECT (SELECT min(asset) FROM prices WHERE prices.asset > assets.asset)
                               FROM assets WHERE asset IS NOT NULL)
                           SELECT asset FROM assets WHERE asset IS NOT NULL)
                 AND at < ?1 AND position < (SELECT max(position) FROM prices)",
                1000
            ),
        }
    }
}

impl SqliteStore {
    async fn prune_rounds(&self, table: &ByRound, expiry: &Expiry, from: &Place) -> Result<Portion> {
        let (round, model) = match from {
            Place::Start => (Uuid::nil(), ""),
            Place::After(round, model) => (round.as_uuid(), model.as_ref().map_or("", ModelId::as_str)),
            Place::End => return Ok(nothing_left()),
        };
        let bound = RoundId::first_at(expiry.before);
        let mut turn = self.writer.begin().await?;
        let end = sqlx::query(table.end_of_portion)
            .bind(bound.as_uuid())
            .bind(round)
            .bind(model)
            .bind(limit_of(table.at_once - 1))
            .fetch_optional(&mut *turn)
            .await
            .map_err(failed)?;
        let next = end.as_ref().map_or(Ok(Place::End), rows::place)?;
        let (last_round, last_model) = match &next {
            Place::After(round, Some(model)) => (round.as_uuid(), model.as_str()),
            _ => (bound.as_uuid(), ""),
        };
        let free = free_bytes(&mut turn).await?;
        let result = sqlx::query(table.removal)
            .bind(bound.as_uuid())
            .bind(micros(expiry.needed_after))
            .bind(round)
            .bind(model)
            .bind(last_round)
            .bind(last_model)
            .execute(&mut *turn)
            .await
            .map_err(failed)?;
        let bytes = free_bytes(&mut turn).await?.saturating_sub(free);
        turn.finish().await?;
        Ok(Portion { removed: Amount { rows: result.rows_affected(), bytes }, is_busy: false, next })
    }

    async fn prune_keys(&self, table: &ByKey, before: Timestamp) -> Result<Portion> {
        // Most often there is nothing: that is for a reader to find out, who keeps no writer waiting.
        let keys: Vec<i64> = sqlx::query_scalar(table.old)
            .bind(micros(before))
            .bind(limit_of(table.at_once))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        if keys.is_empty() {
            return Ok(nothing_left());
        }
        let is_last = keys.len() < table.at_once;
        let keys = serde_json::to_string(&keys).map_err(|error| unstorable(error.to_string()))?;
        let mut turn = self.writer.begin().await?;
        let free = free_bytes(&mut turn).await?;
        let result = sqlx::query(table.removal).bind(keys).execute(&mut *turn).await.map_err(failed)?;
        let bytes = free_bytes(&mut turn).await?.saturating_sub(free);
        turn.finish().await?;
        let next = if is_last { Place::End } else { Place::Start };
        Ok(Portion { removed: Amount { rows: result.rows_affected(), bytes }, is_busy: false, next })
    }

    /// Notes when models were first scored, where no rule in force can change it any more: their scores may go now.
    async fn note_first_scored(&self, up_to: Timestamp) -> Result<()> {
        let sql = concat!(
            "SELECT model_id, joined_at, ",
            first_scored!(),
            " AS first_scored_at FROM models m WHERE first_scored_at IS NULL"
        );
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(failed)?;
        let mut turn = self.writer.begin().await?;
        for row in &rows {
            let Some((id, first)) = rows::first_scored(row)?.filter(|(_, first)| *first <= up_to) else {
                continue;
            };
            // Unless it has left and come back meanwhile.
            sqlx::query("UPDATE models SET first_scored_at = ?1 WHERE model_id = ?2 AND joined_at = ?3")
                .bind(micros(first))
                .bind(id.as_str())
                .bind(micros(Reader::models(row).instant("joined_at")?))
                .execute(&mut *turn)
                .await
                .map_err(failed)?;
        }
        turn.finish().await
    }
}

fn nothing_left() -> Portion {
    Portion { removed: Amount::default(), is_busy: false, next: Place::End }
}

/// The pages of the file that hold nothing.
async fn free_bytes(connection: &mut SqliteConnection) -> Result<u64> {
    let sql = "SELECT freelist_count * page_size FROM pragma_freelist_count(), pragma_page_size()";
    rows::counted(connection, sql).await
}
