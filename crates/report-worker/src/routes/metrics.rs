//! `GET /model/{model_id}/metrics`: one model's means, over everything and by horizon.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Model, ModelStanding, PerWindow, Selection, Span, Standings, Timestamp, Weights, WindowScore};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::ask::Ask;
use crate::body::Body;
use crate::cache::Reading;
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, NoParams, Params};
use crate::problem::Problem;
use crate::routes::{horizon_key, known_model, standing_of, success_rate};
use crate::{App, ReportSettings, schema};

/// One model's means, over everything and by horizon.
#[derive(Serialize, ToSchema)]
#[schema(as = Metrics)]
pub(crate) struct Answer<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    /// Mean relative scores, 0 to 1, higher is better.
    overall_scores: Windows<Option<f64>>,
    /// Mean raw scores, lower is better.
    overall_raw_scores: Windows<Option<f64>>,
    /// Whether each window is filled; while it is not its numbers are provisional.
    full: Windows<bool>,
    /// Each configured horizon, the shortest first: in whole hours, else minutes.
    #[serde(serialize_with = "in_order")]
    #[schema(value_type = std::collections::BTreeMap<String, HorizonMetrics>)]
    by_horizon: Vec<(String, HorizonMetrics)>,
    /// How many of its predictions were scored in the recent window, that is the 24 h up to `as_of`. Not counted anew up
    /// to now, so that it agrees with the scores beside it and with the leaderboard's `prediction_count`.
    recent_predictions: u64,
    /// Rounds resolved up to here count; null before the first scores.
    #[schema(value_type = Option<schema::Timestamp>)]
    as_of: Option<Timestamp>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
}

/// One horizon over all assets. What is not named by window is over the anchor window.
#[derive(Serialize, ToSchema)]
pub(crate) struct HorizonMetrics {
    /// Scored predictions.
    count: u64,
    /// Mean relative score, 0 to 1, higher is better.
    #[schema(minimum = 0.0, maximum = 1.0)]
    mean_score: Option<f64>,
    /// Mean raw score of the valid answers, lower is better.
    mean_raw_score: Option<f64>,
    /// The share of scored predictions that were valid answers.
    #[schema(minimum = 0.0, maximum = 1.0)]
    success_rate: Option<f64>,
    recent_24h: Option<f64>,
    steady_72h: Option<f64>,
    anchor_7d: Option<f64>,
}

/// One value for each window.
#[derive(Serialize, ToSchema)]
#[schema(as = Windows)]
pub(crate) struct Windows<T> {
    recent_24h: T,
    steady_72h: T,
    anchor_7d: T,
}

impl<T> Windows<T> {
    fn of(windows: &PerWindow<WindowScore>, value: impl Fn(&WindowScore) -> T) -> Self {
        Windows {
            recent_24h: value(&windows.recent),
            steady_72h: value(&windows.steady),
            anchor_7d: value(&windows.anchor),
        }
    }
}

/// One model's means, over everything and by horizon
#[utoipa::path(
    get,
    path = "/model/{model_id}/metrics",
    tag = "models",
    params(("model_id" = inline(schema::ModelId), Path, description = "Which model.")),
    responses((status = 200, description = "The means.", body = Answer), Unchanged, NotFound)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<String>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let models = app.reader.models().await?;
    let id = known_model(&models, &id)?.id.clone();
    let standings = app.reader.standings().await?;
    let (settings, settings_stamp) = app.settings();
    ask.render([models.stamp, standings.stamp, settings_stamp], move || {
        let model = known_model(&models, id.as_str())?;
        Body::json(&answer(model, &standings, &settings))
    })
    .await
}

fn answer<'a>(
    model: &'a Model,
    standings: &Reading<Option<Standings>>,
    settings: &ReportSettings,
) -> Answer<'a> {
    let nobody = ModelStanding {
        model_id: model.id.clone(),
        first_scored_at: None,
        windows: PerWindow::default(),
        parameters: Vec::new(),
    };
    let standing =
        standings.as_ref().and_then(|standings| standing_of(standings, &model.id)).unwrap_or(&nobody);
    let horizons = settings.schedules.horizons();
    Answer {
        model_id: model.id.as_str(),
        model_name: model.display_name(),
        cruncher_name: model.cruncher.name.as_deref(),
        baseline: model.is_baseline,
        overall_scores: Windows::of(&standing.windows, |window| window.score),
        overall_raw_scores: Windows::of(&standing.windows, |window| window.raw),
        full: Windows::of(&standing.windows, |window| window.full),
        by_horizon: by_horizon(standing, &horizons, &settings.weights),
        recent_predictions: standing.windows.recent.predictions,
        as_of: standings.as_ref().map(|standings| standings.as_of),
        stale: standings.stale,
    }
}

fn by_horizon(
    standing: &ModelStanding,
    horizons: &[Span],
    weights: &Weights,
) -> Vec<(String, HorizonMetrics)> {
    let metrics = |horizon| {
        let selection = Selection { asset: None, horizon: Some(horizon) };
        let windows = standing.over(&selection, weights);
        HorizonMetrics {
            count: windows.anchor.predictions,
            mean_score: windows.anchor.score,
            mean_raw_score: windows.anchor.raw,
            success_rate: success_rate(&windows.anchor),
            recent_24h: windows.recent.score,
            steady_72h: windows.steady.score,
            anchor_7d: windows.anchor.score,
        }
    };
    horizons.iter().map(|&horizon| (horizon_key(horizon), metrics(horizon))).collect()
}

fn in_order<S: Serializer>(entries: &[(String, HorizonMetrics)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
}
