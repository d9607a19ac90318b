//! Models that think for a while, and who announces them.

use std::time::Duration;

use testkit::{Behaviour, FakeModel, FakeOrchestrator};

use crate::{Question, questions};

/// Long enough that many a kill hits a round in flight without any answer.
const QUICKEST: Duration = Duration::from_millis(500);
/// Short enough to be in time on a busy machine.
const SLOWEST: Duration = Duration::from_millis(900);

/// Models on ports of their own that answer every question, the first soon and the last late.
pub struct Crowd {
    orchestrator: FakeOrchestrator,
    models: Vec<(String, FakeModel)>,
}

impl Crowd {
    /// Starts so many models, at least one.
    pub async fn start(count: usize) -> Self {
        let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": SCALE}}"#;
        let orchestrator = FakeOrchestrator::start().await;
        let mut models = Vec::new();
        for number in 0..count {
            let thinks = QUICKEST + (SLOWEST - QUICKEST) * number as u32 / count as u32;
            // Each has a score of its own.
            let density = density.replace("SCALE", &format!("{:.7}", 1e-3 + 1e-6 * number as f64));
            let answer = format!("[{}]", [density.as_str(); 4].join(", "));
            let model = FakeModel::start(Behaviour::answer_late(thinks, answer)).await;
            models.push((format!("model-{number:03}"), model));
        }
        orchestrator.announce(models.iter().map(|(id, model)| model.running(id, &format!("start-of-{id}"))));
        Crowd { orchestrator, models }
    }

    /// What a coordinator connects to, without the crunch: `ws://127.0.0.1:PORT`.
    pub fn orchestrator_url(&self) -> String {
        self.orchestrator.url()
    }

    /// Every question that was answered so far, and by which model.
    pub fn questions(&self) -> Vec<(&str, Question)> {
        let by_model = self.models.iter().map(|(id, model)| (id.as_str(), questions(model)));
        by_model.flat_map(|(id, questions)| questions.into_iter().map(move |it| (id, it))).collect()
    }
}
