//! `condor eval` over the golden vectors: every row, to the last digits that the vectors promise.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use e2e::{condor, json_lines};
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};

/// Where the mathematics is exact: the vectors' suggestion.
const EXACT: f64 = 1e-9;

/// Runs one mode over lines; one line of output for each.
fn eval(mode: &str, input: String) -> Vec<Value> {
    let mut process = condor(["eval", mode]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let sender = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = process.wait_with_output().unwrap();
    sender.join().unwrap();
    assert!(output.status.success(), "condor eval {mode}: {}", output.status);
    json_lines(&String::from_utf8(output.stdout).unwrap())
}

/// The rows of a golden file, as text.
fn golden_lines(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scoring/tests/vectors").join(name);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    BufReader::new(GzDecoder::new(file)).lines().map(Result::unwrap).collect()
}

fn golden(name: &str) -> Vec<Value> {
    json_lines(&golden_lines(name).join("\n"))
}

/// The rows of a golden file as they are, and what a mode makes of them.
fn evaluated(mode: &str, name: &str) -> Vec<(Value, Value)> {
    let lines = golden_lines(name);
    let outcomes = eval(mode, lines.join("\n"));
    pair(json_lines(&lines.join("\n")), outcomes)
}

/// What a mode makes of lines with only some of the fields, given by their new and old names.
fn evaluated_fields(mode: &str, name: &str, fields: &[(&str, &str)]) -> Vec<(Value, Value)> {
    let rows = golden(name);
    let line = |row: &Value| {
        let kept: Map<String, Value> =
            fields.iter().map(|&(new, old)| (new.to_owned(), row[old].clone())).collect();
        Value::Object(kept).to_string()
    };
    let input = rows.iter().map(line).collect::<Vec<_>>().join("\n");
    pair(rows, eval(mode, input))
}

fn pair(rows: Vec<Value>, outcomes: Vec<Value>) -> Vec<(Value, Value)> {
    assert_eq!(rows.len(), outcomes.len(), "a line of output for each of input");
    let pairs: Vec<_> = rows.into_iter().zip(outcomes).collect();
    for (row, outcome) in &pairs {
        assert_eq!(row["id"], outcome["id"], "in the order of the input");
    }
    pairs
}

/// A number, or one of the words for those that JSON has not.
fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("inf") => Some(f64::INFINITY),
        Some("-inf") => Some(f64::NEG_INFINITY),
        Some("nan") => Some(f64::NAN),
        _ => value.as_f64(),
    }
}

/// What a value that is not as close as it must be looks like; infinite ones must be the same.
fn difference(row: &Value, what: &str, expected: &Value, outcome: &Value, tolerance: f64) -> Option<String> {
    const FLOOR: f64 = 1e-300;
    let wanted = number(expected).unwrap();
    let is_close = |got: f64| got == wanted || (got - wanted).abs() <= tolerance * wanted.abs() + FLOOR;
    let got = &outcome[what];
    if number(got).is_some_and(is_close) {
        return None;
    }
    let got = if outcome["error"].is_null() { got } else { &outcome["error"] };
    Some(format!("{} {what}: {got}, expected {expected}", row["id"]))
}

fn check(differences: impl Iterator<Item = String>) {
    let all: Vec<String> = differences.collect();
    assert!(all.is_empty(), "{} differ:\n{}", all.len(), all.join("\n"));
}

/// Every row of a file has this value, under the name that the file gives it.
fn check_crps(pairs: &[(Value, Value)], expected: &str) {
    assert!(!pairs.is_empty());
    check(pairs.iter().filter_map(|(row, outcome)| difference(row, "crps", &row[expected], outcome, EXACT)));
}

#[test]
fn densities_are_those_of_the_vectors() {
    let pairs = evaluated("density", "density.jsonl.gz");
    check(pairs.iter().flat_map(|(row, outcome)| {
        let tolerance = row["rtol"].as_f64().unwrap();
        ["pdf", "cdf", "sf"]
            .into_iter()
            .filter_map(move |what| difference(row, what, &row[what], outcome, tolerance))
    }));
}

#[test]
fn exact_scores_are_those_of_the_vectors() {
    check_crps(&evaluated("crps", "crps.jsonl.gz"), "crps");
}

#[test]
fn bucket_dictionaries_are_scored_as_point_masses() {
    let fields = [("id", "id"), ("buckets", "buckets"), ("x", "realised")];
    check_crps(&evaluated_fields("crps", "buckets.jsonl.gz", &fields), "crps_point");
}

#[test]
fn samples_are_scored_with_and_without_weights() {
    let unweighted = [("id", "id"), ("samples", "samples"), ("x", "x")];
    check_crps(&evaluated_fields("crps", "samples.jsonl.gz", &unweighted), "crps_ecdf");
    let weighted: Vec<_> = evaluated("crps", "samples.jsonl.gz")
        .into_iter()
        .filter(|(row, _)| !row["weights"].is_null())
        .collect();
    check_crps(&weighted, "crps_weighted");
}

#[test]
fn quantiles_are_scored_as_linear_between() {
    check_crps(&evaluated("crps", "quantiles.jsonl.gz"), "crps_linear");
}

/// Where the reference gave no number, it overflowed or met an infinite density at a point of the grid.
#[test]
fn the_grid_integral_is_that_of_the_reference() {
    let pairs = evaluated("grid", "crps_reference.jsonl.gz");
    check(pairs.iter().filter_map(|(row, outcome)| {
        let tags = row["tags"].as_array().unwrap();
        match &row["value"] {
            value if value.is_number() => difference(row, "crps", value, outcome, EXACT),
            _ if tags.contains(&json!("edge_on_grid")) => {
                (outcome["crps"] != "nan").then(|| format!("{}: {outcome}, expected nan", row["id"]))
            }
            _ => {
                (!outcome["crps"].is_number()).then(|| format!("{}: {outcome}, expected a number", row["id"]))
            }
        }
    }));
}

#[test]
fn all_that_is_invalid_is_refused_with_a_reason() {
    let pairs = evaluated("validate", "invalid.jsonl.gz");
    check(pairs.iter().filter_map(|(row, outcome)| {
        let has_reason = outcome["reason"].as_str().is_some_and(|reason| !reason.is_empty());
        (outcome["valid"] != false || !has_reason).then(|| format!("{} {}: {outcome}", row["id"], row["raw"]))
    }));
}

#[test]
fn what_the_other_vectors_hold_is_valid() {
    let row = |kind: &str, id: &Value, raw: Value| json!({ "id": id, "kind": kind, "raw": raw.to_string() });
    let mut lines = Vec::new();
    lines.extend(
        golden("density.jsonl.gz").iter().map(|line| row("density", &line["id"], line["spec"].clone())),
    );
    lines.extend(
        golden("buckets.jsonl.gz").iter().map(|line| row("bucket", &line["id"], line["buckets"].clone())),
    );
    lines.extend(golden("samples.jsonl.gz").iter().map(|line| {
        let mut raw = json!({ "samples": line["samples"] });
        if !line["weights"].is_null() {
            raw["weights"] = line["weights"].clone();
        }
        row("samples", &line["id"], raw)
    }));
    lines.extend(golden("quantiles.jsonl.gz").iter().map(|line| {
        row("quantiles", &line["id"], json!({ "levels": line["levels"], "values": line["values"] }))
    }));
    let input = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let is_limit =
        |outcome: &Value| outcome["reason"].as_str().is_some_and(|reason| reason.contains("limit"));
    let pairs = pair(lines, eval("validate", input));
    let refused = pairs
        .iter()
        .filter(|(_, outcome)| outcome["valid"] != true && !is_limit(outcome))
        .map(|(_, it)| it.to_string());
    check(refused);
}

#[test]
fn relative_scores_are_those_of_the_vectors() {
    let pairs = evaluated("round", "rounds.jsonl.gz");
    check(pairs.iter().flat_map(|(row, outcome)| {
        let expected = row["relative"].as_array().unwrap();
        assert_eq!(outcome["relative"].as_array().map(Vec::len), Some(expected.len()), "{outcome}");
        expected.iter().enumerate().filter_map(move |(place, expected)| {
            let got = json!({ "relative": outcome["relative"][place] });
            difference(row, "relative", expected, &got, EXACT).map(|text| format!("[{place}] {text}"))
        })
    }));
}

#[test]
fn whole_predictions_are_settled_and_scored_as_the_reference_does() {
    let pairs = evaluated("prediction", "tracker_outputs.jsonl.gz");
    let sums = [("step_sums", 1e-6), ("exact_step_sums", 1e-9)];
    check(pairs.iter().flat_map(|(row, outcome)| {
        sums.into_iter().flat_map(move |(sums, tolerance)| {
            let expected = row["expected"][sums].as_object().unwrap();
            assert_eq!(outcome[sums].as_object().map(Map::len), Some(expected.len()), "{outcome}");
            expected.iter().filter_map(move |(step, expected)| {
                let got = json!({ "error": outcome["error"], step: outcome[sums][step] });
                difference(row, step, expected, &got, tolerance).map(|text| format!("{sums} {text}"))
            })
        })
    }));
}

#[test]
fn bad_lines_never_stop_it() {
    let good = r#"{"id": 7, "crps": [1, null]}"#;
    let input = format!("{good}\n\n{{\"id\": 8, \"crps\": [1,\n{{\"id\": 9}}\n[]\nNaN\n{good}");
    let output = eval("round", input);
    let ids: Vec<&Value> = output.iter().map(|line| &line["id"]).collect();
    assert_eq!(
        ids,
        [&json!(7), &Value::Null, &Value::Null, &json!(9), &Value::Null, &Value::Null, &json!(7)]
    );
    for (index, line) in output.iter().enumerate() {
        let error = line["error"].as_str();
        assert_eq!(error.is_none(), index == 0 || index == 6, "{line}");
        if line["id"].is_null() {
            assert!(error.unwrap().starts_with(&format!("line {}: ", index + 1)), "{line}");
        }
    }
}

#[test]
fn a_density_nested_without_end_is_refused_and_the_next_line_read() {
    let depth = 100_000;
    let open = r#"{"type": "mixture", "components": [{"weight": 1, "density": "#.repeat(depth);
    let nested = format!("{open}0{}", "}]}".repeat(depth));
    let input = format!(
        "{{\"id\": 1, \"x\": 0, \"spec\": {nested}}}\n{{\"id\": 2, \"x\": 0, \"buckets\": {{\"0\": 1}}}}\n"
    );
    let output = eval("crps", input);
    assert!(output[0]["error"].is_string(), "{}", output[0]);
    assert_eq!(output[1], json!({ "id": 2, "crps": 0.0 }));
}

/// As `head` does.
#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let mut process = condor(["eval", "round"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let sender = std::thread::spawn(move || {
        let line = "{\"crps\": [1, 2, 3]}\n".repeat(1000);
        while stdin.write_all(line.as_bytes()).is_ok() {}
    });
    let mut first = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with(r#"{"id":null,"relative":[1.0,"#), "{first}");
    let output = process.wait_with_output().unwrap();
    sender.join().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_mode_that_is_none_names_those_that_are() {
    let output = condor(["eval", "pdf"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("density, crps, grid, validate, prediction, round"), "{message}");
    assert_eq!(output.status.code(), Some(2));
}
