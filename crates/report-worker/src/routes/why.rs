//! `GET /api/v1/rounds/{round_id}/predictions/{model_id}`: one prediction, and why it has the score that it has.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use domain::{DeploymentId, ModelId, Prediction, PredictionStatus, RoundId, Span, Timestamp};
use scoring::{
    ExplainedIncrement, ExplainedStep, Explanation, Place, SettledRound, Settlement, explain_alone,
};
use serde::Serialize;
use storage::{ExportedScore, RoundRecord, StepScore};
use utoipa::ToSchema;

use crate::access::Viewer;
use crate::ask::Ask;
use crate::body::{Body, off_the_runtime};
use crate::openapi::{NotFound, Unchanged};
use crate::params::{InPath, NoParams, Params};
use crate::problem::Problem;
use crate::refused;
use crate::rounds::{self, Told, cause, millis};
use crate::routes::rounds::Round;
use crate::why::{Report, can_be_explained};
use crate::{App, schema};

/// One prediction, and why it has the score that it has.
#[derive(Serialize, ToSchema)]
#[schema(as = Prediction)]
pub(crate) struct Answer {
    round: Round,
    #[schema(value_type = schema::ModelId)]
    model_id: ModelId,
    /// Where the round stands and what that means for this prediction, in words.
    standing: String,
    /// Which start of its code; null when it was not running.
    #[schema(value_type = Option<String>)]
    deployment_id: Option<DeploymentId>,
    #[schema(value_type = schema::PredictionStatus)]
    status: PredictionStatus,
    /// Why there is no valid answer, in a word; null when there is one.
    #[schema(value_type = Option<schema::Cause>)]
    cause: Option<&'static str>,
    /// The same in full; null for a valid answer, and where `hidden` says why.
    reason: Option<String>,
    /// When the answer had arrived; null without one.
    #[schema(value_type = Option<schema::Timestamp>)]
    received_at: Option<Timestamp>,
    /// From the question to the whole answer, in milliseconds; null without one.
    #[schema(minimum = 0.0)]
    took_ms: Option<f64>,
    /// Why nothing is told of the answer; null when it is.
    #[schema(value_type = Option<schema::Hidden>)]
    hidden: Option<&'static str>,
    /// What was refused of the answer, with the place marked that the reason is about: for its owner, and kept for a week; else
    /// null.
    refused: Option<Refused>,
    /// The score on record; null unless the round is scored.
    score: Option<Score>,
    /// Among the round's raw scores on record; null unless the round is scored.
    place: Option<Standing>,
    /// By which rule and settings the score is explained: those in force.
    rule: String,
    /// How the score comes about; null unless the round has resolved and its prices are there.
    explanation: Option<Explained>,
    /// Whether the explanation comes to the very score on record; null where one of them is missing.
    agrees: Option<bool>,
    /// Where it does not, and why that may be.
    differences: Vec<String>,
}

/// A refused answer in three parts: together they are what is kept of it, up to 16 KiB.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refused {
    /// Up to the place.
    before: String,
    /// What the reason is about; empty where that is a point or the answer as a whole.
    place: String,
    /// What follows.
    after: String,
}

/// A score on record.
#[derive(Serialize, ToSchema)]
pub(crate) struct Score {
    /// The rule's value, lower is better; null without a valid answer.
    raw: Option<f64>,
    /// 0 to 1, higher is better; 0 without a valid answer.
    #[schema(minimum = 0.0, maximum = 1.0)]
    relative: f64,
    /// Why a valid answer has no score; else null, and where the answer is hidden.
    failure: Option<String>,
    /// By step size; empty without a valid answer.
    steps: Vec<ScoredStep>,
}

/// A score over the increments of one step size.
#[derive(Serialize, ToSchema)]
pub(crate) struct ScoredStep {
    #[schema(value_type = schema::Span)]
    step: Span,
    /// The mean over the increments that counted.
    mean: f64,
    /// How many increments counted.
    increments: u32,
    /// How many were left out, for every model alike.
    left_out: u32,
}

/// A prediction among its round.
#[derive(Serialize, ToSchema)]
#[schema(as = PlaceInRound)]
pub(crate) struct Standing {
    /// 1 for the best raw score; equals share the better rank. Null without one.
    #[schema(minimum = 1)]
    rank: Option<usize>,
    /// How many have a raw score.
    valid: usize,
    /// How many were asked, or ought to have been.
    field: usize,
    /// The best raw score.
    best: f64,
    /// The median of the raw scores.
    median: f64,
    /// The worst raw score after capping, with which those without a valid answer count.
    worst: f64,
    /// What raw scores are capped at; null for rules that can be negative.
    cap: Option<f64>,
    /// The 95 % quantile of the raw scores over the whole field: from it on the relative score is 0.
    q95: f64,
}

/// How a score comes about.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explained {
    /// How the scores of all increments become one.
    #[schema(value_type = schema::Aggregation)]
    aggregation: scoring::Aggregation,
    /// What that is divided by.
    scale: f64,
    /// The rule's value; null without a valid answer.
    raw: Option<f64>,
    /// Why it is left out of its round, in words: a fault of ours, so it counts neither for its model nor against it; else null.
    left_out: Option<String>,
    /// In the order that was asked.
    steps: Vec<StepExplained>,
}

/// The increments of one step size.
#[derive(Serialize, ToSchema)]
pub(crate) struct StepExplained {
    #[schema(value_type = schema::Span)]
    step: Span,
    /// The mean over the increments that counted; null without a valid answer, and for a step that is left out.
    mean: Option<f64>,
    /// Why it is left out for every model, in words; else null.
    left_out: Option<String>,
    /// In the order of time.
    increments: Vec<Increment>,
}

/// One increment.
#[derive(Serialize, ToSchema)]
pub(crate) struct Increment {
    /// Where it begins.
    #[schema(value_type = schema::Timestamp)]
    from: Timestamp,
    /// Where it ends.
    #[schema(value_type = schema::Timestamp)]
    to: Timestamp,
    /// The price with which it begins; null when there is none near enough.
    from_price: Option<f64>,
    /// The price with which it ends; null when there is none near enough.
    to_price: Option<f64>,
    /// What happened, in the unit of the round's target; null when it is left out.
    #[serde(rename = "move")]
    move_: Option<f64>,
    /// Why it is left out for every model, in words; else null.
    left_out: Option<String>,
    /// The probability that the model gave to a move of at most this; null without a valid answer, and where the answer is hidden.
    #[schema(minimum = 0.0, maximum = 1.0)]
    cdf: Option<f64>,
    /// The rule's value; null where `cdf` is, and where it is not finite.
    score: Option<f64>,
}

/// One prediction, and why it has the score that it has
#[utoipa::path(
    get,
    path = "/api/v1/rounds/{round_id}/predictions/{model_id}",
    tag = "rounds",
    params(
        ("round_id" = inline(schema::RoundId), Path, description = "Which round."),
        ("model_id" = inline(schema::ModelId), Path, description = "Whose prediction.")
    ),
    responses((status = 200, description = "The prediction.", body = Answer), NotFound, Unchanged)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    InPath((round_id, model)): InPath<(RoundId, String)>,
    Params(NoParams {}): Params<NoParams>,
    viewer: Viewer,
    ask: Ask,
) -> Result<Response, Problem> {
    let round = rounds::find(&app, round_id).await?;
    let model_id = ModelId::new(&model).map_err(|_| unknown(round_id, &model))?;
    let prediction = app.reader.read(|source| source.prediction(round_id, &model_id)).await?;
    let prediction = prediction.ok_or_else(|| unknown(round_id, &model))?;
    let models = app.reader.models().await?;
    let told = Told::of(&app, &round, &viewer, models.get(&model_id));
    let (report, place) = report(&app, &round, &prediction).await?;
    ask.answer(&Body::json(&answer(round, prediction, report, place, told))?).await
}

fn unknown(round: RoundId, model: &str) -> Problem {
    let model: String = model.chars().take(200).collect();
    Problem::not_found(format!(
        "There is no prediction of a model with the id `{model}` in round {round}. \
         /api/v1/rounds/{round}/predictions lists those that there are."
    ))
}

/// What can be told of a prediction, and its place among its round.
async fn report(
    app: &App,
    round: &RoundRecord,
    prediction: &Prediction,
) -> Result<(Report, Option<Place>), Problem> {
    let (settings, now) = (app.settings().0, app.clock.now());
    let judging = &settings.judging;
    let id = format!("{}/{}", round.question.id, prediction.model_id);
    let mut report = Report::new(id, round, Some(prediction), judging.stamp(), now);
    if !can_be_explained(round, now) {
        return Ok((report, None));
    }
    let scores = app.reader.read(|source| source.export_scores(round.question.id)).await?;
    let own = scores.iter().position(|score| score.model_id == prediction.model_id);
    let raw: Vec<Option<f64>> = scores.iter().map(|score| score.raw).collect();
    let place = own.and_then(|own| Place::among(&raw, own, &judging.scoring));
    let (closes, settlement) = rounds::settle(app, &round.question, &judging.settlement).await?;
    let explanation = match &settlement {
        Settlement::Settled(steps) => {
            let (question, steps, judging) = (round.question.clone(), steps.clone(), judging.clone());
            let answer = [prediction.answer.clone()];
            let explain = move || {
                let round =
                    SettledRound { question: &question, closes: &closes, steps: &steps, answers: &answer };
                Ok(explain_alone(&round, &judging.settlement, &judging.scoring))
            };
            let explanation = off_the_runtime(explain).await?;
            Some(Explanation { place: place.clone(), ..explanation })
        }
        Settlement::Waiting { .. } | Settlement::Void { .. } => None,
    };
    report.explain(&settlement, own.map(|own| scores[own].clone()), explanation);
    Ok((report, place))
}

fn answer(
    round: RoundRecord,
    prediction: Prediction,
    report: Report,
    place: Option<Place>,
    told: Told,
) -> Answer {
    Answer {
        round: round.into(),
        standing: report.standing,
        deployment_id: prediction.deployment_id,
        status: prediction.status,
        cause: cause(
            prediction.status,
            prediction.reason.as_deref(),
            prediction.received_at,
            prediction.took,
        ),
        received_at: prediction.received_at,
        took_ms: millis(prediction.took),
        hidden: told.hidden(),
        refused: refused(prediction.refused.as_deref(), prediction.reason.as_deref(), told),
        reason: told.if_told(prediction.reason),
        model_id: prediction.model_id,
        score: report.stored.map(|score| Score::of(score, told)),
        place: place.map(Standing::from),
        rule: report.rule,
        explanation: report.explanation.map(|explanation| Explained::of(explanation, told)),
        agrees: report.agrees,
        differences: report.differences,
    }
}

fn refused(text: Option<&str>, reason: Option<&str>, told: Told) -> Option<Refused> {
    let text = text.filter(|_| told == Told::All)?;
    let marked = refused::mark(text, reason.unwrap_or_default());
    Some(Refused {
        before: marked.before.to_owned(),
        place: marked.place.to_owned(),
        after: marked.after.to_owned(),
    })
}

impl Score {
    fn of(score: ExportedScore, told: Told) -> Self {
        Score {
            raw: score.raw,
            relative: score.relative,
            failure: told.if_told(score.failure),
            steps: score.steps.into_iter().map(ScoredStep::from).collect(),
        }
    }
}

impl From<StepScore> for ScoredStep {
    fn from(score: StepScore) -> Self {
        ScoredStep {
            step: score.step,
            mean: score.mean,
            increments: score.increments,
            left_out: score.left_out,
        }
    }
}

impl From<Place> for Standing {
    fn from(place: Place) -> Self {
        Standing {
            rank: place.rank,
            valid: place.valid,
            field: place.field,
            best: place.best,
            median: place.median,
            worst: place.worst,
            cap: place.cap,
            q95: place.q95,
        }
    }
}

impl Explained {
    fn of(explanation: Explanation, told: Told) -> Self {
        let step = |step: ExplainedStep| StepExplained {
            step: step.step,
            mean: step.mean,
            left_out: step.left_out,
            increments: step.increments.into_iter().map(|increment| Increment::of(increment, told)).collect(),
        };
        Explained {
            aggregation: explanation.aggregation,
            scale: explanation.scale,
            raw: explanation.raw,
            left_out: told.if_told(explanation.left_out),
            steps: explanation.steps.into_iter().map(step).collect(),
        }
    }
}

impl Increment {
    fn of(increment: ExplainedIncrement, told: Told) -> Self {
        Increment {
            from: increment.from,
            to: increment.to,
            from_price: increment.from_price.map(|point| point.price.value()),
            to_price: increment.to_price.map(|point| point.price.value()),
            move_: increment.move_,
            left_out: increment.left_out,
            cdf: told.if_told(increment.cdf),
            score: told.if_told(increment.score),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_shown_to_its_owner_alone_with_the_place_marked() {
        let (text, reason) = (r#"[{"scale": -1}]"#, "[0].scale: must be > 0, got -1");
        let shown = |told| refused(Some(text), Some(reason), told).map(|it| [it.before, it.place, it.after]);
        assert_eq!(shown(Told::All), Some([r#"[{"scale": "#, "-1", "}]"].map(str::to_owned)));
        for told in [Told::NotYet, Told::NotToYou, Told::Answer] {
            assert_eq!(shown(told), None);
        }
    }
}
