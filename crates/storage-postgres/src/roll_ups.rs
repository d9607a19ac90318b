//! Roll-ups: what windows are computed from.

use async_trait::async_trait;
use domain::{
    ModelNumber, Parameter, RollUp, RollUpChanges, RolledModel, RolledRound, RoundId, Span, Timestamp,
};
use futures::TryStreamExt;
use sqlx::PgConnection;
use storage::{Lease, Result, RollUpMark, RollUpRepository, StoredRollUps, encode_roll_up};

use crate::errors::failed;
use crate::rows::{self, counted, stored};
use crate::{PostgresStore, leases};

#[async_trait]
impl RollUpRepository for PostgresStore {
    async fn roll_ups(&self, rule: &str, after: Timestamp) -> Result<Option<StoredRollUps>> {
        let mut snapshot = self.snapshot().await?;
        let row = sqlx::query(
            "SELECT only_row, rule, up_to, after FROM roll_up_mark WHERE rule = $1 AND after <= $2",
        )
        .bind(rule)
        .bind(stored(after))
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
        let sql = "SELECT hour_end, asset, horizon_s, sums FROM roll_up_hours WHERE hour_end > $1
                   ORDER BY hour_end, asset, horizon_s";
        // Some forty megabytes: they are unpacked while the database reads on.
        let mut rows = sqlx::query(sql).bind(stored(after)).fetch(&mut *snapshot);
        let mut hours = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            hours.push(rows::rolled_hour(&row, models.len())?);
        }

        Ok(Some(StoredRollUps { mark, models, hours }))
    }

    async fn rolled_rounds(&self, ends: &[Timestamp]) -> Result<Vec<RolledRound>> {
        let mut snapshot = self.snapshot().await?;
        let models = counted(&mut snapshot, "SELECT count(*) FROM roll_up_models").await? as usize;
        let sql = "SELECT round_id, asset, horizon_s, resolves_at, sums
                   FROM unnest($1::timestamptz[], $2::timestamptz[]) AS hours (after, up_to)
                   JOIN roll_up_rounds ON resolves_at > hours.after AND resolves_at <= hours.up_to
                   ORDER BY resolves_at, round_id";
        let rows = sqlx::query(sql)
            .bind(ends.iter().map(|end| stored(*end - Span::HOUR)).collect::<Vec<_>>())
            .bind(ends.iter().map(|end| stored(*end)).collect::<Vec<_>>())
            .fetch_all(&mut *snapshot)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| rows::rolled_round(row, models)).collect()
    }

    async fn save_roll_ups(&self, changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> Result<()> {
        let models: Vec<_> = changes.models.iter().collect();
        let rounds: Vec<_> = changes.rounds.values().flatten().collect();
        let (gone, hours): (Vec<_>, Vec<_>) = changes.hours.iter().partition(|(_, sums)| sums.is_empty());
        let removed = changes.rounds.iter().filter(|(_, round)| round.is_none());
        let removed: Vec<RoundId> = removed.map(|(id, _)| *id).collect();
        let mut transaction = self.begin().await?;
        leases::guard(&mut transaction, lease).await?;
        save_models(&mut transaction, &models).await?;
        save_rounds(&mut transaction, &rounds).await?;
        save_hours(&mut transaction, &hours).await?;
        remove_rounds(&mut transaction, &removed).await?;
        remove_hours(&mut transaction, &gone).await?;
        for sql in [
            "DELETE FROM roll_up_hours WHERE hour_end <= $1",
            "DELETE FROM roll_up_rounds WHERE resolves_at <= $1",
        ] {
            sqlx::query(sql).bind(stored(mark.after)).execute(&mut *transaction).await.map_err(failed)?;
        }
        save_mark(&mut transaction, mark).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn clear_roll_ups(&self, lease: &Lease) -> Result<()> {
        let mut transaction = self.begin().await?;
        leases::guard(&mut transaction, lease).await?;
        for sql in [
            "DELETE FROM roll_up_mark",
            "DELETE FROM roll_up_models",
            "DELETE FROM roll_up_hours",
            "DELETE FROM roll_up_rounds",
        ] {
            sqlx::query(sql).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}

async fn save_models(connection: &mut PgConnection, models: &[(&ModelNumber, &RolledModel)]) -> Result<()> {
    if models.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO roll_up_models (number, model_id, joined_at, first_scored_at)
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::timestamptz[])
               ON CONFLICT (number) DO UPDATE
               SET joined_at = excluded.joined_at, first_scored_at = excluded.first_scored_at";
    sqlx::query(sql)
        .bind(models.iter().map(|(number, _)| i64::from(number.0)).collect::<Vec<_>>())
        .bind(models.iter().map(|(_, model)| model.id.as_str()).collect::<Vec<_>>())
        .bind(models.iter().map(|(_, model)| model.joined_at.map(stored)).collect::<Vec<_>>())
        .bind(models.iter().map(|(_, model)| model.first_scored_at.map(stored)).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

async fn save_rounds(connection: &mut PgConnection, rounds: &[&RolledRound]) -> Result<()> {
    if rounds.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO roll_up_rounds (round_id, asset, horizon_s, resolves_at, sums)
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bytea[])
               ON CONFLICT (round_id) DO UPDATE SET sums = excluded.sums";
    sqlx::query(sql)
        .bind(rounds.iter().map(|round| round.id.as_uuid()).collect::<Vec<_>>())
        .bind(rounds.iter().map(|round| round.parameter.asset.as_str()).collect::<Vec<_>>())
        .bind(rounds.iter().map(|round| seconds(&round.parameter)).collect::<Vec<_>>())
        .bind(rounds.iter().map(|round| stored(round.resolves_at)).collect::<Vec<_>>())
        .bind(rounds.iter().map(|round| encode_roll_up(&round.sums)).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

/// An hour of a parameter, and its roll-up.
type Hour<'a> = (&'a (Timestamp, Parameter), &'a RollUp);

async fn save_hours(connection: &mut PgConnection, hours: &[Hour<'_>]) -> Result<()> {
    if hours.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO roll_up_hours (hour_end, asset, horizon_s, sums)
               SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::bytea[])
               ON CONFLICT (hour_end, asset, horizon_s) DO UPDATE SET sums = excluded.sums";
    sqlx::query(sql)
        .bind(hours.iter().map(|((end, _), _)| stored(*end)).collect::<Vec<_>>())
        .bind(hours.iter().map(|((_, parameter), _)| parameter.asset.as_str()).collect::<Vec<_>>())
        .bind(hours.iter().map(|((_, parameter), _)| seconds(parameter)).collect::<Vec<_>>())
        .bind(hours.iter().map(|(_, sums)| encode_roll_up(sums)).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

async fn remove_rounds(connection: &mut PgConnection, ids: &[RoundId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM roll_up_rounds WHERE round_id = ANY ($1::uuid[])")
        .bind(ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

async fn remove_hours(connection: &mut PgConnection, hours: &[Hour<'_>]) -> Result<()> {
    for ((end, parameter), _) in hours {
        sqlx::query("DELETE FROM roll_up_hours WHERE hour_end = $1 AND asset = $2 AND horizon_s = $3")
            .bind(stored(*end))
            .bind(parameter.asset.as_str())
            .bind(seconds(parameter))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

async fn save_mark(connection: &mut PgConnection, mark: &RollUpMark) -> Result<()> {
    sqlx::query(
        "INSERT INTO roll_up_mark (rule, up_to, after) VALUES ($1, $2, $3)
         ON CONFLICT (only_row) DO UPDATE
         SET rule = excluded.rule, up_to = excluded.up_to, after = excluded.after",
    )
    .bind(mark.rule.as_str())
    .bind(mark.up_to.0)
    .bind(stored(mark.after))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

fn seconds(parameter: &Parameter) -> i64 {
    i64::from(parameter.horizon.as_secs())
}
