//! Participants' models.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{DeploymentId, Model, ModelId, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{Deployment, ModelRepository, Result, deployments_of, storable_text};

use crate::errors::{failed, unstorable};
use crate::rows::{self, limit_of, micros};
use crate::{ROWS_PER_STATEMENT, SqliteStore};

const COLUMNS: &str =
    "model_id, deployment_id, name, cruncher_id, cruncher_name, joined_at, last_connected_at, is_baseline";

#[async_trait]
impl ModelRepository for SqliteStore {
    async fn save_models(&self, models: &[Model]) -> Result<()> {
        let deployments: Vec<Seen> = deployments_of(models).into_iter().collect();
        let models: BTreeMap<&ModelId, &Model> = models.iter().map(|model| (&model.id, model)).collect();
        let models: Vec<&Model> = models.into_values().collect();
        let mut turn = self.begin_as_leader().await?;
        for chunk in models.chunks(ROWS_PER_STATEMENT) {
            save(&mut turn, chunk).await?;
        }
        for chunk in deployments.chunks(ROWS_PER_STATEMENT) {
            note_deployments(&mut turn, chunk).await?;
        }
        turn.finish().await
    }

    async fn models(&self) -> Result<Vec<Model>> {
        let sql = "SELECT * FROM models ORDER BY model_id";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::model).collect()
    }

    async fn model(&self, id: &ModelId) -> Result<Option<Model>> {
        let sql = "SELECT * FROM models WHERE model_id = ?1";
        let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&self.readers).await.map_err(failed)?;
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
            "SELECT * FROM deployments WHERE model_id = ?1 AND (first_seen_at, deployment_id) < (?2, ?3)
                   ORDER BY first_seen_at DESC, deployment_id DESC LIMIT ?4";
        let rows = sqlx::query(sql)
            .bind(model.as_str())
            .bind(micros(before))
            .bind(id)
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(rows::deployment).collect()
    }
}

/// A deployment of a model, and from when to when it was seen.
type Seen<'m> = ((&'m ModelId, &'m DeploymentId), (Timestamp, Timestamp));

async fn save(connection: &mut SqliteConnection, models: &[&Model]) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!("INSERT INTO models ({COLUMNS}) "));
    sql.push_values(models, |mut row, model| {
        row.push_bind(model.id.as_str())
            .push_bind(model.deployment_id.as_str())
            .push_bind(model.name.as_deref().map(storable_text))
            .push_bind(model.cruncher.id.as_deref().map(storable_text))
            .push_bind(model.cruncher.name.as_deref().map(storable_text))
            .push_bind(micros(model.joined_at))
            .push_bind(micros(model.last_connected_at))
            .push_bind(model.is_baseline);
    });
    sql.push(
        " ON CONFLICT (model_id) DO UPDATE SET deployment_id = excluded.deployment_id, name = excluded.name,
          cruncher_id = excluded.cruncher_id, cruncher_name = excluded.cruncher_name,
          joined_at = excluded.joined_at, last_connected_at = excluded.last_connected_at,
          first_scored_at = CASE WHEN joined_at = excluded.joined_at THEN first_scored_at END,
          is_baseline = excluded.is_baseline",
    );
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

async fn note_deployments(connection: &mut SqliteConnection, deployments: &[Seen<'_>]) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO deployments (model_id, deployment_id, first_seen_at, last_seen_at) ",
    );
    sql.push_values(deployments, |mut row, ((model, id), (first, last))| {
        row.push_bind(model.as_str())
            .push_bind(id.as_str())
            .push_bind(micros(*first))
            .push_bind(micros(*last));
    });
    sql.push(
        " ON CONFLICT (model_id, deployment_id) DO UPDATE
          SET first_seen_at = min(first_seen_at, excluded.first_seen_at),
              last_seen_at = max(last_seen_at, excluded.last_seen_at)",
    );
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

/// Notes that models gave a valid answer at `performed_at`, unless they have answered later.
pub(crate) async fn note_answers(
    connection: &mut SqliteConnection,
    performed_at: Timestamp,
    answered: &[&str],
) -> Result<()> {
    if answered.is_empty() {
        return Ok(());
    }
    let answered = serde_json::to_string(answered).map_err(|error| unstorable(error.to_string()))?;
    sqlx::query(
        "UPDATE models SET last_answered_at = ?1
         WHERE model_id IN (SELECT value FROM json_each(?2))
           AND (last_answered_at IS NULL OR last_answered_at < ?1)",
    )
    .bind(micros(performed_at))
    .bind(answered)
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// How many models there are, and how many have answered at or after `active_since`.
pub(crate) async fn count(connection: &mut SqliteConnection, active_since: Timestamp) -> Result<(u64, u64)> {
    let (all, active): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE last_answered_at >= ?1) FROM models")
            .bind(micros(active_since))
            .fetch_one(connection)
            .await
            .map_err(failed)?;
    Ok((all.unsigned_abs(), active.unsigned_abs()))
}
