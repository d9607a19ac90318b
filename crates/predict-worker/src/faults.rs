//! What the log says of models that fail: each fault when it begins, and when it is over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use domain::{Asset, ModelId, Prediction, PredictionStatus, Span};

use crate::round::ClosedRound;

/// Writes a line when a model's answers about an asset and horizon begin to fail, one more when they fail in another way
/// (another status), and one when it answers well again: what goes on for days is told once.
#[derive(Default)]
pub struct FaultLog(Mutex<Faults>);

impl FaultLog {
    /// Takes in how a round ended.
    pub fn note(&self, round: &ClosedRound) {
        let News { begun, over } = self.0.lock().unwrap_or_else(PoisonError::into_inner).note(round);
        let question = &round.question;
        for Prediction { model_id, status, reason, .. } in begun {
            let reason = reason.as_deref().unwrap_or_default();
            tracing::warn!(model = %model_id, %status, reason, round = %question.id, "model {model_id}: {status} in {question}");
        }
        for model_id in over {
            tracing::info!(model = %model_id, "model {model_id} answers again: SUCCESS in {question}");
        }
    }
}

/// The statuses that each failing model's rounds ended with since it answered well, by what was asked.
#[derive(Default)]
struct Faults(HashMap<(Asset, Span), BTreeMap<ModelId, HashSet<PredictionStatus>>>);

/// What is worth a line.
#[derive(Debug, Default)]
struct News<'a> {
    begun: Vec<&'a Prediction>,
    over: Vec<ModelId>,
}

impl Faults {
    fn note<'a>(&mut self, round: &'a ClosedRound) -> News<'a> {
        let question = &round.question;
        let before = self.0.entry((question.asset.clone(), question.horizon)).or_default();
        let mut now = BTreeMap::new();
        let mut news = News::default();
        for prediction in round.predictions.iter() {
            let known = before.remove(&prediction.model_id);
            if prediction.status == PredictionStatus::Success {
                news.over.extend(known.map(|_| prediction.model_id.clone()));
                continue;
            }
            let mut statuses = known.unwrap_or_default();
            if statuses.insert(prediction.status) {
                news.begun.push(prediction);
            }
            now.insert(prediction.model_id.clone(), statuses);
        }
        // Whoever is not in the field any more is forgotten.
        *before = now;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{CrunchId, Method, Question, Target, Timestamp};

    use super::*;
    use PredictionStatus::{Absent, Failed, Success, Timeout};

    fn round(asset: &str, outcomes: &[(&str, PredictionStatus)]) -> ClosedRound {
        let (crunch, asset) = (CrunchId::new("condor").unwrap(), Asset::new(asset).unwrap());
        let (hour, at) = (Span::HOUR, Timestamp::default());
        let predictions = outcomes
            .iter()
            .map(|(id, status)| Prediction::unanswered(ModelId::new(id).unwrap(), None, *status, "why"));
        ClosedRound {
            question: Arc::new(Question::new(
                &crunch,
                asset,
                hour,
                vec![hour],
                Method::Predict,
                Target::LogReturn,
                at,
            )),
            closed_at: at,
            predictions: predictions.collect(),
        }
    }

    /// What is told of a round: `model STATUS` or `model again`.
    fn told(faults: &mut Faults, outcomes: &[(&str, PredictionStatus)]) -> Vec<String> {
        told_of("BTC", faults, outcomes)
    }

    fn told_of(asset: &str, faults: &mut Faults, outcomes: &[(&str, PredictionStatus)]) -> Vec<String> {
        let round = round(asset, outcomes);
        let news = faults.note(&round);
        let begun = news.begun.iter().map(|it| format!("{} {}", it.model_id, it.status));
        begun.chain(news.over.iter().map(|id| format!("{id} again"))).collect()
    }

    #[test]
    fn a_fault_is_told_when_it_begins_and_when_it_is_over_and_not_in_between() {
        let mut faults = Faults::default();
        let nothing: [&str; 0] = [];
        assert_eq!(told(&mut faults, &[("a", Success), ("b", Failed)]), ["b FAILED"]);
        assert_eq!(told(&mut faults, &[("a", Success), ("b", Failed)]), nothing);
        assert_eq!(told(&mut faults, &[("a", Timeout), ("b", Success)]), ["a TIMEOUT", "b again"]);
        assert_eq!(told(&mut faults, &[("a", Success), ("b", Success)]), ["a again"]);
        assert_eq!(told(&mut faults, &[("a", Timeout), ("b", Success)]), ["a TIMEOUT"]);
    }

    #[test]
    fn each_way_to_fail_is_told_once_until_the_model_answers_well() {
        let mut faults = Faults::default();
        let runs = [Timeout, Timeout, Absent, Timeout, Absent, Failed, Success, Absent];
        let lines: Vec<String> = runs.iter().flat_map(|it| told(&mut faults, &[("a", *it)])).collect();
        assert_eq!(lines, ["a TIMEOUT", "a ABSENT", "a FAILED", "a again", "a ABSENT"]);
    }

    #[test]
    fn a_good_answer_about_one_asset_ends_no_fault_in_another() {
        let mut faults = Faults::default();
        assert_eq!(told_of("BTC", &mut faults, &[("a", Failed)]), ["a FAILED"]);
        assert_eq!(told_of("ETH", &mut faults, &[("a", Success)]).len(), 0);
        assert_eq!(told_of("BTC", &mut faults, &[("a", Failed)]).len(), 0);
    }

    #[test]
    fn a_model_that_has_left_the_field_is_forgotten() {
        let mut faults = Faults::default();
        told(&mut faults, &[("a", Failed)]);
        told(&mut faults, &[]);
        assert!(faults.0.values().all(BTreeMap::is_empty));
    }
}
