//! What is measured.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use domain::{Asset, Method, Price, PricePoint, Span, Stopwatch, Timestamp};
use scoring::distribution::{Mixture, Norm};
use scoring::{
    Answer, Density, Distribution, Expected, Grid, GridSettings, Increment, Limits, PackedAnswer,
    RuleSettings, ScoreSettings, SettledStep, Vectors, grid_crps, normal_crps_batch_with, pack_answer,
    parse_answer, parse_density, raw_score, rule,
};
use serde_json::{Value, json};

use crate::inputs::{HALF_WIDTH, INCREMENTS, Inputs, Mixtures, POINTS};

const STEP: Span = Span::minutes(5);
/// The inputs are ours.
const VALID: &str = "a valid input";

/// Something to measure: `sample` tells how long `items` of it took.
pub struct Case<'a> {
    pub name: &'static str,
    pub items: usize,
    pub sample: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Case<'a> {
    fn new<T>(name: &'static str, items: usize, mut run: impl FnMut() -> T + 'a) -> Self {
        let sample = move || {
            let stopwatch = Stopwatch::start();
            black_box(run());
            stopwatch.elapsed()
        };
        Case { name, items, sample: Box::new(sample) }
    }
}

/// All cases that this machine can run.
pub fn all(inputs: &Inputs) -> Vec<Case<'_>> {
    let mut cases = vec![normals("crps/normal/baseline", Vectors::BASELINE, inputs)];
    if Vectors::widest() != Vectors::BASELINE {
        cases.push(normals("crps/normal/avx2", Vectors::widest(), inputs));
    }
    cases.push(mixtures(inputs));
    for (name, text) in [("grid/normal", &inputs.normal), ("grid/mixture", &inputs.mixture)] {
        let density = density(text);
        cases.push(Case::new(name, inputs.moves.len(), move || {
            inputs.moves.iter().map(|&x| grid_crps(black_box(&density), x, grid())).sum::<f64>()
        }));
    }
    for (name, text) in [("pdf/normal", &inputs.normal), ("pdf/mixture", &inputs.mixture)] {
        let density = density(text);
        cases.push(Case::new(name, inputs.moves.len(), move || {
            inputs.moves.iter().map(|&x| black_box(&density).pdf(x)).sum::<f64>()
        }));
    }
    let settled = settled(inputs);
    for (name, settings) in [("answer/crps", exact()), ("answer/crps_grid", on_the_grid())] {
        let settled = settled.clone();
        cases.push(Case::new(name, 1, move || mean_score(&inputs.six_digits, &settled, &settings)));
    }
    cases.extend(answers(inputs).map(|(name, text)| Case::new(name, 1, || parse(text))));
    cases.extend(packed_answers(inputs, &settled));
    cases
}

/// Packing, which includes the check; unpacking; and from the packed form to the score.
fn packed_answers<'a>(inputs: &'a Inputs, settled: &[SettledStep]) -> Vec<Case<'a>> {
    let names = [
        ["pack/6_digits", "unpack/6_digits", "stored/6_digits"],
        ["pack/full_doubles", "unpack/full_doubles", "stored/full_doubles"],
        ["pack/identical", "unpack/identical", "stored/identical"],
    ];
    let mut cases = Vec::new();
    for ([pack_name, unpack_name, score_name], (_, text)) in names.into_iter().zip(answers(inputs)) {
        let packed = pack(text).1;
        let (to_score, settled, settings) = (packed.clone(), settled.to_vec(), exact());
        cases.push(Case::new(pack_name, 1, || pack(text)));
        cases.push(Case::new(unpack_name, 1, move || unpack(&packed)));
        cases.push(Case::new(score_name, 1, move || {
            raw_score(&unpack(&to_score), &settled, &asset(), &settings).expect(VALID).value
        }));
    }
    cases
}

/// By name, how many bytes an answer has as text and packed.
pub fn sizes(inputs: &Inputs) -> Vec<(&'static str, usize, usize)> {
    let names = ["size/6_digits", "size/full_doubles", "size/identical"];
    let texts = answers(inputs).map(|(_, text)| (text.len(), pack(text).1.as_bytes().len()));
    names.into_iter().zip(texts).map(|(name, (text, packed))| (name, text, packed)).collect()
}

/// Our numbers, by the names under which cases share them.
pub fn scores(inputs: &Inputs) -> Value {
    let (grid_of, pdf_of) = (
        |text: &str| -> Vec<f64> {
            let density = density(text);
            inputs.moves.iter().map(|&x| grid_crps(&density, x, grid())).collect()
        },
        |text: &str| -> Vec<f64> {
            let density = density(text);
            inputs.moves.iter().map(|&x| density.pdf(x)).collect()
        },
    );
    let settled = settled(inputs);
    let mut scores = json!({
        "crps/normal": normal_scores(Vectors::widest(), inputs),
        "crps/mixture": mixture_scores(&built(&inputs.mixtures), &inputs.mixtures.x).collect::<Vec<f64>>(),
        "grid/normal": grid_of(&inputs.normal),
        "grid/mixture": grid_of(&inputs.mixture),
        "pdf/normal": pdf_of(&inputs.normal),
        "pdf/mixture": pdf_of(&inputs.mixture),
        "answer/crps": mean_score(&inputs.six_digits, &settled, &exact()),
        "answer/crps_grid": mean_score(&inputs.six_digits, &settled, &on_the_grid()),
    });
    for (name, text) in answers(inputs) {
        scores[name] = json!(mean_score(text, &settled, &exact()));
    }
    scores
}

fn answers(inputs: &Inputs) -> impl Iterator<Item = (&'static str, &str)> {
    let answers = [
        ("parse/6_digits", &inputs.six_digits),
        ("parse/full_doubles", &inputs.full_doubles),
        ("parse/identical", &inputs.identical),
    ];
    answers.into_iter().map(|(name, text)| (name, text.as_str()))
}

fn normals<'a>(name: &'static str, vectors: Vectors, inputs: &'a Inputs) -> Case<'a> {
    let normals = &inputs.normals;
    let mut out = vec![0.0; normals.x.len()];
    Case::new(name, normals.x.len(), move || {
        normal_crps_batch_with(vectors, &normals.x, &normals.loc, &normals.scale, black_box(&mut out))
    })
}

fn normal_scores(vectors: Vectors, inputs: &Inputs) -> Vec<f64> {
    let normals = &inputs.normals;
    let mut out = vec![0.0; normals.x.len()];
    normal_crps_batch_with(vectors, &normals.x, &normals.loc, &normals.scale, &mut out).expect(VALID);
    out
}

/// Each is scored once after it was built, so that what a mixture keeps for later outcomes is counted. Building is not.
fn mixtures(inputs: &Inputs) -> Case<'_> {
    let sample = || {
        let densities = built(&inputs.mixtures);
        let stopwatch = Stopwatch::start();
        black_box(mixture_scores(&densities, &inputs.mixtures.x).sum::<f64>());
        stopwatch.elapsed()
    };
    Case { name: "crps/mixture", items: inputs.mixtures.x.len(), sample: Box::new(sample) }
}

fn built(mixtures: &Mixtures) -> Vec<Density> {
    let components = mixtures.loc.iter().zip(&mixtures.scale).zip(&mixtures.weight);
    let mixture = |((loc, scale), weight): ((&[f64; 2], &[f64; 2]), &[f64; 2])| {
        let norm = |k: usize| (weight[k], Density::Norm(Norm::new(loc[k], scale[k]).expect(VALID)));
        Density::Mixture(Mixture::new(vec![norm(0), norm(1)]).expect(VALID))
    };
    components.map(mixture).collect()
}

fn mixture_scores(densities: &[Density], outcomes: &[f64]) -> impl Iterator<Item = f64> {
    densities.iter().zip(outcomes).map(|(density, &x)| density.crps(x))
}

fn grid() -> Grid {
    Grid::new(-HALF_WIDTH, HALF_WIDTH, POINTS).expect(VALID)
}

fn density(text: &str) -> Density {
    parse_density(text.as_bytes(), &Limits::default()).expect(VALID)
}

fn expected() -> Expected {
    let horizon = Span::seconds(STEP.as_secs() * INCREMENTS as u32);
    Expected { horizon, steps: vec![STEP], method: Method::Predict }
}

fn parse(text: &str) -> Answer {
    parse_answer(text.as_bytes(), &expected(), &Limits::default()).expect(VALID)
}

fn pack(text: &str) -> (Answer, PackedAnswer) {
    pack_answer(text.as_bytes(), &expected(), &Limits::default()).expect(VALID)
}

fn unpack(packed: &PackedAnswer) -> Answer {
    packed.unpack(&expected()).expect(VALID)
}

/// From the text to the score.
fn mean_score(text: &str, settled: &[SettledStep], settings: &ScoreSettings) -> f64 {
    raw_score(&parse(text), settled, &asset(), settings).expect(VALID).value
}

fn asset() -> Asset {
    Asset::new("XRP").expect(VALID)
}

fn exact() -> ScoreSettings {
    ScoreSettings::with_rule("crps").expect(VALID)
}

fn on_the_grid() -> ScoreSettings {
    let bounds = BTreeMap::from([(asset(), HALF_WIDTH)]);
    let crps_grid = GridSettings { bounds, points: POINTS, ..GridSettings::default() };
    ScoreSettings::new(rule("crps_grid", &RuleSettings { crps_grid }).expect(VALID))
}

/// The changes of the price.
fn settled(inputs: &Inputs) -> Vec<SettledStep> {
    let point = |(k, &price): (usize, &f64)| PricePoint {
        at: Timestamp::UNIX_EPOCH + Span::seconds(STEP.as_secs() * k as u32),
        price: Price::new(price).expect(VALID),
    };
    let points: Vec<PricePoint> = inputs.prices.iter().enumerate().map(point).collect();
    let increment = |pair: &[PricePoint]| {
        let move_ = pair[1].price.value() - pair[0].price.value();
        Some(Increment { from: pair[0], to: pair[1], move_ })
    };
    vec![SettledStep { step: STEP, increments: points.windows(2).map(increment).collect() }]
}
