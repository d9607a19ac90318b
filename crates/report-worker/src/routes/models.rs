//! `GET /api/v1/models`: every model ever seen.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Leaderboard, Model, ModelId, Span, Timestamp, TimestampExt};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::cache::Reading;
use crate::csv::{self, Format, Table};
use crate::openapi::Unchanged;
use crate::paging::Cursor;
use crate::params::{Limit, Params};
use crate::presence::Presence;
use crate::problem::Problem;
use crate::reader::Models;
use crate::stamp::Stamp;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// That are there, or not, in this way only.
    #[param(value_type = Option<schema::Presence>, inline)]
    state: Option<Presence>,
    /// With this in their name, their cruncher's or their id only, whether letters are small or capital.
    #[param(value_type = Option<Words>, inline)]
    search: Option<Words>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<ModelId>>,
    /// `csv` for a table without names; where it goes on is in the header `Link`.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// What is looked for in names: in small letters, 1 to [`Words::MAX`] characters.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Words(String);

impl Words {
    const MAX: usize = 200;

    fn are_in(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.0)
    }
}

impl TryFrom<String> for Words {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.chars().count() {
            1..=Words::MAX => Ok(Words(text.to_lowercase())),
            _ => Err(format!("expected 1 to {} characters", Words::MAX)),
        }
    }
}

impl PartialSchema for Words {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(Words::MAX)).into()
    }
}

impl ToSchema for Words {}

/// Models.
#[derive(Serialize, ToSchema)]
#[schema(as = Models)]
pub(crate) struct Answer<'a> {
    /// As of when their states are: the last full minute.
    #[schema(value_type = schema::Timestamp)]
    as_of: Timestamp,
    /// As of when their ranks are; null before the first leaderboard.
    #[schema(value_type = Option<schema::Timestamp>)]
    ranked_as_of: Option<Timestamp>,
    /// How many models there are of those asked for, in all parts of the list.
    total: usize,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
    /// In the order of ids.
    models: Vec<Row<'a>>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// A model.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedModel)]
pub(crate) struct Row<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    model_name: &'a str,
    cruncher_id: Option<&'a str>,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    #[schema(value_type = schema::Presence)]
    state: Presence,
    /// An operator has excluded it: it is asked and scored, and takes no part in the ranking.
    excluded: bool,
    /// Its place in the overall ranking, from 1; null without one.
    #[schema(minimum = 1)]
    rank: Option<u32>,
    /// The start of its code that was announced last.
    deployment_id: &'a str,
    /// When it joined, or came back.
    #[schema(value_type = schema::Timestamp)]
    joined_at: Timestamp,
    /// When it was last seen connected.
    #[schema(value_type = schema::Timestamp)]
    last_connected_at: Timestamp,
    /// When it left the field; null unless it has.
    #[schema(value_type = Option<schema::Timestamp>)]
    left_at: Option<Timestamp>,
}

/// Every model ever seen, in the order of ids
#[utoipa::path(
    get,
    path = "/api/v1/models",
    tag = "models",
    params(Query),
    responses(
        (status = 200, description = "A part of the list.",
         content((Answer = "application/json"), (String = "text/csv"))),
        Unchanged
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let (models, board) = (app.reader.models().await?, app.reader.leaderboard().await?);
    let (settings, settings_stamp) = app.settings();
    let as_of = app.clock.now().floor_to(Span::minutes(1));
    let basis = [models.stamp, board.stamp, settings_stamp, Stamp::of(&as_of)];
    let listing = Listing { models, board, as_of, leave_after: settings.leave_after };
    match query.format {
        Format::Json => ask.render(basis, move || Body::json(&listing.answer(&query))).await,
        Format::Csv => {
            let answer = listing.answer(&query);
            csv::answer_part(&ask, table(&answer), answer.next.as_deref()).await
        }
    }
}

/// What the list is made from.
struct Listing {
    models: Reading<Models>,
    board: Reading<Option<Leaderboard>>,
    as_of: Timestamp,
    leave_after: Span,
}

impl Listing {
    fn answer(&self, query: &Query) -> Answer<'_> {
        let board = self.board.as_ref();
        let ranks = board.iter().flat_map(|board| &board.entries);
        let ranks: HashMap<&ModelId, u32> =
            ranks.filter_map(|entry| Some((&entry.model_id, entry.rank?))).collect();
        let all: Vec<&Model> = self.models.iter().filter(|model| self.is_wanted(model, query)).collect();
        let start = match &query.cursor {
            Some(Cursor(last)) => all.partition_point(|model| model.id <= *last),
            None => 0,
        };
        let part = &all[start..all.len().min(start + query.limit.get())];
        let next = part.last().filter(|_| start + part.len() < all.len());
        Answer {
            as_of: self.as_of,
            ranked_as_of: board.map(|board| board.as_of),
            total: all.len(),
            stale: self.models.stale || self.board.stale,
            models: part.iter().map(|model| self.row(model, ranks.get(&model.id).copied())).collect(),
            next: next.map(|model| Cursor::text(model.id.clone())),
        }
    }

    fn is_wanted(&self, model: &Model, query: &Query) -> bool {
        let names = [model.display_name(), model.cruncher.name.as_deref().unwrap_or(""), model.id.as_str()];
        let is_in_state = |state| self.presence(model) == state;
        let is_found = |words: &Words| names.iter().any(|name| words.are_in(name));
        query.state.is_none_or(is_in_state) && query.search.as_ref().is_none_or(is_found)
    }

    fn presence(&self, model: &Model) -> Presence {
        Presence::of(model, self.as_of, self.leave_after)
    }

    fn row<'a>(&'a self, model: &'a Model, rank: Option<u32>) -> Row<'a> {
        let state = self.presence(model);
        Row {
            model_id: &model.id,
            model_name: model.display_name(),
            cruncher_id: model.cruncher.id.as_deref(),
            cruncher_name: model.cruncher.name.as_deref(),
            baseline: model.is_baseline,
            state,
            excluded: self.board.as_ref().is_some_and(|board| board.excluded.contains(&model.id)),
            rank,
            deployment_id: model.deployment_id.as_str(),
            joined_at: model.joined_at,
            last_connected_at: model.last_connected_at,
            left_at: (state == Presence::Left).then(|| model.last_connected_at + self.leave_after),
        }
    }
}

fn table(answer: &Answer) -> Table {
    let mut table = Table::new(&[
        "as_of",
        "model_id",
        "baseline",
        "state",
        "excluded",
        "rank",
        "deployment_id",
        "joined_at",
        "last_connected_at",
        "left_at",
    ]);
    for row in &answer.models {
        table.cell(csv::instant(answer.as_of));
        table.cell(row.model_id);
        table.cell(row.baseline);
        table.cell(row.state.as_str());
        table.cell(row.excluded);
        table.optional(row.rank);
        table.cell(row.deployment_id);
        table.cell(csv::instant(row.joined_at));
        table.cell(csv::instant(row.last_connected_at));
        table.optional(row.left_at.map(csv::instant));
        table.end_row();
    }
    table
}
