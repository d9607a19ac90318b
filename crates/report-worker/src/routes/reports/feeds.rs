//! `GET /reports/feeds`: what is priced, and how fresh it is.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use storage::FeedStatus;
use utoipa::ToSchema;

use super::time::ReportTime;
use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::params::{NoParams, Params};
use crate::problem::Problem;
use crate::{App, ReportSettings, schema};

/// What the ledger holds of every asset: closes of candles.
pub(super) const KIND: &str = "candle";

/// The prices of one asset.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportFeed)]
pub(crate) struct Row<'a> {
    /// Where the newest price is from.
    source: &'a str,
    /// The asset.
    #[schema(value_type = schema::Asset)]
    subject: &'a str,
    /// `candle`.
    kind: &'static str,
    /// The spacing of the prices, such as `1m`.
    granularity: String,
    /// Prices in the ledger, corrections included.
    record_count: u64,
    oldest_ts: ReportTime,
    newest_ts: ReportTime,
    /// Up to here everything that the source gave is in the ledger.
    watermark_ts: ReportTime,
    /// The close with which the watermark got there: the ledger keeps no times of arrival, and none arrives before its close.
    watermark_updated_at: ReportTime,
}

/// What is priced, and how fresh it is, in the order of assets
#[utoipa::path(
    get,
    path = "/reports/feeds",
    tag = "reports",
    responses((status = 200, description = "The feeds.", body = Vec<Row>), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let overview = app.reader.overview().await?;
    let (settings, settings_stamp) = app.settings();
    ask.render([overview.stamp, settings_stamp], move || {
        Body::json(&overview.feeds.iter().map(|feed| row(feed, &settings)).collect::<Vec<_>>())
    })
    .await
}

fn row<'a>(feed: &'a FeedStatus, settings: &ReportSettings) -> Row<'a> {
    let newest = ReportTime::new(feed.newest_at, settings);
    Row {
        source: &feed.source,
        subject: feed.asset.as_str(),
        kind: KIND,
        granularity: settings.schedules.interval().to_string(),
        record_count: feed.count,
        oldest_ts: ReportTime::new(feed.oldest_at, settings),
        newest_ts: newest,
        watermark_ts: newest,
        watermark_updated_at: newest,
    }
}
