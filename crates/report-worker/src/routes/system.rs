//! `GET /api/v1/system`: how the machinery is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use domain::{Asset, MissedCause, Timestamp, TimestampExt};
use serde::Serialize;
use storage::{FeedStatus, SeenWorker, SlotTally, WorkerFacts, WorkerSign};
use utoipa::ToSchema;

use crate::cache::Reading;
use crate::operations::{Operations, SLOTS_SINCE};
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::{App, ReportSettings, schema};

/// Workers give a sign every five seconds: after three that did not come one is taken for dead.
const ALIVE_WITHIN: Duration = Duration::from_secs(18);

/// How the machinery is.
#[derive(Serialize, ToSchema)]
#[schema(as = System)]
pub(crate) struct Answer {
    /// The coordinator's time: what ages are to be reckoned from.
    #[schema(value_type = schema::Timestamp)]
    now: Timestamp,
    /// When this was read.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// The newest migration of the database; workers of another `schema` refuse to start.
    schema_version: i64,
    /// Each worker that writes, until it stops or was silent for a day, and the report worker that answers.
    workers: Vec<Worker>,
    slots: Slots,
    scoring: Scoring,
    /// Of each asset that has any.
    prices: Vec<NewestPrice>,
    changes: Changes,
}

/// A worker, as it says of itself.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemWorker)]
struct Worker {
    /// `predict`, `score` or `report`
    role: &'static str,
    /// Of one start; no other ever has the same.
    instance: String,
    /// The name of its machine.
    host: String,
    /// Of its program.
    version: String,
    /// The newest migration that its program knows.
    schema: i64,
    #[schema(value_type = schema::Timestamp)]
    started_at: Timestamp,
    /// Its last sign, by the database's clock.
    #[schema(value_type = schema::Timestamp)]
    seen_at: Timestamp,
    /// How old that was when this was read, in whole seconds.
    silent_s: u64,
    /// Whether that is young enough to take it for alive.
    alive: bool,
    /// What it did then, in words.
    state: String,
    /// Of a predict worker that leads: writes that wait for the database.
    waiting_writes: Option<u64>,
    /// Of a predict worker: the size of its journal's files.
    journal_bytes: Option<u64>,
    /// Since when the oldest of those writes waits; null when none does.
    #[schema(value_type = Option<schema::Timestamp>)]
    oldest_waiting_at: Option<Timestamp>,
    /// Of a score worker: the rounds that it saw waiting for their scores.
    due_rounds: Option<u64>,
    /// Of a score worker: how long ago the oldest of those resolved, in whole seconds.
    scoring_lag_s: Option<u64>,
}

impl From<&SeenWorker> for Worker {
    fn from(SeenWorker { sign, seen_at, silent_for }: &SeenWorker) -> Self {
        let WorkerSign { identity, schema, state, facts } = sign;
        let WorkerFacts { waiting_writes, journal_bytes, oldest_waiting_at, due_rounds, scoring_lag_s } =
            *facts;
        Worker {
            role: identity.role.as_str(),
            instance: identity.instance.clone(),
            host: identity.host.clone(),
            version: identity.version.clone(),
            schema: *schema,
            started_at: identity.started_at,
            seen_at: *seen_at,
            silent_s: silent_for.as_secs(),
            alive: *silent_for < ALIVE_WITHIN,
            state: state.clone(),
            waiting_writes,
            journal_bytes,
            oldest_waiting_at,
            due_rounds,
            scoring_lag_s,
        }
    }
}

/// What became of the slots of the last 24 hours.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemSlots)]
struct Slots {
    /// The slots after this.
    #[schema(value_type = schema::Timestamp)]
    since: Timestamp,
    /// Rounds that were asked.
    asked: u64,
    /// Those of them that were cut off in flight.
    interrupted: u64,
    /// Rounds that were never asked.
    missed: u64,
    /// By what kept them from being asked; causes without any are left out.
    #[schema(value_type = BTreeMap<String, u64>)]
    missed_by_cause: BTreeMap<MissedCause, u64>,
}

impl Slots {
    fn new(since: Timestamp, tally: &SlotTally) -> Self {
        let SlotTally { asked, interrupted, missed } = tally.clone();
        Slots { since, asked, interrupted, missed: missed.values().sum(), missed_by_cause: missed }
    }
}

/// How far scoring is behind.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemScoring)]
struct Scoring {
    /// Rounds that have resolved and are not scored; those whose prices are waited for too.
    due_rounds: u64,
    /// When the first of them resolved; null without any.
    #[schema(value_type = Option<schema::Timestamp>)]
    oldest_resolved_at: Option<Timestamp>,
    /// How long ago that was, in whole seconds.
    lag_s: u64,
}

/// The newest close of an asset.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemPrice)]
struct NewestPrice {
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    #[schema(value_type = schema::Timestamp)]
    newest_at: Timestamp,
    /// How long ago that is, in whole seconds.
    age_s: u64,
    /// False while its market is closed.
    expected: bool,
}

impl NewestPrice {
    fn new(feed: &FeedStatus, settings: &ReportSettings, now: Timestamp) -> Self {
        let age_s = now.since(feed.newest_at).as_secs();
        let expected =
            settings.markets.expects_close(&feed.asset, now.floor_to(settings.schedules.interval()));
        NewestPrice { asset: feed.asset.clone(), newest_at: feed.newest_at, age_s, expected }
    }
}

/// Whether this worker is told what changes in the database.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemChanges)]
struct Changes {
    /// When it was told last; null when not since its start.
    #[schema(value_type = Option<schema::Timestamp>)]
    told_at: Option<Timestamp>,
    /// False while it cannot be told, and reads everything every second.
    told: bool,
}

/// How the machinery is: workers, slots, scoring, prices
#[utoipa::path(
    get,
    path = "/api/v1/system",
    tag = "service",
    responses((status = 200, description = "The state of things.", body = Answer))
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let operations = app.reader.operations().await?;
    let overview = app.reader.overview().await?;
    let settings = app.settings().0;
    let now = app.clock.now();
    let notice = app.notices.last();
    let answer = Answer {
        now,
        as_of: operations.as_of,
        stale: operations.stale || overview.stale,
        schema_version: overview.counts.schema_version,
        workers: workers(&app, &operations, now),
        slots: Slots::new(operations.as_of - SLOTS_SINCE, &operations.slots),
        scoring: Scoring {
            due_rounds: operations.due.rounds,
            oldest_resolved_at: operations.due.oldest_resolved_at,
            lag_s: operations.due.lag(operations.as_of).as_secs(),
        },
        prices: overview.feeds.iter().map(|feed| NewestPrice::new(feed, &settings, now)).collect(),
        changes: Changes { told_at: notice.told_at, told: notice.is_told },
    };
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(([no_store], Json(answer)).into_response())
}

/// Those on record, and this one.
fn workers(app: &App, operations: &Reading<Operations>, now: Timestamp) -> Vec<Worker> {
    let state = if operations.stale { "answering with what was read last" } else { "answering" };
    let sign = WorkerSign {
        identity: app.identity.clone(),
        schema: app.reader.known_schema(),
        state: state.to_owned(),
        facts: WorkerFacts::default(),
    };
    let itself = SeenWorker { sign, seen_at: now, silent_for: Duration::ZERO };
    operations.workers.iter().chain([&itself]).map(Worker::from).collect()
}
