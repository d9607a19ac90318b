//! One file per resource.
//!
//! A route is an `async fn` with `#[utoipa::path]` and one line in the router. It reads what it needs from `app.reader`, which is
//! cheap, and hands the stamps of that and a closure to [`Ask::render`](crate::ask::Ask::render): tag, 304, compression and
//! keeping the answer are done there. One that needs more than is held in memory uses [`Ask::fetch`](crate::ask::Ask::fetch).
//!
//! Its query is a struct with `deny_unknown_fields` and `IntoParams`, taken by [`Params`](crate::params::Params). Its answer
//! derives `ToSchema` under a name of its own (`schema(as = …)`, names are one space), with units, ranges and what null means
//! in the comments; types of other crates are named by `value_type` from [`schema`]. The document says of every object that
//! all members are there, null or not, and no others: leave none out. Operation ids and the problems that any route may answer are
//! added by [`openapi`](crate::openapi).

pub(crate) mod activity;
pub(crate) mod audit;
pub(crate) mod bands;
pub(crate) mod corrections;
pub(crate) mod deployments;
pub(crate) mod document;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod leaderboard;
pub(crate) mod leaderboard_history;
pub(crate) mod market;
pub(crate) mod metrics;
pub(crate) mod model;
pub(crate) mod model_history;
pub(crate) mod model_predictions;
pub(crate) mod models;
pub(crate) mod page;
pub(crate) mod predictions;
pub(crate) mod prices;
pub(crate) mod prometheus;
pub(crate) mod ranking;
pub(crate) mod reports;
pub(crate) mod rounds;
pub(crate) mod statistics;
pub(crate) mod status;
pub(crate) mod system;
pub(crate) mod trends;
pub(crate) mod why;

use domain::{Model, ModelId, ModelStanding, Span, Standings, Timestamp, WindowScore};
use serde::Serialize;
use storage::AuditEntry;
use utoipa::ToSchema;

use crate::problem::Problem;
use crate::reader::Models;
use crate::schema;

/// Rounds that are being scored again: until it is done windows lack those that another rule had scored, and hold the old
/// scores of those of which a price was corrected.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rescoring {
    /// How many of the longest window are left.
    rounds_left: u64,
}

impl From<domain::Rescoring> for Rescoring {
    fn from(rescoring: domain::Rescoring) -> Self {
        Rescoring { rounds_left: rescoring.rounds_left }
    }
}

/// An order of an operator as it is on record.
#[derive(Serialize, ToSchema)]
pub(crate) struct Order<'a> {
    /// From 1, in the order of recording.
    #[schema(minimum = 1)]
    number: u64,
    /// When it was given.
    #[schema(value_type = schema::Timestamp)]
    at: Timestamp,
    /// By whom.
    by: &'a str,
    /// What was done.
    action: &'a str,
    /// To which round, model or setting; null when it concerns none.
    subject: Option<&'a str>,
    /// Why.
    reason: &'a str,
}

impl<'a> From<&'a AuditEntry> for Order<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        Order {
            number: entry.number,
            at: entry.at,
            by: &entry.by,
            action: &entry.action,
            subject: entry.subject.as_deref(),
            reason: &entry.reason,
        }
    }
}

/// The model with this id.
fn known_model<'a>(models: &'a Models, id: &str) -> Result<&'a Model, Problem> {
    ModelId::new(id).ok().and_then(|id| models.get(&id)).ok_or_else(|| {
        let id: String = id.chars().take(200).collect();
        Problem::not_found(format!(
            "There is no model with the id `{id}`. /leaderboard lists models with their ids."
        ))
    })
}

/// The window scores of this model; `None` while it has none.
fn standing_of<'a>(standings: &'a Standings, id: &ModelId) -> Option<&'a ModelStanding> {
    standings.models.iter().find(|standing| standing.model_id == *id)
}

/// The share of scored predictions that were valid answers, 0 to 1; `None` without any.
fn success_rate(window: &WindowScore) -> Option<f64> {
    (window.predictions > 0).then(|| window.valid as f64 / window.predictions as f64)
}

/// A horizon as a key: in whole hours, else in whole minutes, else in seconds.
fn horizon_key(horizon: Span) -> String {
    let seconds = horizon.as_secs();
    let units = [(3600, 'h'), (60, 'm')];
    let (size, unit) = units.into_iter().find(|&(size, _)| seconds.is_multiple_of(size)).unwrap_or((1, 's'));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_named_in_whole_hours_else_minutes() {
        let spans = [Span::hours(1), Span::hours(24), Span::hours(48), Span::minutes(90), Span::seconds(90)];
        assert_eq!(spans.map(horizon_key), ["1h", "24h", "48h", "90m", "90s"]);
    }
}
