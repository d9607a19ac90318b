//! `condor backtest`: what a participant sees of a model, of a bad one above all.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::{condor, json_lines};
use serde_json::Value;
use tempfile::TempDir;

/// The example that every reader of the guide begins with.
const PLAIN: &str = include_str!("../../../python/examples/plain/main.py");

const GUIDE: &str = include_str!("../../../docs/writing-a-model.md");

/// A submission in a folder of this name, which goes with the first part.
fn submission(name: &str, code: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("main.py"), code).unwrap();
    (parent, folder)
}

/// A day of BTC on the simulated market.
fn backtest(submission: &Path, arguments: &[&str]) -> Output {
    let mut command = condor(["backtest", "--days", "1", "--assets", "BTC"]);
    command.arg(submission).args(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    json_lines(std::str::from_utf8(&output.stdout).unwrap())
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The row of the rounds of an hour, and the summary.
fn hour_and_summary(output: &Output) -> (Value, Value) {
    let lines = lines(output);
    let hour = lines.iter().find(|line| line["horizon"] == 3600).unwrap().clone();
    (hour, lines.last().unwrap()["summary"].clone())
}

#[test]
fn a_good_submission_is_told_where_it_stands_and_how_calibrated_it_is() {
    let (_parent, folder) = submission("plain", PLAIN);
    let kept = folder.with_file_name("kept");
    let output = backtest(&folder, &["--json", "--keep", kept.to_str().unwrap()]);
    assert!(output.status.success(), "{}", errors(&output));
    let (hour, summary) = hour_and_summary(&output);
    assert_eq!((&hour["asset"], &hour["of"]), (&Value::from("BTC"), &Value::from(6)), "{hour}");
    assert!(hour["rounds"].as_u64().unwrap() > 100 && hour["success"].as_u64() >= hour["rounds"].as_u64());
    let ratio = hour["best_baseline"]["ratio"].as_f64().unwrap();
    assert!((0.8..1.2).contains(&ratio), "a random walk is about as good as the best: {hour}");
    let shares = summary["calibration"]["shares"].as_array().unwrap();
    let total: f64 = shares.iter().map(|share| share.as_f64().unwrap()).sum();
    assert!(shares.len() == 20 && (total - 1.0).abs() < 1e-9, "{summary}");
    assert_eq!(summary["unit_doubts"], Value::Array(Vec::new()), "{summary}");
    assert!(summary["rank"].is_u64() && summary["faults"] == Value::Array(Vec::new()), "{summary}");
    assert!(kept.join("backtest.db").is_file(), "what was asked to be kept is there");
    let again = backtest(&folder, &["--keep", kept.to_str().unwrap()]);
    assert!(
        again.status.code() == Some(2) && errors(&again).contains("name a new folder"),
        "{}",
        errors(&again)
    );
}

#[test]
fn the_models_of_the_guide_work_and_the_better_one_is_better() {
    let code = |block: &str| block.split("```").next().unwrap().to_owned();
    let blocks: Vec<String> = GUIDE.split("```python\n").skip(1).map(code).collect();
    let [first, better] = &blocks[..] else { panic!("the guide has {} models", blocks.len()) };
    let score = |code: &str| {
        let (_parent, folder) = submission("my-model", code);
        let (hour, summary) = hour_and_summary(&backtest(&folder, &["--json"]));
        assert_eq!(summary["faults"], Value::Array(Vec::new()), "{summary}");
        hour["score"].as_f64().unwrap()
    };
    assert!(score(better) > score(first));
}

#[test]
fn the_same_backtest_gives_the_same_numbers() {
    let (_parent, folder) = submission("plain", PLAIN);
    let rows = || {
        let mut lines = lines(&backtest(&folder, &["--json"]));
        let summary = lines.pop().unwrap()["summary"].clone();
        (lines, summary["standings"].clone(), summary["calibration"].clone())
    };
    assert_eq!(rows(), rows());
}

#[test]
fn widths_that_are_too_small_show_as_a_u() {
    let narrow = PLAIN.replace(r#""scale": scale}"#, r#""scale": scale / 3}"#);
    let (_parent, folder) = submission("narrow", &narrow);
    let text = String::from_utf8(backtest(&folder, &[]).stdout).unwrap();
    assert!(text.contains("too narrow; widths about 2.") && text.contains("5 % each is right"), "{text}");
}

#[test]
fn price_changes_where_log_returns_are_asked_are_warned_of() {
    let changes = PLAIN.replace(r#""scale": scale}"#, r#""scale": 100_000 * scale}"#);
    let (_parent, folder) = submission("changes", &changes);
    let (_, summary) = hour_and_summary(&backtest(&folder, &["--json"]));
    let doubt = &summary["unit_doubts"][0];
    assert_eq!((&doubt["asset"], &doubt["looks_like"]), (&"BTC".into(), &"price_change".into()), "{summary}");
    assert!(
        doubt["statement"].as_str().unwrap().contains("divide locations and scales by the price"),
        "{summary}"
    );
}

#[test]
fn answers_that_are_refused_are_counted_with_the_reason_and_the_next_step() {
    let (_parent, folder) =
        submission("negative", &PLAIN.replace(r#""scale": scale}"#, r#""scale": -scale}"#));
    let output = backtest(&folder, &["--json"]);
    let (hour, summary) = hour_and_summary(&output);
    assert_eq!((&hour["success"], &hour["score"]), (&Value::from(0), &Value::from(0.0)), "{hour}");
    let fault = &summary["faults"][0];
    assert!(fault["reason"].as_str().unwrap().starts_with("[0].params.scale: must be > 0"), "{summary}");
    assert_eq!(
        summary["faults"].as_array().unwrap().len(),
        1,
        "numbers do not make another reason: {summary}"
    );
    assert!(fault["next_step"].as_str().unwrap().contains("docs/scoring.md"), "{summary}");
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("negative gave no valid answer"), "{}", errors(&output));
}

#[test]
fn a_submission_that_cannot_start_is_refused_at_once_with_the_cure() {
    let refused = |code: &str, arguments: &[&str], words: &[&str]| {
        let (_parent, folder) = submission("broken", code);
        let output = backtest(&folder, arguments);
        let errors = errors(&output);
        assert!(!output.status.success() && output.stdout.is_empty(), "{errors}");
        assert!(words.iter().all(|word| errors.contains(word)), "{errors}");
    };
    refused(
        "raise RuntimeError('no weights')",
        &[],
        &["broken cannot be set up", "RuntimeError: no weights (main.py, line 1", "start again"],
    );
    refused("import no_such_package", &[], &["No module named 'no_such_package'", "requirements.txt"]);
    refused(PLAIN, &["--python", "no-such-python"], &["`no-such-python` is no usable Python", "--python"]);
    refused(PLAIN, &["--assets", "GOLD"], &["no schedule asks about GOLD"]);
}

#[test]
fn a_process_that_dies_leaves_its_model_absent_and_the_others_go_on() {
    let dies = PLAIN.replace(
        "    def predict(self, asset, horizon, step):",
        "    def predict(self, asset, horizon, step):\n        if horizon == 4 * 3600: __import__('os')._exit(3)",
    );
    let (_parent, folder) = submission("dies", &dies);
    let (hour, summary) = hour_and_summary(&backtest(&folder, &["--json"]));
    let absent = summary["faults"].as_array().unwrap().iter().find(|fault| fault["status"] == "ABSENT");
    assert!(absent.unwrap()["next_step"].as_str().unwrap().contains("--keep"), "{summary}");
    assert!(hour["rounds"].as_u64().unwrap() > 100, "{hour}");
}
