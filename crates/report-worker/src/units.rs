//! Whether a model's latest answers look as if they had another unit than was asked for.
//!
//! Only answers whose round is scored, and so has resolved, are looked at, and only where whoever asks may see each of them: a
//! doubt tells how wide they are.

use std::collections::BTreeMap;

use domain::{Asset, Model, Prediction, PredictionStatus, Price, Question, RoundState};
use scoring::{Expected, StoredAnswer, UnitCheck, UnitDoubt};
use storage::{OutcomeFilter, RoundFilter};

use crate::App;
use crate::access::Viewer;
use crate::body::off_the_runtime;
use crate::problem::Problem;
use crate::rounds::Told;

/// Of each asset so many of the latest answers are looked at.
const ANSWERS: usize = 3;
/// So many outcomes are gone through for them, for each asset that is asked about.
const OUTCOMES: usize = 8;
/// No more than this in all.
const MOST_OUTCOMES: usize = 200;

/// What is doubtful about the answers of `model`, by asset; `None` where not all of its latest answers are `viewer`'s to see.
pub(crate) async fn doubts(
    app: &App,
    viewer: &Viewer,
    model: &Model,
) -> Result<Option<Vec<UnitDoubt>>, Problem> {
    let Some(questions) = latest(app, viewer, model).await? else { return Ok(None) };
    let mut read = Vec::new();
    for question in questions {
        read.extend(read_answer(app, model, question).await?);
    }
    off_the_runtime(move || Ok(Some(check(&read).doubts()))).await
}

/// A valid answer, what it was asked, and the price then.
struct Read {
    question: Question,
    prediction: Prediction,
    price: Price,
}

/// The questions of the latest scored rounds with a valid answer, some of each asset.
async fn latest(app: &App, viewer: &Viewer, model: &Model) -> Result<Option<Vec<Question>>, Problem> {
    let rounds = RoundFilter { state: Some(RoundState::Scored), ..RoundFilter::default() };
    let filter = OutcomeFilter { rounds, status: Some(PredictionStatus::Success) };
    let assets = app.settings().0.schedules.assets().len();
    let limit = (assets * OUTCOMES).min(MOST_OUTCOMES);
    let found = app.reader.read(|source| source.model_outcomes(&model.id, &filter, None, limit)).await?;
    let is_hidden = |round| Told::of(app, round, viewer, Some(model)).hidden().is_some();
    if found.items.iter().any(|found| is_hidden(&found.round)) {
        return Ok(None);
    }
    let mut taken: BTreeMap<Asset, usize> = BTreeMap::new();
    let questions = found.items.into_iter().map(|found| found.round.question).filter(|question| {
        let count = taken.entry(question.asset.clone()).or_default();
        *count += 1;
        *count <= ANSWERS
    });
    Ok(Some(questions.collect()))
}

/// `None` when there is no price near the question, or the answer has just been removed.
async fn read_answer(app: &App, model: &Model, question: Question) -> Result<Option<Read>, Problem> {
    let settlement = app.settings().0.judging.settlement;
    let (after, up_to) = (question.performed_at - settlement.max_price_age, question.performed_at);
    let closes = app.reader.read(|source| source.closes(&question.asset, after, up_to)).await?;
    let prediction = app.reader.read(|source| source.prediction(question.id, &model.id)).await?;
    let read = closes.last().zip(prediction);
    Ok(read.map(|(close, prediction)| Read { price: close.price, question, prediction }))
}

fn check(read: &[Read]) -> UnitCheck {
    let mut check = UnitCheck::default();
    for Read { question, prediction, price } in read {
        // one that cannot be read any more is told where it is shown
        let answer = prediction.answer.as_ref().and_then(|it| it.answer(&Expected::from(question)).ok());
        if let Some(answer) = answer {
            check.add(&question.asset, question.target, &answer, *price);
        }
    }
    check
}
