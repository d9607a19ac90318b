//! `GET /api/v1/leaderboard`: all windows of every model side by side, as the page shows them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::{
    CrunchId, Leaderboard, LeaderboardEntry, PerWindow, RankingGroup, Rescoring, Timestamp, Window,
    WindowScore, rank_by_window,
};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::reader::Models;
use crate::respond::tagged_json;
use crate::routes::success_rate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// By which window alone to rank; without it the overall ranking, models without a number last.
    window: Option<Window>,
    #[serde(default)]
    limit: Limit,
}

#[derive(Serialize)]
struct Answer<'a> {
    crunch_id: &'a CrunchId,
    window: Option<Window>,
    /// Models in this answer.
    count: usize,
    /// Models in the whole list.
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
    /// Of this list, from 1; null for models without a number.
    rank: Option<u32>,
    /// The longest window that it has filled: by which it is ranked overall.
    group: RankingGroup,
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// When its first scored round since it joined, or came back, resolved.
    first_scored_at: Option<Timestamp>,
    windows: PerWindow<Cell>,
}

#[derive(Serialize)]
struct Cell {
    /// Mean relative score, 0 to 1, higher is better.
    score: Option<f64>,
    /// Mean raw score of the valid answers, lower is better.
    raw_score: Option<f64>,
    /// Scored predictions of any status.
    prediction_count: u64,
    /// The share of them that were valid answers.
    success_rate: Option<f64>,
    /// False while the numbers are provisional.
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
    let ranked = board.map(|board| ranked(board, query.window)).unwrap_or_default();
    let total = ranked.len();
    let rows: Vec<Row> =
        ranked.into_iter().take(query.limit.get()).map(|(rank, entry)| row(rank, entry, &models)).collect();
    let settings = app.settings();
    let answer = Answer {
        crunch_id: &settings.crunch_id,
        window: query.window,
        count: rows.len(),
        total,
        as_of: board.map(|board| board.as_of),
        rule: board.map(|board| board.rule.as_str()),
        rescoring: board.and_then(|board| board.rescoring),
        stale: leaderboard.stale,
        models: rows,
    };
    tagged_json(&headers, &answer)
}

fn ranked(board: &Leaderboard, window: Option<Window>) -> Vec<(Option<u32>, &LeaderboardEntry)> {
    match window {
        None => board.entries.iter().map(|entry| (entry.rank, entry)).collect(),
        Some(window) => {
            (1..).zip(rank_by_window(board, window)).map(|(place, entry)| (Some(place), entry)).collect()
        }
    }
}

fn row<'a>(rank: Option<u32>, entry: &'a LeaderboardEntry, models: &'a Models) -> Row<'a> {
    Row {
        rank,
        group: entry.group,
        model_id: entry.model_id.as_str(),
        model_name: models.name(&entry.model_id),
        cruncher_name: models.cruncher_name(&entry.model_id),
        baseline: models.is_baseline(&entry.model_id),
        first_scored_at: entry.first_scored_at,
        windows: PerWindow::from_fn(|window| cell(entry.windows.get(window))),
    }
}

fn cell(window: &WindowScore) -> Cell {
    Cell {
        score: window.score,
        raw_score: window.raw,
        prediction_count: window.predictions,
        success_rate: success_rate(window),
        full: window.full,
    }
}
