//! `GET /reports/leaderboard`: the ranking as flat rows.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Leaderboard, LeaderboardEntry, Model, RankingGroup, Span, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::time::ReportTime;
use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::presence::Presence;
use crate::problem::Problem;
use crate::reader::Models;
use crate::routes::success_rate;
use crate::{App, ReportSettings, schema};

/// A model's place. `score_…` are mean relative scores, 0 to 1, higher is better; `raw_…` are mean raw scores of the valid
/// answers, lower is better; each is null without a valid answer in its window.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportRank)]
pub(crate) struct Row<'a> {
    /// Rounds resolved up to here count.
    created_at: ReportTime,
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    /// Over 24 h.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_recent: Option<f64>,
    /// Over 72 h.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_steady: Option<f64>,
    /// Over 168 h.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_anchor: Option<f64>,
    /// From 1; null without a number.
    #[schema(minimum = 1)]
    rank: Option<u32>,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// The cruncher's name, else its id, else the model's id.
    username: &'a str,
    /// Whether the orchestrator runs it, as of the last hours: `RUNNING` or `STOPPED`.
    #[schema(pattern = "^(RUNNING|STOPPED)$")]
    status: &'static str,
    raw_recent: Option<f64>,
    raw_steady: Option<f64>,
    raw_anchor: Option<f64>,
    /// False while the number is provisional: the model is younger than the window.
    full_recent: bool,
    full_steady: bool,
    full_anchor: bool,
    /// Scored predictions of the last 24 h.
    predictions_recent: u64,
    predictions_steady: u64,
    predictions_anchor: u64,
    /// The share of those of the last 24 h that were valid answers, 0 to 1; null without any.
    #[schema(minimum = 0.0, maximum = 1.0)]
    success_rate: Option<f64>,
    /// By what it is ranked.
    #[schema(value_type = schema::RankingGroup)]
    ranked_by: RankingGroup,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
}

/// The ranking, best first; models without a number last
#[utoipa::path(
    get,
    path = "/reports/leaderboard",
    tag = "reports",
    responses((status = 200, description = "The ranking.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let leaderboard = app.reader.leaderboard().await?;
    let models = app.reader.models().await?;
    let (settings, settings_stamp) = app.settings();
    ask.render([leaderboard.stamp, models.stamp, settings_stamp], move || {
        Body::json(&leaderboard.as_ref().map_or(Vec::new(), |board| rows(board, &models, &settings)))
    })
    .await
}

fn rows<'a>(board: &'a Leaderboard, models: &'a Models, settings: &ReportSettings) -> Vec<Row<'a>> {
    let created_at = ReportTime::new(board.as_of, settings);
    board.entries.iter().map(|entry| row(entry, board.as_of, created_at, models)).collect()
}

fn row<'a>(
    entry: &'a LeaderboardEntry,
    as_of: Timestamp,
    created_at: ReportTime,
    models: &'a Models,
) -> Row<'a> {
    let model = models.get(&entry.model_id);
    let windows = &entry.windows;
    Row {
        created_at,
        model_id: entry.model_id.as_str(),
        score_recent: windows.recent.score,
        score_steady: windows.steady.score,
        score_anchor: windows.anchor.score,
        rank: entry.rank,
        model_name: models.name(&entry.model_id),
        cruncher_name: models.cruncher_name(&entry.model_id),
        username: model.and_then(username).unwrap_or(entry.model_id.as_str()),
        status: status(model, as_of),
        raw_recent: windows.recent.raw,
        raw_steady: windows.steady.raw,
        raw_anchor: windows.anchor.raw,
        full_recent: windows.recent.full,
        full_steady: windows.steady.full,
        full_anchor: windows.anchor.full,
        predictions_recent: windows.recent.predictions,
        predictions_steady: windows.steady.predictions,
        predictions_anchor: windows.anchor.predictions,
        success_rate: success_rate(&windows.recent),
        ranked_by: entry.group,
        baseline: models.is_baseline(&entry.model_id),
    }
}

fn username(model: &Model) -> Option<&str> {
    let names = [&model.cruncher.name, &model.cruncher.id];
    names.into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
}

fn status(model: Option<&Model>, as_of: Timestamp) -> &'static str {
    let presence = model.map(|model| Presence::of(model, as_of, Span::ZERO));
    if presence == Some(Presence::Running) { "RUNNING" } else { "STOPPED" }
}
