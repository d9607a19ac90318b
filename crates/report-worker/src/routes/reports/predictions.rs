//! `GET /reports/predictions`: scored predictions over time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{ModelId, RoundId, Timestamp};
use serde::Serialize;
use storage::ScoredQuestion;
use utoipa::ToSchema;

use super::range::{Range, RangeParams};
use super::time::ReportTime;
use super::{param, rounded, step_of};
use crate::ask::Ask;
use crate::body::{Body, off_the_runtime};
use crate::charts::MAX_INSTANTS;
use crate::charts::grid::Hours;
use crate::charts::predictions::{Point, means, singles, thinned};
use crate::charts::snapshots::Snapshot;
use crate::openapi::Unchanged;
use crate::problem::Problem;
use crate::{AnswersTo, App, ReportSettings, schema};

/// Up to 330 bytes each with the ids that there are, so below 2 MB.
const MAX_ROWS: usize = 6_000;

/// How many predictions one request looks up at most.
const MAX_LOOK_UPS: usize = 20_000;

/// One or more scored predictions of a model for one asset and horizon.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportPrediction)]
pub(crate) struct Row<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    /// `ASSET-horizon-step` in seconds; without the step where that is null.
    param: String,
    #[schema(value_type = schema::Asset)]
    asset: &'a str,
    /// In seconds.
    horizon: u32,
    /// The first step of the question in seconds; null when it is not known any more.
    step: Option<u32>,
    /// The relative score, 0 to 1 to six decimals, higher is better; the mean of several. Without a valid answer it is 0.
    #[schema(minimum = 0.0, maximum = 1.0)]
    score_value: f64,
    /// True when one of them has no score of its own.
    score_failed: bool,
    /// Why, and how many of how many when there are several; null when none has failed.
    score_failed_reason: Option<&'a str>,
    /// When the last of them was scored.
    scored_at: Option<ReportTime>,
    /// When the last of them was asked; the end of the period where the row is a mean over days.
    performed_at: ReportTime,
    /// How many predictions the row stands for.
    #[schema(minimum = 1)]
    predictions: u32,
    /// How many of them have no score of their own.
    failures: u32,
}

/// Scored predictions over time, oldest first
///
/// At most 6,000 rows. Each prediction has a row of its own while they are so few. Up to 20,000 are taken together by model,
/// asset and horizon, over periods of 15 minutes to a day, the shortest that are enough. Of more, each row is the mean of those
/// that resolved in the day, three days or week before it; when weeks are too many rows as well, every second, third, … week
/// is shown, at least two instants. A row with a failure in it is a failed one and says how many.
#[utoipa::path(
    get,
    path = "/reports/predictions",
    tag = "reports",
    params(RangeParams),
    responses((status = 200, description = "The predictions.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(State(app): State<Arc<App>>, range: Range, ask: Ask) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let mark = app.reader.snapshot_mark().await?;
    let (settings, settings_stamp) = app.settings();
    let range = range.to_slots(settings.schedules.interval());
    let [first, last] = [range.start, range.end].map(|at| at.timestamp());
    let key = format!("/reports/predictions?{first}-{last} {}", range.models_key());
    let basis = [models.stamp, mark.stamp, settings_stamp];
    let chosen: Vec<ModelId> =
        models.iter().map(|model| &model.id).filter(|id| range.holds(id)).cloned().collect();
    let body = async {
        let points = match few_questions(&app, &range, chosen.len()).await? {
            Some(questions) => looked_up(&app, questions, &chosen, settings.answers).await?,
            None => means_over_days(&app, *mark, &range, &settings).await?,
        };
        off_the_runtime(move || {
            Body::json(&points.iter().map(|point| row(point, &settings)).collect::<Vec<_>>())
        })
        .await
    };
    ask.at(key).fetch(basis, body).await
}

/// The scored rounds of the span; `None` when so many models' predictions in them are too many to be looked up.
async fn few_questions(
    app: &App,
    range: &Range,
    models: usize,
) -> Result<Option<Vec<ScoredQuestion>>, Problem> {
    let Some(most) = MAX_LOOK_UPS.checked_div(models) else { return Ok(Some(Vec::new())) };
    let questions = app.reader.scored_questions(range.start, range.end, most + 1).await?;
    Ok((questions.len() <= most).then_some(questions))
}

async fn looked_up(
    app: &App,
    questions: Vec<ScoredQuestion>,
    models: &[ModelId],
    answers: AnswersTo,
) -> Result<Vec<Point>, Problem> {
    let rounds: Vec<RoundId> = questions.iter().map(|scored| scored.question.id).collect();
    let outcomes = app.reader.scored_outcomes(&rounds, models).await?;
    off_the_runtime(move || Ok(thinned(singles(&questions, outcomes, answers), MAX_ROWS))).await
}

async fn means_over_days(
    app: &App,
    mark: Option<storage::SnapshotMark>,
    range: &Range,
    settings: &ReportSettings,
) -> Result<Vec<Point>, Problem> {
    let Some(mark) = mark else { return Ok(Vec::new()) };
    let Some(hours) = Hours::within((range.start, range.end), (mark.oldest, mark.newest)) else {
        return Ok(Vec::new());
    };
    let newest = app.reader.snapshots(mark, &[hours.last()]).await?;
    let (stride, period) = hours.stride_of_windows(limit(newest.first().map(|newest| &**newest), range));
    let snapshots = app.reader.snapshots(mark, &hours.instants(stride)).await?;
    let snapshots = snapshots.iter().map(|snapshot| &**snapshot);
    Ok(means(snapshots, period, |id| range.holds(id), |parameter| step_of(&settings.schedules, parameter)))
}

/// How many instants may be shown when each has as many rows as the newest.
fn limit(newest: Option<&Snapshot>, range: &Range) -> usize {
    let rows =
        newest.map_or(0, |newest| newest.by_parameter.iter().filter(|(id, _, _)| range.holds(id)).count());
    (MAX_ROWS / rows.max(1)).min(MAX_INSTANTS)
}

fn row<'a>(point: &'a Point, settings: &ReportSettings) -> Row<'a> {
    let time = |at: Timestamp| ReportTime::new(at, settings);
    Row {
        model_id: point.model_id.as_str(),
        param: param(&point.parameter, point.step),
        asset: point.parameter.asset.as_str(),
        horizon: point.parameter.horizon.as_secs(),
        step: point.step.map(|step| step.as_secs()),
        score_value: rounded(point.score),
        score_failed: point.failures > 0,
        score_failed_reason: point.reason.as_deref(),
        scored_at: point.scored_at.map(time),
        performed_at: time(point.performed_at),
        predictions: point.predictions,
        failures: point.failures,
    }
}
