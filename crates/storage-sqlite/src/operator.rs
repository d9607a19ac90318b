//! What operators change, and the record of it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::{ModelId, RoundId, RoundState, Timestamp};
use sqlx::SqliteConnection;
use storage::{Action, AuditEntry, BY_HAND, OperatorRepository, Order, Result, Unchanged, storable_text};

use crate::SqliteStore;
use crate::errors::failed;
use crate::rounds::{count_change, delete_scores, mark_void, round_to_judge};
use crate::rows::{self, Reader, limit_of, micros};

type Outcome = std::result::Result<(), Unchanged>;

#[async_trait]
impl OperatorRepository for SqliteStore {
    async fn carry_out(&self, order: &Order) -> Result<Outcome> {
        let mut turn = self.writer.begin().await?;
        let outcome = act(&mut turn, order).await?;
        if outcome.is_ok() {
            let (word, subject) = (order.action.word(), order.action.subject());
            record(&mut turn, order.at, &order.by, word, subject.as_deref(), &order.reason).await?;
        }
        turn.finish().await?;
        Ok(outcome)
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let sql = "SELECT * FROM audit ORDER BY number DESC LIMIT ?1";
        let rows = sqlx::query(sql).bind(limit_of(limit)).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::audit_entry).collect()
    }

    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>> {
        let rows = sqlx::query(EXCLUDED).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(|row| Reader::audit(row).parse("subject")).collect()
    }

    async fn pause(&self) -> Result<Option<AuditEntry>> {
        let row = sqlx::query(NEWEST_PAUSE).fetch_optional(&self.readers).await.map_err(failed)?;
        let newest = row.as_ref().map(rows::audit_entry).transpose()?;
        Ok(newest.filter(|entry| entry.action == Action::Pause.word()))
    }
}

/// The newest order about each model that was ever excluded, where it is to exclude it.
const EXCLUDED: &str = "SELECT number, subject FROM audit AS newest
     WHERE action = 'exclude_model'
       AND NOT EXISTS (SELECT 1 FROM audit AS later
                       WHERE later.action = 'include_model' AND later.subject = newest.subject
                         AND later.number > newest.number)";

const NEWEST_PAUSE: &str =
    "SELECT * FROM audit WHERE action IN ('pause', 'resume') ORDER BY number DESC LIMIT 1";

async fn act(connection: &mut SqliteConnection, order: &Order) -> Result<Outcome> {
    match &order.action {
        Action::VoidRound(id) => void(connection, *id, order).await,
        Action::RescoreRound(id) => rescore(connection, *id).await,
        Action::ExcludeModel(id) => exclude(connection, id, true).await,
        Action::IncludeModel(id) => exclude(connection, id, false).await,
        Action::Pause => pause(connection, true).await,
        Action::Resume => pause(connection, false).await,
    }
}

async fn void(connection: &mut SqliteConnection, id: RoundId, order: &Order) -> Result<Outcome> {
    let Some(round) = round_to_judge(connection, id).await? else { return Ok(Err(Unchanged::Unknown)) };
    match round.state {
        RoundState::Void if round.rule.as_deref() == Some(BY_HAND) => return Ok(Err(Unchanged::Already)),
        RoundState::Closed | RoundState::Scored | RoundState::Void => {}
        other => return Ok(Err(Unchanged::State(other))),
    }
    delete_scores(connection, id).await?;
    count_change(connection).await?;
    let reason = format!("by {}: {}", order.by, order.reason);
    mark_void(connection, id, BY_HAND, None, order.at, &reason).await?;
    Ok(Ok(()))
}

async fn rescore(connection: &mut SqliteConnection, id: RoundId) -> Result<Outcome> {
    let Some(round) = round_to_judge(connection, id).await? else { return Ok(Err(Unchanged::Unknown)) };
    if !matches!(round.state, RoundState::Closed | RoundState::Scored | RoundState::Void) {
        return Ok(Err(Unchanged::State(round.state)));
    }
    let predictions: i64 = sqlx::query_scalar("SELECT count(*) FROM predictions WHERE round_id = ?1")
        .bind(id.as_uuid())
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if predictions.unsigned_abs() < round.counts.total() {
        return Ok(Err(Unchanged::PredictionsGone));
    }
    delete_scores(connection, id).await?;
    count_change(connection).await?;
    sqlx::query(REOPEN).bind(id.as_uuid()).execute(connection).await.map_err(failed)?;
    Ok(Ok(()))
}

/// Makes a round as it was before it was judged.
const REOPEN: &str = "UPDATE rounds
     SET state = 'closed', reason = NULL, scored_at = NULL, rule = NULL, best = NULL, q95 = NULL,
         score_after = NULL, claimed_by = NULL, claimed_until = NULL,
         change_number = (SELECT last_number FROM change_counter)
     WHERE round_id = ?1";

async fn exclude(connection: &mut SqliteConnection, id: &ModelId, is_wanted: bool) -> Result<Outcome> {
    let is_known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM models WHERE model_id = ?1)")
        .bind(id.as_str())
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !is_known {
        return Ok(Err(Unchanged::Unknown));
    }
    let excluded = sqlx::query(EXCLUDED).fetch_all(connection).await.map_err(failed)?;
    let mut is_excluded = false;
    for row in &excluded {
        is_excluded |= Reader::audit(row).parse::<ModelId>("subject")? == *id;
    }
    Ok(if is_excluded == is_wanted { Err(Unchanged::Already) } else { Ok(()) })
}

async fn pause(connection: &mut SqliteConnection, is_wanted: bool) -> Result<Outcome> {
    let row = sqlx::query(NEWEST_PAUSE).fetch_optional(connection).await.map_err(failed)?;
    let newest = row.as_ref().map(rows::audit_entry).transpose()?;
    let is_paused = newest.is_some_and(|entry| entry.action == Action::Pause.word());
    Ok(if is_paused == is_wanted { Err(Unchanged::Already) } else { Ok(()) })
}

/// Puts on record what was done, to what, by whom and why.
pub(crate) async fn record(
    connection: &mut SqliteConnection,
    at: Timestamp,
    by: &str,
    action: &str,
    subject: Option<&str>,
    reason: &str,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (number, at, by_whom, action, subject, reason)
         SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4, ?5 FROM audit",
    )
    .bind(micros(at))
    .bind(storable_text(by))
    .bind(action)
    .bind(subject)
    .bind(storable_text(reason))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}
