//! Rounds, the predictions in them, and their scores.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    AnswerBytes, LedgerPosition, ModelId, Prediction, Question, RoundId, RoundState, ScoredPrediction,
    StatusCounts, Timestamp,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{PgConnection, Postgres};
use storage::{
    ChangeNumber, Contender, Counts, ExportedRound, ExportedScore, PackedOutcome, PackedOutcomes, Result,
    RoundRecord, RoundRepository, RoundScores, ScoreChange, ScoreRecord, Storing, Topic, encode_steps,
    storable_text,
};
use uuid::Uuid;

use crate::errors::{failed, unstorable};
use crate::rows::{self, Reader, limit_of, place_of, stored};
use crate::{PostgresStore, changes, models};

/// How a round comes on record.
struct Entry<'a> {
    state: RoundState,
    reason: Option<&'a str>,
    asked_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    counts: StatusCounts,
}

/// Inserts rounds that all come on record in the same way; [`bind_rounds`] has the values.
macro_rules! insert_rounds {
    () => {
        "INSERT INTO rounds (round_id, asset, horizon_s, steps, method, target, performed_at, resolves_at,
                             state, reason, asked_at, closed_at, success, failed, timeout, absent)
         SELECT round_id, asset, horizon_s, steps, method, target, performed_at, resolves_at,
                $9, $10, $11, $12, $13, $14, $15, $16
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                     $7::timestamptz[], $8::timestamptz[])
              AS asked (round_id, asset, horizon_s, steps, method, target, performed_at, resolves_at)"
    };
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
impl RoundRepository for PostgresStore {
    async fn mark_asked(&self, questions: &[Question], asked_at: Timestamp) -> Result<Vec<RoundId>> {
        let entry = Entry {
            state: RoundState::Asked,
            reason: None,
            asked_at: Some(asked_at),
            closed_at: None,
            counts: StatusCounts::default(),
        };
        let sql = concat!(insert_rounds!(), " ON CONFLICT (round_id) DO NOTHING RETURNING round_id");
        self.record(questions, &entry, sql).await
    }

    async fn close_round(
        &self,
        question: &Question,
        closed_at: Timestamp,
        predictions: &[Prediction],
    ) -> Result<()> {
        let packed = PackedOutcomes::pack(predictions).await;
        self.partitions.prepare(&self.pool, question.performed_at).await;
        let mut transaction = self.begin().await?;
        if close(&mut transaction, question, closed_at, packed.counts).await? {
            insert_outcomes(&mut transaction, question.id, &packed.outcomes).await?;
            models::note_answers(&mut transaction, question.performed_at, &packed.answered()).await?;
        } else {
            note_contest(&mut transaction, question.id, &packed.outcomes).await?;
        }
        changes::commit(transaction, &[Topic::Rounds]).await
    }

    async fn record_missed(&self, questions: &[Question], reason: &str, at: Timestamp) -> Result<()> {
        let entry = Entry {
            state: RoundState::Missed,
            reason: Some(reason),
            asked_at: None,
            closed_at: Some(at),
            counts: StatusCounts::default(),
        };
        let sql = concat!(
            insert_rounds!(),
            " ON CONFLICT (round_id) DO UPDATE
              SET state = excluded.state, reason = excluded.reason, asked_at = NULL, closed_at = excluded.closed_at
              WHERE rounds.state = 'asked' RETURNING round_id"
        );
        self.record(questions, &entry, sql).await.map(drop)
    }

    async fn interrupt_open_rounds(&self, at: Timestamp, reason: &str) -> Result<Vec<RoundId>> {
        let mut transaction = self.begin_as_leader().await?;
        let rows = sqlx::query(
            "UPDATE rounds SET state = 'interrupted', reason = $1, closed_at = $2
             WHERE state = 'asked' RETURNING round_id",
        )
        .bind(storable_text(reason))
        .bind(stored(at))
        .fetch_all(&mut *transaction)
        .await
        .map_err(failed)?;
        changes::commit(transaction, &[Topic::Rounds]).await?;
        let mut ids = rows.iter().map(rows::round_id).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn withdraw_open_rounds(&self) -> Result<Vec<RoundId>> {
        let mut transaction = self.begin().await?;
        let rows = sqlx::query("DELETE FROM rounds WHERE state = 'asked' RETURNING round_id")
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        for ending in [
            "UPDATE rounds SET claimed_by = NULL, claimed_until = NULL WHERE claimed_by IS NOT NULL",
            "UPDATE leases SET until = NULL",
        ] {
            sqlx::query(ending).execute(&mut *transaction).await.map_err(failed)?;
        }
        changes::commit(transaction, &[Topic::Rounds]).await?;
        let mut ids = rows.iter().map(rows::round_id).collect::<Result<Vec<_>>>()?;
        ids.sort_unstable();
        Ok(ids)
    }

    async fn newest_slot(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT round_id, performed_at FROM rounds ORDER BY performed_at DESC LIMIT 1";
        let row = sqlx::query(sql).fetch_optional(&self.pool).await.map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("performed_at")).transpose()
    }

    async fn defer_scoring(&self, id: RoundId, until: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE rounds SET score_after = $2, claimed_by = NULL, claimed_until = NULL
             WHERE round_id = $1 AND state IN ('closed', 'scored', 'void')",
        )
        .bind(id.as_uuid())
        .bind(stored(until))
        .execute(&self.pool)
        .await
        .map_err(failed)
        .map(drop)
    }

    async fn predictions(&self, id: RoundId) -> Result<Vec<Prediction>> {
        let sql = "SELECT p.*, r.answer AS refused
                   FROM predictions p LEFT JOIN refused_answers r USING (round_id, model_id)
                   WHERE round_id = $1 ORDER BY model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::prediction).collect()
    }

    async fn field(&self, id: RoundId) -> Result<Vec<Contender>> {
        let sql = "SELECT round_id, model_id, answer FROM predictions WHERE round_id = $1 ORDER BY model_id";
        let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::contender).collect()
    }

    async fn store_scores_together(&self, rounds: &[RoundScores]) -> Result<()> {
        let rounds = RoundScores::in_order(rounds)?;
        let mut transaction = self.begin().await?;
        let ToStore { all, places } = to_store(&mut transaction, &rounds).await?;
        if !places.is_empty() {
            note_places(&mut transaction, &places).await?;
        }
        if !all.is_empty() {
            replace_scores(&mut transaction, &all).await?;
            mark_scored(&mut transaction, &all).await?;
        }
        changes::commit(transaction, &[Topic::Scores]).await
    }

    async fn void_round(
        &self,
        id: RoundId,
        rule: &str,
        priced_up_to: LedgerPosition,
        at: Timestamp,
        reason: &str,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let round = round_to_judge(&mut transaction, id).await?;
        if round.is_some_and(|round| round.may_be_judged_by(rule, priced_up_to)) {
            delete_scores(&mut transaction, id).await?;
            count_change(&mut transaction).await?;
            mark_void(&mut transaction, id, rule, Some(priced_up_to), at, reason).await?;
        }
        changes::commit(transaction, &[Topic::Scores]).await
    }

    async fn score_changes(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
        rule: &str,
        limit: usize,
    ) -> Result<Vec<ScoreChange>> {
        // Most often nothing has changed: that is one statement instead of a transaction.
        let sql = "SELECT EXISTS (SELECT 1 FROM rounds WHERE change_number > $1)";
        let any: bool = sqlx::query_scalar(sql).bind(after.0).fetch_one(&self.pool).await.map_err(failed)?;
        if !any {
            return Ok(Vec::new());
        }
        let mut snapshot = self.snapshot().await?;
        let mut changes = changes_without_scores(&mut snapshot, after, resolved_after, rule, limit).await?;
        let ids: Vec<RoundId> =
            changes.iter().filter(|change| change.scored.is_some()).map(|change| change.round_id).collect();
        if ids.is_empty() {
            return Ok(changes);
        }
        let mut scores = scores_of_all(&mut snapshot, &ids).await?;
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
        let sql = "SELECT round_id, resolves_at FROM rounds WHERE change_number > $1 AND resolves_at > $2
                   ORDER BY resolves_at LIMIT 1";
        let row = sqlx::query(sql)
            .bind(after.0)
            .bind(stored(resolved_after))
            .fetch_optional(&self.pool)
            .await
            .map_err(failed)?;
        row.map(|row| Reader::rounds(&row).instant("resolves_at")).transpose()
    }

    async fn first_scored(&self, models: &[ModelId]) -> Result<Vec<(ModelId, Timestamp)>> {
        let sql = concat!(
            "SELECT model_id, coalesce(first_scored_at, ",
            first_scored!(),
            ") AS first_scored_at FROM models m WHERE model_id = ANY ($1::text[]) ORDER BY model_id"
        );
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = models.iter().map(ModelId::as_str).collect();
        let rows = sqlx::query(sql).bind(ids).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().filter_map(|row| rows::first_scored(row).transpose()).collect()
    }

    async fn round(&self, id: RoundId) -> Result<Option<RoundRecord>> {
        let sql = "SELECT * FROM rounds WHERE round_id = $1";
        let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(rows::round).transpose()
    }

    async fn scored_count(&self, model: &ModelId, after: Timestamp) -> Result<u64> {
        let sql = "SELECT count(*) FROM rounds r
                   JOIN scores s ON s.round_id = r.round_id AND s.model_id = $1
                   WHERE r.state = 'scored' AND r.resolves_at > $2";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(model.as_str())
            .bind(stored(after))
            .fetch_one(&self.pool)
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
                   WHERE performed_at >= $1 AND performed_at < $2 AND ($3::uuid IS NULL OR round_id > $3)
                   ORDER BY round_id LIMIT $4";
        let rows = sqlx::query(sql)
            .bind(stored(from))
            .bind(stored(to))
            .bind(after.map(|id| id.as_uuid()))
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
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

impl PostgresStore {
    /// Puts rounds on record by `sql`; returns those that were not yet or that it changes, in the order of `questions`.
    async fn record(
        &self,
        questions: &[Question],
        entry: &Entry<'_>,
        sql: &'static str,
    ) -> Result<Vec<RoundId>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let mut ordered: Vec<&Question> = questions.iter().collect();
        ordered.sort_by_key(|question| question.id);
        ordered.dedup_by_key(|question| question.id);
        let mut transaction = self.begin_as_leader().await?;
        let query = bind_rounds(sqlx::query(sql), &ordered, entry);
        let rows = query.fetch_all(&mut *transaction).await.map_err(failed)?;
        changes::commit(transaction, &[Topic::Rounds]).await?;
        let mut fresh = rows.iter().map(rows::round_id).collect::<Result<HashSet<_>>>()?;
        Ok(questions.iter().map(|question| question.id).filter(|id| fresh.remove(id)).collect())
    }
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

fn bind_rounds<'q>(query: Query<'q>, questions: &[&Question], entry: &Entry<'_>) -> Query<'q> {
    query
        .bind(questions.iter().map(|question| question.id.as_uuid()).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| question.asset.to_string()).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| i64::from(question.horizon.as_secs())).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| encode_steps(&question.steps)).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| question.method.as_str()).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| question.target.as_str()).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| stored(question.performed_at)).collect::<Vec<_>>())
        .bind(questions.iter().map(|question| stored(question.resolves_at())).collect::<Vec<_>>())
        .bind(entry.state.as_str())
        .bind(entry.reason.map(|reason| storable_text(reason).into_owned()))
        .bind(entry.asked_at.map(stored))
        .bind(entry.closed_at.map(stored))
        .bind(entry.counts.success as i64)
        .bind(entry.counts.failed as i64)
        .bind(entry.counts.timeout as i64)
        .bind(entry.counts.absent as i64)
}

/// Marks a round closed; false when an earlier outcome stays.
async fn close(
    connection: &mut PgConnection,
    question: &Question,
    closed_at: Timestamp,
    counts: StatusCounts,
) -> Result<bool> {
    let entry =
        Entry { state: RoundState::Closed, reason: None, asked_at: None, closed_at: Some(closed_at), counts };
    let sql = concat!(
        insert_rounds!(),
        " ON CONFLICT (round_id) DO UPDATE
          SET state = excluded.state, reason = NULL, closed_at = excluded.closed_at, success = excluded.success,
              failed = excluded.failed, timeout = excluded.timeout, absent = excluded.absent
          WHERE rounds.state IN ('asked', 'interrupted', 'missed')"
    );
    let query = bind_rounds(sqlx::query(sql), &[question], &entry);
    let result = query.execute(connection).await.map_err(failed)?;
    Ok(result.rows_affected() == 1)
}

/// Marks a round as contested when an outcome was received at another time than the stored one of the same model.
async fn note_contest(
    connection: &mut PgConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    let received: Vec<(&str, Timestamp)> = outcomes
        .iter()
        .filter_map(|PackedOutcome { prediction, .. }| {
            Some((prediction.model_id.as_str(), stored(prediction.received_at?)))
        })
        .collect();
    sqlx::query(
        "UPDATE rounds SET contested = TRUE
         WHERE round_id = $1 AND NOT contested AND EXISTS (
             SELECT 1 FROM unnest($2::text[], $3::timestamptz[]) AS other (model_id, received_at)
             WHERE NOT EXISTS (SELECT 1 FROM predictions AS first
                               WHERE first.round_id = $1 AND first.model_id = other.model_id
                                     AND first.received_at = other.received_at))",
    )
    .bind(id.as_uuid())
    .bind(received.iter().map(|(model, _)| *model).collect::<Vec<_>>())
    .bind(received.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

async fn insert_outcomes(
    connection: &mut PgConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    insert_predictions(connection, id, outcomes).await?;
    let refused: Vec<(&str, &[u8])> = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.prediction.model_id.as_str(), outcome.refused.as_deref()?)))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    insert_refused(connection, id, &refused).await
}

async fn insert_predictions(
    connection: &mut PgConnection,
    id: RoundId,
    outcomes: &[PackedOutcome<'_>],
) -> Result<()> {
    let all = || outcomes.iter().map(|outcome| outcome.prediction);
    sqlx::query(
        "INSERT INTO predictions
             (round_id, model_id, deployment_id, status, reason, received_at, took_us, answer)
         SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                                  $7::bigint[], $8::bytea[])",
    )
    .bind(id.as_uuid())
    .bind(all().map(|outcome| outcome.model_id.as_str()).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.deployment_id.as_ref().map(|id| id.as_str())).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.status.as_str()).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.reason.as_deref().map(storable_text)).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.received_at.map(stored)).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.took.map(took_us)).collect::<Vec<_>>())
    .bind(all().map(|outcome| outcome.answer.as_ref().map(AnswerBytes::as_bytes)).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

fn took_us(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
}

async fn insert_refused(connection: &mut PgConnection, id: RoundId, refused: &[(&str, &[u8])]) -> Result<()> {
    sqlx::query(
        "INSERT INTO refused_answers (round_id, model_id, answer)
         SELECT $1, * FROM unnest($2::text[], $3::bytea[])",
    )
    .bind(id.as_uuid())
    .bind(refused.iter().map(|(model, _)| *model).collect::<Vec<_>>())
    .bind(refused.iter().map(|(_, answer)| *answer).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// A round as it is now; nobody else changes it before the transaction ends.
pub(crate) async fn round_to_judge(
    connection: &mut PgConnection,
    id: RoundId,
) -> Result<Option<RoundRecord>> {
    let sql = "SELECT * FROM rounds WHERE round_id = $1 FOR NO KEY UPDATE";
    let row = sqlx::query(sql).bind(id.as_uuid()).fetch_optional(connection).await.map_err(failed)?;
    row.as_ref().map(rows::round).transpose()
}

/// What of scores that are handed in is stored.
#[derive(Default)]
struct ToStore<'s> {
    /// Those that are stored as they are.
    all: Vec<&'s RoundScores>,
    /// Those that are there already, made from earlier prices.
    places: Vec<&'s RoundScores>,
}

/// What of these rounds, which come in the order of their ids, is stored. They stay as they are until the transaction ends.
async fn to_store<'s>(connection: &mut PgConnection, rounds: &[&'s RoundScores]) -> Result<ToStore<'s>> {
    let sql = "SELECT * FROM rounds WHERE round_id = ANY($1) ORDER BY round_id FOR NO KEY UPDATE";
    let rows = sqlx::query(sql).bind(ids(rounds)).fetch_all(&mut *connection).await.map_err(failed)?;
    let found = rows.iter().map(rows::round).collect::<Result<Vec<_>>>()?;
    let found: HashMap<RoundId, RoundRecord> =
        found.into_iter().map(|round| (round.question.id, round)).collect();
    let mut to_store = ToStore::default();
    for scores in rounds {
        let Some(round) = found.get(&scores.round_id) else { continue };
        match what_to_store(connection, scores, round).await? {
            Storing::All => to_store.all.push(scores),
            Storing::Place => to_store.places.push(scores),
            Storing::Nothing => {}
        }
    }
    Ok(to_store)
}

fn ids(rounds: &[&RoundScores]) -> Vec<Uuid> {
    rounds.iter().map(|scores| scores.round_id.as_uuid()).collect()
}

async fn what_to_store(
    connection: &mut PgConnection,
    scores: &RoundScores,
    round: &RoundRecord,
) -> Result<Storing> {
    let stored = match round.state {
        RoundState::Scored => scores_of(connection, scores.round_id).await?,
        _ => Vec::new(),
    };
    Ok(Storing::of(scores, round, &stored))
}

async fn scores_of(connection: &mut PgConnection, id: RoundId) -> Result<Vec<ScoreRecord>> {
    let sql = "SELECT * FROM scores WHERE round_id = $1 ORDER BY model_id";
    let rows = sqlx::query(sql).bind(id.as_uuid()).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(rows::score).collect()
}

pub(crate) async fn delete_scores(connection: &mut PgConnection, id: RoundId) -> Result<()> {
    let sql = "DELETE FROM scores WHERE round_id = $1";
    sqlx::query(sql).bind(id.as_uuid()).execute(connection).await.map_err(failed).map(drop)
}

async fn replace_scores(connection: &mut PgConnection, rounds: &[&RoundScores]) -> Result<()> {
    let sql = "DELETE FROM scores WHERE round_id = ANY($1)";
    sqlx::query(sql).bind(ids(rounds)).execute(&mut *connection).await.map_err(failed)?;
    insert_scores(connection, rounds).await
}

async fn insert_scores(connection: &mut PgConnection, rounds: &[&RoundScores]) -> Result<()> {
    let scores: Vec<(Uuid, ScoreRecord)> = rounds
        .iter()
        .flat_map(|round| round.as_stored().into_iter().map(|score| (round.round_id.as_uuid(), score)))
        .collect();
    let steps: Vec<String> = scores
        .iter()
        .map(|(_, score)| serde_json::to_string(&score.steps))
        .collect::<serde_json::Result<_>>()
        .map_err(|error| unstorable(error.to_string()))?;
    sqlx::query(
        "INSERT INTO scores (round_id, model_id, raw, relative, failure, steps)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::double precision[], $4::double precision[], $5::text[],
                              $6::text[])",
    )
    .bind(scores.iter().map(|(round, _)| *round).collect::<Vec<_>>())
    .bind(scores.iter().map(|(_, score)| score.model_id.as_str()).collect::<Vec<_>>())
    .bind(scores.iter().map(|(_, score)| score.raw).collect::<Vec<_>>())
    .bind(scores.iter().map(|(_, score)| score.relative).collect::<Vec<_>>())
    .bind(scores.iter().map(|(_, score)| score.failure.as_deref()).collect::<Vec<_>>())
    .bind(steps)
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Takes the next change number, for the round that the transaction changes next. Others wait for theirs until it has
/// committed, so that numbers appear in order; the round itself is locked before, always in this order.
pub(crate) async fn count_change(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("UPDATE change_counter SET last_number = last_number + 1")
        .execute(connection)
        .await
        .map_err(failed)
        .map(drop)
}

/// Marks rounds scored and numbers the changes in their order, in one statement: who else changes scores waits from here until
/// the transaction has committed. See [`count_change`].
async fn mark_scored(connection: &mut PgConnection, rounds: &[&RoundScores]) -> Result<()> {
    sqlx::query(
        "WITH counter AS (UPDATE change_counter SET last_number = last_number + cardinality($1::uuid[])
                          RETURNING last_number - cardinality($1::uuid[]) AS before)
         UPDATE rounds SET state = 'scored', reason = NULL, scored_at = scored.at, rule = scored.rule,
                           best = scored.best, q95 = scored.q95, change_number = counter.before + scored.number,
                           priced_up_to = scored.place,
                           first_priced_up_to = coalesce(first_priced_up_to, scored.place),
                           claimed_by = NULL, claimed_until = NULL
         FROM counter,
              unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::double precision[], $5::double precision[],
                     $6::bigint[])
              WITH ORDINALITY AS scored (round_id, at, rule, best, q95, place, number)
         WHERE rounds.round_id = scored.round_id",
    )
    .bind(ids(rounds))
    .bind(rounds.iter().map(|round| stored(round.scored_at)).collect::<Vec<_>>())
    .bind(rounds.iter().map(|round| round.rule.as_str()).collect::<Vec<_>>())
    .bind(rounds.iter().map(|round| round.best).collect::<Vec<_>>())
    .bind(rounds.iter().map(|round| round.q95).collect::<Vec<_>>())
    .bind(rounds.iter().map(|round| place_of(round.priced_up_to)).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Notes that later prices come to the same scores.
async fn note_places(connection: &mut PgConnection, rounds: &[&RoundScores]) -> Result<()> {
    sqlx::query(
        "UPDATE rounds SET priced_up_to = scored.place, claimed_by = NULL, claimed_until = NULL
         FROM unnest($1::uuid[], $2::bigint[]) AS scored (round_id, place)
         WHERE rounds.round_id = scored.round_id",
    )
    .bind(ids(rounds))
    .bind(rounds.iter().map(|round| place_of(round.priced_up_to)).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

/// Marks a round void, by the prices up to a place in the ledger if prices have a part in it.
pub(crate) async fn mark_void(
    connection: &mut PgConnection,
    id: RoundId,
    rule: &str,
    priced_up_to: Option<LedgerPosition>,
    at: Timestamp,
    reason: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE rounds SET state = 'void', scored_at = $2, rule = $3, reason = $4,
                           best = NULL, q95 = NULL, priced_up_to = coalesce($5::bigint, priced_up_to),
                           first_priced_up_to = coalesce(first_priced_up_to, $5::bigint),
                           change_number = (SELECT last_number FROM change_counter),
                           claimed_by = NULL, claimed_until = NULL
         WHERE round_id = $1",
    )
    .bind(id.as_uuid())
    .bind(stored(at))
    .bind(rule)
    .bind(storable_text(reason))
    .bind(priced_up_to.map(place_of))
    .execute(connection)
    .await
    .map_err(failed)
    .map(drop)
}

async fn changes_without_scores(
    connection: &mut PgConnection,
    after: ChangeNumber,
    resolved_after: Timestamp,
    rule: &str,
    limit: usize,
) -> Result<Vec<ScoreChange>> {
    let sql = "SELECT * FROM rounds WHERE change_number > $1 AND resolves_at > $2
               ORDER BY change_number LIMIT $3";
    let rows = sqlx::query(sql)
        .bind(after.0)
        .bind(stored(resolved_after))
        .bind(limit_of(limit))
        .fetch_all(connection)
        .await
        .map_err(failed)?;
    rows.iter().map(|row| rows::score_change(row, rule)).collect()
}

/// The scores of rounds, by round, each in the order of model ids. By the rounds' ids and not by a join: so PostgreSQL knows
/// before it begins which partitions to read, and leaves the others alone.
async fn scores_of_all(
    connection: &mut PgConnection,
    ids: &[RoundId],
) -> Result<HashMap<RoundId, Vec<ScoredPrediction>>> {
    let sql = "SELECT round_id, model_id, raw, relative FROM scores
               WHERE round_id = ANY($1) ORDER BY round_id, model_id";
    let rows = sqlx::query(sql)
        .bind(ids.iter().map(RoundId::as_uuid).collect::<Vec<_>>())
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
    connection: &mut PgConnection,
    recent_since: Timestamp,
    counts: &mut Counts,
) -> Result<()> {
    let sql =
        "SELECT state, count(*) AS rounds, min(performed_at) AS oldest_at, max(performed_at) AS newest_at,
                      sum(success)::bigint AS success, sum(failed)::bigint AS failed,
                      sum(timeout)::bigint AS timeout, sum(absent)::bigint AS absent,
                      coalesce(sum(success + failed + timeout + absent)
                               FILTER (WHERE performed_at >= $1), 0)::bigint AS recent
               FROM rounds GROUP BY state";
    let rows = sqlx::query(sql).bind(stored(recent_since)).fetch_all(connection).await.map_err(failed)?;
    rows.iter().try_for_each(|row| add_counts(row, counts))
}

fn add_counts(row: &PgRow, counts: &mut Counts) -> Result<()> {
    counts.predictions += rows::status_counts(row)?;
    let row = Reader::rounds(row);
    counts.rounds.set(row.parse("state")?, row.count("rounds")?);
    counts.recent_predictions += row.count("recent")?;
    let (oldest, newest) = (row.instant("oldest_at")?, row.instant("newest_at")?);
    counts.oldest_round_at = counts.oldest_round_at.into_iter().chain([oldest]).min();
    counts.newest_round_at = counts.newest_round_at.into_iter().chain([newest]).max();
    Ok(())
}
