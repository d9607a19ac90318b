//! Whatever a model sends is an answer or a refusal, soon and without a panic; what is accepted is JSON, means what it
//! says whoever reads it, and can be scored.

#![no_main]

use domain::{Method, Span};
use libfuzzer_sys::fuzz_target;
use scoring::{
    Density, Distribution, Expected, Limits, parse_answer, parse_buckets, parse_density, parse_quantiles,
    parse_samples,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

const READABLE: &str = "what is accepted is accepted in other words too";

/// Where densities are compared and scored.
const POINTS: [f64; 4] = [0.0, -0.013, 1.0, 250.0];

fuzz_target!(|bytes: &[u8]| {
    for limits in [Limits::default(), Limits::NONE] {
        for expected in questions() {
            answer(bytes, &expected, &limits);
        }
        for parse in [parse_density, parse_buckets, parse_samples, parse_quantiles] {
            if let Ok(density) = parse(bytes, &limits) {
                can_be_scored(&density);
                let Some(sent) = reference(bytes) else { continue };
                are_the_same(&density, &parse(sent.to_string().as_bytes(), &limits).expect(READABLE));
            }
        }
    }
});

fn questions() -> [Expected; 4] {
    let question = |steps: &[Span], method| Expected { horizon: Span::HOUR, steps: steps.to_vec(), method };
    [
        question(&[Span::HOUR], Method::Predict),
        question(&[Span::minutes(20)], Method::Predict),
        question(&[Span::minutes(5)], Method::Predict),
        question(&[Span::minutes(30), Span::HOUR], Method::PredictAll),
    ]
}

/// An accepted answer has every density that was asked for, each as if it had been sent alone.
fn answer(bytes: &[u8], expected: &Expected, limits: &Limits) {
    let Ok(answer) = parse_answer(bytes, expected, limits) else { return };
    assert_eq!(answer.steps.len(), expected.steps.len());
    answer.steps.iter().flat_map(|step| &step.densities).for_each(|density| can_be_scored(density));
    let Some(sent) = reference(bytes) else { return };
    for step in &answer.steps {
        let list = match expected.method {
            Method::Predict => &sent,
            Method::PredictAll => &sent[step.step.as_secs().to_string()],
        };
        assert_eq!(step.densities.len(), expected.horizon.divided_by(step.step));
        for (k, density) in step.densities.iter().enumerate() {
            let alone = match list {
                Value::Array(elements) => parse_density(elements[k].to_string().as_bytes(), limits),
                dictionary => parse_buckets(dictionary.to_string().as_bytes(), limits),
            };
            are_the_same(density, &alone.expect(READABLE));
        }
    }
}

/// What another reader makes of it; nothing where an ignored key holds half a surrogate pair or a number beyond the
/// largest double, which are well formed but which it cannot hold.
fn reference(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice::<IgnoredAny>(bytes).expect("what is accepted is JSON");
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    reader.disable_recursion_limit();
    Value::deserialize(&mut reader).ok()
}

fn are_the_same(one: &Density, other: &Density) {
    for x in POINTS {
        assert_eq!(one.cdf(x).to_bits(), other.cdf(x).to_bits(), "{one:?} {other:?}");
        assert_eq!(one.pdf(x).to_bits(), other.pdf(x).to_bits(), "{one:?} {other:?}");
    }
}

fn can_be_scored(density: &Density) {
    for x in POINTS {
        let crps = density.crps(x);
        assert!(crps >= 0.0, "{crps} at {x}: {density:?}");
    }
}
