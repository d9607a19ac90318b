//! `GET /api/v1/rounds`: rounds, newest first. `GET /api/v1/rounds/{round_id}`: one of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{Asset, Method, PriceCorrection, PricePoint, Question, RoundState, Span, Target, Timestamp};
use serde::{Deserialize, Serialize};
use storage::{RoundFilter, RoundRecord};
use utoipa::{IntoParams, ToSchema};

use crate::ask::Ask;
use crate::body::Body;
use crate::openapi::{NotFound, Unchanged};
use crate::paging::Cursor;
use crate::params::{InPath, Instant, Limit, NoParams, Params};
use crate::problem::Problem;
use crate::rounds;
use crate::routes::corrections::Correction;
use crate::{App, schema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Rounds about this asset only.
    #[param(value_type = Option<schema::Asset>, inline)]
    asset: Option<Asset>,
    /// Rounds over this horizon only.
    #[param(value_type = Option<schema::Span>, inline)]
    horizon: Option<Span>,
    /// Rounds in this state only.
    #[param(value_type = Option<schema::RoundState>, inline)]
    state: Option<RoundState>,
    /// Rounds asked at or after this instant only.
    #[param(inline)]
    from: Option<Instant>,
    /// Rounds asked before this instant only.
    #[param(inline)]
    to: Option<Instant>,
    /// The length of the list, at most.
    #[serde(default)]
    #[param(value_type = Option<Limit>, inline)]
    limit: Limit,
    /// Where to go on: `next` of the answer before.
    #[param(value_type = Option<schema::Cursor>, inline)]
    cursor: Option<Cursor<domain::RoundId>>,
}

/// A part of the list of rounds.
#[derive(Serialize, ToSchema)]
#[schema(as = Rounds)]
pub(crate) struct Answer {
    /// The newest first. A list that is searched for rare rounds may be short, or empty, and go on nevertheless.
    rounds: Vec<Round>,
    /// Give it as `cursor` for what follows; null at the end.
    next: Option<String>,
}

/// One question put to every model at one instant.
#[derive(Serialize, ToSchema)]
pub(crate) struct Round {
    #[schema(value_type = schema::RoundId)]
    round_id: domain::RoundId,
    #[schema(value_type = schema::Asset)]
    asset: Asset,
    /// How far ahead is forecast.
    #[schema(value_type = schema::Span)]
    horizon: Span,
    /// The spacings of the answers within the horizon.
    #[schema(value_type = Vec<schema::Span>)]
    steps: Vec<Span>,
    #[schema(value_type = schema::Method)]
    method: Method,
    #[schema(value_type = schema::Target)]
    target: Target,
    /// The instant of the question: no model has seen a later price.
    #[schema(value_type = schema::Timestamp)]
    performed_at: Timestamp,
    /// When reality is known. Nothing of the answers is told before.
    #[schema(value_type = schema::Timestamp)]
    resolves_at: Timestamp,
    #[schema(value_type = schema::RoundState)]
    state: RoundState,
    /// Why it is missed, void or interrupted; else null.
    reason: Option<String>,
    /// When it was closed, interrupted or found missed; null before.
    #[schema(value_type = Option<schema::Timestamp>)]
    closed_at: Option<Timestamp>,
    /// When it was scored or voided; null before.
    #[schema(value_type = Option<schema::Timestamp>)]
    scored_at: Option<Timestamp>,
    /// Predictions that were valid answers in time.
    success: u64,
    /// Predictions that were errors or no valid answers.
    failed: u64,
    /// Predictions that did not come in time.
    timeout: u64,
    /// Predictions of models that were not asked, because they do not run or cannot be reached.
    absent: u64,
    /// By which rule and settings it was scored or voided; null before.
    rule: Option<String>,
    /// The best raw score, lower is better; null unless it is scored.
    best: Option<f64>,
    /// The 95 % quantile of the raw scores over the whole field; null unless it is scored.
    q95: Option<f64>,
    /// Two predict workers asked it, each cut off from the other: the outcomes that were stored first are kept.
    contested: bool,
    /// A price that it was scored by was corrected since: it is scored anew, unless it resolved more than a week ago or an operator
    /// voided it. Which price, `/rounds/{round_id}` says.
    corrected: bool,
}

impl From<RoundRecord> for Round {
    fn from(record: RoundRecord) -> Self {
        let corrected = record.is_corrected();
        let question = record.question;
        Round {
            resolves_at: question.resolves_at(),
            round_id: question.id,
            asset: question.asset,
            horizon: question.horizon,
            steps: question.steps,
            method: question.method,
            target: question.target,
            performed_at: question.performed_at,
            state: record.state,
            reason: record.reason,
            closed_at: record.closed_at,
            scored_at: record.scored_at,
            success: record.counts.success,
            failed: record.counts.failed,
            timeout: record.counts.timeout,
            absent: record.counts.absent,
            rule: record.rule,
            best: record.best,
            q95: record.q95,
            contested: record.contested,
            corrected,
        }
    }
}

/// Rounds, newest first
#[utoipa::path(
    get,
    path = "/api/v1/rounds",
    tag = "rounds",
    params(Query),
    responses((status = 200, description = "A part of the list.", body = Answer), Unchanged)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(query): Params<Query>,
    ask: Ask,
) -> Result<Response, Problem> {
    let Query { asset, horizon, state, from, to, limit, cursor } = query;
    let (from, to) = (from.map(Instant::get), to.map(Instant::get));
    let filter = RoundFilter { asset, horizon, state, from, to };
    let before = cursor.map(|Cursor(id)| id);
    let body = async {
        let page = app.reader.read(|source| source.list_rounds(&filter, before, limit.get())).await?;
        let next = page.next.map(Cursor::text);
        Body::json(&Answer { rounds: page.items.into_iter().map(Round::from).collect(), next })
    };
    ask.fetch(app.moment(), body).await
}

/// A round, and the prices that it was or will be scored by.
#[derive(Serialize, ToSchema)]
#[schema(as = RoundDetail)]
pub(crate) struct Detail {
    round: Round,
    /// The price at the start of the round and at the end of each of its increments, oldest first; null until the round has
    /// resolved.
    prices: Option<Vec<PriceUsed>>,
    /// The prices that it may be scored by and that came after it was first scored, in the order in which they came.
    corrections: Vec<Rescored>,
}

/// A price that came after a round was first scored.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rescored {
    correction: Correction,
    /// The round was judged again since, with this price or a later one of the same instant. False until then, and for good of what
    /// resolved more than a week ago or was voided by an operator.
    counts: bool,
}

/// Which price is that of an instant.
#[derive(Serialize, ToSchema)]
pub(crate) struct PriceUsed {
    /// The instant.
    #[schema(value_type = schema::Timestamp)]
    instant: Timestamp,
    /// When the candle closed whose price it is; null when there is none near enough.
    #[schema(value_type = Option<schema::Timestamp>)]
    at: Option<Timestamp>,
    /// In quote currency; null when there is none near enough.
    price: Option<f64>,
}

/// One round, and the prices that it is scored by
#[utoipa::path(
    get,
    path = "/api/v1/rounds/{round_id}",
    tag = "rounds",
    params(("round_id" = inline(schema::RoundId), Path, description = "Which round.")),
    responses((status = 200, description = "The round.", body = Detail), NotFound, Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath(id): InPath<domain::RoundId>,
    Params(NoParams {}): Params<NoParams>,
    ask: Ask,
) -> Result<Response, Problem> {
    let body = async {
        let round = rounds::find(&app, id).await?;
        let prices = match rounds::has_resolved(&app, &round) {
            true => Some(prices_used(&app, &round.question).await?),
            false => None,
        };
        let corrections = corrections_of(&app, &round).await?;
        Body::json(&Detail { round: round.into(), prices, corrections })
    };
    ask.fetch(app.moment(), body).await
}

async fn prices_used(app: &App, question: &Question) -> Result<Vec<PriceUsed>, Problem> {
    let settlement = app.settings().0.judging.settlement;
    let closes = rounds::closes(app, question, &settlement).await?;
    let used = |instant| {
        let close: Option<PricePoint> = settlement.price_at(&closes, instant);
        PriceUsed { instant, at: close.map(|close| close.at), price: close.map(|close| close.price.value()) }
    };
    Ok(instants(question).into_iter().map(used).collect())
}

/// The corrections that came after a round was first judged, of closes that it may be judged by.
async fn corrections_of(app: &App, round: &RoundRecord) -> Result<Vec<Rescored>, Problem> {
    let Some(first) = round.first_priced_up_to else { return Ok(Vec::new()) };
    let (question, settlement) = (&round.question, app.settings().0.judging.settlement);
    let (after, up_to) = settlement.needed_closes(question, app.clock.now());
    let read = app.reader.read(|source| source.corrected_closes(&question.asset, after, up_to));
    let mut corrections = read.await?;
    corrections.retain(|one| one.position > first && settlement.may_use(question, one.at));
    let rescored = |correction: PriceCorrection| Rescored {
        counts: round.is_priced_with(correction.position),
        correction: correction.into(),
    };
    Ok(corrections.into_iter().map(rescored).collect())
}

/// The start of a round and the ends of its increments, oldest first.
fn instants(question: &Question) -> Vec<Timestamp> {
    let start = question.performed_at;
    let ends =
        |&step: &Span| (1..=question.horizon.divided_by(step)).map(move |k| start + step.times(k as u32));
    let mut instants: Vec<Timestamp> =
        std::iter::once(start).chain(question.steps.iter().flat_map(ends)).collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}
