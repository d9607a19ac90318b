//! Golden vectors: values computed elsewhere in 60 digits or exact rationals. The files hold the rows whose formats are
//! implemented.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::Read;

use domain::{Method, Span};
use flate2::read::GzDecoder;
use scoring::{
    Answer, Density, Distribution, Expected, Limits, pack_answer, parse_answer, parse_buckets, parse_density,
    parse_quantiles, parse_samples, relative_scores,
};
use serde::Deserialize;
use serde_json::{Value, json};

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
fn histograms_agree_to_1e_9_wherever_the_edges_of_their_bins_are() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        buckets: BTreeMap<String, f64>,
        realised: f64,
        crps_hist_centre: Option<f64>,
        crps_hist_left: Option<f64>,
        crps_hist_right: Option<f64>,
    }
    let text = unpack(include_bytes!("vectors/buckets.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    let (mut checked, mut failures) = (0, Vec::new());
    for row in rows.iter().filter(|row| row.buckets.len() > 1) {
        let mut buckets: Vec<(f64, f64)> =
            row.buckets.iter().map(|(key, mass)| (key.parse().unwrap(), *mass)).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (values, probabilities): (Vec<f64>, Vec<f64>) = buckets.into_iter().unzip();
        for (name, edges, truth) in [
            ("centre", centred_edges(&values), row.crps_hist_centre),
            ("left", left_edges(&values), row.crps_hist_left),
            ("right", right_edges(&values), row.crps_hist_right),
        ] {
            let spec = json!({"type": "histogram", "edges": edges, "probabilities": probabilities});
            let (ours, truth) = (density(&spec).crps(row.realised), truth.unwrap());
            let gap = gap(ours, truth);
            if gap.is_nan() || gap > 1e-9 {
                failures.push(format!("{} {name}: {ours:e}, not {truth:e} ({gap:e})", row.id));
            }
            checked += 1;
        }
    }
    assert!(checked > 1000, "{checked}");
    report(failures);
}

/// Midpoints; the outer bins are symmetric about their bucket.
fn centred_edges(values: &[f64]) -> Vec<f64> {
    let last = values.len() - 1;
    let mut edges = vec![values[0] - 0.5 * (values[1] - values[0])];
    edges.extend(values.windows(2).map(|pair| pair[0] + 0.5 * (pair[1] - pair[0])));
    edges.push(values[last] + 0.5 * (values[last] - values[last - 1]));
    edges
}

/// Each bucket is the left edge of its bin; the last bin is as wide as the one before.
fn left_edges(values: &[f64]) -> Vec<f64> {
    let last = values.len() - 1;
    [values, &[values[last] + (values[last] - values[last - 1])]].concat()
}

/// Each bucket is the right edge of its bin; the first bin is as wide as the second.
fn right_edges(values: &[f64]) -> Vec<f64> {
    [&[values[0] - (values[1] - values[0])], values].concat()
}

#[test]
fn samples_agree_to_1e_9_with_and_without_weights() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        samples: Value,
        weights: Value,
        x: f64,
        crps_ecdf: f64,
        crps_weighted: Option<f64>,
    }
    let text = unpack(include_bytes!("vectors/samples.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    assert_eq!(rows.len(), 320);
    let mut failures = Vec::new();
    for row in rows {
        let mut check = |weights: &Value, truth: f64| {
            let alone = json!({"samples": row.samples, "weights": weights}).to_string();
            let leaf = json!({"type": "samples", "values": row.samples, "weights": weights});
            let ours = parse_samples(alone.as_bytes(), &Limits::default()).unwrap().crps(row.x);
            assert_eq!(ours.to_bits(), density(&leaf).crps(row.x).to_bits(), "{}", row.id);
            let gap = gap(ours, truth);
            if gap.is_nan() || gap > 1e-9 {
                failures.push(format!("{}: {ours:e}, not {truth:e} ({gap:e})", row.id));
            }
        };
        check(&Value::Null, row.crps_ecdf);
        if let Some(truth) = row.crps_weighted {
            check(&row.weights, truth);
        }
    }
    report(failures);
}

#[test]
fn quantiles_agree_to_1e_9() {
    #[derive(Deserialize)]
    struct Row<'a> {
        id: &'a str,
        levels: Value,
        values: Value,
        x: f64,
        crps_linear: f64,
    }
    let text = unpack(include_bytes!("vectors/quantiles.jsonl.gz"));
    let rows: Vec<Row<'_>> = rows(&text);
    assert_eq!(rows.len(), 300);
    let check = |row: Row<'_>| {
        let alone = json!({"levels": row.levels, "values": row.values}).to_string();
        let leaf = json!({"type": "quantiles", "levels": row.levels, "values": row.values});
        let ours = parse_quantiles(alone.as_bytes(), &Limits::default()).unwrap().crps(row.x);
        assert_eq!(ours.to_bits(), density(&leaf).crps(row.x).to_bits(), "{}", row.id);
        let gap = gap(ours, row.crps_linear);
        (gap.is_nan() || gap > 1e-9)
            .then(|| format!("{}: {ours:e}, not {:e} ({gap:e})", row.id, row.crps_linear))
    };
    report(rows.into_iter().filter_map(check).collect());
}

/// The densities of an answer, to the bit; points tell nothing apart that this would not.
fn bits(answer: &Answer) -> Vec<String> {
    answer.steps.iter().flat_map(|step| &step.densities).map(|density| format!("{density:?}")).collect()
}

fn comes_back_from_its_packed_form(text: &str, expected: &Expected) -> bool {
    let (answer, packed) = pack_answer(text.as_bytes(), expected, &Limits::NONE).unwrap();
    let json = packed.to_json().unwrap();
    let read_again = parse_answer(json.as_bytes(), expected, &Limits::NONE).unwrap();
    bits(&packed.unpack(expected).unwrap()) == bits(&answer) && bits(&read_again) == bits(&answer)
}

/// Each alone in an answer, and all in one.
#[test]
fn all_densities_come_back_from_the_packed_form_to_the_bit() {
    #[derive(Deserialize)]
    struct Row {
        spec: Value,
    }
    let files: [&[u8]; 2] =
        [include_bytes!("vectors/density.jsonl.gz"), include_bytes!("vectors/crps.jsonl.gz")];
    let mut specs: Vec<String> = files
        .iter()
        .flat_map(|file| {
            rows::<Row>(&unpack(file)).into_iter().map(|row| row.spec.to_string()).collect::<Vec<_>>()
        })
        .collect();
    specs.push(specs[0].clone());
    let expected = |count: usize| Expected {
        horizon: Span::minutes(count as u32),
        steps: vec![Span::minutes(1)],
        method: Method::Predict,
    };
    for spec in &specs {
        assert!(comes_back_from_its_packed_form(&format!("[{spec}]"), &expected(1)), "{spec}");
    }
    let all = format!("[{}]", specs.join(", "));
    assert!(comes_back_from_its_packed_form(&all, &expected(specs.len())));
}

#[test]
fn all_bucket_dictionaries_samples_and_quantiles_come_back_from_the_packed_form_to_the_bit() {
    let whole = Expected { horizon: Span::HOUR, steps: vec![Span::HOUR], method: Method::Predict };
    let files: [&[u8]; 3] = [
        include_bytes!("vectors/buckets.jsonl.gz"),
        include_bytes!("vectors/samples.jsonl.gz"),
        include_bytes!("vectors/quantiles.jsonl.gz"),
    ];
    for row in files.iter().flat_map(|file| rows::<Value>(&unpack(file))) {
        let text = if row["buckets"].is_object() {
            row["buckets"].to_string()
        } else if row["samples"].is_array() {
            json!([{"type": "samples", "values": row["samples"], "weights": row["weights"]}]).to_string()
        } else {
            json!([{"type": "quantiles", "levels": row["levels"], "values": row["values"]}]).to_string()
        };
        assert!(comes_back_from_its_packed_form(&text, &whole), "{text}");
    }
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
        let parse = match row.kind.as_str() {
            "bucket" => parse_buckets,
            "samples" => parse_samples,
            "quantiles" => parse_quantiles,
            _ => parse_density,
        };
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
