//! `GET /reports/feeds/tail`: the latest prices.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::LedgerEntry;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::feeds::KIND;
use super::time::ReportTime;
use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::reader::Overview;
use crate::{App, ReportSettings, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only prices from this source.
    source: Option<String>,
    /// Only prices of this asset.
    subject: Option<String>,
    /// Only records of this kind; there is `candle`.
    kind: Option<String>,
    /// Only prices with this spacing, such as `1m`.
    granularity: Option<String>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
}

/// One price.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportPrice)]
pub(crate) struct Row<'a> {
    source: &'a str,
    /// The asset.
    #[schema(value_type = schema::Asset)]
    subject: &'a str,
    /// `candle`.
    kind: &'static str,
    /// The spacing of the prices, such as `1m`.
    granularity: String,
    /// When the candle closed.
    ts_event: ReportTime,
    /// The same: the ledger keeps no times of arrival, and none arrives before its close.
    ts_ingested: ReportTime,
    values: Values,
    meta: Meta,
}

/// What was recorded.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportPriceValues)]
struct Values {
    /// The price at the close.
    close: f64,
}

/// What is known of the record.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportPriceMeta)]
struct Meta {
    /// Its place in the ledger, from 1: of two prices of one instant the later one counts.
    position: u64,
}

/// The latest prices, the latest first
///
/// With a source, those of it among the latest that the ledger holds of each asset, as many as the limit says.
#[utoipa::path(
    get,
    path = "/reports/feeds/tail",
    tag = "reports",
    params(Query),
    responses((status = 200, description = "The prices.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    let (settings, settings_stamp) = app.settings();
    let basis = [overview.stamp, settings_stamp];
    let body = async {
        let entries = latest(&app, &query, &overview, &settings).await?;
        Body::json(&entries.iter().map(|entry| row(entry, &settings)).collect::<Vec<_>>())
    };
    ask.fetch(basis, body).await
}

async fn latest(
    app: &App,
    query: &Query,
    overview: &Overview,
    settings: &ReportSettings,
) -> Result<Vec<LedgerEntry>, Problem> {
    let mut entries = Vec::new();
    let is_wanted =
        |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
    let granularity = settings.schedules.interval().to_string();
    if !is_wanted(&query.kind, KIND) || !is_wanted(&query.granularity, &granularity) {
        return Ok(entries);
    }
    for feed in overview.feeds.iter().filter(|feed| is_wanted(&query.subject, feed.asset.as_str())) {
        entries.extend(app.reader.latest_prices(&feed.asset, query.limit.get()).await?);
    }
    entries.retain(|entry| is_wanted(&query.source, &entry.source));
    entries.sort_by_key(|entry| Reverse((entry.point.at, entry.position)));
    entries.truncate(query.limit.get());
    Ok(entries)
}

fn row<'a>(entry: &'a LedgerEntry, settings: &ReportSettings) -> Row<'a> {
    let at = ReportTime::new(entry.point.at, settings);
    Row {
        source: &entry.source,
        subject: entry.asset.as_str(),
        kind: KIND,
        granularity: settings.schedules.interval().to_string(),
        ts_event: at,
        ts_ingested: at,
        values: Values { close: entry.point.price.value() },
        meta: Meta { position: entry.position.0 },
    }
}
