//! From rows to domain types and back. What cannot be read is corrupt, and says where.

use std::fmt::Display;
use std::num::TryFromIntError;
use std::time::Duration;

use domain::{
    AnswerBytes, Asset, Cruncher, LedgerEntry, LedgerPosition, Model, ModelId, Parameter, Prediction, Price,
    PriceCorrection, PricePoint, Question, RollUp, RolledHour, RolledModel, RolledRound, RoundId,
    ScoredPrediction, ScoredRound, Span, Standings, StatusCounts, Timestamp,
};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, SqliteConnection, Type};
use storage::{
    Amount, AuditEntry, ChangeNumber, Contender, Deployment, DueRounds, FeedStatus, Hole, LeaseHolder,
    ModelActivity, ModelOutcome, Outcome, OutcomeScore, PackedSnapshot, Place, Result, RollUpMark,
    RoundRecord, ScoreChange, ScoreRecord, ScoredOutcome, ScoredQuestion, ScoringChange, SeenWorker,
    SnapshotMark, StorageError, Unfinished, WorkerFacts, WorkerIdentity, WorkerRole, WorkerSign,
    decode_document, decode_roll_up, decode_standings, decode_steps, decode_text,
};
use uuid::Uuid;

use crate::errors::failed;

/// An instant as stored.
pub(crate) fn micros(instant: Timestamp) -> i64 {
    instant.timestamp_micros()
}

/// A place in the ledger as stored.
pub(crate) fn place_of(position: LedgerPosition) -> i64 {
    position.0 as i64
}

/// A number of rows as a LIMIT.
pub(crate) fn limit_of(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// One number that cannot be negative.
pub(crate) async fn counted(connection: &mut SqliteConnection, sql: &'static str) -> Result<u64> {
    let count: i64 = sqlx::query_scalar(sql).fetch_one(connection).await.map_err(failed)?;
    Ok(count.unsigned_abs())
}

/// The columns of one row.
pub(crate) struct Reader<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: fn(&SqliteRow) -> String,
}

impl<'r> Reader<'r> {
    pub(crate) fn models(row: &'r SqliteRow) -> Self {
        Reader { row, table: "models", key: model_key }
    }
    pub(crate) fn deployments(row: &'r SqliteRow) -> Self {
        Reader { row, table: "deployments", key: deployment_key }
    }
    pub(crate) fn prices(row: &'r SqliteRow) -> Self {
        Reader { row, table: "prices", key: price_key }
    }
    pub(crate) fn price_corrections(row: &'r SqliteRow) -> Self {
        Reader { row, table: "price_corrections", key: price_key }
    }
    pub(crate) fn rounds(row: &'r SqliteRow) -> Self {
        Reader { row, table: "rounds", key: round_key }
    }
    pub(crate) fn predictions(row: &'r SqliteRow) -> Self {
        Reader { row, table: "predictions", key: outcome_key }
    }
    pub(crate) fn refused_answers(row: &'r SqliteRow) -> Self {
        Reader { row, table: "refused_answers", key: outcome_key }
    }
    pub(crate) fn scoring_changes(row: &'r SqliteRow) -> Self {
        Reader { row, table: "scoring_changes", key: number_key }
    }
    pub(crate) fn leases(row: &'r SqliteRow) -> Self {
        Reader { row, table: "leases", key: name_key }
    }
    pub(crate) fn workers(row: &'r SqliteRow) -> Self {
        Reader { row, table: "workers", key: instance_key }
    }
    pub(crate) fn audit(row: &'r SqliteRow) -> Self {
        Reader { row, table: "audit", key: number_key }
    }
    pub(crate) fn scores(row: &'r SqliteRow) -> Self {
        Reader { row, table: "scores", key: outcome_key }
    }
    /// For sums over a table.
    fn sums(row: &'r SqliteRow) -> Self {
        Reader { row, table: "sums", key: |_| "all rows".to_owned() }
    }
    pub(crate) fn roll_up_mark(row: &'r SqliteRow) -> Self {
        Reader { row, table: "roll_up_mark", key: |_| "the only one".to_owned() }
    }
    pub(crate) fn roll_up_models(row: &'r SqliteRow) -> Self {
        Reader { row, table: "roll_up_models", key: number_key }
    }
    pub(crate) fn roll_up_hours(row: &'r SqliteRow) -> Self {
        Reader { row, table: "roll_up_hours", key: hour_key }
    }
    pub(crate) fn roll_up_rounds(row: &'r SqliteRow) -> Self {
        Reader { row, table: "roll_up_rounds", key: round_key }
    }
    /// For leaderboards, standings and snapshots.
    pub(crate) fn documents(row: &'r SqliteRow, table: &'static str) -> Self {
        Reader { row, table, key: instant_key }
    }

    pub(crate) fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(&self, column: &'static str) -> Result<T> {
        self.row.try_get(column).map_err(|error| self.corrupt(column, error))
    }

    /// A column that holds something in the form of `S`.
    fn convert<S, T, E>(&self, column: &'static str, convert: impl FnOnce(S) -> Result<T, E>) -> Result<T>
    where
        S: Decode<'r, Sqlite> + Type<Sqlite>,
        E: Display,
    {
        convert(self.get(column)?).map_err(|error| self.corrupt(column, error))
    }

    /// The same, where nothing may be stored.
    fn convert_some<S, T, E>(
        &self,
        column: &'static str,
        convert: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<Option<T>>
    where
        S: Decode<'r, Sqlite> + Type<Sqlite>,
        E: Display,
    {
        self.convert(column, |value: Option<S>| value.map(convert).transpose())
    }

    /// A column that holds a word or a name.
    pub(crate) fn parse<T: std::str::FromStr<Err: Display>>(&self, column: &'static str) -> Result<T> {
        self.convert(column, |text: &str| text.parse())
    }

    fn answer(&self) -> Result<Option<AnswerBytes>> {
        Ok(self.get::<Option<&[u8]>>("answer")?.map(AnswerBytes::from))
    }

    pub(crate) fn instant(&self, column: &'static str) -> Result<Timestamp> {
        self.convert(column, instant)
    }

    fn instant_if_any(&self, column: &'static str) -> Result<Option<Timestamp>> {
        self.convert_some(column, instant)
    }

    fn span(&self, column: &'static str) -> Result<Span> {
        self.convert(column, |seconds: i64| u32::try_from(seconds).map(Span::seconds))
    }

    pub(crate) fn count(&self, column: &'static str) -> Result<u64> {
        self.convert(column, |count: i64| u64::try_from(count))
    }

    fn count_if_any(&self, column: &'static str) -> Result<Option<u64>> {
        self.convert_some(column, |count: i64| u64::try_from(count))
    }

    fn position_if_any(&self, column: &'static str) -> Result<Option<LedgerPosition>> {
        Ok(self.count_if_any(column)?.map(LedgerPosition))
    }

    fn round_id(&self) -> Result<RoundId> {
        self.get("round_id").map(RoundId::from_uuid)
    }

    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T> {
        self.convert("document", |bytes: &[u8]| decode_document(bytes))
    }

    pub(crate) fn standings(&self) -> Result<Standings> {
        self.convert("document", |bytes: &[u8]| decode_standings(bytes))
    }

    fn parameter(&self) -> Result<Parameter> {
        Ok(Parameter { asset: self.parse("asset")?, horizon: self.span("horizon_s")? })
    }

    fn roll_up(&self, models: usize) -> Result<RollUp> {
        self.convert("sums", |bytes: &[u8]| decode_roll_up(bytes, models))
    }

    fn corrupt(&self, column: &'static str, why: impl Display) -> StorageError {
        StorageError::Corrupt { table: self.table, column, row: (self.key)(self.row), why: why.to_string() }
    }
}

fn instant(micros: i64) -> Result<Timestamp, &'static str> {
    Timestamp::from_timestamp_micros(micros).ok_or("it is no instant")
}

/// The value of a key column as it is; only for error messages.
fn shown<'r, T: Decode<'r, Sqlite> + Type<Sqlite> + Display>(row: &'r SqliteRow, column: &str) -> String {
    row.try_get::<T, _>(column).map_or_else(|_| "?".to_owned(), |value| value.to_string())
}

fn model_key(row: &SqliteRow) -> String {
    shown::<&str>(row, "model_id")
}

fn deployment_key(row: &SqliteRow) -> String {
    format!("{} {}", model_key(row), shown::<&str>(row, "deployment_id"))
}

fn price_key(row: &SqliteRow) -> String {
    shown::<i64>(row, "position")
}

fn name_key(row: &SqliteRow) -> String {
    shown::<&str>(row, "name")
}

fn instance_key(row: &SqliteRow) -> String {
    shown::<&str>(row, "instance")
}

fn number_key(row: &SqliteRow) -> String {
    shown::<i64>(row, "number")
}

fn asset_key(row: &SqliteRow) -> String {
    shown::<String>(row, "asset")
}

fn round_key(row: &SqliteRow) -> String {
    shown::<Uuid>(row, "round_id")
}

fn outcome_key(row: &SqliteRow) -> String {
    format!("{} {}", round_key(row), model_key(row))
}

fn instant_key(row: &SqliteRow) -> String {
    shown::<i64>(row, "as_of")
}

fn hour_key(row: &SqliteRow) -> String {
    let [hour_end, horizon] = [shown::<i64>(row, "hour_end"), shown::<i64>(row, "horizon_s")];
    format!("{hour_end} {} {horizon}", shown::<&str>(row, "asset"))
}

pub(crate) fn model(row: &SqliteRow) -> Result<Model> {
    let row = Reader::models(row);
    Ok(Model {
        id: row.parse("model_id")?,
        deployment_id: row.parse("deployment_id")?,
        name: row.get("name")?,
        cruncher: Cruncher { id: row.get("cruncher_id")?, name: row.get("cruncher_name")? },
        joined_at: row.instant("joined_at")?,
        last_connected_at: row.instant("last_connected_at")?,
        is_baseline: row.get("is_baseline")?,
    })
}

pub(crate) fn deployment(row: &SqliteRow) -> Result<Deployment> {
    let row = Reader::deployments(row);
    Ok(Deployment {
        id: row.parse("deployment_id")?,
        first_seen_at: row.instant("first_seen_at")?,
        last_seen_at: row.instant("last_seen_at")?,
    })
}

pub(crate) fn ledger_entry(row: &SqliteRow) -> Result<LedgerEntry> {
    let point = price_point(row)?;
    let row = Reader::prices(row);
    Ok(LedgerEntry {
        position: LedgerPosition(row.count("position")?),
        asset: row.parse("asset")?,
        point,
        source: row.get("source")?,
    })
}

pub(crate) fn position(row: &SqliteRow) -> Result<LedgerPosition> {
    Reader::prices(row).count("position").map(LedgerPosition)
}

pub(crate) fn hole(row: &SqliteRow) -> Result<Hole> {
    let row = Reader::prices(row);
    Ok(Hole { after: row.instant("after")?, before: row.instant("before")? })
}

pub(crate) fn price_correction(row: &SqliteRow) -> Result<PriceCorrection> {
    let row = Reader::price_corrections(row);
    Ok(PriceCorrection {
        position: LedgerPosition(row.count("position")?),
        asset: row.parse("asset")?,
        at: row.instant("at")?,
        old: row.convert_some("old_price", Price::new)?,
        new: row.convert("new_price", Price::new)?,
        source: row.get("source")?,
        recorded_at: row.instant("recorded_at")?,
    })
}

pub(crate) fn price_point(row: &SqliteRow) -> Result<PricePoint> {
    let row = Reader::prices(row);
    Ok(PricePoint { at: row.instant("at")?, price: row.convert("price", Price::new)? })
}

pub(crate) fn awaited_asset(row: &SqliteRow) -> Result<(Asset, Timestamp)> {
    let row = Reader { row, table: "rounds", key: asset_key };
    Ok((row.parse("asset")?, row.instant("resolves_at")?))
}

pub(crate) fn feed_status(row: &SqliteRow) -> Result<FeedStatus> {
    let row = Reader::prices(row);
    Ok(FeedStatus {
        asset: row.parse("asset")?,
        source: row.get("source")?,
        count: row.count("count")?,
        oldest_at: row.instant("oldest_at")?,
        newest_at: row.instant("newest_at")?,
    })
}

pub(crate) fn round_id(row: &SqliteRow) -> Result<RoundId> {
    Reader::rounds(row).round_id()
}

pub(crate) fn question(row: &SqliteRow) -> Result<Question> {
    let row = Reader::rounds(row);
    Ok(Question {
        id: row.round_id()?,
        asset: row.parse("asset")?,
        horizon: row.span("horizon_s")?,
        steps: row.convert("steps", decode_steps)?,
        method: row.parse("method")?,
        target: row.parse("target")?,
        performed_at: row.instant("performed_at")?,
    })
}

pub(crate) fn round(row: &SqliteRow) -> Result<RoundRecord> {
    let question = question(row)?;
    let counts = status_counts(row)?;
    let row = Reader::rounds(row);
    Ok(RoundRecord {
        question,
        state: row.parse("state")?,
        reason: row.get("reason")?,
        closed_at: row.instant_if_any("closed_at")?,
        scored_at: row.instant_if_any("scored_at")?,
        counts,
        rule: row.get("rule")?,
        best: row.get("best")?,
        q95: row.get("q95")?,
        contested: row.get("contested")?,
        priced_up_to: row.position_if_any("priced_up_to")?,
        first_priced_up_to: row.position_if_any("first_priced_up_to")?,
        corrected_by: row.position_if_any("corrected_by")?,
    })
}

pub(crate) fn status_counts(row: &SqliteRow) -> Result<StatusCounts> {
    let row = Reader::rounds(row);
    Ok(StatusCounts {
        success: row.count("success")?,
        failed: row.count("failed")?,
        timeout: row.count("timeout")?,
        absent: row.count("absent")?,
    })
}

pub(crate) fn prediction(row: &SqliteRow) -> Result<Prediction> {
    let refused = Reader::refused_answers(row).convert_some("refused", decode_text)?;
    let row = Reader::predictions(row);
    Ok(Prediction {
        model_id: row.parse("model_id")?,
        deployment_id: row.convert_some("deployment_id", |text: &str| text.parse())?,
        status: row.parse("status")?,
        reason: row.get("reason")?,
        answer: row.answer()?,
        refused,
        received_at: row.instant_if_any("received_at")?,
        took: row.convert_some("took_us", duration)?,
    })
}

/// A prediction with its score, without answer; its reason is in `reason`.
pub(crate) fn outcome(row: &SqliteRow) -> Result<Outcome> {
    outcome_because(row, "reason")
}

/// A round with a model's outcome in it, whose reason is in `cause`.
pub(crate) fn model_outcome(row: &SqliteRow) -> Result<ModelOutcome> {
    Ok(ModelOutcome { round: round(row)?, outcome: outcome_because(row, "cause")? })
}

fn outcome_because(row: &SqliteRow, reason: &'static str) -> Result<Outcome> {
    let score = outcome_score(row)?;
    let row = Reader::predictions(row);
    Ok(Outcome {
        model_id: row.parse("model_id")?,
        deployment_id: row.convert_some("deployment_id", |text: &str| text.parse())?,
        status: row.parse("status")?,
        reason: row.get(reason)?,
        received_at: row.instant_if_any("received_at")?,
        took: row.convert_some("took_us", duration)?,
        score,
    })
}

fn outcome_score(row: &SqliteRow) -> Result<Option<OutcomeScore>> {
    let row = Reader::scores(row);
    let Some(relative) = row.get("relative")? else { return Ok(None) };
    Ok(Some(OutcomeScore { raw: row.get("raw")?, relative, failure: row.get("failure")? }))
}

pub(crate) fn model_activity(row: &SqliteRow) -> Result<ModelActivity> {
    let counts = status_counts(row)?;
    let row = Reader { row, table: "predictions", key: model_key };
    Ok(ModelActivity {
        model_id: row.parse("model_id")?,
        counts,
        timed: row.count("timed")?,
        took: row.convert("took_us", duration)?,
        longest: row.convert("longest_us", duration)?,
    })
}

fn duration(micros: i64) -> Result<Duration, TryFromIntError> {
    u64::try_from(micros).map(Duration::from_micros)
}

pub(crate) fn contender(row: &SqliteRow) -> Result<Contender> {
    let row = Reader::predictions(row);
    Ok(Contender { model_id: row.parse("model_id")?, answer: row.answer()? })
}

pub(crate) fn score(row: &SqliteRow) -> Result<ScoreRecord> {
    let row = Reader::scores(row);
    Ok(ScoreRecord {
        model_id: row.parse("model_id")?,
        raw: row.get("raw")?,
        relative: row.get("relative")?,
        failure: row.get("failure")?,
        steps: row.convert("steps", |text: &str| serde_json::from_str(text))?,
    })
}

pub(crate) fn scored_prediction(row: &SqliteRow) -> Result<(RoundId, ScoredPrediction)> {
    let row = Reader::scores(row);
    let score = ScoredPrediction {
        model_id: row.parse("model_id")?,
        relative: row.get("relative")?,
        raw: row.get("raw")?,
    };
    Ok((row.round_id()?, score))
}

/// A change without its scores, which come from a table of their own.
pub(crate) fn score_change(row: &SqliteRow, rule: &str) -> Result<ScoreChange> {
    let row = Reader::rounds(row);
    let round_id = row.round_id()?;
    let is_scored = row.parse::<domain::RoundState>("state")? == domain::RoundState::Scored;
    let is_by_rule = row.get::<Option<&str>>("rule")? == Some(rule);
    let scored = ScoredRound {
        id: round_id,
        parameter: row.parameter()?,
        performed_at: row.instant("performed_at")?,
        resolves_at: row.instant("resolves_at")?,
        scores: Vec::new(),
    };
    Ok(ScoreChange {
        number: ChangeNumber(row.get("change_number")?),
        round_id,
        resolves_at: row.instant("resolves_at")?,
        scored: (is_scored && is_by_rule).then_some(scored),
        awaits_corrected_scores: row.position_if_any("corrected_by")?
            > row.position_if_any("priced_up_to")?,
    })
}

/// When a model was first scored.
pub(crate) fn first_scored(row: &SqliteRow) -> Result<Option<(ModelId, Timestamp)>> {
    let first = Reader::rounds(row).instant_if_any("first_scored_at")?;
    let model: ModelId = Reader::models(row).parse("model_id")?;
    Ok(first.map(|first| (model, first)))
}

/// How much of something is stored.
pub(crate) fn amount(row: &SqliteRow) -> Result<Amount> {
    let row = Reader::sums(row);
    Ok(Amount { rows: row.count("rows")?, bytes: row.count("bytes")? })
}

pub(crate) fn unfinished(row: &SqliteRow) -> Result<Unfinished> {
    let row = Reader::sums(row);
    Ok(Unfinished { rounds: row.count("rounds")?, oldest: row.instant_if_any("oldest")? })
}

/// The key of a prediction or score.
pub(crate) fn place(row: &SqliteRow) -> Result<Place> {
    let row = Reader::predictions(row);
    Ok(Place::After(row.round_id()?, Some(row.parse("model_id")?)))
}

pub(crate) fn scoring_change(row: &SqliteRow) -> Result<ScoringChange> {
    let row = Reader::scoring_changes(row);
    Ok(ScoringChange { at: row.instant("at")?, rule: row.get("rule")?, settings: row.get("settings")? })
}

pub(crate) fn lease_holder(row: &SqliteRow) -> Result<LeaseHolder> {
    let row = Reader::leases(row);
    Ok(LeaseHolder { holder: row.get("holder")?, since: row.instant("since")? })
}

pub(crate) fn seen_worker(row: &SqliteRow) -> Result<SeenWorker> {
    let row = Reader::workers(row);
    let identity = WorkerIdentity {
        instance: row.get("instance")?,
        role: row.convert("role", WorkerRole::from_word)?,
        host: row.get("host")?,
        version: row.get("version")?,
        started_at: row.instant("started_at")?,
    };
    let facts = WorkerFacts {
        waiting_writes: row.count_if_any("waiting_writes")?,
        journal_bytes: row.count_if_any("journal_bytes")?,
        oldest_waiting_at: row.instant_if_any("oldest_waiting_at")?,
        due_rounds: row.count_if_any("due_rounds")?,
        scoring_lag_s: row.count_if_any("scoring_lag_s")?,
    };
    let (schema, state) = (row.get("schema_version")?, row.get("state")?);
    Ok(SeenWorker {
        sign: WorkerSign { identity, schema, state, facts },
        seen_at: row.instant("seen_at")?,
        silent_for: row.convert("silent_us", duration)?,
    })
}

pub(crate) fn due_rounds(row: &SqliteRow) -> Result<DueRounds> {
    let row = Reader::rounds(row);
    Ok(DueRounds { rounds: row.count("count")?, oldest_resolved_at: row.instant_if_any("oldest")? })
}

pub(crate) fn audit_entry(row: &SqliteRow) -> Result<AuditEntry> {
    let row = Reader::audit(row);
    Ok(AuditEntry {
        number: row.count("number")?,
        at: row.instant("at")?,
        by: row.get("by_whom")?,
        action: row.get("action")?,
        subject: row.get("subject")?,
        reason: row.get("reason")?,
    })
}

pub(crate) fn roll_up_mark(row: &SqliteRow) -> Result<RollUpMark> {
    let row = Reader::roll_up_mark(row);
    Ok(RollUpMark {
        rule: row.get("rule")?,
        up_to: ChangeNumber(row.get("up_to")?),
        after: row.instant("after")?,
    })
}

pub(crate) fn rolled_model(row: &SqliteRow) -> Result<RolledModel> {
    let row = Reader::roll_up_models(row);
    Ok(RolledModel {
        id: row.parse("model_id")?,
        joined_at: row.instant_if_any("joined_at")?,
        first_scored_at: row.instant_if_any("first_scored_at")?,
    })
}

/// An hour of models with numbers below `models`.
pub(crate) fn rolled_hour(row: &SqliteRow, models: usize) -> Result<RolledHour> {
    let row = Reader::roll_up_hours(row);
    Ok(RolledHour { end: row.instant("hour_end")?, parameter: row.parameter()?, sums: row.roll_up(models)? })
}

/// A round of models with numbers below `models`.
pub(crate) fn rolled_round(row: &SqliteRow, models: usize) -> Result<RolledRound> {
    let row = Reader::roll_up_rounds(row);
    Ok(RolledRound {
        id: row.round_id()?,
        parameter: row.parameter()?,
        resolves_at: row.instant("resolves_at")?,
        sums: row.roll_up(models)?,
    })
}

/// `None` when there is no snapshot.
pub(crate) fn snapshot_mark(row: &SqliteRow) -> Result<Option<SnapshotMark>> {
    let row = Reader { row, table: "snapshots", key: |_| "all rows".to_owned() };
    let (Some(oldest), Some(newest)) = (row.instant_if_any("oldest")?, row.instant_if_any("newest")?) else {
        return Ok(None);
    };
    Ok(Some(SnapshotMark {
        oldest,
        newest,
        ranked_as_of: row.instant_if_any("ranked_as_of")?,
        ranked_up_to: ChangeNumber(row.get::<Option<i64>>("ranked_up_to")?.unwrap_or(0)),
    }))
}

pub(crate) fn packed_snapshot(row: &SqliteRow) -> Result<PackedSnapshot> {
    let row = Reader::documents(row, "snapshots");
    Ok(PackedSnapshot { as_of: row.instant("as_of")?, document: row.get("document")? })
}

pub(crate) fn scored_question(row: &SqliteRow) -> Result<ScoredQuestion> {
    let scored_at = Reader::rounds(row).instant_if_any("scored_at")?;
    Ok(ScoredQuestion { question: question(row)?, scored_at })
}

pub(crate) fn scored_outcome(row: &SqliteRow) -> Result<ScoredOutcome> {
    let row = Reader::scores(row);
    Ok(ScoredOutcome {
        round_id: row.round_id()?,
        model_id: row.parse("model_id")?,
        relative: row.get("relative")?,
        raw: row.get("raw")?,
        failure: row.get("failure")?,
        status: row.convert_some("status", |word: &str| word.parse())?,
        reason: row.get("reason")?,
    })
}
