//! A round of one hour in steps of ten minutes, in every state and with every outcome.

use std::sync::Arc;

use domain::{
    Asset, CrunchId, LedgerEntry, LedgerPosition, Method, ModelId, PredictionStatus, Price, SimulatedClock,
    Span, Target, TimestampExt,
};
use score_worker::ScoreWorker;
use scoring::{Expected, Limits, pack_answer};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::config::Config;

struct Game {
    store: Arc<dyn Store>,
    settings: ScoreSettings,
    question: Question,
    _folder: TempDir,
}

/// A text that only an answer holds.
const SECRET: &str = "0.0012345";

fn model_id(name: &str) -> ModelId {
    name.parse().unwrap()
}

fn answered(model: &str, scale: &str) -> Prediction {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": 0.0, "scale": {scale}}}}}"#);
    let text = format!("[{}]", [density.as_str(); 6].join(", "));
    let expected = Expected { horizon: Span::HOUR, steps: vec![Span::minutes(10)], method: Method::Predict };
    let (_, packed) = pack_answer(text.as_bytes(), &expected, &Limits::NONE).unwrap();
    Prediction {
        reason: None,
        answer: Some(packed.into()),
        ..Prediction::unanswered(model_id(model), None, PredictionStatus::Success, "")
    }
}

fn failed(model: &str) -> Prediction {
    let reason = format!("[0].params.scale: must be > 0, got -{SECRET}");
    Prediction::unanswered(model_id(model), None, PredictionStatus::Failed, reason)
}

impl Game {
    /// The round is closed: two valid answers, one that is not, one late, one not there.
    async fn closed() -> Self {
        let game = Self::empty().await;
        let late =
            Prediction::unanswered(model_id("late"), None, PredictionStatus::Timeout, "no answer in 50s");
        let away = Prediction::unanswered(model_id("away"), None, PredictionStatus::Absent, "does not run");
        let outcomes = [answered("sharp", SECRET), answered("wide", "0.02"), failed("wrong"), late, away];
        game.store.close_round(&game.question, game.question.performed_at, &outcomes).await.unwrap();
        game
    }

    /// The round is closed, its prices are there but for one, and it is scored.
    async fn scored() -> Self {
        let game = Self::closed().await;
        game.add_prices(1, &[(0, 100.0), (10, 100.1), (20, 100.3), (40, 100.2), (50, 100.4), (60, 100.5)])
            .await;
        game.add_prices(7, &[(70, 100.6)]).await;
        let clock = Arc::new(SimulatedClock::at(game.at(600)));
        let mut worker = ScoreWorker::new(game.settings.clone(), Arc::clone(&game.store), clock);
        assert_eq!(worker.run_once().await.unwrap().scored, 1);
        game
    }

    async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("game.db").display());
        let store = store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let (crunch, asset): (CrunchId, Asset) = ("condor".parse().unwrap(), "BTC".parse().unwrap());
        let start = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        let steps = vec![Span::minutes(10)];
        let question =
            Question::new(&crunch, asset, Span::HOUR, steps, Method::Predict, Target::LogReturn, start);
        Game { store, settings: settings(&Config::default()).unwrap(), question, _folder: folder }
    }

    fn at(&self, minute: u32) -> Timestamp {
        self.question.performed_at + Span::minutes(minute)
    }

    async fn add_prices(&self, first: u64, prices: &[(u32, f64)]) {
        let entries: Vec<LedgerEntry> = prices
            .iter()
            .zip(first..)
            .map(|(&(minute, price), position)| LedgerEntry {
                position: LedgerPosition(position),
                asset: self.question.asset.clone(),
                point: PricePoint { at: self.at(minute), price: Price::new(price).unwrap() },
                source: "made up".to_owned(),
            })
            .collect();
        self.store.append_prices(&entries, Timestamp::UNIX_EPOCH).await.unwrap();
    }

    async fn explain(&self, model: &str, minute: u32) -> anyhow::Result<Report> {
        let id = PredictionId { round_id: self.question.id, model_id: model_id(model) };
        report(&id, self.store.as_ref(), &self.settings, self.at(minute)).await
    }

    /// As JSON and as text.
    async fn told(&self, model: &str, minute: u32) -> (Value, String) {
        let report = self.explain(model, minute).await.unwrap();
        (serde_json::to_value(&report).unwrap(), table::text(&report))
    }
}

#[tokio::test]
async fn a_score_is_explained_to_the_bits_on_record() {
    let game = Game::scored().await;
    let (sharp, text) = game.told("sharp", 700).await;
    assert_eq!((&sharp["agrees"], &sharp["differences"]), (&Value::Bool(true), &Value::Array(vec![])));
    let explanation = &sharp["explanation"];
    assert_eq!(explanation["raw"], sharp["stored"]["raw"]);
    assert_eq!(explanation["place"]["relative"], 1.0);
    assert_eq!((&explanation["place"]["rank"], &explanation["place"]["field"]), (&1.into(), &5.into()));
    assert_eq!(sharp["rule"], "crps/1");
    let increments = explanation["steps"][0]["increments"].as_array().unwrap();
    let scores: Vec<f64> = increments.iter().filter_map(|increment| increment["score"].as_f64()).collect();
    assert_eq!((increments.len(), scores.len()), (6, 4));
    assert_eq!(increments[2]["left_out"], "no price for 00:30:00");
    assert_eq!(increments[0]["from_price"]["price"], 100.0);
    assert_eq!(increments[0]["to_price"]["at"], "2025-05-20T00:10:00Z");
    let mean = scores.iter().sum::<f64>() / 4.0;
    assert!((mean - explanation["raw"].as_f64().unwrap()).abs() < 1e-18);

    assert!(text.contains("on record   the same to the last bit\n"), "{text}");
    assert!(text.contains("rank 1 of 2 (lower is better)\n"), "{text}");
    assert!(text.contains("over 4 moves, 2 left out\n"), "{text}");
    assert_eq!(text.matches("left out: no price for 00:30:00\n").count(), 2, "{text}");
}

#[tokio::test]
async fn the_table_of_a_scored_prediction_can_be_read() {
    let game = Game::scored().await;
    let (_, text) = game.told("wide", 700).await;
    let table: Vec<&str> =
        text.lines().skip_while(|line| !line.starts_with("step 10m")).skip(1).take(4).collect();
    let expected = [
        "  #         from    price           to    price         move       cdf",
        "  1  20 00:00:00      100  20 00:10:00    100.1  0.000999500  0.519929",
        "  2  20 00:10:00    100.1  20 00:20:00    100.3   0.00199601  0.539749",
        "  3  20 00:20:00    100.3  20 00:30:00        -            -         -",
    ];
    assert_eq!(table.len(), expected.len());
    for (line, expected) in table.iter().zip(expected) {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(line)[..7], words(expected)[..7], "{text}");
    }
    let column = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
    assert_eq!(column(table[0], "price"), column(table[1], "100"), "columns are in line:\n{text}");
}

/// Nothing of it counts: neither against its model nor among the others.
#[tokio::test]
async fn a_stored_answer_that_cannot_be_read_is_said_to_be_left_out_for_a_fault_of_ours() {
    let game = Game::empty().await;
    let damaged = Prediction { answer: Some(vec![1, 2, 3].into()), ..answered("damaged", SECRET) };
    let outcomes = [damaged, answered("sharp", SECRET), answered("wide", "0.02")];
    game.store.close_round(&game.question, game.question.performed_at, &outcomes).await.unwrap();
    game.add_prices(1, &[0, 10, 20, 30, 40, 50, 60, 70].map(|minute| (minute, 100.0 + f64::from(minute))))
        .await;
    let clock = Arc::new(SimulatedClock::at(game.at(70)));
    let mut worker = ScoreWorker::new(game.settings.clone(), Arc::clone(&game.store), clock);
    assert_eq!(worker.run_once().await.unwrap().predictions, 2);

    let (json, text) = game.told("damaged", 80).await;
    assert_eq!((&json["stored"], &json["agrees"]), (&Value::Null, &Value::Null));
    let reason = json["explanation"]["left_out"].as_str().unwrap();
    assert!(reason.starts_with("the stored answer is damaged: "), "{reason}");
    let line = format!("score       none: the round leaves it out, for a fault of ours ({reason})\n");
    assert!(text.contains(&line), "{text}");
    let (wide, _) = game.told("wide", 80).await;
    assert_eq!((&wide["explanation"]["place"]["field"], &wide["agrees"]), (&2.into(), &Value::Bool(true)));
}

#[tokio::test]
async fn whoever_has_no_valid_answer_is_told_why_and_what_it_counts() {
    let game = Game::scored().await;
    for (model, status, reason) in [
        ("wrong", "FAILED", "[0].params.scale: must be > 0"),
        ("late", "TIMEOUT", "no answer in 50s"),
        ("away", "ABSENT", "does not run"),
    ] {
        let (json, text) = game.told(model, 700).await;
        assert_eq!((&json["outcome"]["status"], &json["agrees"]), (&status.into(), &Value::Bool(true)));
        assert!(json["outcome"]["reason"].as_str().unwrap().starts_with(reason), "{json}");
        assert_eq!((&json["explanation"]["raw"], &json["stored"]["relative"]), (&Value::Null, &0.0.into()));
        assert!(text.contains(&format!("outcome     {status}: {reason}")), "{text}");
        assert!(text.contains("relative    0, as for everybody without a valid answer"), "{text}");
    }
}

/// Invariant 9: nobody sees an open round's answers, nor what a refusal quotes of them.
#[tokio::test]
async fn nothing_of_an_answer_is_told_before_its_round_has_resolved() {
    let game = Game::closed().await;
    game.add_prices(1, &[(0, 100.0), (10, 100.1)]).await;
    for model in ["sharp", "wrong"] {
        let (json, text) = game.told(model, 59).await;
        assert!(!json.to_string().contains(SECRET) && !text.contains(SECRET), "{json}\n{text}");
        assert_eq!((&json["explanation"], &json["stored"]), (&Value::Null, &Value::Null));
        assert!(json["outcome"]["status"].is_string());
        assert!(text.contains("open until 2025-05-20T01:00:00Z"), "{text}");
    }
    let (_, text) = game.told("wrong", 60).await;
    assert!(text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn a_round_that_is_not_scored_yet_says_what_it_waits_for_and_what_it_will_come_to() {
    let game = Game::closed().await;
    let (json, text) = game.told("sharp", 61).await;
    assert_eq!(json["explanation"], Value::Null);
    assert!(
        text.contains("resolved but not scored yet: it waits for the price of 2025-05-20T00:00:00Z"),
        "{text}"
    );
    game.add_prices(1, &[0, 10, 20, 30, 40, 50, 60, 70].map(|minute| (minute, 100.0))).await;
    let (json, text) = game.told("sharp", 71).await;
    assert!(json["explanation"]["raw"].is_number());
    assert_eq!((&json["agrees"], &json["stored"]), (&Value::Null, &Value::Null));
    assert!(text.contains("this is what the score worker will come to"), "{text}");
}

#[tokio::test]
async fn rounds_that_count_for_nobody_say_so() {
    let game = Game::closed().await;
    game.store
        .void_round(game.question.id, "crps/1", LedgerPosition::START, game.at(70), "no prices")
        .await
        .unwrap();
    let (json, text) = game.told("sharp", 71).await;
    assert_eq!(json["explanation"], Value::Null);
    assert!(text.contains("void: it counts for nobody (no prices)"), "{text}");

    let missed = Game::empty().await;
    let slot = std::slice::from_ref(&missed.question);
    missed.store.record_missed(slot, "no fresh price", missed.at(0)).await.unwrap();
    let (json, text) = missed.told("sharp", 71).await;
    assert_eq!(json["outcome"], Value::Null);
    assert!(text.contains("missed: it was never asked and counts for nobody (no fresh price)"), "{text}");
}

#[tokio::test]
async fn a_corrected_price_is_a_difference_in_words() {
    let game = Game::scored().await;
    game.add_prices(8, &[(20, 100.9)]).await;
    let (json, text) = game.told("sharp", 700).await;
    assert_eq!(json["agrees"], false);
    let differences = json["differences"].as_array().unwrap();
    let (last, numbers) = differences.split_last().unwrap();
    assert!(
        numbers.iter().any(|difference| difference.as_str().unwrap().starts_with("raw score: ")),
        "{json}"
    );
    assert_eq!(
        last,
        "the rule is the same: since it was scored prices have come or were corrected, or the program has changed"
    );
    assert!(text.contains("on record   raw score: "), "{text}");
}

#[tokio::test]
async fn a_sum_and_a_scale_are_told() {
    let mut game = Game::scored().await;
    let (_, text) = game.told("sharp", 700).await;
    assert!(text.contains("\n            the mean over the steps of the mean over their moves\n"), "{text}");
    game.settings.scoring.aggregation = scoring::Aggregation::Sum;
    game.settings.scoring.asset_scales.insert(game.question.asset.clone(), 0.5);
    let (json, text) = game.told("sharp", 700).await;
    assert!(
        text.contains("the sum over all moves of all steps, divided by the asset's scale of 0.5\n"),
        "{text}"
    );
    let (raw, mean) = (&json["explanation"]["raw"], &json["explanation"]["steps"][0]["mean"]);
    assert!((raw.as_f64().unwrap() - mean.as_f64().unwrap() * 4.0 / 0.5).abs() < 1e-17, "{json}");
}

#[tokio::test]
async fn another_rule_is_a_difference_in_words() {
    let mut game = Game::scored().await;
    game.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
    let (json, _) = game.told("sharp", 700).await;
    let differences = json["differences"].as_array().unwrap();
    assert_eq!(
        differences.last().unwrap(),
        "it was scored under crps/1, the settings in force are log_score/1"
    );
    assert_eq!(json["explanation"]["place"]["cap"], Value::Null, "a rule that can be negative has no cap");
}

#[tokio::test]
async fn unknown_rounds_and_models_are_errors_with_a_cure() {
    let game = Game::closed().await;
    let error = game.explain("nobody", 70).await.unwrap_err().to_string();
    assert!(error.ends_with("choose one of away, late, sharp, wide, wrong"), "{error}");
    let other = Game { question: Game::empty().await.question, ..Game::empty().await };
    let error = other.explain("sharp", 70).await.unwrap_err().to_string();
    assert!(error.ends_with("`condor db export rounds --json` prints those that are stored"), "{error}");
}
