//! `GET /api/v1/corrections`: prices that came when their instant was past.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, LedgerPosition, PriceCorrection, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::Unchanged;
use crate::paging::Cursor;
use crate::params::{Limit, Params};
use crate::problem::Problem;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only those of this asset.
    #[param(value_type = Option<schema::Asset>, inline)]
    asset: Option<Asset>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<LedgerPosition>>,
}

/// A part of the list of corrections.
#[derive(Serialize, ToSchema)]
#[schema(as = Corrections)]
pub(crate) struct Answer {
    /// The last recorded first.
    corrections: Vec<Correction>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// A price that came when its instant was past: rounds that were scored without it are scored anew.
#[derive(Serialize, ToSchema)]
pub(crate) struct Correction {
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    /// When the candle closed.
    #[schema(value_type = schema::Timestamp)]
    at: Timestamp,
    /// The close that was known before, in quote currency; null where it was missing.
    old_price: Option<f64>,
    /// The close that counts since, in quote currency.
    new_price: f64,
    /// Where it is from.
    source: String,
    /// When it came.
    #[schema(value_type = schema::Timestamp)]
    recorded_at: Timestamp,
}

impl From<PriceCorrection> for Correction {
    fn from(correction: PriceCorrection) -> Self {
        Correction {
            asset: correction.asset,
            at: correction.at,
            old_price: correction.old.map(f64::from),
            new_price: correction.new.value(),
            source: correction.source,
            recorded_at: correction.recorded_at,
        }
    }
}

/// Prices that were corrected or came late, the last first
#[utoipa::path(
    get,
    path = "/api/v1/corrections",
    tag = "market",
    params(Query),
    responses((status = 200, description = "A part of the list.", body = Answer), Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let Query { asset, limit, cursor } = query;
    let (before, limit) = (cursor.map(|Cursor(place)| place), limit.get());
    let body = async {
        let read = app.reader.read(|source| source.corrections(asset.as_ref(), before, limit + 1));
        let mut found = read.await?;
        let next = Cursor::cut(&mut found, limit, |last| last.position);
        Body::json(&Answer { corrections: found.into_iter().map(Correction::from).collect(), next })
    };
    ask.fetch(app.moment(), body).await
}
