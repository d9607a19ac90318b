//! A fleet with bad models: the others' predictions are stored on time in every round, and each bad one has its status
//! and a reason; after a while it is no longer asked in each round, and told why.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Clock, SystemClock};
use e2e::{Game, databases, instant};
use serde_json::Value;
use testkit::{Behaviour, FakeModel, FakeOrchestrator};

const GOOD: [&str; 3] = ["good-1", "good-2", "good-3"];

/// What the game asks for, as Python writes it.
fn four_densities(scale: &str) -> String {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": 0.0, "scale": {scale}}}}}"#);
    format!("[{}]", vec![density; 4].join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_models_never_touch_the_others() {
    let root = tempfile::tempdir().unwrap();
    for database in databases(root.path(), "bad_models").await {
        let orchestrator = FakeOrchestrator::start().await;
        let behaviours = [
            ("hangs", Behaviour::never_answer()),
            ("raises", Behaviour::raise("no forecast today")),
            ("huge", Behaviour::huge(100_000_000)),
            ("nan", Behaviour::answer(four_densities("NaN"))),
            ("text", Behaviour::text("tomorrow it will rain")),
        ];
        let mut models: Vec<(&str, FakeModel)> = Vec::new();
        for (name, behaviour) in behaviours {
            models.push((name, FakeModel::start(behaviour).await));
        }
        for name in GOOD {
            models.push((name, FakeModel::start(Behaviour::answer(four_densities("0.001"))).await));
        }
        orchestrator
            .announce(models.iter().map(|(name, model)| model.running(name, &format!("start-of-{name}"))));
        let url = orchestrator.url();
        let kind = database.kind;
        let rounds = tokio::task::spawn_blocking(move || play(&database.url, &url)).await.unwrap();
        check(&rounds, kind);
    }
}

/// Runs the game for a while and gives each round that had its whole time, with its predictions.
fn play(database: &str, orchestrator_url: &str) -> Vec<(Value, BTreeMap<String, Value>)> {
    let base = orchestrator_url.trim_end_matches("/condor");
    let game = Game::new(tempfile::tempdir().unwrap(), database, base);
    let predict = game.start("predict");
    std::thread::sleep(Duration::from_secs(20));
    // A worker that is told to stop puts no more questions: who was busy until then has no part in the rounds in flight.
    let stopped = SystemClock.now();
    assert!(predict.terminate(Duration::from_secs(20)).success());
    let predictions = game.export("predictions");
    let had_its_time = |round: &Value| instant(round, "performed_at") + Game::CALL_TIMEOUT < stopped;
    let rounds = game.export("rounds").into_iter();
    rounds
        .filter(|round| round["state"] == "closed" && had_its_time(round))
        .map(|round| {
            let of_round =
                predictions.iter().filter(|prediction| prediction["round_id"] == round["round_id"]);
            let by_model = of_round
                .map(|prediction| (prediction["model_id"].as_str().unwrap().to_owned(), prediction.clone()));
            (round.clone(), by_model.collect())
        })
        .collect()
}

/// What is wrong with each bad model, as its outcomes tell it.
const BAD: [(&str, &str, &str); 5] = [
    ("hangs", "TIMEOUT", "busy with tick"),
    ("raises", "FAILED", "no forecast today"),
    ("huge", "FAILED", "4194304"),
    ("nan", "FAILED", "NaN"),
    ("text", "FAILED", "JSON"),
];

fn check(rounds: &[(Value, BTreeMap<String, Value>)], kind: &str) {
    assert!(rounds.len() >= 8, "{kind}: only {} rounds were closed", rounds.len());
    for (round, predictions) in rounds {
        assert_eq!(predictions.len(), 8, "{kind}: every model has an outcome in {round}");
        for name in GOOD {
            let prediction = &predictions[name];
            assert_eq!(prediction["status"], "SUCCESS", "{kind}: {prediction}");
            let deadline = instant(round, "performed_at") + Game::CALL_TIMEOUT;
            assert!(instant(prediction, "received_at") < deadline, "{kind}: {prediction}");
        }
    }
    BAD.into_iter().for_each(|bad| check_bad(rounds, bad, kind));
}

/// Each round tells the model's own fault, or that it was not asked because of it.
fn check_bad(
    rounds: &[(Value, BTreeMap<String, Value>)],
    (name, status, fault): (&str, &str, &str),
    kind: &str,
) {
    let mut own = 0;
    for (_, predictions) in rounds {
        let prediction = &predictions[name];
        let reason = prediction["reason"].as_str().unwrap();
        let is_own = prediction["status"] == status && reason.contains(fault);
        let was_spared = prediction["status"] == "ABSENT"
            && ["cooling down after", "reported as MULTIPLE_"].iter().any(|cause| reason.contains(cause));
        assert!(is_own || was_spared, "{kind}: {prediction}");
        own += usize::from(is_own);
    }
    assert!(own >= 3, "{kind}: {name} was told of its own fault in {own} of {} rounds", rounds.len());
}
