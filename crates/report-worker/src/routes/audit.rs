//! `GET /api/v1/audit`: what operators did, and what of it is in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::ModelId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::routes::Order;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
}

/// What operators did, and what of it is in force.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(crate) struct Answer<'a> {
    /// The order by which no round is asked now; else null.
    pause: Option<Order<'a>>,
    /// Models that are left out of the leaderboard.
    #[schema(value_type = Vec<schema::ModelId>)]
    excluded_models: &'a BTreeSet<ModelId>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// The newest first.
    entries: Vec<Order<'a>>,
}

/// What operators did, the newest first, and what of it is in force
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "service",
    params(Query),
    responses((status = 200, description = "The record.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let record = app.reader.audit().await?;
    ask.render([record.stamp], move || {
        Body::json(&Answer {
            pause: record.pause.as_ref().map(Order::from),
            excluded_models: &record.excluded_models,
            stale: record.stale,
            entries: record.entries.iter().take(query.limit.get()).map(Order::from).collect(),
        })
    })
    .await
}
