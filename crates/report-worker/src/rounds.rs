//! What the routes about rounds and the predictions in them have in common: finding one, and who may see what of it.
//!
//! Until a round has resolved, status and latency of its predictions are all that is told, to anybody (invariant 9): the reason
//! of a failure may quote the answer. Every route takes what it tells of an answer from [`Told`].

use std::time::Duration;

use domain::{Model, Prediction, PredictionStatus, PricePoint, Question, RoundId, Timestamp};
use scoring::{ScoreSettings, Settlement, SettlementSettings};
use serde::{Deserialize, Serialize};
use storage::RoundRecord;

use crate::App;
use crate::access::Viewer;
use crate::problem::Problem;

/// To whom answers are shown once their round has resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswersTo {
    /// To everybody.
    #[default]
    Public,
    /// To those with a key of the model's cruncher, and to administrators.
    Owner,
    /// To nobody.
    None,
}

/// By what predictions are judged, to explain their scores.
#[derive(Debug, Clone)]
pub struct Judging {
    /// Rule, aggregation, scales, outlier cap.
    pub scoring: ScoreSettings,
    /// How prices become moves.
    pub settlement: SettlementSettings,
}

impl Judging {
    /// What every score made with these settings carries.
    pub(crate) fn stamp(&self) -> String {
        scoring::stamp(&self.scoring, &self.settlement)
    }
}

/// What of an answer may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: its round has not resolved.
    NotYet,
    /// Nothing: it is not the viewer's to see.
    NotToYou,
    /// Everything but the text that was refused.
    Answer,
    /// Everything: it is the viewer's own.
    All,
}

impl Told {
    /// What may be told to `viewer` of the answer of `model`, if it is known, in a round.
    pub(crate) fn of(app: &App, round: &RoundRecord, viewer: &Viewer, model: Option<&Model>) -> Self {
        let is_own = model.is_some_and(|model| viewer.owns(&model.cruncher));
        Told::by(has_resolved(app, round), app.settings().0.answers, is_own)
    }

    fn by(has_resolved: bool, answers: AnswersTo, is_own: bool) -> Self {
        match (has_resolved, answers, is_own) {
            (false, _, _) => Told::NotYet,
            (true, AnswersTo::None, _) | (true, AnswersTo::Owner, false) => Told::NotToYou,
            (true, AnswersTo::Public, false) => Told::Answer,
            (true, AnswersTo::Public | AnswersTo::Owner, true) => Told::All,
        }
    }

    /// `what` holds something of the answer.
    pub(crate) fn if_told<T>(self, what: Option<T>) -> Option<T> {
        what.filter(|_| self.hidden().is_none())
    }

    /// Why there is nothing of the answer; `None` when there is.
    pub(crate) fn hidden(self) -> Option<&'static str> {
        let [not_resolved, not_yours] = HIDDEN;
        match self {
            Told::NotYet => Some(not_resolved),
            Told::NotToYou => Some(not_yours),
            Told::Answer | Told::All => None,
        }
    }
}

/// Why there may be no valid answer.
pub(crate) const CAUSES: [&str; 6] = ["refused", "too_large", "raised", "set_up", "late", "absent"];

/// Why nothing may be told of an answer.
pub(crate) const HIDDEN: [&str; 2] = ["not_resolved", "not_yours"];

/// Why there is no valid answer, in a word that holds nothing of it; `None` for a valid one. An answer that was refused is the
/// only failure with a latency; one that the model raised, and one that was too large to be read, the only others that were
/// received.
pub(crate) fn cause(
    status: PredictionStatus,
    reason: Option<&str>,
    received_at: Option<Timestamp>,
    took: Option<Duration>,
) -> Option<&'static str> {
    let [refused, too_large, raised, set_up, late, absent] = CAUSES;
    let is_too_large = || reason.is_some_and(|reason| reason.starts_with(Prediction::TOO_LARGE));
    match status {
        PredictionStatus::Success => None,
        PredictionStatus::Failed if took.is_some() => Some(refused),
        PredictionStatus::Failed if received_at.is_some() && is_too_large() => Some(too_large),
        PredictionStatus::Failed if received_at.is_some() => Some(raised),
        PredictionStatus::Failed => Some(set_up),
        PredictionStatus::Timeout => Some(late),
        PredictionStatus::Absent => Some(absent),
    }
}

/// A latency in milliseconds.
pub(crate) fn millis(took: Option<Duration>) -> Option<f64> {
    took.map(|took| took.as_micros() as f64 / 1000.0)
}

/// The round with this id.
pub(crate) async fn find(app: &App, id: RoundId) -> Result<RoundRecord, Problem> {
    app.reader.read(|source| source.round(id)).await?.ok_or_else(|| {
        Problem::not_found(format!(
            "There is no round with the id {id}. /api/v1/rounds lists those that are stored."
        ))
    })
}

/// True once reality is known.
pub(crate) fn has_resolved(app: &App, round: &RoundRecord) -> bool {
    round.question.resolves_at() <= app.clock.now()
}

/// The closes that settle a round as of now.
pub(crate) async fn closes(
    app: &App,
    question: &Question,
    settings: &SettlementSettings,
) -> Result<Vec<PricePoint>, Problem> {
    let (after, up_to) = settings.needed_closes(question, app.clock.now());
    app.reader.read(|source| source.closes(&question.asset, after, up_to)).await
}

/// The closes of a round that has resolved, and what they say.
pub(crate) async fn settle(
    app: &App,
    question: &Question,
    settings: &SettlementSettings,
) -> Result<(Vec<PricePoint>, Settlement), Problem> {
    let now = app.clock.now();
    let newest = app.reader.read(|source| source.newest_close_at(&question.asset, now)).await?;
    let closes = closes(app, question, settings).await?;
    let settlement = scoring::settle(question, &closes, settings, now, newest);
    Ok((closes, settlement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_to_whom_the_setting_says_and_to_nobody_before_the_round_has_resolved() {
        for answers in [AnswersTo::Public, AnswersTo::Owner, AnswersTo::None] {
            for is_own in [false, true] {
                assert_eq!(Told::by(false, answers, is_own), Told::NotYet);
            }
        }
        let told = |answers| [false, true].map(|is_own| Told::by(true, answers, is_own));
        assert_eq!(told(AnswersTo::Public), [Told::Answer, Told::All]);
        assert_eq!(told(AnswersTo::Owner), [Told::NotToYou, Told::All]);
        assert_eq!(told(AnswersTo::None), [Told::NotToYou, Told::NotToYou]);
    }

    #[test]
    fn something_of_an_answer_is_there_or_it_is_said_why_not() {
        for told in [Told::NotYet, Told::NotToYou, Told::Answer, Told::All] {
            assert_eq!(told.if_told(Some(1)).is_none(), told.hidden().is_some());
        }
    }

    #[test]
    fn failures_are_told_apart_by_a_word() {
        let (at, took) = (Some(Timestamp::UNIX_EPOCH), Some(Duration::ZERO));
        let quoting = Some("raised (MODEL_FAILED): too large: 7");
        let failed = |reason, at, took| cause(PredictionStatus::Failed, reason, at, took);
        assert_eq!(cause(PredictionStatus::Success, None, at, took), None);
        assert_eq!(failed(Some("[0]: no density"), at, took), Some("refused"));
        assert_eq!(failed(Some("too large: 9 bytes"), at, None), Some("too_large"));
        assert_eq!(failed(quoting, at, None), Some("raised"), "what a model says makes no other cause");
        assert_eq!(failed(Some("set-up raised (UNKNOWN): why"), None, None), Some("set_up"));
        assert_eq!(cause(PredictionStatus::Timeout, None, None, None), Some("late"));
        assert_eq!(cause(PredictionStatus::Absent, None, None, None), Some("absent"));
    }
}
