//! `GET /api/v1/models/{model_id}`: who a model is, and how it does by asset and horizon.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, Model, ModelId, ParameterStanding, PerWindow, Span, Standings, Target, Timestamp};
use scoring::UnitDoubt;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Viewer;
use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, NoParams, Params};
use crate::problem::Problem;
use crate::routes::ranking::Cell;
use crate::routes::{known_model, standing_of};
use crate::{App, schema, units};

/// A model, and how it does by asset and horizon.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelDetail)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// The start of its code that was announced last.
    deployment_id: &'a str,
    /// When it joined, or came back.
    #[schema(value_type = schema::Timestamp)]
    joined_at: Timestamp,
    /// When it was last seen connected.
    #[schema(value_type = schema::Timestamp)]
    last_connected_at: Timestamp,
    /// When its first scored round since it joined, or came back, resolved; null before.
    #[schema(value_type = Option<schema::Timestamp>)]
    first_scored_at: Option<Timestamp>,
    /// In the order of assets and horizons; those with a prediction in the last 168 hours.
    parameters: Vec<Parameter<'a>>,
    /// Assets about which its latest answers look as if they had another unit than was asked for; null where they are not yours
    /// to see, and while they cannot be read.
    unit_doubts: Option<Vec<Doubt>>,
    /// Rounds resolved up to here count; null before the first scores.
    #[schema(value_type = Option<schema::Timestamp>)]
    as_of: Option<Timestamp>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
}

/// A model's means for one asset and horizon.
#[derive(Serialize, ToSchema)]
#[schema(as = ParameterScores)]
pub(crate) struct Parameter<'a> {
    #[schema(value_type = schema::Asset)]
    asset: &'a Asset,
    #[schema(value_type = schema::Span)]
    horizon: Span,
    #[schema(value_type = schema::PerWindow<Cell>)]
    windows: PerWindow<Cell>,
}

/// Answers that look as if they had another unit than was asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = UnitDoubt)]
pub(crate) struct Doubt {
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    #[schema(value_type = schema::Target)]
    asked: Target,
    #[schema(value_type = schema::Target)]
    looks_like: Target,
    /// The median scale of its distributions over one step, as if they had the unit that was asked for.
    #[schema(minimum = 0.0)]
    median_scale: f64,
    /// What makes it doubtful and what would help, in words.
    statement: String,
}

impl From<UnitDoubt> for Doubt {
    fn from(doubt: UnitDoubt) -> Self {
        let UnitDoubt { asset, asked, looks_like, median_scale, statement } = doubt;
        Doubt { asset, asked, looks_like, median_scale, statement }
    }
}

/// Who a model is, and how it does by asset and horizon
#[utoipa::path(
    get,
    path = "/api/v1/models/{model_id}",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Which model.")),
    responses((status = 200, description = "The model.", body = Answer), NotFound, Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    Params(NoParams {}): Params<NoParams>,
    viewer: Viewer,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let standings = app.reader.standings().await?;
    // Doubts are of scored rounds, which standings tell of.
    let basis = [models.stamp, standings.stamp, app.settings().1];
    let body = async {
        let model = known_model(&models, &id)?;
        // what is held in memory is shown also while the database is away
        let doubts = units::doubts(&app, &viewer, model).await.unwrap_or_default();
        Body::json(&answer(model, standings.as_ref(), doubts, standings.stale))
    };
    ask.fetch(basis, body).await
}

fn answer<'a>(
    model: &'a Model,
    standings: Option<&'a Standings>,
    doubts: Option<Vec<UnitDoubt>>,
    stale: bool,
) -> Answer<'a> {
    let standing = standings.and_then(|standings| standing_of(standings, &model.id));
    Answer {
        model_id: &model.id,
        model_name: model.display_name(),
        cruncher_name: model.cruncher.name.as_deref(),
        baseline: model.is_baseline,
        deployment_id: model.deployment_id.as_str(),
        joined_at: model.joined_at,
        last_connected_at: model.last_connected_at,
        first_scored_at: standing.and_then(|standing| standing.first_scored_at),
        parameters: standing.iter().flat_map(|standing| &standing.parameters).map(parameter).collect(),
        unit_doubts: doubts.map(|doubts| doubts.into_iter().map(Doubt::from).collect()),
        as_of: standings.map(|standings| standings.as_of),
        stale,
    }
}

fn parameter(standing: &ParameterStanding) -> Parameter<'_> {
    Parameter {
        asset: &standing.parameter.asset,
        horizon: standing.parameter.horizon,
        windows: PerWindow::from_fn(|window| Cell::from(standing.windows.get(window))),
    }
}
