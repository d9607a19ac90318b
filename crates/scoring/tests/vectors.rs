//! Golden vectors: values computed elsewhere in 60 digits or exact rationals. The files hold the rows whose formats are
//! implemented.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Read;

use flate2::read::GzDecoder;
use scoring::{Density, Distribution, Limits, parse_buckets, parse_density, relative_scores};
use serde::Deserialize;
use serde_json::Value;

fn rows<'a, T: Deserialize<'a>>(text: &'a str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn unpack(file: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

/// A number, or the word for one that JSON cannot hold.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Finite(f64),
    Word(&'a str),
}

impl Number<'_> {
    fn value(&self) -> f64 {
        match self {
            Number::Finite(value) => *value,
            Number::Word(word) => word.parse().unwrap(),
        }
    }
}

fn gap(ours: f64, truth: f64) -> f64 {
    if ours == truth { 0.0 } else { (ours - truth).abs() / truth.abs().max(1e-300) }
}

/// Panics with every row that is off by more than its tolerance.
fn report(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} rows are off:\n{}", failures.len(), failures.join("\n"));
}

fn density(spec: &Value) -> Density {
    parse_density(spec.to_string().as_bytes(), &Limits::NONE).unwrap()
}

#[test]
fn densities_and_probabilities_agree_to_the_tolerance_of_each_row() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        spec: Value,
        x: f64,
        #[serde(borrow)]
        pdf: Number<'a>,
        cdf: f64,
        sf: f64,
        rtol: f64,
    }
    let text = unpack(include_bytes!("vectors/density.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    assert_eq!(rows.len(), 636);
    let mut failures = Vec::new();
    for row in rows {
        let density = density(&row.spec);
        for (name, ours, truth) in [
            ("pdf", density.pdf(row.x), row.pdf.value()),
            ("cdf", density.cdf(row.x), row.cdf),
            ("sf", density.sf(row.x), row.sf),
        ] {
            let gap = gap(ours, truth);
            if gap.is_nan() || gap > row.rtol {
                failures
                    .push(format!("{} {name}: {ours:e}, not {truth:e} ({gap:e} > {:e})", row.id, row.rtol));
            }
        }
    }
    report(failures);
}

#[test]
fn crps_agrees_to_1e_9_wherever_it_is_finite_and_is_infinite_elsewhere() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        spec: Value,
        x: f64,
        #[serde(borrow)]
        crps: Number<'a>,
    }
    let text = unpack(include_bytes!("vectors/crps.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    assert_eq!(rows.len(), 653);
    let check = |row: Row<'_>| {
        let (ours, truth) = (density(&row.spec).crps(row.x), row.crps.value());
        let gap = gap(ours, truth);
        (gap.is_nan() || gap > 1e-9).then(|| format!("{}: {ours:e}, not {truth:e} ({gap:e})", row.id))
    };
    report(rows.into_iter().filter_map(check).collect());
}

#[test]
fn bucket_dictionaries_agree_to_1e_9() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        buckets: Value,
        realised: f64,
        crps_point: f64,
    }
    let text = unpack(include_bytes!("vectors/buckets.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    assert_eq!(rows.len(), 400);
    let check = |row: Row<'_>| {
        let buckets = parse_buckets(row.buckets.to_string().as_bytes(), &Limits::default()).unwrap();
        let ours = buckets.crps(row.realised);
        let gap = gap(ours, row.crps_point);
        (gap.is_nan() || gap > 1e-9)
            .then(|| format!("{}: {ours:e}, not {:e} ({gap:e})", row.id, row.crps_point))
    };
    report(rows.into_iter().filter_map(check).collect());
}

#[test]
fn everything_invalid_is_refused_with_a_reason() {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        kind: String,
        raw: String,
        reason: String,
    }
    let text = unpack(include_bytes!("vectors/invalid.jsonl.gz"));
    let rows: Vec<Row> = rows(&text);
    assert_eq!(rows.len(), 400);
    let check = |row: Row| {
        let parse = if row.kind == "bucket" { parse_buckets } else { parse_density };
        match parse(row.raw.as_bytes(), &Limits::default()) {
            Ok(_) => Some(format!("{} ({}) is accepted: {}", row.id, row.reason, row.raw)),
            Err(refusal) if refusal.reason.is_empty() => Some(format!("{} has no reason", row.id)),
            Err(_) => None,
        }
    };
    report(rows.into_iter().filter_map(check).collect());
}

#[test]
fn relative_scores_agree_to_1e_9() {
    #[derive(Deserialize)]
    struct Row {
        id: String,
        crps: Vec<Option<f64>>,
        q95: Option<f64>,
        relative: Vec<f64>,
    }
    let text = unpack(include_bytes!("vectors/rounds.jsonl.gz"));
    let rows: Vec<Row> = rows(&text);
    assert_eq!(rows.len(), 100);
    let mut failures = Vec::new();
    for row in rows {
        let Some(ours) = relative_scores(&row.crps, None) else {
            assert!(row.crps.iter().all(Option::is_none), "{}", row.id);
            continue;
        };
        if gap(ours.q95, row.q95.unwrap()) > 1e-9 {
            failures.push(format!("{}: q95 {}, not {:?}", row.id, ours.q95, row.q95));
        }
        for (ours, truth) in ours.scores.iter().zip(&row.relative) {
            if (ours - truth).abs() > 1e-9 {
                failures.push(format!("{}: {ours}, not {truth}", row.id));
            }
        }
    }
    report(failures);
}
