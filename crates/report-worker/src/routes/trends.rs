//! `GET /api/v1/leaderboard/trends`: how models did over the last days, as small charts show it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{
    Asset, Leaderboard, ModelId, Selection, Span, Timestamp, Weights, WindowScore, mean_over_parameters,
};
use serde::{Deserialize, Serialize};
use storage::SnapshotMark;
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::{Body, off_the_runtime};
use crate::charts::grid::Hours;
use crate::charts::snapshots::{Mean, Snapshot};
use crate::openapi::Unchanged;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::{App, schema};

/// How far back.
const SPAN: Span = Span::days(7);

/// Between two points: few enough that those of a thousand models are some 200 kB, a quarter of that on the wire.
const STRIDE: Span = Span::hours(6);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// By predictions about this asset alone.
    #[param(value_type = Option<schema::Asset>, inline)]
    asset: Option<Asset>,
    /// By predictions over this horizon alone.
    #[param(value_type = Option<schema::Span>, inline)]
    horizon: Option<Span>,
    /// Of the best so many models of the overall ranking.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
}

/// How models did over the last days.
#[derive(Serialize, ToSchema)]
#[schema(as = Trends)]
pub(crate) struct Answer<'a> {
    /// About which asset alone the scores are; null for all.
    #[schema(value_type = Option<schema::Asset>)]
    asset: Option<&'a Asset>,
    /// Over which horizon alone the scores are; null for all.
    #[schema(value_type = Option<schema::Span>)]
    horizon: Option<Span>,
    /// When the scores are as of, oldest first: every 6 hours since the epoch, over the last 7 days, and the last full hour.
    #[schema(value_type = Vec<schema::Timestamp>, max_items = 29)]
    instants: Vec<Timestamp>,
    /// In the order of ids; those without any score are left out.
    models: Vec<Trend<'a>>,
}

/// How a model did over the last days.
#[derive(Serialize, ToSchema)]
pub(crate) struct Trend<'a> {
    #[schema(value_type = schema::ModelId)]
    model_id: &'a ModelId,
    /// For each of the instants the mean relative score over the 24 hours before, 0 to 1, higher is better, to three digits; null
    /// without a valid answer in them.
    #[schema(max_items = 29)]
    scores: Vec<Option<f64>>,
}

/// How models did over the last days, for small charts
#[utoipa::path(
    get,
    path = "/api/v1/leaderboard/trends",
    tag = "leaderboard",
    params(Query),
    responses((status = 200, description = "The scores.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let (mark, leaderboard) = (app.reader.snapshot_mark().await?, app.reader.leaderboard().await?);
    let (settings, settings_stamp) = app.settings();
    let basis = [mark.stamp, leaderboard.stamp, settings_stamp];
    let fetch = async {
        let snapshots = match *mark {
            Some(mark) => app.reader.snapshots(mark, &instants(mark)).await?,
            None => Vec::new(),
        };
        let render = move || Body::json(&answer(&query, leaderboard.as_ref(), &snapshots, &settings.weights));
        off_the_runtime(render).await
    };
    ask.fetch(basis, fetch).await
}

fn instants(mark: SnapshotMark) -> Vec<Timestamp> {
    let hours = Hours::within((mark.newest - SPAN, mark.newest), (mark.oldest, mark.newest));
    hours.map(|hours| hours.instants(STRIDE)).unwrap_or_default()
}

fn answer<'a>(
    query: &'a Query,
    board: Option<&'a Leaderboard>,
    snapshots: &[Arc<Snapshot>],
    weights: &Weights,
) -> Answer<'a> {
    let selection = Selection { asset: query.asset.clone(), horizon: query.horizon };
    let best = board.iter().flat_map(|board| &board.entries).take(query.limit.get());
    let mut ids: Vec<&ModelId> = best.map(|entry| &entry.model_id).collect();
    ids.sort_unstable();
    let places: HashMap<&ModelId, usize> = ids.iter().copied().zip(0..).collect();
    let mut scores = vec![vec![None; snapshots.len()]; ids.len()];
    for (at, snapshot) in snapshots.iter().enumerate() {
        for (id, score) in scores_of(snapshot, &selection, weights) {
            if let Some(&place) = places.get(id) {
                scores[place][at] = score.map(three_digits);
            }
        }
    }
    let trends = ids.into_iter().zip(scores).map(|(model_id, scores)| Trend { model_id, scores });
    Answer {
        asset: query.asset.as_ref(),
        horizon: query.horizon,
        instants: snapshots.iter().map(|snapshot| snapshot.as_of).collect(),
        models: trends.filter(|trend| trend.scores.iter().any(Option::is_some)).collect(),
    }
}

/// Each model's mean over the 24 hours before and the chosen parameters.
fn scores_of<'s>(
    snapshot: &'s Snapshot,
    selection: &Selection,
    weights: &Weights,
) -> Vec<(&'s ModelId, Option<f64>)> {
    if selection.is_all() {
        let overall = snapshot.overall.iter();
        return overall.map(|(id, windows)| (id, windows.recent.score.map(f64::from))).collect();
    }
    let by_model = snapshot.by_parameter.chunk_by(|(a, ..), (b, ..)| a == b);
    by_model
        .map(|of_model| {
            let chosen = of_model.iter().filter_map(|(_, parameter, windows)| {
                Some((selection.weight(parameter, weights)?, window_score(&windows.recent)))
            });
            let chosen: Vec<(f64, WindowScore)> = chosen.collect();
            let mean = mean_over_parameters(chosen.iter().map(|(weight, window)| (*weight, window)));
            (&of_model[0].0, mean.score)
        })
        .collect()
}

fn window_score(mean: &Mean) -> WindowScore {
    WindowScore {
        score: mean.score.map(f64::from),
        predictions: u64::from(mean.predictions),
        valid: u64::from(mean.predictions - mean.failures),
        ..WindowScore::default()
    }
}

fn three_digits(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}
