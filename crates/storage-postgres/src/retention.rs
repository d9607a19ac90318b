//! What is old leaves: whole partitions, and of other tables some rows at a time.

use async_trait::async_trait;
use domain::{RoundId, Timestamp};
use storage::{Amount, Expiry, Place, Portion, Prunable, Result, RetentionRepository, Unfinished};
use uuid::Uuid;

use crate::PostgresStore;
use crate::errors::failed;
use crate::old_partitions::{is_needed, old};
use crate::rounds::first_scored;
use crate::rows::{self, Reader, limit_of, stored};

#[async_trait]
impl RetentionRepository for PostgresStore {
    async fn prunable(&self, what: Prunable, expiry: &Expiry) -> Result<Amount> {
        let mut total = self.old_rows(&Rows::of(what), expiry).await?;
        if is_partitioned(what) {
            for partition in old(&self.pool, what.as_str(), expiry, Uuid::nil()).await? {
                let amount = partition.amount(&self.pool).await?;
                total.rows += amount.rows;
                total.bytes += amount.bytes;
            }
        }
        Ok(total)
    }

    async fn prune(&self, what: Prunable, expiry: &Expiry, from: &Place) -> Result<Portion> {
        let after = match from {
            Place::Start => Uuid::nil(),
            Place::After(round, _) => round.as_uuid(),
            Place::End => {
                return Ok(Portion { removed: Amount::default(), is_busy: false, next: Place::End });
            }
        };
        if what == Prunable::Scores && *from == Place::Start {
            self.note_first_scored(expiry.needed_after).await?;
        }
        if is_partitioned(what)
            && let Some(oldest) = old(&self.pool, what.as_str(), expiry, after).await?.first()
        {
            return oldest.remove(&self.pool, what.as_str(), expiry.needed_after).await;
        }
        self.prune_rows(&Rows::of(what), expiry, from).await
    }

    async fn unfinished(&self, asked_before: Timestamp) -> Result<Unfinished> {
        let sql = "SELECT count(*) FILTER (WHERE performed_at < $1) AS rounds, min(performed_at) AS oldest
                   FROM rounds WHERE state IN ('asked', 'closed')";
        let row = sqlx::query(sql).bind(stored(asked_before)).fetch_one(&self.pool).await.map_err(failed)?;
        rows::unfinished(&row)
    }
}

fn is_partitioned(what: Prunable) -> bool {
    match what {
        Prunable::RefusedAnswers | Prunable::Predictions | Prunable::Scores => true,
        Prunable::Leaderboards | Prunable::Snapshots | Prunable::Prices => false,
    }
}

/// Rows that leave some at a time: those from before $1, or of rounds before $2 unless these resolved after $3.
struct Rows {
    at_once: usize,
    /// Counts them.
    survey: &'static str,
    /// Removes up to $4 of them and counts these.
    removal: &'static str,
}

macro_rules! rows {
    ($table:literal, $key:literal, $bytes:literal, $at_once:literal, $old:expr) => {
        Rows {
            at_once: $at_once,
            survey: concat!(
                "SELECT count(*) AS rows, coalesce(sum(pg_column_size(",
                $bytes,
                ")), 0)::bigint AS bytes FROM ",
                $table,
                " AS old WHERE ",
                $old
            ),
            removal: concat!(
                "WITH gone AS (
                     DELETE FROM ",
                $table,
                " WHERE (",
                $key,
                ") IN (SELECT ",
                $key,
                " FROM ",
                $table,
                " AS old WHERE ",
                $old,
                " ORDER BY ",
                $key,
                " LIMIT $4) RETURNING pg_column_size(",
                $bytes,
                ") AS bytes)
                 SELECT count(*) AS rows, coalesce(sum(bytes), 0)::bigint AS bytes FROM gone"
            ),
        }
    };
}

/// The rows of a default partition.
macro_rules! by_round {
    ($table:literal, $bytes:literal) => {
        rows!(
            $table,
            "round_id, model_id",
            $bytes,
            1000,
            concat!(
                "round_id < $2 AND NOT EXISTS (SELECT 1 FROM rounds WHERE rounds.round_id = old.round_id AND ",
                is_needed!("$3"),
                ")"
            )
        )
    };
}

impl Rows {
    fn of(what: Prunable) -> Self {
        match what {
            Prunable::RefusedAnswers => by_round!("refused_answers_default", "answer"),
            Prunable::Predictions => by_round!("predictions_default", "answer"),
            Prunable::Scores => by_round!("scores_default", "steps"),
            // The newest stays, and the first of each hour.
            Prunable::Leaderboards => rows!(
                "leaderboards",
                "as_of",
                "document",
                500,
                "as_of < $1 AND as_of < (SELECT max(as_of) FROM leaderboards)
                 AND EXISTS (SELECT 1 FROM leaderboards AS earlier
                             WHERE earlier.as_of >= date_trunc('hour', old.as_of, 'UTC')
                               AND earlier.as_of < old.as_of)"
            ),
            Prunable::Snapshots => rows!(
                "snapshots",
                "as_of",
                "document",
                100,
                "as_of < $1 AND as_of < (SELECT max(as_of) FROM snapshots)"
            ),
            // The last one stays: the next position follows from it. An index holds them by asset and close: so nothing is
            // read that stays.
            Prunable::Prices => rows!(
                "prices",
                "position",
                "source",
                5000,
                "asset IN (WITH RECURSIVE assets (asset) AS (
                               SELECT min(asset) FROM prices
                               UNION ALL
                               SELECT (SELECT min(asset) FROM prices WHERE prices.asset > assets.asset)
                               FROM assets WHERE asset IS NOT NULL)
                           SELECT asset FROM assets WHERE asset IS NOT NULL)
                 AND at < $1 AND position < (SELECT max(position) FROM prices)"
            ),
        }
    }
}

impl PostgresStore {
    async fn old_rows(&self, rows: &Rows, expiry: &Expiry) -> Result<Amount> {
        let row = sqlx::query(rows.survey)
            .bind(stored(expiry.before))
            .bind(RoundId::first_at(expiry.before).as_uuid())
            .bind(stored(expiry.needed_after))
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        rows::amount(&row)
    }

    async fn prune_rows(&self, rows: &Rows, expiry: &Expiry, from: &Place) -> Result<Portion> {
        let row = sqlx::query(rows.removal)
            .bind(stored(expiry.before))
            .bind(RoundId::first_at(expiry.before).as_uuid())
            .bind(stored(expiry.needed_after))
            .bind(limit_of(rows.at_once))
            .fetch_one(&self.pool)
            .await
            .map_err(failed)?;
        let removed = rows::amount(&row)?;
        let next = if removed.rows < rows.at_once as u64 { Place::End } else { from.clone() };
        Ok(Portion { removed, is_busy: false, next })
    }

    /// Notes when models were first scored, where no rule in force can change it any more: their scores may go now.
    async fn note_first_scored(&self, up_to: Timestamp) -> Result<()> {
        let sql = concat!(
            "SELECT model_id, joined_at, ",
            first_scored!(),
            " AS first_scored_at FROM models m WHERE first_scored_at IS NULL ORDER BY model_id"
        );
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        let (mut ids, mut joined, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            if let Some((id, at)) = rows::first_scored(row)?.filter(|(_, at)| *at <= up_to) {
                ids.push(id.as_str().to_owned());
                joined.push(Reader::models(row).instant("joined_at")?);
                first.push(stored(at));
            }
        }
        // Unless it has left and come back meanwhile. An UPDATE alone locks rows in any order.
        sqlx::query(
            "WITH noted AS (SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[])
                                        AS noted (model_id, joined_at, first_scored_at)),
                  locked AS MATERIALIZED (SELECT model_id FROM models JOIN noted USING (model_id, joined_at)
                                          ORDER BY model_id FOR NO KEY UPDATE OF models)
             UPDATE models SET first_scored_at = noted.first_scored_at
             FROM noted JOIN locked USING (model_id) WHERE models.model_id = noted.model_id",
        )
        .bind(ids)
        .bind(joined)
        .bind(first)
        .execute(&self.pool)
        .await
        .map_err(failed)
        .map(drop)
    }
}
