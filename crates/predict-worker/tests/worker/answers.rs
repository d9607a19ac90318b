//! One round, and what models answer.

use std::time::Duration;

use domain::PredictionStatus::{Absent, Failed, Success, Timeout};
use domain::{RoundState, Stopwatch};
use protocol::{Value, status};
use testkit::{Behaviour, Reply, soon};

use crate::world::{World, assert_outcome, at, field, four_densities, good, of, text};

fn status_reply(code: &'static str) -> Behaviour {
    Behaviour::new(move |_, _| Reply::Status { code, message: "why".into() }).only_on("predict")
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_answers_are_stored_packed_and_close_the_round_at_once() {
    let mut world = World::new().await;
    world.settings.call_timeout = domain::Span::minutes(1);
    let spaced = four_densities().replace(", ", " ,\n  ");
    let _models = [
        world.model("good", good()).await,
        world.model("spaced", Behaviour::answer(spaced.clone())).await,
        world.model("slow", Behaviour::answer_late(Duration::from_millis(200), four_densities())).await,
    ];
    let worker = world.worker().await;
    worker.play_one(0).await;

    let stored = world.stored("BTC", 0).await;
    assert_eq!(stored.record.state, RoundState::Closed);
    assert_eq!(stored.record.closed_at, Some(at(0)));
    assert_eq!((stored.record.counts.success, stored.record.counts.total()), (3, 3));
    assert_eq!(field(&stored.predictions), ["good", "slow", "spaced"]);
    for prediction in &stored.predictions {
        assert_eq!(prediction.status, Success, "{prediction:?}");
        let deployment = prediction.deployment_id.as_ref().map(|id| id.to_string());
        assert_eq!(deployment, Some(format!("{}-d1", prediction.model_id)));
        assert_eq!(prediction.received_at, Some(at(0)));
    }
    for prediction in &stored.predictions {
        let sent = if prediction.model_id.as_str() == "spaced" { &spaced } else { &four_densities() };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(json(&text(prediction)), json(sent));
    }
    let answer = |name| of(&stored.predictions, name).answer.as_ref().unwrap();
    assert_eq!(answer("slow"), answer("good"), "the same bytes for the same text");
    assert!(answer("good").as_bytes().len() < four_densities().len() / 2);
    assert!(of(&stored.predictions, "slow").took >= Some(Duration::from_millis(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_model_has_its_status_and_reason_and_touches_nobody_else() {
    let world = World::new().await;
    let one_density = r#"[{"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}]"#;
    let bad = [
        ("hangs", Behaviour::never_answer().only_on("predict"), Timeout, "no answer"),
        ("hangs-in-ticks", Behaviour::never_answer(), Timeout, "busy with tick"),
        ("late", Behaviour::answer_late(Duration::from_millis(1500), four_densities()), Timeout, "no answer"),
        (
            "raises",
            Behaviour::raise("ValueError: no data"),
            Failed,
            "raised (MODEL_FAILED): ValueError: no data",
        ),
        ("has-no-predict", status_reply(status::BAD_IMPLEMENTATION), Failed, "bad implementation: why"),
        ("huge", Behaviour::huge(2_000_000), Failed, "too large: the answer has "),
        ("nan", Behaviour::answer(four_densities().replace("0.001", "NaN")), Failed, "scale"),
        ("words", Behaviour::text("rain"), Failed, "answered a STRING, expected JSON"),
        ("nothing", Behaviour::new(|_, _| Reply::Value(Value::None)), Failed, "answered nothing (None)"),
        ("no-json", Behaviour::answer("[{]"), Failed, "JSON"),
        ("garbage", Behaviour::garbage(), Failed, "no message of this protocol"),
        ("too-few", Behaviour::answer(one_density), Failed, "expected 4 densities, got 1"),
    ];
    let mut models = vec![world.model("good-1", good()).await];
    for (name, behaviour, _, _) in &bad {
        models.push(world.model(name, behaviour.clone()).await);
    }
    models.push(world.model("good-2", good()).await);
    let worker = world.worker().await;
    for minute in [0, 2] {
        let rounds = worker.open(minute).await;
        let watch = Stopwatch::start();
        crate::world::closed(rounds).await;
        assert!(watch.elapsed() < Duration::from_millis(1500), "a round closes at its deadline");
        worker.flush().await;
        let stored = world.stored("BTC", minute).await;
        assert_eq!(stored.predictions.len(), bad.len() + 2);
        for name in ["good-1", "good-2"] {
            assert_eq!(of(&stored.predictions, name).status, Success);
        }
        for (name, _, status, reason) in &bad {
            let reason = match *name {
                "late" if minute > 0 => "",
                "hangs" if minute > 0 => "busy with predict",
                _ => reason,
            };
            assert_outcome(&stored.predictions, name, *status, reason);
        }
    }
    let stored = world.stored("BTC", 0).await;
    let refused = |name| of(&stored.predictions, name).refused.as_deref();
    assert_eq!(refused("too-few"), Some(one_density));
    assert_eq!(refused("no-json"), Some("[{]"));
    assert_eq!(refused("good-1"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_ours_leaves_the_model_out_of_the_round() {
    let world = World::new().await;
    let _models = [
        world.model("good", good()).await,
        world.model("refuses", status_reply(status::INVALID_ARGUMENT)).await,
    ];
    let worker = world.worker().await;
    assert_eq!(field(&worker.play_one(0).await.predictions), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_connection_breaks_before_it_answers_is_absent_with_the_cause() {
    let world = World::new().await;
    let model = world.model("dies", Behaviour::never_answer().only_on("predict")).await;
    let worker = world.worker().await;
    let rounds = worker.open(0).await;
    model.received(3).await;
    model.stop().await;
    let round = &crate::world::closed(rounds).await[0];
    assert_outcome(&round.predictions, "dies", Absent, "cannot be reached: ");
    // Nobody listens there any more.
    assert_outcome(&worker.play_one(2).await.predictions, "dies", Absent, "cannot connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_of_an_instant_is_put_to_every_model_in_configuration_order() {
    let world = World::with_two_assets().await;
    let model = world.model("good", good()).await;
    let worker = world.worker().await;
    let rounds = worker.play(0).await;
    let asked: Vec<String> = rounds.iter().map(|round| round.question.asset.to_string()).collect();
    assert_eq!(asked, ["BTC", "ETH"]);
    assert!(rounds.iter().all(|round| round.counts().success == 1));
    let told = crate::world::told(&model);
    assert_eq!(told, ["Setup", "tick BTC -10..0, ETH -10..0", "predict BTC", "predict ETH"]);
    soon("the lanes are idle", worker.idle()).await;
}
