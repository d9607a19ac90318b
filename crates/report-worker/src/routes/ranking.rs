//! `GET /api/v1/leaderboard`: all windows of every model side by side, as the page shows them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{
    Asset, CrunchId, Leaderboard, LeaderboardEntry, ModelId, PerWindow, RankingGroup, Selection, Span,
    Timestamp, Window, WindowScore, rank_by_window,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::boards::Boards;
use crate::body::{Body, off_the_runtime};
use crate::csv::{self, Format, Table};
use crate::openapi::Unchanged;
use crate::params::{Instant, Limit, Params};
use crate::problem::Problem;
use crate::reader::Models;
use crate::routes::{Rescoring, success_rate};
use crate::{App, ReportSettings, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// By which window alone to rank; without it the overall ranking, models without a number last.
    #[param(value_type = Option<schema::Window>, inline)]
    window: Option<Window>,
    /// By predictions about this asset alone, in all windows; models without one in the last 168 h are left out.
    #[param(value_type = Option<schema::Asset>, inline)]
    asset: Option<Asset>,
    /// By predictions over this horizon alone, in all windows; models without one in the last 168 h are left out.
    #[param(value_type = Option<schema::Span>, inline)]
    horizon: Option<Span>,
    /// As it was at this instant; as it is now unless given. `/api/v1/leaderboard/history` lists from when there are others; by
    /// asset or horizon it is as of the full hour before.
    #[param(inline)]
    at: Option<Instant>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// `csv` for a table without names.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

impl Query {
    fn selection(&self) -> Selection {
        Selection { asset: self.asset.clone(), horizon: self.horizon }
    }
}

/// All windows of every model side by side.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranking)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = String)]
    crunch_id: &'a CrunchId,
    /// By which window alone this is ranked; null for the overall ranking.
    #[schema(value_type = Option<schema::Window>)]
    window: Option<Window>,
    /// About which asset alone the scores are; null for all.
    #[schema(value_type = Option<schema::Asset>)]
    asset: Option<&'a Asset>,
    /// Over which horizon alone the scores are; null for all.
    #[schema(value_type = Option<schema::Span>)]
    horizon: Option<Span>,
    /// Models in this answer.
    count: usize,
    /// Models in the whole list.
    total: usize,
    /// Rounds resolved up to here count; null before the first leaderboard.
    #[schema(value_type = Option<schema::Timestamp>)]
    as_of: Option<Timestamp>,
    /// As of when the ranking was that `rank_before` is of: the last one of 24 hours before `as_of`, by asset or horizon that of
    /// the full hour; null where none is stored.
    #[schema(value_type = Option<schema::Timestamp>)]
    before_as_of: Option<Timestamp>,
    /// Rule and version of the scores.
    rule: Option<&'a str>,
    /// While the rule has changed and not everything is scored by it: how many rounds are left; else null.
    rescoring: Option<Rescoring>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    models: Vec<Row<'a>>,
}

/// One model's place.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranked)]
pub(crate) struct Row<'a> {
    /// Of this list, from 1; null for models without a number.
    #[schema(minimum = 1)]
    rank: Option<u32>,
    /// Of the same list a day before; null when it had none then.
    #[schema(minimum = 1)]
    rank_before: Option<u32>,
    /// The longest window that it has filled: by which it is ranked overall.
    #[schema(value_type = schema::RankingGroup)]
    group: RankingGroup,
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// When its first scored round since it joined, or came back, resolved; null before.
    #[schema(value_type = Option<schema::Timestamp>)]
    first_scored_at: Option<Timestamp>,
    #[schema(value_type = schema::PerWindow<Cell>)]
    windows: PerWindow<Cell>,
}

/// A model's means over one window.
#[derive(Serialize, ToSchema)]
#[schema(as = WindowScore)]
pub(crate) struct Cell {
    /// Mean relative score, 0 to 1, higher is better.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score: Option<f64>,
    /// Mean raw score of the valid answers, lower is better.
    raw_score: Option<f64>,
    /// Scored predictions of any status.
    prediction_count: u64,
    /// The share of them that were valid answers.
    #[schema(minimum = 0.0, maximum = 1.0)]
    success_rate: Option<f64>,
    /// False while the numbers are provisional.
    full: bool,
}

/// All windows of every model side by side, best first
#[utoipa::path(
    get,
    path = "/api/v1/leaderboard",
    tag = "leaderboard",
    params(Query),
    responses(
        (status = 200, description = "The ranking.", content((Answer = "application/json"), (String = "text/csv"))),
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let (settings, settings_stamp) = app.settings();
    let Some(at) = query.at else {
        let (boards, mut basis) = Boards::current(&app.reader, &query.selection()).await?;
        basis.extend([models.stamp, settings_stamp]);
        return ask.render(basis, move || body(&query, &settings, &boards, &models)).await;
    };
    let basis = [app.reader.leaderboard().await?.stamp, models.stamp, settings_stamp];
    let at = at.get().clamp(Timestamp::UNIX_EPOCH, app.clock.now() + Span::days(1));
    let fetch = async {
        let boards = Boards::past(&app.reader, at, &query.selection()).await?;
        off_the_runtime(move || body(&query, &settings, &boards, &models)).await
    };
    ask.fetch(basis, fetch).await
}

fn body(query: &Query, settings: &ReportSettings, boards: &Boards, models: &Models) -> Result<Body, Problem> {
    let selection = query.selection();
    let ranking = boards.board.ranking(&selection, &settings.weights);
    let before = boards.before.ranking(&selection, &settings.weights);
    let compared = Compared { board: ranking.as_deref(), before: before.as_deref(), stale: boards.stale };
    let answer = answer(query, &settings.crunch_id, &compared, models);
    match query.format {
        Format::Json => Body::json(&answer),
        Format::Csv => Ok(table(&answer).into_body()),
    }
}

/// The ranking, and what it is compared with.
struct Compared<'a> {
    board: Option<&'a Leaderboard>,
    before: Option<&'a Leaderboard>,
    stale: bool,
}

fn answer<'a>(
    query: &'a Query,
    crunch_id: &'a CrunchId,
    compared: &Compared<'a>,
    models: &'a Models,
) -> Answer<'a> {
    let &Compared { board, before, stale } = compared;
    let ranked_now = board.map(|board| ranked(board, query.window)).unwrap_or_default();
    let ranked_before = before.map(|before| ranked(before, query.window)).unwrap_or_default();
    let ranks_before: HashMap<&ModelId, u32> =
        ranked_before.into_iter().filter_map(|(rank, entry)| Some((&entry.model_id, rank?))).collect();
    let total = ranked_now.len();
    let rows: Vec<Row> = ranked_now
        .into_iter()
        .take(query.limit.get())
        .map(|(rank, entry)| row(rank, ranks_before.get(&entry.model_id).copied(), entry, models))
        .collect();
    Answer {
        crunch_id,
        window: query.window,
        asset: query.asset.as_ref(),
        horizon: query.horizon,
        count: rows.len(),
        total,
        as_of: board.map(|board| board.as_of),
        before_as_of: before.map(|before| before.as_of),
        rule: board.map(|board| board.rule.as_str()),
        rescoring: board.and_then(|board| board.rescoring).map(Rescoring::from),
        stale,
        models: rows,
    }
}

fn ranked(board: &Leaderboard, window: Option<Window>) -> Vec<(Option<u32>, &LeaderboardEntry)> {
    match window {
        None => board.entries.iter().map(|entry| (entry.rank, entry)).collect(),
        Some(window) => {
            (1..).zip(rank_by_window(board, window)).map(|(place, entry)| (Some(place), entry)).collect()
        }
    }
}

fn row<'a>(
    rank: Option<u32>,
    rank_before: Option<u32>,
    entry: &'a LeaderboardEntry,
    models: &'a Models,
) -> Row<'a> {
    Row {
        rank,
        rank_before,
        group: entry.group,
        model_id: entry.model_id.as_str(),
        model_name: models.name(&entry.model_id),
        cruncher_name: models.cruncher_name(&entry.model_id),
        baseline: models.is_baseline(&entry.model_id),
        first_scored_at: entry.first_scored_at,
        windows: PerWindow::from_fn(|window| Cell::from(entry.windows.get(window))),
    }
}

fn table(answer: &Answer) -> Table {
    let of_windows = Window::ALL.iter().flat_map(|window| CELLS.map(|cell| format!("{window}_{cell}")));
    let columns: Vec<String> = COLUMNS.into_iter().map(str::to_owned).chain(of_windows).collect();
    let mut table = Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &answer.models {
        table.optional(answer.as_of.map(csv::instant));
        table.optional(row.rank);
        table.optional(row.rank_before);
        table.cell(row.group);
        table.cell(row.model_id);
        table.cell(row.baseline);
        table.optional(row.first_scored_at.map(csv::instant));
        for window in Window::ALL {
            row.windows.get(*window).cells(&mut table);
        }
        table.end_row();
    }
    table
}

const COLUMNS: [&str; 7] =
    ["as_of", "rank", "rank_before", "group", "model_id", "baseline", "first_scored_at"];

/// Of each window.
const CELLS: [&str; 5] = ["score", "raw_score", "prediction_count", "success_rate", "full"];

impl Cell {
    fn cells(&self, table: &mut Table) {
        table.optional(self.score);
        table.optional(self.raw_score);
        table.cell(self.prediction_count);
        table.optional(self.success_rate);
        table.cell(self.full);
    }
}

impl From<&WindowScore> for Cell {
    fn from(window: &WindowScore) -> Self {
        Cell {
            score: window.score,
            raw_score: window.raw,
            prediction_count: window.predictions,
            success_rate: success_rate(window),
            full: window.full,
        }
    }
}
