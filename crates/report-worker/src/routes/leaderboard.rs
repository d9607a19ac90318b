//! `GET /leaderboard`: models ranked by one window.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Leaderboard, Timestamp, Window, rank_by_window};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::cache::Reading;
use crate::openapi::Unchanged;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::reader::Models;
use crate::routes::Rescoring;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// By which window to rank; `recent` unless given.
    #[serde(default)]
    #[param(value_type = Option<schema::Window>, inline)]
    window: Window,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
}

/// Models ranked by one window.
#[derive(Serialize, ToSchema)]
#[schema(as = WindowRanking)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = schema::Window)]
    window: Window,
    /// Models in this answer.
    count: usize,
    /// Models with a number in this window.
    total: usize,
    /// Rounds resolved up to here count; null before the first leaderboard.
    #[schema(value_type = Option<schema::Timestamp>)]
    as_of: Option<Timestamp>,
    /// Rule and version of the scores.
    rule: Option<&'a str>,
    /// While the rule has changed and not everything is scored by it: how many rounds are left; else null.
    rescoring: Option<Rescoring>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    models: Vec<Row<'a>>,
}

/// One model's place by one window.
#[derive(Serialize, ToSchema)]
#[schema(as = WindowRank)]
pub(crate) struct Row<'a> {
    /// Of this list, from 1.
    #[schema(minimum = 1)]
    rank: usize,
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// Mean relative score in the window, 0 to 1, higher is better.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score: Option<f64>,
    /// Mean raw score of the valid answers, lower is better.
    raw_score: Option<f64>,
    /// Scored predictions in the window.
    prediction_count: u64,
    /// False while the number is provisional.
    full: bool,
}

/// Models ranked by one window, best first; those without a number in it are left out
#[utoipa::path(
    get,
    path = "/leaderboard",
    tag = "leaderboard",
    params(Query),
    responses((status = 200, description = "The ranking.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let leaderboard = app.reader.leaderboard().await?;
    let models = app.reader.models().await?;
    ask.render([leaderboard.stamp, models.stamp], move || Body::json(&answer(&query, &leaderboard, &models)))
        .await
}

fn answer<'a>(
    query: &Query,
    leaderboard: &'a Reading<Option<Leaderboard>>,
    models: &'a Models,
) -> Answer<'a> {
    let board = leaderboard.as_ref();
    let rows = board.map(|board| rows(board, query.window, models)).unwrap_or_default();
    let total = rows.len();
    let models: Vec<Row> = rows.into_iter().take(query.limit.get()).collect();
    Answer {
        window: query.window,
        count: models.len(),
        total,
        as_of: board.map(|board| board.as_of),
        rule: board.map(|board| board.rule.as_str()),
        rescoring: board.and_then(|board| board.rescoring).map(Rescoring::from),
        stale: leaderboard.stale,
        models,
    }
}

fn rows<'a>(board: &'a Leaderboard, window: Window, models: &'a Models) -> Vec<Row<'a>> {
    let ranked = rank_by_window(board, window).into_iter().enumerate();
    ranked
        .map(|(place, entry)| {
            let score = entry.windows.get(window);
            Row {
                rank: place + 1,
                model_id: entry.model_id.as_str(),
                model_name: models.name(&entry.model_id),
                cruncher_name: models.cruncher_name(&entry.model_id),
                baseline: models.is_baseline(&entry.model_id),
                score: score.score,
                raw_score: score.raw,
                prediction_count: score.predictions,
                full: score.full,
            }
        })
        .collect()
}
