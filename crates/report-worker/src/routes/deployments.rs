//! `GET /api/v1/models/{model_id}/deployments`: the starts of its code that a model had.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{DeploymentId, ModelId, Timestamp};
use serde::{Deserialize, Serialize};
use storage::Deployment;
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::csv::{self, Format, Table};
use crate::openapi::{NotFound, Unchanged};
use crate::paging::Cursor;
use crate::params::{InPath, Limit, Params};
use crate::problem::Problem;
use crate::routes::known_model;
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
    cursor: Option<Cursor<(Timestamp, DeploymentId)>>,
    /// `csv` for a table; where it goes on is in the header `Link`.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// The starts of its code that a model had.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployments)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    /// The one that came last before the others.
    deployments: Vec<Row>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// A start of a model's code.
#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
pub(crate) struct Row {
    /// Which: predictions say by which they were given.
    #[schema(value_type = String)]
    deployment_id: DeploymentId,
    /// When it was first seen connected.
    #[schema(value_type = schema::Timestamp)]
    first_seen_at: Timestamp,
    /// When it was last seen connected; of one that runs, up to an hour ago.
    #[schema(value_type = schema::Timestamp)]
    last_seen_at: Timestamp,
}

impl From<Deployment> for Row {
    fn from(Deployment { id, first_seen_at, last_seen_at }: Deployment) -> Self {
        Row { deployment_id: id, first_seen_at, last_seen_at }
    }
}

/// The starts of its code that a model had, the last first
#[utoipa::path(
    get,
    path = "/api/v1/models/{model_id}/deployments",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Whose."), Query),
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
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let model_id = &known_model(&models, &id)?.id;
    let (after, limit) = (query.cursor.map(|Cursor(key)| key), query.limit.get());
    let read = app.reader.read(|source| source.deployments(model_id, after.as_ref(), limit + 1));
    let mut found = read.await?;
    let next = Cursor::cut(&mut found, limit, |last| (last.first_seen_at, last.id.clone()));
    let deployments: Vec<Row> = found.into_iter().map(Row::from).collect();
    match query.format {
        Format::Json => ask.answer(&Body::json(&Answer { model_id, deployments, next })?).await,
        Format::Csv => csv::answer_part(&ask, table(&deployments), next.as_deref()).await,
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["deployment_id", "first_seen_at", "last_seen_at"]);
    for row in rows {
        table.cell(&row.deployment_id);
        table.cell(csv::instant(row.first_seen_at));
        table.cell(csv::instant(row.last_seen_at));
        table.end_row();
    }
    table
}
