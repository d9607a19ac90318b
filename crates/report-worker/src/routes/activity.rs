//! `GET /api/v1/models/{model_id}/activity`: how a model answered, hour by hour. `GET /api/v1/activity`: how all did.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{ModelId, Span, Timestamp, TimestampExt};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::activity::{HOURS, Tally};
use crate::ask::Ask;
use crate::body::Body;
use crate::csv::{self, Format, Table};
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, Params};
use crate::problem::Problem;
use crate::routes::known_model;
use crate::stamp::Stamp;
use crate::{App, schema};

/// How far back: 1 to [`HOURS`] clock hours, the one that runs being the first; by default 24.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hours(u32);

impl Default for Hours {
    fn default() -> Self {
        Hours(24)
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(hours @ 1..=HOURS) => Ok(Hours(hours)),
            _ => Err(format!("expected a whole number from 1 to {HOURS}")),
        }
    }
}

impl PartialSchema for Hours {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(HOURS))
            .default(Some(Hours::default().0.into()))
            .into()
    }
}

impl ToSchema for Hours {}

impl Hours {
    /// When the first of them began.
    fn since(self, now: Timestamp) -> Timestamp {
        now.floor_to(Span::HOUR) - Span::hours(self.0 - 1)
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// How many clock hours back; the one that runs is the first.
    #[serde(default)]
    #[param(value_type = Option<Hours>, inline)]
    hours: Hours,
    /// `csv` for a table.
    #[serde(default)]
    #[param(value_type = Option<schema::Format>, inline)]
    format: Format,
}

/// Predictions counted by how they ended, and how long answers took.
#[derive(Serialize, ToSchema)]
pub(crate) struct Answered {
    /// Valid answers in time.
    success: u64,
    /// Errors, and no valid answers.
    failed: u64,
    /// Did not come in time.
    timeout: u64,
    /// Not asked, because the model did not run or could not be reached.
    absent: u64,
    /// The mean time from the question to the whole answer, in milliseconds; null without any answer.
    #[schema(minimum = 0.0)]
    mean_ms: Option<f64>,
    /// The longest of these times, in milliseconds; null without any answer.
    #[schema(minimum = 0.0)]
    longest_ms: Option<f64>,
}

impl From<&Tally> for Answered {
    fn from(tally: &Tally) -> Self {
        Answered {
            success: tally.counts.success,
            failed: tally.counts.failed,
            timeout: tally.counts.timeout,
            absent: tally.counts.absent,
            mean_ms: tally.mean_ms(),
            longest_ms: tally.longest_ms(),
        }
    }
}

const COLUMNS: [&str; 6] = ["success", "failed", "timeout", "absent", "mean_ms", "longest_ms"];

impl Answered {
    fn cells(&self, table: &mut Table) {
        for count in [self.success, self.failed, self.timeout, self.absent] {
            table.cell(count);
        }
        table.optional(self.mean_ms);
        table.optional(self.longest_ms);
        table.end_row();
    }
}

/// How a model answered, hour by hour.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelActivity)]
pub(crate) struct OfModel {
    #[schema(value_type = schema::ModelId)]
    model_id: ModelId,
    /// When the first hour began.
    #[schema(value_type = schema::Timestamp)]
    since: Timestamp,
    /// From this hour on every stored prediction is counted; null while none is, as right after a start of this worker.
    #[schema(value_type = Option<schema::Timestamp>)]
    complete_since: Option<Timestamp>,
    /// Hours in which it was asked, oldest first.
    hours: Vec<HourOfModel>,
}

/// How a model answered in rounds asked in one clock hour.
#[derive(Serialize, ToSchema)]
pub(crate) struct HourOfModel {
    /// When the hour began.
    #[schema(value_type = schema::Timestamp)]
    hour: Timestamp,
    answers: Answered,
}

/// How a model answered, hour by hour
#[utoipa::path(
    get,
    path = "/api/v1/models/{model_id}/activity",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Which model."), Query),
    responses(
        (status = 200, description = "The hours.", content((OfModel = "application/json"), (String = "text/csv"))),
        NotFound,
        Unchanged
    )
)]
pub(crate) async fn of_model(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let model_id = known_model(&models, &id)?.id.clone();
    let since = query.hours.since(app.clock.now());
    let of_model = app.activity.of(&model_id, since);
    let hours = of_model.hours.iter().map(|(hour, tally)| HourOfModel { hour: *hour, answers: tally.into() });
    let hours: Vec<HourOfModel> = hours.collect();
    let body = match query.format {
        Format::Json => {
            Body::json(&OfModel { model_id, since, complete_since: of_model.complete_since, hours })?
        }
        Format::Csv => hours_table(&hours).into_body(),
    };
    ask.answer(&body).await
}

fn hours_table(hours: &[HourOfModel]) -> Table {
    let columns: Vec<&str> = ["hour"].into_iter().chain(COLUMNS).collect();
    let mut table = Table::new(&columns);
    for hour in hours {
        table.cell(csv::instant(hour.hour));
        hour.answers.cells(&mut table);
    }
    table
}

/// How all models answered.
#[derive(Serialize, ToSchema)]
#[schema(as = Activity)]
pub(crate) struct OfAll {
    /// When the first hour began.
    #[schema(value_type = schema::Timestamp)]
    since: Timestamp,
    /// From this hour on every stored prediction is counted; null while none is, as right after a start of this worker.
    #[schema(value_type = Option<schema::Timestamp>)]
    complete_since: Option<Timestamp>,
    /// Models that were asked, in the order of ids.
    models: Vec<SumOfModel>,
}

/// How a model answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct SumOfModel {
    #[schema(value_type = schema::ModelId)]
    model_id: ModelId,
    answers: Answered,
}

/// How all models answered in the last hours
#[utoipa::path(
    get,
    path = "/api/v1/activity",
    tag = "models",
    params(Query),
    responses(
        (status = 200, description = "The models.", content((OfAll = "application/json"), (String = "text/csv"))),
        Unchanged
    )
)]
pub(crate) async fn of_all(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let since = query.hours.since(app.clock.now());
    let basis = [app.activity.stamp(), Stamp::of(&since)];
    ask.render(basis, move || {
        let totals = app.activity.totals(since);
        let models: BTreeMap<ModelId, Tally> = totals.models.into_iter().collect();
        let sum = |(model_id, tally): (ModelId, Tally)| SumOfModel { model_id, answers: (&tally).into() };
        let models: Vec<SumOfModel> = models.into_iter().map(sum).collect();
        match query.format {
            Format::Json => Body::json(&OfAll { since, complete_since: totals.complete_since, models }),
            Format::Csv => Ok(models_table(&models).into_body()),
        }
    })
    .await
}

fn models_table(models: &[SumOfModel]) -> Table {
    let columns: Vec<&str> = ["model_id"].into_iter().chain(COLUMNS).collect();
    let mut table = Table::new(&columns);
    for model in models {
        table.cell(&model.model_id);
        model.answers.cells(&mut table);
    }
    table
}
