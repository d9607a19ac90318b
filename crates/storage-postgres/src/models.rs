//! Participants' models.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{DeploymentId, Model, ModelId, Timestamp};
use sqlx::PgConnection;
use storage::{Deployment, ModelRepository, Result, Topic, deployments_of, storable_text};

use crate::errors::failed;
use crate::rows::{self, limit_of, stored};
use crate::{PostgresStore, changes};

#[async_trait]
impl ModelRepository for PostgresStore {
    async fn save_models(&self, models: &[Model]) -> Result<()> {
        let deployments = deployments_of(models);
        // By id: PostgreSQL refuses to touch a row twice in one statement, and rows are locked in key order.
        let models: BTreeMap<&ModelId, &Model> = models.iter().map(|model| (&model.id, model)).collect();
        if models.is_empty() {
            return Ok(());
        }
        let texts = |text: fn(&Model) -> Option<&str>| -> Vec<Option<Cow<'_, str>>> {
            models.values().map(|model| text(model).map(storable_text)).collect()
        };
        let mut transaction = self.begin_as_leader().await?;
        sqlx::query(
            "INSERT INTO models
                 (model_id, deployment_id, name, cruncher_id, cruncher_name, joined_at, last_connected_at,
                  is_baseline)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
                                  $6::timestamptz[], $7::timestamptz[], $8::boolean[])
             ON CONFLICT (model_id) DO UPDATE SET deployment_id = excluded.deployment_id, name = excluded.name,
                 cruncher_id = excluded.cruncher_id, cruncher_name = excluded.cruncher_name,
                 joined_at = excluded.joined_at, last_connected_at = excluded.last_connected_at,
                 first_scored_at = CASE WHEN models.joined_at = excluded.joined_at THEN models.first_scored_at END,
                 is_baseline = excluded.is_baseline",
        )
        .bind(models.keys().map(|id| id.as_str()).collect::<Vec<_>>())
        .bind(models.values().map(|model| model.deployment_id.as_str()).collect::<Vec<_>>())
        .bind(texts(|model| model.name.as_deref()))
        .bind(texts(|model| model.cruncher.id.as_deref()))
        .bind(texts(|model| model.cruncher.name.as_deref()))
        .bind(models.values().map(|model| stored(model.joined_at)).collect::<Vec<_>>())
        .bind(models.values().map(|model| stored(model.last_connected_at)).collect::<Vec<_>>())
        .bind(models.values().map(|model| model.is_baseline).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        note_deployments(&mut transaction, &deployments).await?;
        changes::commit(transaction, &[Topic::Models]).await
    }

    async fn models(&self) -> Result<Vec<Model>> {
        let sql = "SELECT * FROM models ORDER BY model_id";
        let rows = sqlx::query(sql).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::model).collect()
    }

    async fn model(&self, id: &ModelId) -> Result<Option<Model>> {
        let sql = "SELECT * FROM models WHERE model_id = $1";
        let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(rows::model).transpose()
    }

    async fn deployments(
        &self,
        model: &ModelId,
        after: Option<&(Timestamp, DeploymentId)>,
        limit: usize,
    ) -> Result<Vec<Deployment>> {
        let (before, id) = after.map_or((Timestamp::MAX_UTC, ""), |(at, id)| (*at, id.as_str()));
        let sql =
            "SELECT * FROM deployments WHERE model_id = $1 AND (first_seen_at, deployment_id) < ($2, $3)
                   ORDER BY first_seen_at DESC, deployment_id DESC LIMIT $4";
        let rows = sqlx::query(sql)
            .bind(model.as_str())
            .bind(stored(before))
            .bind(id)
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::deployment).collect()
    }
}

async fn note_deployments(
    connection: &mut PgConnection,
    deployments: &BTreeMap<(&ModelId, &DeploymentId), (Timestamp, Timestamp)>,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO deployments (model_id, deployment_id, first_seen_at, last_seen_at)
         SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
         ON CONFLICT (model_id, deployment_id) DO UPDATE
         SET first_seen_at = least(deployments.first_seen_at, excluded.first_seen_at),
             last_seen_at = greatest(deployments.last_seen_at, excluded.last_seen_at)",
    )
    .bind(deployments.keys().map(|(model, _)| model.as_str()).collect::<Vec<_>>())
    .bind(deployments.keys().map(|(_, id)| id.as_str()).collect::<Vec<_>>())
    .bind(deployments.values().map(|(first, _)| stored(*first)).collect::<Vec<_>>())
    .bind(deployments.values().map(|(_, last)| stored(*last)).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Notes that models gave a valid answer at `performed_at`, unless they have answered later.
pub(crate) async fn note_answers(
    connection: &mut PgConnection,
    performed_at: Timestamp,
    answered: &[&str],
) -> Result<()> {
    if answered.is_empty() {
        return Ok(());
    }
    // An UPDATE alone locks rows in any order.
    sqlx::query(
        "UPDATE models SET last_answered_at = $1
         FROM (SELECT model_id FROM models
               WHERE model_id = ANY($2) AND (last_answered_at IS NULL OR last_answered_at < $1)
               ORDER BY model_id FOR NO KEY UPDATE) AS locked
         WHERE models.model_id = locked.model_id",
    )
    .bind(stored(performed_at))
    .bind(answered)
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// How many models there are, and how many have answered at or after `active_since`.
pub(crate) async fn count(connection: &mut PgConnection, active_since: Timestamp) -> Result<(u64, u64)> {
    let (all, active): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE last_answered_at >= $1) FROM models")
            .bind(stored(active_since))
            .fetch_one(connection)
            .await
            .map_err(failed)?;
    Ok((all.unsigned_abs(), active.unsigned_abs()))
}
