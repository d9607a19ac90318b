//! `GET /api/v1/rounds/{round_id}/bands`: answers as quantile bands, for fan charts, and what happened.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{ModelId, Prediction, PredictionStatus, Question, RoundId, Span, Timestamp};
use scoring::{SettledStep, Settlement};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Viewer;
use crate::ask::Ask;
use crate::bands::{LEVELS, Quantiles, StepBands, bands};
use crate::body::{Body, off_the_runtime};
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, ModelIds, Params};
use crate::problem::Problem;
use crate::rounds::{self, Told};
use crate::routes::rounds::Round;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Whose answers: ids with commas between them.
    #[param(value_type = ModelIds, inline)]
    models: ModelIds,
}

/// Answers as quantile bands.
#[derive(Serialize, ToSchema)]
#[schema(as = Bands)]
pub(crate) struct Answer {
    round: Round,
    /// The probabilities whose quantiles make the bands, ascending.
    levels: [f64; LEVELS.len()],
    /// What happened; null until the round has resolved and its prices are there.
    moves: Option<Vec<StepMoves>>,
    /// In the order in which they were asked for; models without a prediction in the round are left out.
    models: Vec<ModelBands>,
}

/// What happened over one step size.
#[derive(Serialize, ToSchema)]
pub(crate) struct StepMoves {
    #[schema(value_type = schema::Span)]
    step: Span,
    /// The ends of the increments, in the order of time.
    #[schema(value_type = Vec<schema::Timestamp>)]
    ends: Vec<Timestamp>,
    /// The moves over the increments, in the unit of the round's target; null where one is left out for every model.
    moves: Vec<Option<f64>>,
}

/// One model's answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ModelBands {
    #[schema(value_type = schema::ModelId)]
    model_id: ModelId,
    #[schema(value_type = schema::PredictionStatus)]
    status: PredictionStatus,
    /// Why nothing is told of the answer; null when it is.
    #[schema(value_type = Option<schema::Hidden>)]
    hidden: Option<&'static str>,
    /// By step size; null without a valid answer, and where it is hidden.
    steps: Option<Vec<StepQuantiles>>,
}

/// The bands over one step size.
#[derive(Serialize, ToSchema)]
pub(crate) struct StepQuantiles {
    #[schema(value_type = schema::Span)]
    step: Span,
    /// By increment in the order of time, each at all levels, in the unit of the round's target; null where one is not finite.
    #[schema(value_type = Vec<Vec<Option<f64>>>)]
    quantiles: Vec<Quantiles>,
}

/// Answers as quantile bands for fan charts, and what happened
///
/// Quantiles are those of the increments by themselves, not of the way from the start.
#[utoipa::path(
    get,
    path = "/api/v1/rounds/{round_id}/bands",
    tag = "rounds",
    params(("round_id" = inline(schema::RoundId), Path, description = "Which round."), Query),
    responses((status = 200, description = "The bands.", body = Answer), NotFound, Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<RoundId>,
    Params(query): Params<Query>,
    viewer: Viewer,
    ask: Ask,
) -> Result<Response, Problem> {
    ask.fetch(app.moment(), body(&app, id, &query.models, &viewer)).await
}

async fn body(app: &App, id: RoundId, asked: &ModelIds, viewer: &Viewer) -> Result<Body, Problem> {
    let round = rounds::find(app, id).await?;
    let models = app.reader.models().await?;
    let mut predictions = Vec::new();
    for model in asked.iter() {
        let told = Told::of(app, &round, viewer, models.get(model));
        let prediction = app.reader.read(|source| source.prediction(id, model)).await?;
        predictions.extend(prediction.map(|prediction| (prediction, told)));
    }
    let moves = match rounds::has_resolved(app, &round) {
        true => moves(app, &round.question).await?,
        false => None,
    };
    let question = round.question.clone();
    off_the_runtime(move || {
        let models = predictions.into_iter();
        let models = models.map(|(prediction, told)| model_bands(&question, prediction, told)).collect();
        Body::json(&Answer { round: round.into(), levels: LEVELS, moves, models })
    })
    .await
}

async fn moves(app: &App, question: &Question) -> Result<Option<Vec<StepMoves>>, Problem> {
    let settings = app.settings().0.judging.settlement;
    match rounds::settle(app, question, &settings).await?.1 {
        Settlement::Settled(steps) => Ok(Some(steps.iter().map(|step| step_moves(question, step)).collect())),
        Settlement::Waiting { .. } | Settlement::Void { .. } => Ok(None),
    }
}

fn step_moves(question: &Question, settled: &SettledStep) -> StepMoves {
    let end = |k: usize| question.performed_at + settled.step.times(k as u32);
    StepMoves {
        step: settled.step,
        ends: (1..=settled.increments.len()).map(end).collect(),
        moves: settled
            .increments
            .iter()
            .map(|increment| increment.map(|increment| increment.move_))
            .collect(),
    }
}

fn model_bands(question: &Question, prediction: Prediction, told: Told) -> ModelBands {
    let answer = told.if_told(prediction.answer);
    let steps = answer.and_then(|answer| match bands(question, &answer) {
        Ok(steps) => Some(steps.into_iter().map(StepQuantiles::from).collect()),
        Err(error) => {
            let (model, round) = (&prediction.model_id, question.id);
            tracing::error!(%model, %round, %error, "report worker: the answer of {model} in round {round} cannot be read: {error}");
            None
        }
    });
    ModelBands { model_id: prediction.model_id, status: prediction.status, hidden: told.hidden(), steps }
}

impl From<StepBands> for StepQuantiles {
    fn from(bands: StepBands) -> Self {
        StepQuantiles { step: bands.step, quantiles: bands.quantiles }
    }
}
