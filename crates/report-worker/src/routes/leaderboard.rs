//! `GET /leaderboard`: models ranked by one window.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::{Leaderboard, Rescoring, Timestamp, Window, rank_by_window};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::reader::Models;
use crate::respond::tagged_json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    #[serde(default)]
    window: Window,
    #[serde(default)]
    limit: Limit,
}

#[derive(Serialize)]
struct Answer<'a> {
    window: Window,
    /// Models in this answer.
    count: usize,
    /// Models with a number in this window.
    total: usize,
    /// Rounds resolved up to here count; null before the first leaderboard.
    as_of: Option<Timestamp>,
    /// Rule and version of the scores.
    rule: Option<&'a str>,
    /// While the rule has changed and not everything is scored by it: how many rounds are left; else null.
    rescoring: Option<Rescoring>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    models: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    /// Of this list, from 1.
    rank: usize,
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// Mean relative score in the window, 0 to 1, higher is better.
    score: Option<f64>,
    /// Mean raw score of the valid answers, lower is better.
    raw_score: Option<f64>,
    /// Scored predictions in the window.
    prediction_count: u64,
    /// False while the number is provisional.
    full: bool,
}

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let leaderboard = app.reader.leaderboard().await?;
    let models = app.reader.models().await?;
    let board = leaderboard.as_ref();
    let rows = board.map(|board| rows(board, query.window, &models)).unwrap_or_default();
    let total = rows.len();
    let models: Vec<Row> = rows.into_iter().take(query.limit.get()).collect();
    let answer = Answer {
        window: query.window,
        count: models.len(),
        total,
        as_of: board.map(|board| board.as_of),
        rule: board.map(|board| board.rule.as_str()),
        rescoring: board.and_then(|board| board.rescoring),
        stale: leaderboard.stale,
        models,
    };
    tagged_json(&headers, &answer)
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
