//! `GET /reports/models`: every model ever seen.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::Model;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::{App, schema};

/// A model and who is behind it.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportModel)]
pub(crate) struct Row<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    /// The participant's name for it; the id where there is none.
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    cruncher_id: Option<&'a str>,
    /// The start of its code that was announced last.
    deployment_id: &'a str,
}

/// Every model ever seen, in the order of ids
#[utoipa::path(
    get,
    path = "/reports/models",
    tag = "reports",
    responses((status = 200, description = "The models.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    ask.render([models.stamp], move || Body::json(&models.iter().map(row).collect::<Vec<_>>())).await
}

fn row(model: &Model) -> Row<'_> {
    Row {
        model_id: model.id.as_str(),
        model_name: model.display_name(),
        cruncher_name: model.cruncher.name.as_deref(),
        cruncher_id: model.cruncher.id.as_deref(),
        deployment_id: model.deployment_id.as_str(),
    }
}
