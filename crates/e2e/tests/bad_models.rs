//! A fleet with bad models: the others' predictions are stored on time in every round, and each bad one has its status
//! and a reason.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeMap;
use std::time::Duration;

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

/// Runs the game for a while and gives each closed round with its predictions.
fn play(database: &str, orchestrator_url: &str) -> Vec<(Value, BTreeMap<String, Value>)> {
    let base = orchestrator_url.trim_end_matches("/condor");
    let game = Game::new(tempfile::tempdir().unwrap(), database, base);
    let predict = game.start("predict");
    std::thread::sleep(Duration::from_secs(20));
    assert!(predict.terminate(Duration::from_secs(20)).success());
    let predictions = game.export("predictions");
    let closed = game.export("rounds").into_iter().filter(|round| round["state"] == "closed");
    closed
        .map(|round| {
            let of_round =
                predictions.iter().filter(|prediction| prediction["round_id"] == round["round_id"]);
            let by_model = of_round
                .map(|prediction| (prediction["model_id"].as_str().unwrap().to_owned(), prediction.clone()));
            (round.clone(), by_model.collect())
        })
        .collect()
}

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
        let expect = |name: &str, status: &str, reason: &str| {
            let prediction = &predictions[name];
            assert_eq!(prediction["status"], status, "{kind}: {prediction}");
            let stated = prediction["reason"].as_str().unwrap();
            assert!(stated.contains(reason), "{kind}: {name} is told `{stated}`, not `{reason}`");
        };
        expect("hangs", "TIMEOUT", "busy with tick");
        expect("raises", "FAILED", "no forecast today");
        expect("huge", "FAILED", "4194304");
        expect("nan", "FAILED", "NaN");
        expect("text", "FAILED", "JSON");
    }
}
