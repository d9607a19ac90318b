//! `GET /api/v1/rounds/{round_id}/predictions`: how every model answered in a round, and its score.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{DeploymentId, ModelId, PredictionStatus, Timestamp};
use serde::{Deserialize, Serialize};
use storage::{Outcome, OutcomeScore, RoundRecord};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::ask::Ask;
use crate::body::Body;
use crate::cache::Reading;
use crate::csv::{self, Format, Table};
use crate::openapi::{NotFound, Unchanged};
use crate::paging::Cursor;
use crate::params::{InPath, Limit, Params};
use crate::problem::Problem;
use crate::reader::Models;
use crate::rounds::{self, Told, cause, millis};
use crate::routes::rounds::Round;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<ModelId>>,
    /// `csv` for a table without the round and without free texts; where it goes on is in the header `Link`.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// How models answered in a round.
#[derive(Serialize, ToSchema)]
#[schema(as = RoundPredictions)]
pub(crate) struct Answer<'a> {
    round: Round,
    /// In the order of model ids.
    predictions: Vec<Row<'a>>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// How one model answered, and its score.
#[derive(Serialize, ToSchema)]
#[schema(as = RoundPrediction)]
pub(crate) struct Row<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// Which start of its code; null when it was not running.
    #[schema(value_type = Option<String>)]
    deployment_id: Option<&'a DeploymentId>,
    #[schema(value_type = schema::PredictionStatus)]
    status: PredictionStatus,
    /// Why there is no valid answer, in a word; null when there is one.
    #[schema(value_type = Option<schema::Cause>)]
    cause: Option<&'static str>,
    /// The same in full. Null for a valid answer, before the round has resolved, and where answers are not yours to see: it may
    /// quote the answer.
    reason: Option<&'a str>,
    /// When the answer had arrived; null without one.
    #[schema(value_type = Option<schema::Timestamp>)]
    received_at: Option<Timestamp>,
    /// From the question to the whole answer, in milliseconds; null without one.
    #[schema(minimum = 0.0)]
    took_ms: Option<f64>,
    /// By raw score, from 1; equals share the better one. Null without a score.
    #[schema(minimum = 1)]
    rank: Option<usize>,
    /// The rule's value, lower is better; null unless the round is scored, and without a valid answer.
    raw: Option<f64>,
    /// 0 to 1, higher is better; null unless the round is scored.
    #[schema(minimum = 0.0, maximum = 1.0)]
    relative: Option<f64>,
    /// Why a valid answer has no score; else null, and where answers are not yours to see.
    failure: Option<&'a str>,
}

/// How every model answered in a round, and its score once it is scored
#[utoipa::path(
    get,
    path = "/api/v1/rounds/{round_id}/predictions",
    tag = "rounds",
    params(("round_id" = inline(schema::RoundId), Path, description = "Which round."), Query),
    responses(
        (status = 200, description = "A part of the list.",
         content((Answer = "application/json"), (String = "text/csv"))),
        NotFound,
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<domain::RoundId>,
    Params(query): Params<Query>,
    viewer: Viewer,
    ask: Ask,
) -> Result<Response, Problem> {
    match query.format {
        Format::Json => {
            let body = async {
                let read = Read::of(&app, id).await?;
                let (predictions, next) = read.part(&app, &query, &viewer);
                Body::json(&Answer { round: read.round.clone().into(), predictions, next })
            };
            ask.fetch(app.moment(), body).await
        }
        Format::Csv => {
            let read = Read::of(&app, id).await?;
            let (predictions, next) = read.part(&app, &query, &viewer);
            csv::answer_part(&ask, table(&predictions), next.as_deref()).await
        }
    }
}

/// All that is known of a round's predictions.
struct Read {
    round: RoundRecord,
    models: Reading<Models>,
    outcomes: Vec<Outcome>,
}

impl Read {
    async fn of(app: &App, id: domain::RoundId) -> Result<Self, Problem> {
        let round = rounds::find(app, id).await?;
        let models = app.reader.models().await?;
        let outcomes = app.reader.read(|source| source.round_outcomes(id)).await?;
        Ok(Read { round, models, outcomes })
    }

    /// The part that is asked for, as far as it may be told, and where to go on.
    fn part(&self, app: &App, query: &Query, viewer: &Viewer) -> (Vec<Row<'_>>, Option<String>) {
        let Read { round, models, outcomes } = self;
        let ranks = Ranks::of(outcomes);
        let first = query
            .cursor
            .as_ref()
            .map_or(0, |Cursor(last)| outcomes.partition_point(|it| it.model_id <= *last));
        let rest = &outcomes[first..];
        let part = &rest[..rest.len().min(query.limit.get())];
        let next = (part.len() < rest.len()).then(|| part.last()).flatten();
        let next = next.map(|last| Cursor::text(last.model_id.clone()));
        let row = |outcome| row(outcome, &ranks, models, told(app, round, viewer, models, outcome));
        (part.iter().map(row).collect(), next)
    }
}

fn told(app: &App, round: &RoundRecord, viewer: &Viewer, models: &Models, outcome: &Outcome) -> Told {
    Told::of(app, round, viewer, models.get(&outcome.model_id))
}

/// The raw scores of a round, best first.
pub(crate) struct Ranks(Vec<f64>);

impl Ranks {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let scores = outcomes.iter().filter_map(|outcome| outcome.score.as_ref());
        let mut raw: Vec<f64> = scores.filter_map(|score| score.raw).collect();
        raw.sort_unstable_by(f64::total_cmp);
        Ranks(raw)
    }

    /// The rank of this raw score.
    pub(crate) fn rank(&self, raw: f64) -> usize {
        1 + self.0.partition_point(|&other| other < raw)
    }
}

fn row<'a>(outcome: &'a Outcome, ranks: &Ranks, models: &'a Models, told: Told) -> Row<'a> {
    let score: Option<&OutcomeScore> = outcome.score.as_ref();
    let raw = score.and_then(|score| score.raw);
    Row {
        model_id: &outcome.model_id,
        model_name: models.name(&outcome.model_id),
        cruncher_name: models.cruncher_name(&outcome.model_id),
        baseline: models.is_baseline(&outcome.model_id),
        deployment_id: outcome.deployment_id.as_ref(),
        status: outcome.status,
        cause: cause(outcome.status, outcome.reason.as_deref(), outcome.received_at, outcome.took),
        reason: told.if_told(outcome.reason.as_deref()),
        received_at: outcome.received_at,
        took_ms: millis(outcome.took),
        rank: raw.map(|raw| ranks.rank(raw)),
        raw,
        relative: score.map(|score| score.relative),
        failure: told.if_told(score.and_then(|score| score.failure.as_deref())),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "model_id",
        "deployment_id",
        "status",
        "cause",
        "received_at",
        "took_ms",
        "rank",
        "raw",
        "relative",
    ]);
    for row in rows {
        table.cell(row.model_id);
        table.optional(row.deployment_id);
        table.cell(row.status);
        table.optional(row.cause);
        table.optional(row.received_at.map(csv::instant));
        table.optional(row.took_ms);
        table.optional(row.rank);
        table.optional(row.raw);
        table.optional(row.relative);
        table.end_row();
    }
    table
}
