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
    round: Option<mpsc::UnboundedSender<News>>,
}

struct News {
    model_id: ModelId,
    what: What,
}

enum What {
    /// The answer has come; what it is worth is being found out.
    Arrived,
    /// `None` when the fault was ours: the model is left out of the round.
    Settled(Option<Prediction>),
}

impl Ask {
    /// False once the round has closed.
    pub fn is_open(&self) -> bool {
        self.round.as_ref().is_some_and(|round| !round.is_closed())
    }

    /// Says that the answer has come: it counts although checking it may take until after the deadline.
    pub fn arrived(&self) {
        self.tell(What::Arrived);
    }

    /// Hands in the outcome.
    pub fn settle(mut self, prediction: Option<Prediction>) {
        self.tell(What::Settled(prediction));
        self.round = None;
    }

    fn tell(&self, what: What) {
        if let Some(round) = &self.round {
            // A round that has closed in the meantime no longer listens.
            let _ = round.send(News { model_id: self.model_id.clone(), what });
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let reason = "its deployment went away before it answered";
        let model_id = self.model_id.clone();
        let outcome = Prediction::unanswered(model_id, None, PredictionStatus::Timeout, reason);
        self.tell(What::Settled(Some(outcome)));
    }
}

/// A round whose outcomes are complete.
#[derive(Debug, Clone)]
pub struct ClosedRound {
    /// What was asked.
    pub question: Arc<Question>,
    /// When the last outcome was there, at the latest the deadline.
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
    waiting: BTreeMap<ModelId, Waiting>,
    predictions: BTreeMap<ModelId, Prediction>,
    sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

/// Asked, and the outcome is not there yet.
struct Waiting {
    deployment_id: DeploymentId,
    has_arrived: bool,
}

impl Collector {
    /// A round that nobody has been asked in yet.
    pub fn new(question: Question, deadline: Timestamp) -> Self {
        let call = encode(&question);
        let (sender, news) = mpsc::unbounded_channel();
        Collector {
            question: Arc::new(question),
            call,
            deadline,
            waiting: BTreeMap::new(),
            predictions: BTreeMap::new(),
            sender,
            news,
        }
    }

    /// Which round.
    pub fn id(&self) -> RoundId {
        self.question.id
    }

    /// Adds a model to the field; its lane is to work off the ask.
    pub fn ask(&mut self, model_id: &ModelId, deployment_id: &DeploymentId) -> Ask {
        let waiting = Waiting { deployment_id: deployment_id.clone(), has_arrived: false };
        self.waiting.insert(model_id.clone(), waiting);
        Ask {
            question: Arc::clone(&self.question),
            call: self.call.clone(),
            deadline: self.deadline,
            model_id: model_id.clone(),
            round: Some(self.sender.clone()),
        }
    }

    /// Adds a model to the field that is not asked.
    pub fn note(&mut self, prediction: Prediction) {
        self.predictions.insert(prediction.model_id.clone(), prediction);
    }

    /// Waits until the round closes: every outcome is there, or the deadline has come. What had arrived by then is still
    /// checked, which takes its time but no model's. `why_silent` says what a model that has not answered is busy with;
    /// `arrived` is shown each outcome that a model gave, as it comes.
    pub async fn close(
        mut self,
        clock: &dyn Clock,
        why_silent: impl Fn(&ModelId) -> String,
        arrived: impl Fn(&Prediction),
    ) -> ClosedRound {
        let patience = self.deadline.since(clock.now());
        if tokio::time::timeout(patience, self.collect(&arrived)).await.is_err() {
            self.time_out_the_silent(why_silent, &arrived);
            self.collect(&arrived).await;
        }
        ClosedRound {
            closed_at: clock.now().min(self.deadline),
            question: self.question,
            predictions: self.predictions.into_values().collect(),
        }
    }

    async fn collect(&mut self, arrived: &impl Fn(&Prediction)) {
        while !self.waiting.is_empty() {
            let Some(news) = self.news.recv().await else { return };
            self.take(news, arrived);
        }
    }

    fn take(&mut self, News { model_id, what }: News, arrived: &impl Fn(&Prediction)) {
        match what {
            What::Arrived => {
                if let Some(waiting) = self.waiting.get_mut(&model_id) {
                    waiting.has_arrived = true;
                }
            }
            What::Settled(prediction) => {
                let Some(Waiting { deployment_id, .. }) = self.waiting.remove(&model_id) else { return };
                if let Some(mut prediction) = prediction {
                    prediction.deployment_id.get_or_insert(deployment_id);
                    arrived(&prediction);
                    self.predictions.insert(model_id, prediction);
                }
            }
        }
    }

    fn time_out_the_silent(
        &mut self,
        why_silent: impl Fn(&ModelId) -> String,
        arrived: &impl Fn(&Prediction),
    ) {
        // What arrived in the same moment still counts.
        while let Ok(news) = self.news.try_recv() {
            self.take(news, arrived);
        }
        let silent = self.waiting.extract_if(.., |_, waiting| !waiting.has_arrived);
        for (model_id, Waiting { deployment_id, .. }) in silent {
            let reason = why_silent(&model_id);
            let id = model_id.clone();
            let prediction =
                Prediction::unanswered(id, Some(deployment_id), PredictionStatus::Timeout, reason);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::{Asset, CrunchId, Method, SimulatedClock, Span, Target};
    use tokio::time::timeout;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(10);
    const BRIEF: Duration = Duration::from_millis(50);

    fn model(id: &str) -> ModelId {
        ModelId::new(id).unwrap()
    }

    fn success(id: &str) -> Prediction {
        let deployment = DeploymentId::new("checked").unwrap();
        Prediction {
            reason: None,
            ..Prediction::unanswered(model(id), Some(deployment), PredictionStatus::Success, "")
        }
    }

    /// A round that closes after a short while, and the asks of its field.
    fn round<const N: usize>(field: [&str; N]) -> (Collector, [Ask; N], SimulatedClock) {
        let crunch = CrunchId::new("condor").unwrap();
        let asset = Asset::new("BTC").unwrap();
        let (hour, at) = (Span::HOUR, Timestamp::default());
        let question =
            Question::new(&crunch, asset, hour, vec![hour], Method::Predict, Target::LogReturn, at);
        let clock = SimulatedClock::at(at + Span::seconds(1));
        let mut collector = Collector::new(question, clock.now() + BRIEF);
        let deployment = DeploymentId::new("d1").unwrap();
        let asks = field.map(|id| collector.ask(&model(id), &deployment));
        (collector, asks, clock)
    }

    async fn close(collector: Collector, clock: &SimulatedClock) -> ClosedRound {
        collector.close(clock, |id| format!("{id} is silent"), |_| {}).await
    }

    #[tokio::test]
    async fn an_answer_that_came_in_time_counts_although_its_check_ends_after_the_deadline() {
        let (collector, [checked, silent], clock) = round(["checked", "silent"]);
        let deadline = collector.deadline;
        checked.arrived();
        let mut closing = std::pin::pin!(close(collector, &clock));
        assert!(timeout(BRIEF * 4, &mut closing).await.is_err(), "the check is waited for");
        clock.set(deadline + Span::seconds(5));
        checked.settle(Some(success("checked")));
        // An answer to a question that has timed out is too late.
        silent.settle(Some(success("silent")));
        let closed = timeout(PATIENT, closing).await.unwrap();
        let outcomes: Vec<_> = closed
            .predictions
            .iter()
            .map(|it| (it.model_id.as_str(), it.status, it.reason.as_deref()))
            .collect();
        assert_eq!(
            outcomes,
            [
                ("checked", PredictionStatus::Success, None),
                ("silent", PredictionStatus::Timeout, Some("silent is silent"))
            ]
        );
        assert_eq!(closed.closed_at, deadline);
    }

    #[tokio::test]
    async fn a_check_that_is_lost_does_not_keep_the_round_open() {
        let (collector, [checked], clock) = round(["checked"]);
        checked.arrived();
        let mut closing = std::pin::pin!(close(collector, &clock));
        assert!(timeout(BRIEF * 4, &mut closing).await.is_err());
        drop(checked);
        let closed = timeout(PATIENT, closing).await.unwrap();
        assert_eq!(closed.counts().timeout, 1);
    }

    #[tokio::test]
    async fn a_round_without_a_field_closes_at_once() {
        let (collector, [], clock) = round([]);
        assert!(timeout(BRIEF, close(collector, &clock)).await.unwrap().predictions.is_empty());
    }

    #[tokio::test]
    async fn an_ask_knows_when_its_round_has_closed() {
        let (collector, [first, second], clock) = round(["1", "2"]);
        first.settle(None);
        assert!(second.is_open());
        let closed = close(collector, &clock).await;
        assert!(!second.is_open());
        assert_eq!(closed.counts().total(), 1, "a fault of ours leaves the model out");
    }
}
