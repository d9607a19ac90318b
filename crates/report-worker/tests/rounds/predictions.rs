//! One round, the predictions in it, and why they have the scores that they have.

use report_worker::AnswersTo;
use serde_json::{Value, json};

use crate::world::{SCORED, World, later, open, score, scored};

fn of_round(question: &domain::Question, rest: &str) -> String {
    format!("/api/v1/rounds/{}{rest}", question.id)
}

fn row<'a>(answer: &'a Value, model: &str) -> &'a Value {
    answer["predictions"].as_array().unwrap().iter().find(|row| row["model_id"] == model).unwrap()
}

#[tokio::test]
async fn a_round_tells_its_prices_once_it_has_resolved() {
    let world = World::new().await;
    let before = world.get(&of_round(&open(), "")).await;
    assert_eq!((&before["prices"], &before["round"]["state"]), (&Value::Null, &json!("closed")));
    let after = world.get(&of_round(&scored(), "")).await;
    let prices = after["prices"].as_array().unwrap();
    let instants: Vec<&str> = prices.iter().map(|price| price["instant"].as_str().unwrap()).collect();
    let expected = ["20:00", "20:20", "20:40", "21:00"].map(|time| format!("2025-05-28T{time}:00Z"));
    assert_eq!(instants, expected);
    assert_eq!((&prices[0]["at"], &prices[0]["price"]), (&json!("2025-05-28T20:00:00Z"), &json!(103.0)));
    assert_eq!(world.problem("/api/v1/rounds/0196eafd-7000-8b01-8009-2862c22b03f7").await.0, 404);
    assert_eq!(world.problem("/api/v1/rounds/none").await.0, 400);
}

#[tokio::test]
async fn before_a_round_has_resolved_status_and_latency_of_its_predictions_are_told() {
    let world = World::new().await;
    let answer = world.get(&of_round(&open(), "/predictions")).await;
    let told = |model| {
        let row = row(&answer, model);
        json!([
            row["status"],
            row["cause"],
            row["took_ms"],
            row["reason"],
            row["raw"],
            row["relative"],
            row["rank"]
        ])
    };
    assert_eq!(told("alpha"), json!(["SUCCESS", null, 1234.5, null, null, null, null]));
    assert_eq!(told("beta"), json!(["FAILED", "refused", 1234.5, null, null, null, null]));
    assert_eq!(told("delta"), json!(["ABSENT", "absent", null, null, null, null, null]));
    assert_eq!(told("late"), json!(["TIMEOUT", "late", null, null, null, null, null]));
    let one = world.get(&of_round(&open(), "/predictions/beta")).await;
    assert_eq!(
        (&one["hidden"], &one["reason"], &one["refused"]),
        (&json!("not_resolved"), &Value::Null, &Value::Null)
    );
    assert!(one["standing"].as_str().unwrap().starts_with("open until 2025-05-29T00:30:00Z"), "{one}");
}

#[tokio::test]
async fn afterwards_everybodys_scores_and_ranks_are_told() {
    let world = World::new().await;
    let answer = world.get(&of_round(&scored(), "/predictions")).await;
    let ranks = ["alpha", "beta", "coarse", "delta", "late"].map(|model| row(&answer, model)["rank"].clone());
    assert_eq!(ranks.to_vec(), [json!(1), Value::Null, json!(2), Value::Null, Value::Null]);
    assert_eq!(row(&answer, "alpha")["relative"], json!(1.0));
    assert_eq!(row(&answer, "delta")["reason"], json!("it does not run"));
    assert_eq!(row(&answer, "alpha")["model_name"], json!("the alpha"));
    let first = world.get(&of_round(&scored(), "/predictions?limit=3")).await;
    let cursor = first["next"].as_str().unwrap();
    let rest = world.get(&of_round(&scored(), &format!("/predictions?limit=3&cursor={cursor}"))).await;
    let models: Vec<&Value> = [&first, &rest]
        .iter()
        .flat_map(|part| part["predictions"].as_array().unwrap())
        .map(|row| &row["model_id"])
        .collect();
    assert_eq!(models, ["alpha", "beta", "coarse", "delta", "late"]);
    assert_eq!((row(&rest, "delta")["rank"].clone(), rest["next"].clone()), (Value::Null, Value::Null));
    let table = world.ask(&of_round(&scored(), "/predictions?format=csv")).await.text().await.unwrap();
    assert_eq!(table.lines().count(), 6);
    assert!(table.starts_with(
        "model_id,deployment_id,status,cause,received_at,took_ms,rank,raw,relative\r\nalpha,d-1,SUCCESS,,"
    ));
}

#[tokio::test]
async fn why_a_prediction_has_its_score_agrees_with_the_record() {
    let world = World::new().await;
    let why = world.get(&of_round(&scored(), "/predictions/alpha")).await;
    assert_eq!(
        (&why["agrees"], &why["differences"], &why["hidden"]),
        (&json!(true), &json!([]), &Value::Null)
    );
    assert_eq!(
        (&why["place"]["rank"], &why["place"]["valid"], &why["place"]["field"]),
        (&json!(1), &json!(2), &json!(5))
    );
    assert_eq!(why["standing"], "scored at 2025-05-28T21:00:00Z under crps/1");
    let increments = why["explanation"]["steps"][0]["increments"].as_array().unwrap();
    assert_eq!(increments.len(), 3);
    assert_eq!((&increments[0]["from_price"], &increments[0]["to_price"]), (&json!(103.0), &json!(102.0)));
    let mean = increments.iter().map(|increment| increment["score"].as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((mean - why["score"]["raw"].as_f64().unwrap()).abs() < 1e-15);
    assert_eq!(why["score"]["steps"][0]["step"], "20m");

    let silent = world.get(&of_round(&scored(), "/predictions/late")).await;
    assert_eq!((&silent["agrees"], &silent["score"]["relative"]), (&json!(true), &json!(0.0)));
    assert_eq!((&silent["reason"], &silent["received_at"]), (&json!("no answer within 50 s"), &Value::Null));
    assert_eq!(silent["explanation"]["steps"][0]["increments"][0]["cdf"], Value::Null);
    let (status, detail) = world.problem(&of_round(&scored(), "/predictions/nobody")).await;
    assert_eq!(status, 404, "{detail}");
    let can_be_no_id = of_round(&scored(), "/predictions/a%0Ab");
    assert_eq!(world.problem(&can_be_no_id).await.0, 404);
}

#[tokio::test]
async fn a_round_that_has_resolved_is_explained_before_it_is_scored() {
    let world = World::new().await;
    world.clock.set(later());
    let path = of_round(&open(), "/predictions/alpha");
    let before = world.get(&path).await;
    assert_eq!(
        (&before["score"], &before["place"], &before["agrees"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(before["standing"].as_str().unwrap().starts_with("resolved but not scored yet"), "{before}");
    let raw = before["explanation"]["raw"].as_f64().unwrap();
    score(&world.store, &open()).await;
    let after = world.get(&path).await;
    assert_eq!((after["score"]["raw"].as_f64(), &after["agrees"]), (Some(raw), &json!(true)));
}

#[tokio::test]
async fn what_was_refused_is_not_for_others_than_its_owner() {
    let world = World::new().await;
    let answer = world.get(&of_round(&scored(), "/predictions/beta")).await;
    assert_eq!((&answer["refused"], &answer["hidden"]), (&Value::Null, &Value::Null));
    assert!(answer["reason"].as_str().unwrap().contains(SCORED.refused));
}

#[tokio::test]
async fn bands_show_an_answer_against_what_happened() {
    let world = World::new().await;
    let bands = world.get(&of_round(&scored(), "/bands?models=alpha,late,nobody,coarse")).await;
    let models = bands["models"].as_array().unwrap();
    let shown: Vec<Value> =
        models.iter().map(|model| json!([model["model_id"], model["steps"].is_array()])).collect();
    assert_eq!(shown, [json!(["alpha", true]), json!(["late", false]), json!(["coarse", true])]);
    let alpha = &models[0]["steps"][0];
    assert_eq!((&alpha["step"], alpha["quantiles"].as_array().unwrap().len()), (&json!("20m"), 3));
    assert!((alpha["quantiles"][0][2].as_f64().unwrap() - 0.000_123_456_75).abs() < 1e-15);
    let moves = &bands["moves"][0];
    assert_eq!(moves["ends"][2], "2025-05-28T21:00:00Z");
    assert!((moves["moves"][0].as_f64().unwrap() - (102.0_f64 / 103.0).ln()).abs() < 1e-15);
    assert_eq!(bands["levels"], json!([0.05, 0.25, 0.5, 0.75, 0.95]));

    let before = world.get(&of_round(&open(), "/bands?models=alpha")).await;
    assert_eq!(
        (&before["models"][0]["steps"], &before["models"][0]["hidden"]),
        (&Value::Null, &json!("not_resolved"))
    );
    assert_eq!(before["moves"], Value::Null);
    let many = (0..11).map(|i| format!("m{i}")).collect::<Vec<_>>().join(",");
    for models in ["", &many, "a,,b", "a,a"] {
        assert_eq!(
            world.problem(&of_round(&scored(), &format!("/bands?models={models}"))).await.0,
            400,
            "{models}"
        );
    }
}

#[tokio::test]
async fn answers_are_shown_to_whom_the_setting_says() {
    let world = World::new().await;
    let bands = of_round(&scored(), "/bands?models=alpha");
    let why = of_round(&scored(), "/predictions/alpha");
    for (answers, expected) in
        [(AnswersTo::Public, true), (AnswersTo::Owner, false), (AnswersTo::None, false)]
    {
        world.show_answers_to(answers);
        let shown = world.get(&bands).await.to_string().contains(SCORED.mean);
        let increment = world.get(&why).await["explanation"]["steps"][0]["increments"][0].clone();
        let told = [shown, increment["cdf"].is_number(), increment["score"].is_number()];
        assert_eq!(told, [expected; 3], "{answers:?}");
    }
    let hidden = world.get(&of_round(&scored(), "/predictions/beta")).await;
    assert_eq!(
        (&hidden["hidden"], &hidden["reason"], &hidden["cause"]),
        (&json!("not_yours"), &Value::Null, &json!("refused"))
    );
    let row = row(&world.get(&of_round(&scored(), "/predictions")).await, "beta").clone();
    assert_eq!((&row["reason"], &row["relative"]), (&Value::Null, &json!(0.0)), "scores are everybody's");
}

#[tokio::test]
async fn answers_in_another_unit_are_doubted_for_those_who_may_see_them() {
    let world = World::new().await;
    let doubts = async |model: &str, viewer| {
        let answer = world.ask_with(&format!("/api/v1/models/{model}"), viewer).await;
        answer.json::<Value>().await.unwrap()["unit_doubts"].take()
    };
    assert_eq!(doubts("alpha", None).await, json!([]), "a scale of 0.01 is a log return");
    assert_eq!(doubts("delta", None).await, json!([]), "it never answered");
    let doubted = doubts("coarse", None).await;
    let [doubt] = &doubted.as_array().unwrap()[..] else { panic!("{doubted}") };
    assert_eq!(
        json!([doubt["asset"], doubt["asked"], doubt["looks_like"]]),
        json!(["BTC", "log_return", "price_change"])
    );
    assert!((doubt["median_scale"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{doubt}");

    world.show_answers_to(AnswersTo::Owner);
    assert_eq!(doubts("alpha", Some("bob")).await, Value::Null);
    assert_eq!(doubts("coarse", None).await, Value::Null);
    assert_eq!(doubts("coarse", Some("admin")).await, doubted);
    world.show_answers_to(AnswersTo::None);
    assert_eq!(doubts("coarse", Some("admin")).await, Value::Null);
}

#[tokio::test]
async fn no_doubt_is_told_of_answers_whose_round_is_open() {
    let world = World::new().await;
    world.clock.set(scored().performed_at);
    let answer = world.get("/api/v1/models/coarse").await;
    assert_eq!(answer["unit_doubts"], Value::Null, "{answer}");
}
