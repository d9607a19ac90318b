//! One round in flight: collects the outcomes of its field until all are there or the deadline has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{
    Clock, DeploymentId, ModelId, Prediction, PredictionStatus, Question, RoundId, StatusCounts, Timestamp,
    TimestampExt,
};
use model_client::EncodedCall;
use protocol::{Value, method};
use tokio::sync::mpsc;

/// A question on its way to one model. Dropped unanswered, it says so to its round.
pub struct Ask {
    /// What is asked.
    pub question: Arc<Question>,
    /// The same, encoded once for all models.
    pub call: EncodedCall,
    /// When the round closes.
    pub deadline: Timestamp,
    model_id: ModelId,
    outcomes: Option<mpsc::UnboundedSender<Outcome>>,
}

struct Outcome {
    model_id: ModelId,
    /// `None` when the fault was ours: the model is left out of the round.
    prediction: Option<Prediction>,
}

impl Ask {
    /// Hands in the outcome.
    pub fn settle(mut self, prediction: Option<Prediction>) {
        self.send(prediction);
    }

    fn send(&mut self, prediction: Option<Prediction>) {
        if let Some(outcomes) = self.outcomes.take() {
            // A round that has closed in the meantime no longer listens.
            let _ = outcomes.send(Outcome { model_id: self.model_id.clone(), prediction });
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let reason = "its deployment went away before it answered";
        let model_id = self.model_id.clone();
        self.send(Some(Prediction::unanswered(model_id, None, PredictionStatus::Timeout, reason)));
    }
}

/// A round whose outcomes are complete.
#[derive(Debug, Clone)]
pub struct ClosedRound {
    /// What was asked.
    pub question: Arc<Question>,
    /// When the last outcome came, or the deadline.
    pub closed_at: Timestamp,
    /// One for each model of the field, in the order of model ids.
    pub predictions: Arc<[Prediction]>,
}

impl ClosedRound {
    /// Which round.
    pub fn id(&self) -> RoundId {
        self.question.id
    }

    /// How its predictions ended.
    pub fn counts(&self) -> StatusCounts {
        self.predictions.iter().map(|prediction| prediction.status).collect()
    }
}

/// Collects the outcomes of one round.
pub struct Collector {
    question: Arc<Question>,
    call: EncodedCall,
    deadline: Timestamp,
    /// Asked and not answered yet, with the deployment that was asked.
    waiting: BTreeMap<ModelId, DeploymentId>,
    predictions: BTreeMap<ModelId, Prediction>,
    sender: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Collector {
    /// A round that nobody has been asked in yet.
    pub fn new(question: Question, deadline: Timestamp) -> Self {
        let call = encode(&question);
        let (sender, outcomes) = mpsc::unbounded_channel();
        Collector {
            question: Arc::new(question),
            call,
            deadline,
            waiting: BTreeMap::new(),
            predictions: BTreeMap::new(),
            sender,
            outcomes,
        }
    }

    /// Adds a model to the field; its lane is to work off the ask.
    pub fn ask(&mut self, model_id: &ModelId, deployment_id: &DeploymentId) -> Ask {
        self.waiting.insert(model_id.clone(), deployment_id.clone());
        Ask {
            question: Arc::clone(&self.question),
            call: self.call.clone(),
            deadline: self.deadline,
            model_id: model_id.clone(),
            outcomes: Some(self.sender.clone()),
        }
    }

    /// Adds a model to the field that is not asked.
    pub fn note(&mut self, prediction: Prediction) {
        self.predictions.insert(prediction.model_id.clone(), prediction);
    }

    /// Waits until the round closes: every outcome is there, or the deadline has come. `why_silent` says what a model
    /// that has not answered is busy with.
    pub async fn close(mut self, clock: &dyn Clock, why_silent: impl Fn(&ModelId) -> String) -> ClosedRound {
        let patience = self.deadline.since(clock.now());
        let all_in = tokio::time::timeout(patience, self.collect()).await.is_ok();
        if !all_in {
            self.time_out_the_rest(why_silent);
        }
        ClosedRound {
            closed_at: clock.now(),
            question: self.question,
            predictions: self.predictions.into_values().collect(),
        }
    }

    async fn collect(&mut self) {
        while !self.waiting.is_empty() {
            let Some(outcome) = self.outcomes.recv().await else { return };
            self.take(outcome);
        }
    }

    fn take(&mut self, outcome: Outcome) {
        let Some(deployment) = self.waiting.remove(&outcome.model_id) else { return };
        if let Some(mut prediction) = outcome.prediction {
            prediction.deployment_id.get_or_insert(deployment);
            self.predictions.insert(outcome.model_id, prediction);
        }
    }

    fn time_out_the_rest(&mut self, why_silent: impl Fn(&ModelId) -> String) {
        // What arrived in the same moment still counts.
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.take(outcome);
        }
        for (model_id, deployment) in std::mem::take(&mut self.waiting) {
            let reason = why_silent(&model_id);
            let prediction =
                Prediction::unanswered(model_id.clone(), Some(deployment), PredictionStatus::Timeout, reason);
            self.predictions.insert(model_id, prediction);
        }
    }
}

fn encode(question: &Question) -> EncodedCall {
    let asset = Value::String(question.asset.to_string());
    let horizon = Value::Int(i64::from(question.horizon.as_secs()));
    match question.method {
        domain::Method::Predict => {
            // A checked schedule has exactly one step here.
            let step = question.steps.first().map_or(0, |step| i64::from(step.as_secs()));
            EncodedCall::new(method::PREDICT, &[asset, horizon, Value::Int(step)])
        }
        domain::Method::PredictAll => {
            let steps: Vec<String> = question.steps.iter().map(|step| step.as_secs().to_string()).collect();
            EncodedCall::new(
                method::PREDICT_ALL,
                &[asset, horizon, Value::Json(format!("[{}]", steps.join(",")))],
            )
        }
    }
}
