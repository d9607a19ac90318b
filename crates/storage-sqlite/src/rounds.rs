//! Rounds, the predictions in them, and their scores.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    AnswerBytes, LedgerPosition, ModelId, Prediction, Question, RoundId, RoundState, ScoredPrediction,
    StatusCounts, Timestamp,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use storage::{
    ChangeNumber, Contender, Counts, ExportedRound, ExportedScore, PackedOutcome, PackedOutcomes, Result,
    RoundRecord, RoundRepository, RoundScores, ScoreChange, ScoreRecord, Storing, encode_steps,
    storable_text,
};

use crate::errors::{failed, unstorable};
use crate::rows::{self, Reader, limit_of, micros, place_of};
use crate::{ROWS_PER_STATEMENT, SqliteStore, models};

/// How a round comes on record.
struct Entry<'a> {
    state: RoundState,
    reason: Option<&'a str>,
    asked_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    counts: StatusCounts,
}

/// When the first round resolved that was asked since the model `m` joined and of which it has a score.
macro_rules! first_scored {
    () => {
        // A round resolves after it was asked, so the walk along the index begins where the model joined.
        "(SELECT r.resolves_at FROM rounds r
          JOIN scores s ON s.round_id = r.round_id AND s.model_id = m.model_id
          WHERE r.state = 'scored' AND r.resolves_at >= m.joined_at AND r.performed_at >= m.joined_at
          ORDER BY r.resolves_at LIMIT 1)"
    };
}
pub(crate) use first_scored;

#[async_trait]
impl RoundRepository for SqliteStore {
    async fn mark_asked(&self, questions: &[Question], asked_at: Timestamp) -> Result<Vec<RoundId>> {
        let entry = Entry {
            state: RoundState::Asked,
            reason: None,
            asked_at: Some(asked_at),
            closed_at: None,
            counts: StatusCounts::default(),
        };
        self.record(questions, &entry, " ON CONFLICT (round_id) DO NOTHING").await
    }

    async fn close_round(
        &self,
        question: &Question,
        closed_at: Timestamp,
        predictions: &[Prediction],
    ) -> Result<()> {
        let packed = PackedOutcomes::pack(predictions).await;
        let mut turn = self.writer.begin().await?;
        if close(&mut turn, question, closed_at, packed.counts).await? {
            insert_outcomes(&mut turn, question.id, &packed.outcomes).await?;
            models::note_answers(&mut turn, question.performed_at, &packed.answered()).await?;
        } else {
            note_contest(&mut turn, question.id, &packed.outcomes).await?;
        }
        turn.finish().await
    }

    async fn record_missed(&self, questions: &[Question], reason: &str, at: Timestamp) -> Result<()> {
        let entry = Entry {
            state: RoundState::Missed,
            reason: Some(reason),
            asked_at: None,
            closed_at: Some(at),
            counts: StatusCounts::default(),
        };
        let over_a_mark = " ON CONFLICT (round_id) DO UPDATE
             SET state = excluded.state, reason = excluded.reason, asked_at = NULL, closed_at = excluded.closed_at
             WHERE rounds.state = 'asked'";
        self.record(questions, &entry, over_a_mark).await.map(drop)
    }

    async fn interrupt_open_rounds(&self, at: Timestamp, reason: &str) -> Result<Vec<RoundId>> {
        let mut turn = self.turn_as_leader(1).await?;
        let rows = sqlx::query(
            "UPDATE rounds SET state = 'interrupted', reason = ?1, closed_at = ?2
             WHERE state = 'asked' RETURNING round_id",
        )
        .bind(storable_text(reason))
        .bind(micros(at))
        .fetch_all(&mut *turn)
        .await
        .map_err(failed)?;
        turn.finish().await?;
        let mut ids = rows.iter().map(rows::round_id).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn withdraw_open_rounds(&self) -> Result<Vec<RoundId>> {
        let mut turn = self.writer.begin().await?;
        let rows = sqlx::query("DELETE FROM rounds WHERE state = 'asked' RETURNING round_id")
            .fetch_all(&mut *turn)
            .await
            .map_err(failed)?;
        for ending in [
            "UPDATE rounds SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by IS NOT NULL",
            "UPDATE leases SET until = NULL",
        ] {
            sqlx::query(ending).execute(&mut *turn).await.map_err(failed)?;
        }
        turn.finish().await?;
        let mut ids = rows.iter().map(rows::round_id).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn newest_slot(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT round_id, performed_at FROM rounds ORDER BY performed_at DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("performed_at")).transpose()
    }

    async fn defer_scoring(&self, id: RoundId, until: Timestamp) -> Result<()> {
        let mut turn = self.writer.turn().await?;
        sqlx::query(
            "UPDATE rounds SET score_after = ?2, claimed_by = NULL, claimed_until = NULL
             WHERE round_id = ?1 AND state IN ('closed', 'scored', 'void')",
        )
        .bind(id.as_uuid())
        .bind(micros(until))
        .execute(&mut *turn)
        .await
        .map_err(failed)?;
        turn.finish().await
    }

    async fn predictions(&self, id: RoundId) -> Result<Vec<Prediction>> {
        let sql = "SELECT p.*, r.answer AS refused
                   FROM predictions p LEFT JOIN refused_answers r USING (round_id, model_id)
                   WHERE round_id = ?1 ORDER BY model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::prediction).collect()
    }

    async fn field(&self, id: RoundId) -> Result<Vec<Contender>> {
        let sql = "SELECT round_id, model_id, answer FROM predictions WHERE round_id = ?1 ORDER BY model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::contender).collect()
    }

    async fn store_scores_together(&self, rounds: &[RoundScores]) -> Result<()> {
        let rounds = RoundScores::in_order(rounds)?;
        let mut turn = self.writer.begin().await?;
        for scores in rounds {
            match what_to_store(&mut turn, scores).await? {
                Storing::All => {
                    replace_scores(&mut turn, scores).await?;
                    count_change(&mut turn).await?;
                    mark_scored(&mut turn, scores).await?;
                }
                Storing::Place => note_place(&mut turn, scores).await?,
                Storing::Nothing => {}
            }
        }
        turn.finish().await
    }

    async fn void_round(
        &self,
        id: RoundId,
        rule: &str,
        priced_up_to: LedgerPosition,
        at: Timestamp,
        reason: &str,
    ) -> Result<()> {
        let mut turn = self.writer.begin().await?;
        let round = round_to_judge(&mut turn, id).await?;
        if round.is_some_and(|round| round.may_be_judged_by(rule, priced_up_to)) {
            delete_scores(&mut turn, id).await?;
            count_change(&mut turn).await?;
            mark_void(&mut turn, id, rule, Some(priced_up_to), at, reason).await?;
        }
        turn.finish().await
    }

    async fn score_changes(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
        rule: &str,
        limit: usize,
    ) -> Result<Vec<ScoreChange>> {
        // Most often nothing has changed: that is one statement instead of a transaction.
        let sql = "SELECT EXISTS (SELECT 1 FROM rounds WHERE change_number > ?1)";
        let any: bool =
            sqlx::query_scalar(sql).bind(after.0).fetch_one(&self.readers).await.map_err(failed)?;
        if !any {
            return Ok(Vec::new());
        }
        let mut snapshot = self.snapshot().await?;
        let mut changes = changes_without_scores(&mut snapshot, after, resolved_after, rule, limit).await?;
        let Some(last) = changes.last().map(|change| change.number) else {
            return Ok(changes);
        };
        let mut scores = changed_scores(&mut snapshot, after, last, resolved_after, rule).await?;
        for round in changes.iter_mut().filter_map(|change| change.scored.as_mut()) {
            round.scores = scores.remove(&round.id).unwrap_or_default();
        }
        Ok(changes)
    }

    async fn earliest_change(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let sql = "SELECT round_id, resolves_at FROM rounds WHERE change_number > ?1 AND resolves_at > ?2
                   ORDER BY +resolves_at LIMIT 1";
        let row = sqlx::query(sql)
            .bind(after.0)
            .bind(micros(resolved_after))
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("resolves_at")).transpose()
    }

    async fn first_scored(&self, models: &[ModelId]) -> Result<Vec<(ModelId, Timestamp)>> {
        let sql = concat!(
            "SELECT model_id, coalesce(first_scored_at, ",
            first_scored!(),
            ") AS first_scored_at FROM models m WHERE model_id IN (SELECT value FROM json_each(?1)) ORDER BY model_id"
        );
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let ids = serde_json::to_string(models).map_err(|error| unstorable(error.to_string()))?;
        let rows = sqlx::query(sql).bind(ids).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().filter_map(|row| rows::first_scored(row).transpose()).collect()
    }

    async fn round(&self, id: RoundId) -> Result<Option<RoundRecord>> {
        let sql = "SELECT * FROM rounds WHERE round_id = ?1";
        let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(&self.readers).await.map_err(failed)?;
        row.as_ref().map(rows::round).transpose()
    }

    async fn scored_count(&self, model: &ModelId, after: Timestamp) -> Result<u64> {
        let sql = "SELECT count(*) FROM rounds r
                   JOIN scores s ON s.round_id = r.round_id AND s.model_id = ?1
                   WHERE r.state = 'scored' AND r.resolves_at > ?2";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(model.as_str())
            .bind(micros(after))
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        Ok(count.unsigned_abs())
    }

    async fn export_rounds(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<RoundId>,
        limit: usize,
    ) -> Result<Vec<ExportedRound>> {
        let sql = "SELECT * FROM rounds
                   WHERE performed_at >= ?1 AND performed_at < ?2 AND (?3 IS NULL OR round_id > ?3)
                   ORDER BY round_id LIMIT ?4";
        let rows = sqlx::query(sql)
            .bind(micros(from))
            .bind(micros(to))
            .bind(after.map(|id| id.as_uuid()))
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| rows::round(row).map(ExportedRound::from)).collect()
    }

    async fn export_scores(&self, id: RoundId) -> Result<Vec<ExportedScore>> {
        let mut snapshot = self.snapshot().await?;
        let scores = scores_of(&mut snapshot, id).await?;
        Ok(scores.into_iter().map(|score| ExportedScore::new(id, score)).collect())
    }
}

impl SqliteStore {
    /// Puts rounds on record; returns those that were not yet or that `on_conflict` changes, in the order of `questions`.
    async fn record(
        &self,
        questions: &[Question],
        entry: &Entry<'_>,
        on_conflict: &'static str,
    ) -> Result<Vec<RoundId>> {
        let mut fresh = HashSet::new();
        let mut turn = self.turn_as_leader(questions.len()).await?;
        for chunk in questions.chunks(ROWS_PER_STATEMENT) {
            let mut sql = insert_rounds(chunk, entry);
            sql.push(on_conflict).push(" RETURNING round_id");
            let rows = sql.build().fetch_all(&mut *turn).await.map_err(failed)?;
            for row in &rows {
                fresh.insert(rows::round_id(row)?);
            }
        }
        turn.finish().await?;
        Ok(questions.iter().map(|question| question.id).filter(|id| fresh.remove(id)).collect())
    }
}

fn insert_rounds<'a>(
    questions: impl IntoIterator<Item = &'a Question>,
    entry: &Entry<'_>,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(
        "INSERT INTO rounds (round_id, asset, horizon_s, steps, method, target, performed_at, resolves_at,
                             state, reason, asked_at, closed_at, success, failed, timeout, absent) ",
    );
    sql.push_values(questions, |mut row, question| {
        row.push_bind(question.id.as_uuid())
            .push_bind(question.asset.as_str())
            .push_bind(i64::from(question.horizon.as_secs()))
            .push_bind(encode_steps(&question.steps))
            .push_bind(question.method.as_str())
            .push_bind(question.target.as_str())
            .push_bind(micros(question.performed_at))
            .push_bind(micros(question.resolves_at()))
            .push_bind(entry.state.as_str())
            .push_bind(entry.reason.map(storable_text))
            .push_bind(entry.asked_at.map(micros))
            .push_bind(entry.closed_at.map(micros))
            .push_bind(entry.counts.success as i64)
            .push_bind(entry.counts.failed as i64)
            .push_bind(entry.counts.timeout as i64)
            .push_bind(entry.counts.absent as i64);
    });
    sql
}

/// Marks a round closed; false when an earlier outcome stays.
async fn close(
    connection: &mut SqliteConnection,
    question: &Question,
    closed_at: Timestamp,
    counts: StatusCounts,
) -> Result<bool> {
    let entry =
        Entry { state: RoundState::Closed, reason: None, asked_at: None, closed_at: Some(closed_at), counts };
    let mut sql = insert_rounds([question], &entry);
    sql.push(
        " ON CONFLICT (round_id) DO UPDATE
          SET state = excluded.state, reason = NULL, closed_at = excluded.closed_at, success = excluded.success,
              failed = excluded.failed, timeout = excluded.timeout, absent = excluded.absent
          WHERE state IN ('asked', 'interrupted', 'missed')",
    );
    let result = sql.build().execute(connection).await.map_err(failed)?;
    Ok(result.rows_affected() == 1)
}

/// Marks a round as contested when an outcome was received at another time than the stored one of the same model.
async fn note_contest(
    connection: &mut SqliteConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    let sql = "SELECT model_id, received_at FROM predictions WHERE round_id = ?1 AND received_at IS NOT NULL";
    let first: HashSet<(String, i64)> = sqlx::query_as(sql)
        .bind(id.as_uuid())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?
        .into_iter()
        .collect();
    let is_other = |PackedOutcome { prediction, .. }: &PackedOutcome<'_>| {
        let received = prediction.received_at.map(|at| (prediction.model_id.as_str().to_owned(), micros(at)));
        received.is_some_and(|received| !first.contains(&received))
    };
    if outcomes.iter().any(is_other) {
        let sql = "UPDATE rounds SET contested = 1 WHERE round_id = ?1";
        sqlx::query(sql).bind(id.as_uuid()).execute(connection).await.map_err(failed)?;
    }
    Ok(())
}

async fn insert_outcomes(
    connection: &mut SqliteConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    for chunk in outcomes.chunks(ROWS_PER_STATEMENT) {
        insert_predictions(connection, id, chunk).await?;
    }
    let refused: Vec<(&ModelId, &[u8])> = outcomes
        .iter()
        .filter_map(|outcome| Some((&outcome.prediction.model_id, outcome.refused.as_deref()?)))
        .collect();
    for chunk in refused.chunks(ROWS_PER_STATEMENT) {
        insert_refused(connection, id, chunk).await?;
    }
    Ok(())
}

async fn insert_predictions(
    connection: &mut SqliteConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO predictions (round_id, model_id, deployment_id, status, reason, received_at, took_us, answer) ",
    );
    sql.push_values(outcomes, |mut row, PackedOutcome { prediction, .. }| {
        row.push_bind(id.as_uuid())
            .push_bind(prediction.model_id.as_str())
            .push_bind(prediction.deployment_id.as_ref().map(|deployment| deployment.as_str()))
            .push_bind(prediction.status.as_str())
            .push_bind(prediction.reason.as_deref().map(storable_text))
            .push_bind(prediction.received_at.map(micros))
            .push_bind(prediction.took.map(took_us))
            .push_bind(prediction.answer.as_ref().map(AnswerBytes::as_bytes));
    });
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

fn took_us(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
}

async fn insert_refused(
    connection: &mut SqliteConnection,
    id: RoundId,
    refused: &[(&ModelId, &[u8])],
) -> Result<()> {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO refused_answers (round_id, model_id, answer) ");
    sql.push_values(refused, |mut row, (model, answer)| {
        row.push_bind(id.as_uuid()).push_bind(model.as_str()).push_bind(*answer);
    });
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

/// A round as it is now, within a transaction that writes.
pub(crate) async fn round_to_judge(
    connection: &mut SqliteConnection,
    id: RoundId,
) -> Result<Option<RoundRecord>> {
    let sql = "SELECT * FROM rounds WHERE round_id = ?1";
    let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(connection).await.map_err(failed)?;
    row.as_ref().map(rows::round).transpose()
}

async fn what_to_store(connection: &mut SqliteConnection, scores: &RoundScores) -> Result<Storing> {
    let Some(round) = round_to_judge(connection, scores.round_id).await? else {
        return Ok(Storing::Nothing);
    };
    let stored = match round.state {
        RoundState::Scored => scores_of(connection, scores.round_id).await?,
        _ => Vec::new(),
    };
    Ok(Storing::of(scores, &round, &stored))
}

async fn scores_of(connection: &mut SqliteConnection, id: RoundId) -> Result<Vec<ScoreRecord>> {
    let sql = "SELECT * FROM scores WHERE round_id = ?1 ORDER BY model_id";
    let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(rows::score).collect()
}

pub(crate) async fn delete_scores(connection: &mut SqliteConnection, id: RoundId) -> Result<()> {
    let sql = "DELETE FROM scores WHERE round_id = ?1";
    sqlx::query(sql).bind(id.as_uuid()).execute(connection).await.map_err(failed).map(drop)
}

async fn replace_scores(connection: &mut SqliteConnection, scores: &RoundScores) -> Result<()> {
    delete_scores(connection, scores.round_id).await?;
    for chunk in scores.as_stored().chunks(ROWS_PER_STATEMENT) {
        insert_scores(connection, scores.round_id, chunk).await?;
    }
    Ok(())
}

async fn insert_scores(connection: &mut SqliteConnection, id: RoundId, scores: &[ScoreRecord]) -> Result<()> {
    let steps: Vec<String> = scores
        .iter()
        .map(|score| serde_json::to_string(&score.steps))
        .collect::<serde_json::Result<_>>()
        .map_err(|error| unstorable(error.to_string()))?;
    let mut sql = QueryBuilder::<Sqlite>::new(
        "INSERT INTO scores (round_id, model_id, raw, relative, failure, steps) ",
    );
    sql.push_values(scores.iter().zip(steps), |mut row, (score, steps)| {
        row.push_bind(id.as_uuid())
            .push_bind(score.model_id.as_str())
            .push_bind(score.raw)
            .push_bind(score.relative)
            .push_bind(score.failure.as_deref().map(storable_text))
            .push_bind(steps);
    });
    sql.build().execute(connection).await.map_err(failed).map(drop)
}

/// Takes the next change number, for the round that the transaction changes next.
pub(crate) async fn count_change(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("UPDATE change_counter SET last_number = last_number + 1")
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

async fn mark_scored(connection: &mut SqliteConnection, scores: &RoundScores) -> Result<()> {
    sqlx::query(
        "UPDATE rounds SET state = 'scored', reason = NULL, scored_at = ?2, rule = ?3, best = ?4, q95 = ?5,
                           priced_up_to = ?6, first_priced_up_to = coalesce(first_priced_up_to, ?6),
                           change_number = (SELECT last_number FROM change_counter),
                           claimed_by = NULL, claimed_until = NULL
         WHERE round_id = ?1",
    )
    .bind(scores.round_id.as_uuid())
    .bind(micros(scores.scored_at))
    .bind(scores.rule.as_str())
    .bind(scores.best)
    .bind(scores.q95)
    .bind(place_of(scores.priced_up_to))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Notes that later prices come to the same scores.
async fn note_place(connection: &mut SqliteConnection, scores: &RoundScores) -> Result<()> {
    sqlx::query(
        "UPDATE rounds SET priced_up_to = ?2, claimed_by = NULL, claimed_until = NULL WHERE round_id = ?1",
    )
    .bind(scores.round_id.as_uuid())
    .bind(place_of(scores.priced_up_to))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Marks a round void, by the prices up to a place in the ledger if prices have a part in it.
pub(crate) async fn mark_void(
    connection: &mut SqliteConnection,
    id: RoundId,
    rule: &str,
    priced_up_to: Option<LedgerPosition>,
    at: Timestamp,
    reason: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE rounds SET state = 'void', scored_at = ?2, rule = ?3, reason = ?4,
                           best = NULL, q95 = NULL, priced_up_to = coalesce(?5, priced_up_to),
                           first_priced_up_to = coalesce(first_priced_up_to, ?5),
                           change_number = (SELECT last_number FROM change_counter),
                           claimed_by = NULL, claimed_until = NULL
         WHERE round_id = ?1",
    )
    .bind(id.as_uuid())
    .bind(micros(at))
    .bind(rule)
    .bind(storable_text(reason))
    .bind(priced_up_to.map(place_of))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

async fn changes_without_scores(
    connection: &mut SqliteConnection,
    after: ChangeNumber,
    resolved_after: Timestamp,
    rule: &str,
    limit: usize,
) -> Result<Vec<ScoreChange>> {
    let sql = "SELECT * FROM rounds WHERE change_number > ?1 AND resolves_at > ?2
               ORDER BY change_number LIMIT ?3";
    let rows = sqlx::query(sql)
        .bind(after.0)
        .bind(micros(resolved_after))
        .bind(limit_of(limit))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| rows::score_change(row, rule)).collect()
}

/// The scores of the rounds with changes after `after` up to `last`, by round, each in the order of model ids.
async fn changed_scores(
    connection: &mut SqliteConnection,
    after: ChangeNumber,
    last: ChangeNumber,
    resolved_after: Timestamp,
    rule: &str,
) -> Result<HashMap<RoundId, Vec<ScoredPrediction>>> {
    let sql = "SELECT round_id, model_id, raw, relative FROM scores
               WHERE round_id IN (SELECT round_id FROM rounds
                                  WHERE change_number > ?1 AND change_number <= ?2 AND resolves_at > ?3
                                        AND rule = ?4)
               ORDER BY round_id, model_id";
    let rows = sqlx::query(sql)
        .bind(after.0)
        .bind(last.0)
        .bind(micros(resolved_after))
        .bind(rule)
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    let mut scores: HashMap<RoundId, Vec<ScoredPrediction>> = HashMap::new();
    for row in &rows {
        let (id, score) = rows::scored_prediction(row)?;
        scores.entry(id).or_default().push(score);
    }
    Ok(scores)
}

/// Counts rounds by state, their predictions by status, and notes the first and last slot.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    recent_since: Timestamp,
    counts: &mut Counts,
) -> Result<()> {
    let sql = "SELECT state, count(*) AS rounds, min(performed_at) AS oldest_at, max(performed_at) AS newest_at,
                      sum(success) AS success, sum(failed) AS failed, sum(timeout) AS timeout, sum(absent) AS absent,
                      sum(CASE WHEN performed_at >= ?1 THEN success + failed + timeout + absent ELSE 0 END) AS recent
               FROM rounds GROUP BY state";
    let rows = sqlx::query(sql).bind(micros(recent_since)).fetch_all(connection).await.map_err(failed)?;
    rows.iter().try_for_each(|row| add_counts(row, counts))
}

fn add_counts(row: &SqliteRow, counts: &mut Counts) -> Result<()> {
    counts.predictions += rows::status_counts(row)?;
    let row = Reader::rounds(row);
    counts.rounds.set(row.parse("state")?, row.count("rounds")?);
    counts.recent_predictions += row.count("recent")?;
    let (oldest, newest) = (row.instant("oldest_at")?, row.instant("newest_at")?);
    counts.oldest_round_at = counts.oldest_round_at.into_iter().chain([oldest]).min();
    counts.newest_round_at = counts.newest_round_at.into_iter().chain([newest]).max();
    Ok(())
}
