//! `GET /api/v1/models/{model_id}/predictions`: how a model answered, newest round first.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, DeploymentId, ModelId, PredictionStatus, RoundId, RoundState, Span, Timestamp};
use serde::{Deserialize, Serialize};
use storage::{ModelOutcome, OutcomeFilter, RoundFilter};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::ask::Ask;
use crate::body::Body;
use crate::csv::{self, Format, Table};
use crate::openapi::{NotFound, Unchanged};
use crate::paging::Cursor;
use crate::params::{InPath, Instant, Limit, Params};
use crate::problem::Problem;
use crate::rounds::{Told, cause, millis};
use crate::routes::known_model;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// In rounds about this asset only.
    #[param(value_type = Option<schema::Asset>, inline)]
    asset: Option<Asset>,
    /// In rounds over this horizon only.
    #[param(value_type = Option<schema::Span>, inline)]
    horizon: Option<Span>,
    /// That ended so only.
    #[param(value_type = Option<schema::PredictionStatus>, inline)]
    status: Option<PredictionStatus>,
    /// In rounds asked at or after this instant only.
    #[param(inline)]
    from: Option<Instant>,
    /// In rounds asked before this instant only.
    #[param(inline)]
    to: Option<Instant>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<RoundId>>,
    /// `csv` for a table without free texts; where it goes on is in the header `Link`.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// A model's predictions.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelPredictions)]
pub(crate) struct Answer {
    #[schema(value_type = schema::ModelId)]
    model_id: ModelId,
    /// Newest round first. A list that is searched for rare ones may be short, or empty, and go on nevertheless.
    predictions: Vec<Row>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// A prediction, its round and its score.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelPrediction)]
pub(crate) struct Row {
    #[schema(value_type = schema::RoundId)]
    round_id: RoundId,
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    #[schema(value_type = schema::Span)]
    horizon: Span,
    #[schema(value_type = Vec<schema::Span>)]
    steps: Vec<Span>,
    /// The instant of the question.
    #[schema(value_type = schema::Timestamp)]
    performed_at: Timestamp,
    /// When reality is known.
    #[schema(value_type = schema::Timestamp)]
    resolves_at: Timestamp,
    #[schema(value_type = schema::RoundState)]
    state: RoundState,
    /// Which start of its code; null when it was not running.
    #[schema(value_type = Option<String>)]
    deployment_id: Option<DeploymentId>,
    #[schema(value_type = schema::PredictionStatus)]
    status: PredictionStatus,
    /// Why there is no valid answer, in a word; null when there is one.
    #[schema(value_type = Option<schema::Cause>)]
    cause: Option<&'static str>,
    /// The same in full. Null for a valid answer, before the round has resolved, and where answers are not yours to see: it may
    /// quote the answer.
    reason: Option<String>,
    /// When the answer had arrived; null without one.
    #[schema(value_type = Option<schema::Timestamp>)]
    received_at: Option<Timestamp>,
    /// From the question to the whole answer, in milliseconds; null without one.
    #[schema(minimum = 0.0)]
    took_ms: Option<f64>,
    /// The rule's value, lower is better; null unless the round is scored, and without a valid answer.
    raw: Option<f64>,
    /// 0 to 1, higher is better; null unless the round is scored.
    #[schema(minimum = 0.0, maximum = 1.0)]
    relative: Option<f64>,
    /// Why a valid answer has no score; else null, and where answers are not yours to see.
    failure: Option<String>,
}

/// How a model answered, newest round first
#[utoipa::path(
    get,
    path = "/api/v1/models/{model_id}/predictions",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Whose predictions."), Query),
    responses(
        (status = 200, description = "A part of the list.",
         content((Answer = "application/json"), (String = "text/csv"))),
        NotFound,
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    Params(query): Params<Query>,
    viewer: Viewer,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let model = known_model(&models, &id)?;
    let Query { asset, horizon, status, from, to, limit, cursor, format } = query;
    let (from, to) = (from.map(Instant::get), to.map(Instant::get));
    let rounds = RoundFilter { asset, horizon, state: None, from, to };
    let filter = OutcomeFilter { rounds, status };
    let before = cursor.map(|Cursor(id)| id);
    let page =
        app.reader.read(|source| source.model_outcomes(&model.id, &filter, before, limit.get())).await?;
    let next = page.next.map(Cursor::text);
    let told = |found: &ModelOutcome| Told::of(&app, &found.round, &viewer, Some(model));
    let predictions: Vec<Row> = page.items.into_iter().map(|found| row(told(&found), found)).collect();
    match format {
        Format::Json => {
            ask.answer(&Body::json(&Answer { model_id: model.id.clone(), predictions, next })?).await
        }
        Format::Csv => csv::answer_part(&ask, table(&predictions), next.as_deref()).await,
    }
}

fn row(told: Told, found: ModelOutcome) -> Row {
    let ModelOutcome { round, outcome } = found;
    let question = round.question;
    let (raw, relative, failure) = match outcome.score {
        Some(score) => (score.raw, Some(score.relative), score.failure),
        None => (None, None, None),
    };
    Row {
        resolves_at: question.resolves_at(),
        round_id: question.id,
        asset: question.asset,
        horizon: question.horizon,
        steps: question.steps,
        performed_at: question.performed_at,
        state: round.state,
        deployment_id: outcome.deployment_id,
        status: outcome.status,
        cause: cause(outcome.status, outcome.reason.as_deref(), outcome.received_at, outcome.took),
        reason: told.if_told(outcome.reason),
        received_at: outcome.received_at,
        took_ms: millis(outcome.took),
        raw,
        relative,
        failure: told.if_told(failure),
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "round_id",
        "asset",
        "horizon",
        "performed_at",
        "resolves_at",
        "state",
        "deployment_id",
        "status",
        "cause",
        "received_at",
        "took_ms",
        "raw",
        "relative",
    ]);
    for row in rows {
        table.cell(row.round_id);
        table.cell(&row.asset);
        table.cell(row.horizon);
        table.cell(csv::instant(row.performed_at));
        table.cell(csv::instant(row.resolves_at));
        table.cell(row.state);
        table.optional(row.deployment_id.as_ref());
        table.cell(row.status);
        table.optional(row.cause);
        table.optional(row.received_at.map(csv::instant));
        table.optional(row.took_ms);
        table.optional(row.raw);
        table.optional(row.relative);
        table.end_row();
    }
    table
}
