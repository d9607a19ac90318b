//! Rows as `condor db export` prints them: everything that is needed to recompute every score outside.

use std::fmt::Display;

use domain::{
    AnswerBytes, Asset, DeploymentId, Method, ModelId, Prediction, PredictionStatus, RoundId, RoundState,
    Span, StatusCounts, Target, Timestamp,
};
use serde::Serialize;

use crate::{Result, RoundRecord, ScoreRecord, StepScore, Store};

/// Rounds read at once.
const PAGE: usize = 500;

/// All rounds of a span in the order of ids, page by page, so that memory does not grow with their number.
pub struct RoundPages<'a> {
    store: &'a dyn Store,
    from: Timestamp,
    to: Timestamp,
    after: Option<RoundId>,
    is_over: bool,
}

impl<'a> RoundPages<'a> {
    /// The rounds with `from <= performed_at < to`.
    pub fn new(store: &'a dyn Store, from: Timestamp, to: Timestamp) -> Self {
        RoundPages { store, from, to, after: None, is_over: false }
    }

    /// The next page; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<ExportedRound>>> {
        if self.is_over {
            return Ok(None);
        }
        let page = self.store.export_rounds(self.from, self.to, self.after, PAGE).await?;
        if let Some(last) = page.last() {
            // Ids are in the order of slots: what lies before need not be looked through again.
            (self.from, self.after) = (last.performed_at, Some(last.round_id));
        }
        self.is_over = page.len() < PAGE;
        Ok((!page.is_empty()).then_some(page))
    }
}

/// A round. Spans are in seconds here, for scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in RoundRecord")]
pub struct ExportedRound {
    pub round_id: RoundId,
    pub asset: Asset,
    #[serde(serialize_with = "seconds")]
    pub horizon: Span,
    #[serde(serialize_with = "all_seconds")]
    pub steps: Vec<Span>,
    pub method: Method,
    pub target: Target,
    pub performed_at: Timestamp,
    pub resolves_at: Timestamp,
    pub state: RoundState,
    pub reason: Option<String>,
    pub closed_at: Option<Timestamp>,
    pub scored_at: Option<Timestamp>,
    #[serde(flatten)]
    pub counts: StatusCounts,
    pub rule: Option<String>,
    pub best: Option<f64>,
    pub q95: Option<f64>,
    pub contested: bool,
}

impl From<RoundRecord> for ExportedRound {
    fn from(round: RoundRecord) -> Self {
        let question = round.question;
        ExportedRound {
            resolves_at: question.resolves_at(),
            round_id: question.id,
            asset: question.asset,
            horizon: question.horizon,
            steps: question.steps,
            method: question.method,
            target: question.target,
            performed_at: question.performed_at,
            state: round.state,
            reason: round.reason,
            closed_at: round.closed_at,
            scored_at: round.scored_at,
            counts: round.counts,
            rule: round.rule,
            best: round.best,
            q95: round.q95,
            contested: round.contested,
        }
    }
}

/// A prediction; `answer` is JSON text with the numbers that the model sent, `unreadable` is there only where that cannot
/// be made of what is stored, and says why: rounds leave such an answer out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in domain::Prediction")]
pub struct ExportedPrediction {
    pub round_id: RoundId,
    pub model_id: ModelId,
    pub deployment_id: Option<DeploymentId>,
    pub status: PredictionStatus,
    pub reason: Option<String>,
    pub received_at: Option<Timestamp>,
    pub took_us: Option<u64>,
    pub answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl ExportedPrediction {
    /// The row of a prediction in a round; `to_json` reads its answer.
    pub fn new<E: Display>(
        round_id: RoundId,
        prediction: Prediction,
        to_json: impl FnOnce(&AnswerBytes) -> Result<String, E>,
    ) -> Self {
        let (answer, unreadable) = match prediction.answer.as_ref().map(to_json) {
            None => (None, None),
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        ExportedPrediction {
            round_id,
            model_id: prediction.model_id,
            deployment_id: prediction.deployment_id,
            status: prediction.status,
            reason: prediction.reason,
            received_at: prediction.received_at,
            took_us: prediction.took.map(|took| took.as_micros() as u64),
            answer,
            unreadable,
        }
    }
}

/// A score.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in ScoreRecord")]
pub struct ExportedScore {
    pub round_id: RoundId,
    pub model_id: ModelId,
    pub raw: Option<f64>,
    pub relative: f64,
    pub failure: Option<String>,
    pub steps: Vec<StepScore>,
}

impl ExportedScore {
    /// The row of a score in a round.
    pub fn new(round_id: RoundId, score: ScoreRecord) -> Self {
        ExportedScore {
            round_id,
            model_id: score.model_id,
            raw: score.raw,
            relative: score.relative,
            failure: score.failure,
            steps: score.steps,
        }
    }
}

fn seconds<S: serde::Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(span.as_secs())
}

fn all_seconds<S: serde::Serializer>(spans: &[Span], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(spans.iter().map(|span| span.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::{CrunchId, Question};

    use super::*;

    fn exported(answer: Option<AnswerBytes>) -> serde_json::Value {
        let crunch = CrunchId::new("condor").unwrap();
        let asset = Asset::new("BTC").unwrap();
        let steps = vec![Span::HOUR];
        let at = Timestamp::UNIX_EPOCH;
        let question =
            Question::new(&crunch, asset, Span::HOUR, steps, Method::Predict, Target::LogReturn, at);
        let model = ModelId::new("alpha").unwrap();
        let took = Some(Duration::from_micros(1_234_567));
        let prediction =
            Prediction { answer, took, ..Prediction::unanswered(model, None, PredictionStatus::Success, "") };
        let to_json = |bytes: &AnswerBytes| String::from_utf8(bytes.as_bytes().to_vec());
        serde_json::to_value(ExportedPrediction::new(question.id, prediction, to_json)).unwrap()
    }

    #[test]
    fn an_answer_is_exported_as_text_and_one_that_cannot_be_read_says_why_in_its_place() {
        let good = exported(Some(b"[1]".as_slice().into()));
        assert_eq!((&good["answer"], &good["took_us"]), (&"[1]".into(), &1_234_567.into()));
        assert!(good.get("unreadable").is_none());
        let none = exported(None);
        assert!(none["answer"].is_null() && none.get("unreadable").is_none());
        let damaged = exported(Some([0xff].as_slice().into()));
        assert!(damaged["answer"].is_null());
        assert!(damaged["unreadable"].as_str().unwrap().starts_with("invalid utf-8"), "{damaged}");
    }
}
