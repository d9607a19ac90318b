//! `GET /model/{model_id}/metrics`: one model's means, over everything and by horizon.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::{ModelId, ModelStanding, PerWindow, Span, Timestamp, Weights, WindowScore};
use serde::{Serialize, Serializer};

use crate::App;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::respond::tagged_json;
use crate::routes::{horizon_key, success_rate};

#[derive(Serialize)]
struct Answer<'a> {
    model_id: &'a str,
    model_name: &'a str,
    cruncher_name: Option<&'a str>,
    /// One of the orchestrator's own, to compare with, and no participant's.
    baseline: bool,
    overall_scores: Windows<Option<f64>>,
    /// Mean raw scores, lower is better.
    overall_raw_scores: Windows<Option<f64>>,
    /// Whether each window is filled; while it is not its numbers are provisional.
    full: Windows<bool>,
    #[serde(serialize_with = "in_order")]
    by_horizon: Vec<(String, HorizonMetrics)>,
    /// How many of its predictions were scored in the recent window, that is the 24 h up to `as_of`. Not counted anew up
    /// to now, so that it agrees with the scores beside it and with the leaderboard's `prediction_count`.
    recent_predictions: u64,
    /// Rounds resolved up to here count; null before the first scores.
    as_of: Option<Timestamp>,
    /// True when the database cannot be read and this is what was read last.
    stale: bool,
}

/// One horizon over all assets. What is not named by window is over the anchor window.
#[derive(Serialize)]
struct HorizonMetrics {
    /// Scored predictions.
    count: u64,
    mean_score: Option<f64>,
    mean_raw_score: Option<f64>,
    /// The share of scored predictions that were valid answers.
    success_rate: Option<f64>,
    #[serde(flatten)]
    scores: Windows<Option<f64>>,
}

#[derive(Serialize)]
struct Windows<T> {
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

pub(crate) async fn get(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    Params(NoParams {}): Params<NoParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
    let models = app.reader.models().await?;
    let model = ModelId::new(&id).ok().and_then(|id| models.get(&id)).ok_or_else(|| unknown(&id))?;
    let standings = app.reader.standings().await?;
    let nobody = ModelStanding {
        model_id: model.id.clone(),
        first_scored_at: None,
        windows: PerWindow::default(),
        parameters: Vec::new(),
    };
    let standing = standings
        .as_ref()
        .and_then(|standings| standings.models.iter().find(|standing| standing.model_id == model.id))
        .unwrap_or(&nobody);
    let settings = app.settings();
    let horizons = settings.schedules.horizons();
    let answer = Answer {
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
    };
    tagged_json(&headers, &answer)
}

fn unknown(id: &str) -> Problem {
    let id: String = id.chars().take(200).collect();
    Problem::not_found(format!(
        "There is no model with the id `{id}`. /leaderboard lists models with their ids."
    ))
}

fn by_horizon(
    standing: &ModelStanding,
    horizons: &[Span],
    weights: &Weights,
) -> Vec<(String, HorizonMetrics)> {
    let metrics = |horizon| {
        let windows = standing.over_assets(horizon, weights);
        HorizonMetrics {
            count: windows.anchor.predictions,
            mean_score: windows.anchor.score,
            mean_raw_score: windows.anchor.raw,
            success_rate: success_rate(&windows.anchor),
            scores: Windows::of(&windows, |window| window.score),
        }
    };
    horizons.iter().map(|&horizon| (horizon_key(horizon), metrics(horizon))).collect()
}

fn in_order<S: Serializer>(entries: &[(String, HorizonMetrics)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
}
