//! Roll-ups: what windows are computed from.

use async_trait::async_trait;
use domain::{
    ModelNumber, Parameter, RollUp, RollUpChanges, RolledModel, RolledRound, RoundId, Span, Timestamp,
};
use futures::TryStreamExt;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{Lease, Result, RollUpMark, RollUpRepository, StoredRollUps, encode_roll_up};

use crate::errors::failed;
use crate::rows::{self, counted, micros};
use crate::{ROWS_PER_STATEMENT, SqliteStore, leases};

#[async_trait]
impl RollUpRepository for SqliteStore {
    async fn roll_ups(&self, rule: &str, after: Timestamp) -> Result<Option<StoredRollUps>> {
        let mut snapshot = self.snapshot().await?;
        let row = sqlx::query(
            "SELECT only_row, rule, up_to, after FROM roll_up_mark WHERE rule = ?1 AND after <= ?2",
        )
        .bind(rule)
        .bind(micros(after))
        .fetch_optional(&mut *snapshot)
        .await
        .map_err(failed)?;
        let Some(mark) = row.as_ref().map(rows::roll_up_mark).transpose()? else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT number, model_id, joined_at, first_scored_at FROM roll_up_models ORDER BY number",
        )
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        let models = rows.iter().map(rows::rolled_model).collect::<Result<Vec<_>>>()?;
        let sql = "SELECT hour_end, asset, horizon_s, sums FROM roll_up_hours WHERE hour_end > ?1
                   ORDER BY hour_end, asset, horizon_s";
        // Some forty megabytes: they are unpacked while the database reads on.
        let mut rows = sqlx::query(sql).bind(micros(after)).fetch(&mut *snapshot);
        let mut hours = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            hours.push(rows::rolled_hour(&row, models.len())?);
        }

        Ok(Some(StoredRollUps { mark, models, hours }))
    }

    async fn rolled_rounds(&self, ends: &[Timestamp]) -> Result<Vec<RolledRound>> {
        let mut snapshot = self.snapshot().await?;
        let models = counted(&mut snapshot, "SELECT count(*) FROM roll_up_models").await? as usize;
        let mut rounds = Vec::new();
        for end in ends {
            let sql = "SELECT round_id, asset, horizon_s, resolves_at, sums FROM roll_up_rounds
                       WHERE resolves_at > ?1 AND resolves_at <= ?2 ORDER BY resolves_at, round_id";
            let rows = sqlx::query(sql)
                .bind(micros(*end - Span::HOUR))
                .bind(micros(*end))
                .fetch_all(&mut *snapshot)
                .await
                .map_err(failed)?;
            for row in &rows {
                rounds.push(rows::rolled_round(row, models)?);
            }
        }
        rounds.sort_by_key(|round| (round.resolves_at, round.id));
        Ok(rounds)
    }

    async fn save_roll_ups(&self, changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> Result<()> {
        let models: Vec<_> = changes.models.iter().collect();
        let rounds: Vec<_> = changes.rounds.values().flatten().collect();
        let hours: Vec<_> = changes.hours.iter().filter(|(_, sums)| !sums.is_empty()).collect();
        let mut turn = self.writer.begin().await?;
        leases::guard(&mut turn, lease).await?;
        for chunk in models.chunks(ROWS_PER_STATEMENT) {
            save_models(&mut turn, chunk).await?;
        }
        for chunk in rounds.chunks(ROWS_PER_STATEMENT) {
            save_rounds(&mut turn, chunk).await?;
        }
        for chunk in hours.chunks(ROWS_PER_STATEMENT) {
            save_hours(&mut turn, chunk).await?;
        }
        for (id, _) in changes.rounds.iter().filter(|(_, round)| round.is_none()) {
            remove_round(&mut turn, *id).await?;
        }
        for (hour, _) in changes.hours.iter().filter(|(_, sums)| sums.is_empty()) {
            remove_hour(&mut turn, hour).await?;
        }
        for sql in [
            "DELETE FROM roll_up_hours WHERE hour_end <= ?1",
            "DELETE FROM roll_up_rounds WHERE resolves_at <= ?1",
        ] {
            sqlx::query(sql).bind(micros(mark.after)).execute(&mut *turn).await.map_err(failed)?;
        }
        save_mark(&mut turn, mark).await?;
        turn.finish().await
    }

    /// In portions, so that no other writer waits long. Nobody reads what is left without its mark: should this be cut off, the
    /// next worker that ranks begins by it again.
    async fn clear_roll_ups(&self, lease: &Lease) -> Result<()> {
        while self.clear_portion(lease).await? {}
        Ok(())
    }
}

impl SqliteStore {
    /// Removes the mark and a portion of the rest, in one transaction; false when nothing is left.
    async fn clear_portion(&self, lease: &Lease) -> Result<bool> {
        let mut turn = self.writer.begin().await?;
        leases::guard(&mut turn, lease).await?;
        let mut removed = 0;
        for sql in CLEAR {
            removed += sqlx::query(sql).execute(&mut *turn).await.map_err(failed)?.rows_affected();
        }
        turn.finish().await?;
        Ok(removed > 0)
    }
}

/// Removes the mark, and so many rows with sums that it takes a few milliseconds with a thousand models; last the models, by
/// whose numbers the sums are read.
const CLEAR: [&str; 4] = [
    "DELETE FROM roll_up_mark",
    "DELETE FROM roll_up_hours WHERE rowid IN (SELECT rowid FROM roll_up_hours LIMIT 100)",
    "DELETE FROM roll_up_rounds WHERE rowid IN (SELECT rowid FROM roll_up_rounds LIMIT 100)",
    "DELETE FROM roll_up_models
     WHERE NOT EXISTS (SELECT 1 FROM roll_up_hours) AND NOT EXISTS (SELECT 1 FROM roll_up_rounds)",
];

async fn save_models(
    connection: &mut SqliteConnection,
    models: &[(&ModelNumber, &RolledModel)],
) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO roll_up_models (number, model_id, joined_at, first_scored_at) ",
    );
    sql.push_values(models, |mut row, (number, model)| {
        row.push_bind(i64::from(number.0))
            .push_bind(model.id.as_str())
            .push_bind(model.joined_at.map(micros))
            .push_bind(model.first_scored_at.map(micros));
    });
    sql.push(
        " ON CONFLICT (number) DO UPDATE
          SET joined_at = excluded.joined_at, first_scored_at = excluded.first_scored_at",
    );
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

async fn save_rounds(connection: &mut SqliteConnection, rounds: &[&RolledRound]) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO roll_up_rounds (round_id, asset, horizon_s, resolves_at, sums) ",
    );
    sql.push_values(rounds, |mut row, round| {
        row.push_bind(round.id.as_uuid())
            .push_bind(round.parameter.asset.as_str())
            .push_bind(i64::from(round.parameter.horizon.as_secs()))
            .push_bind(micros(round.resolves_at))
            .push_bind(encode_roll_up(&round.sums));
    });
    sql.push(" ON CONFLICT (round_id) DO UPDATE SET sums = excluded.sums");
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

async fn save_hours(
    connection: &mut SqliteConnection,
    hours: &[(&(Timestamp, Parameter), &RollUp)],
) -> Result<()> {
    let mut sql =
        QueryBuilder::<Sqlite>::new("INSERT INTO roll_up_hours (hour_end, asset, horizon_s, sums) ");
    sql.push_values(hours, |mut row, ((end, parameter), sums)| {
        row.push_bind(micros(*end))
            .push_bind(parameter.asset.as_str())
            .push_bind(i64::from(parameter.horizon.as_secs()))
            .push_bind(encode_roll_up(sums));
    });
    sql.push(" ON CONFLICT (hour_end, asset, horizon_s) DO UPDATE SET sums = excluded.sums");
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

async fn remove_round(connection: &mut SqliteConnection, id: RoundId) -> Result<()> {
    let sql = "DELETE FROM roll_up_rounds WHERE round_id = ?1";
    sqlx::query(sql).bind(id.as_uuid()).execute(connection).await.map_err(failed).map(drop)
}

async fn remove_hour(connection: &mut SqliteConnection, hour: &(Timestamp, Parameter)) -> Result<()> {
    let (end, parameter) = hour;
    sqlx::query("DELETE FROM roll_up_hours WHERE hour_end = ?1 AND asset = ?2 AND horizon_s = ?3")
        .bind(micros(*end))
        .bind(parameter.asset.as_str())
        .bind(i64::from(parameter.horizon.as_secs()))
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

async fn save_mark(connection: &mut SqliteConnection, mark: &RollUpMark) -> Result<()> {
    sqlx::query(
        "INSERT INTO roll_up_mark (only_row, rule, up_to, after) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (only_row) DO UPDATE
         SET rule = excluded.rule, up_to = excluded.up_to, after = excluded.after",
    )
    .bind(mark.rule.as_str())
    .bind(mark.up_to.0)
    .bind(micros(mark.after))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}
