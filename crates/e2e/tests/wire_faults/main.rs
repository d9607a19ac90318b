//! Faults on the wire, against the real binary: no round is late, no model is lost for longer than its own fault, memory stays
//! flat, and each fault is told with model and reason in the log and in the outcomes.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

mod broken_nodes;
mod credentials;
mod cuts;
mod killed_nodes;
mod play;

use testkit::{Behaviour, FakeModel};

/// A valid answer to what the game asks for.
fn four_densities() -> String {
    let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.001}}"#;
    format!("[{}]", [density; 4].join(", "))
}

/// Models with these names that all behave alike.
async fn models(names: &[String], behaviour: Behaviour) -> Vec<(String, FakeModel)> {
    let mut models = Vec::new();
    for name in names {
        models.push((name.clone(), FakeModel::start(behaviour.clone()).await));
    }
    models
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}-{number}")).collect()
}

/// The deployment that a model is announced with first.
fn first_start(name: &str) -> String {
    format!("start-of-{name}")
}
