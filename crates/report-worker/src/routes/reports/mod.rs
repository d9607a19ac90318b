//! `/reports/…`: what the existing web front end for such coordinators asks for. It is to work unchanged, so the shapes are
//! its own, and its times go out without zone: it appends the `Z` itself.

pub(crate) mod feeds;
pub(crate) mod feeds_tail;
pub(crate) mod global;
pub(crate) mod leaderboard;
pub(crate) mod models;
pub(crate) mod params;
pub(crate) mod predictions;
mod range;
pub(crate) mod schema;
mod series;
mod time;

use domain::{Parameter, Schedules, Span};

use crate::charts::snapshots::Mean;

/// The first step that this asset and horizon are asked with; `None` when they are no longer asked.
fn step_of(schedules: &Schedules, parameter: &Parameter) -> Option<Span> {
    let mut asked = schedules.iter();
    let schedule = asked.find(|schedule| {
        schedule.horizon == parameter.horizon && schedule.assets.contains(&parameter.asset)
    })?;
    schedule.steps.first().copied()
}

/// `ASSET-horizon-step` in seconds; without the step where it is not known any more.
fn param(parameter: &Parameter, step: Option<Span>) -> String {
    let Parameter { asset, horizon } = parameter;
    match step {
        Some(step) => format!("{asset}-{}-{}", horizon.as_secs(), step.as_secs()),
        None => format!("{asset}-{}", horizon.as_secs()),
    }
}

fn rounded_score(mean: &Mean) -> Option<f64> {
    mean.score.map(|score| rounded(f64::from(score)))
}

/// Six decimals are more than a chart shows, and a third of the text of all.
fn rounded(score: f64) -> f64 {
    const UNIT: f64 = 1e6;
    (score * UNIT).round() / UNIT
}
