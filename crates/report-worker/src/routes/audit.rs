//! `GET /api/v1/audit`: what operators did, and what of it is in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::ModelId;
use serde::{Deserialize, Serialize};
use storage::AuditEntry;

use crate::App;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::respond::tagged_json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    limit: Limit,
}

#[derive(Serialize)]
struct Answer<'a> {
    /// The order by which no round is asked now; else null.
    pause: Option<&'a AuditEntry>,
    /// Models that are left out of the leaderboard.
    excluded_models: &'a BTreeSet<ModelId>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// The newest first.
    entries: &'a [AuditEntry],
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = app.reader.audit().await?;
    let answer = Answer {
        pause: record.pause.as_ref(),
        excluded_models: &record.excluded_models,
        stale: record.stale,
        entries: &record.entries[..query.limit.get().min(record.entries.len())],
    };
    tagged_json(&headers, &answer)
}
