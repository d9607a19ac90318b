//! What every built-in model promises.

use domain::{Price, Timestamp, TimestampExt};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::*;

const START: i64 = 1_747_699_200;
/// The deviation of one minute's log return in the simulated market.
const MINUTE_DEVIATION: f64 = 4e-4;

fn btc() -> Asset {
    Asset::new("BTC").unwrap()
}

fn model(spec: &str) -> Box<dyn BuiltinModel> {
    spec.parse::<BuiltinSpec>().unwrap().build()
}

fn distinct() -> Vec<BuiltinEntry> {
    roster(CATALOGUE_SIZE)
}

const CATALOGUE_SIZE: usize = super::catalogue::CATALOGUE.len();

fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Box and Muller.
fn standard_normal(generator: &mut ChaCha8Rng) -> f64 {
    let (u, v) = (1.0 - uniform(generator), uniform(generator));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn market(days: i64, mut draw: impl FnMut(&mut ChaCha8Rng) -> f64) -> Vec<PricePoint> {
    let mut generator = ChaCha8Rng::seed_from_u64(7);
    let mut log_price = 100_000_f64.ln();
    let minutes = 0..days * 24 * 60;
    minutes
        .map(|minute| {
            log_price += MINUTE_DEVIATION * draw(&mut generator);
            PricePoint {
                at: Timestamp::from_unix_seconds(START + 60 * minute).unwrap(),
                price: Price::new(log_price.exp()).unwrap(),
            }
        })
        .collect()
}

fn normal_market(days: i64) -> Vec<PricePoint> {
    market(days, standard_normal)
}

fn fed(spec: &str, points: Vec<PricePoint>) -> Box<dyn BuiltinModel> {
    let mut model = model(spec);
    model.tick(&Prices::from([(btc(), points)])).unwrap();
    model
}

fn predict(model: &dyn BuiltinModel, horizon: Span, step: Span) -> Value {
    serde_json::from_str(&model.predict(&btc(), horizon, step).unwrap()).unwrap()
}

/// Mean and variance of what a model answered for one step.
fn moments(density: &Value) -> (f64, f64) {
    let number = |key: &str| density["params"][key].as_f64().unwrap();
    let parts: Vec<(f64, f64, f64)> = match density["name"].as_str() {
        Some("norm") => vec![(1.0, number("loc"), number("scale").powi(2))],
        Some("t") => {
            let df = number("df");
            vec![(1.0, number("loc"), number("scale").powi(2) * df / (df - 2.0))]
        }
        _ => density["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| {
                let (loc, variance) = moments(&part["density"]);
                (part["weight"].as_f64().unwrap(), loc, variance)
            })
            .collect(),
    };
    let mean: f64 = parts.iter().map(|(weight, loc, _)| weight * loc).sum();
    let square: f64 = parts.iter().map(|(weight, loc, variance)| weight * (variance + loc * loc)).sum();
    (mean, square - mean * mean)
}

fn deviations(answer: &Value) -> Vec<f64> {
    match answer {
        Value::Array(densities) => densities.iter().map(|density| moments(density).1.sqrt()).collect(),
        buckets => {
            let of =
                |(value, share): (&String, &Value)| (value.parse::<f64>().unwrap(), share.as_f64().unwrap());
            let buckets: Vec<(f64, f64)> = buckets.as_object().unwrap().iter().map(of).collect();
            let total: f64 = buckets.iter().map(|(_, share)| share).sum();
            assert!((total - 1.0).abs() < 1e-12, "probabilities add up to {total}");
            vec![buckets.iter().map(|(value, share)| share * value * value).sum::<f64>().sqrt()]
        }
    }
}

const QUESTIONS: [(Span, Span); 3] = [
    (Span::hours(1), Span::minutes(1)),
    (Span::hours(4), Span::hours(4)),
    (Span::hours(24), Span::minutes(5)),
];

#[test]
fn every_model_answers_each_step_with_a_width_near_the_truth_on_a_normal_market() {
    for entry in distinct() {
        let model = fed(&entry.spec.to_string(), normal_market(20));
        for (horizon, step) in QUESTIONS {
            let deviations = deviations(&predict(&*model, horizon, step));
            assert_eq!(deviations.len(), horizon.divided_by(step), "{}", entry.model_id);
            let truth = MINUTE_DEVIATION * (f64::from(step.as_secs()) / 60.0).sqrt();
            for deviation in deviations {
                assert!(
                    (deviation / truth - 1.0).abs() < 0.2,
                    "{}: {deviation} for {truth} over {step}",
                    entry.model_id
                );
            }
        }
    }
}

#[test]
fn the_same_prices_give_the_same_bytes_in_whatever_order_and_however_often_they_came() {
    let points = normal_market(3);
    for entry in roster(2 * CATALOGUE_SIZE) {
        let spec = entry.spec.to_string();
        let at_once = fed(&spec, points.clone());
        let mut piecewise = model(&spec);
        let mut wrong = points[2000];
        wrong.price = Price::new(1.0).unwrap();
        piecewise.tick(&Prices::from([(btc(), vec![wrong])])).unwrap();
        for piece in points.chunks(700).rev() {
            piecewise.tick(&Prices::from([(btc(), piece.to_vec())])).unwrap();
            piecewise.tick(&Prices::from([(btc(), piece[..10].to_vec())])).unwrap();
        }
        for (horizon, step) in QUESTIONS {
            let answer = at_once.predict(&btc(), horizon, step).unwrap();
            assert_eq!(answer, piecewise.predict(&btc(), horizon, step).unwrap(), "{spec}");
            assert_eq!(answer, at_once.predict(&btc(), horizon, step).unwrap(), "{spec}");
        }
    }
}

#[test]
fn scale_multiplies_every_width() {
    let points = normal_market(3);
    for entry in distinct() {
        let plain = fed(&entry.spec.to_string(), points.clone());
        let wide = fed(&format!("{}:scale=10", entry.spec), points.clone());
        for (horizon, step) in QUESTIONS {
            let plain = deviations(&predict(&*plain, horizon, step));
            let wide = deviations(&predict(&*wide, horizon, step));
            for (narrow, wide) in plain.iter().zip(&wide) {
                assert!((wide / narrow - 10.0).abs() < 1e-9, "{}: {narrow} and {wide}", entry.model_id);
            }
        }
    }
}

#[test]
fn widths_grow_with_the_root_of_the_step() {
    let model = fed("random-walk", normal_market(3));
    let width = |step| deviations(&predict(&*model, Span::hours(4), step))[0];
    assert!((width(Span::minutes(20)) / width(Span::minutes(5)) - 2.0).abs() < 1e-12);
}

#[test]
fn without_history_and_with_a_price_that_stands_still_every_width_is_sensible() {
    let still: Vec<PricePoint> = normal_market(3)
        .into_iter()
        .map(|point| PricePoint { price: Price::new(5.0).unwrap(), ..point })
        .collect();
    for entry in distinct() {
        let spec = entry.spec.to_string();
        for (horizon, step) in QUESTIONS {
            for width in deviations(&predict(&*model(&spec), horizon, step)) {
                let hourly = width / (f64::from(step.as_secs()) / 3600.0).sqrt();
                assert!((0.005..0.03).contains(&hourly), "{spec}: {hourly}");
            }
            for width in deviations(&predict(&*fed(&spec, still.clone()), horizon, step)) {
                assert!((0.0..1e-5).contains(&width), "{spec}: {width}");
            }
        }
    }
}

#[test]
fn a_shaken_market_widens_the_near_steps_of_the_models_that_know_states() {
    let mut minute = 0;
    let shaken = market(7, |generator| {
        minute += 1;
        let factor = if minute > 7 * 24 * 60 - 120 { 5.0 } else { 1.0 };
        factor * standard_normal(generator)
    });
    for spec in ["ewma-volatility", "two-state-mixture"] {
        let widths = deviations(&predict(&*fed(spec, shaken.clone()), Span::hours(24), Span::minutes(5)));
        assert!(widths[0] > 1.3 * widths[287], "{spec}: {} and {}", widths[0], widths[287]);
        assert!(widths.windows(2).all(|pair| pair[1] <= pair[0]), "{spec}: the width falls step by step");
    }
}

#[test]
fn student_t_finds_heavy_tails_where_they_are() {
    let df = |model: &dyn BuiltinModel| {
        let answer = predict(model, Span::hours(1), Span::minutes(1));
        answer[0]["params"]["df"].as_f64().unwrap()
    };
    assert!(df(&*fed("student-t", normal_market(7))) > 20.0);
    // a t with 4 degrees of freedom: a normal over the root of a mean of four squared normals
    let heavy = market(7, |generator| {
        let squares: f64 = (0..4).map(|_| standard_normal(generator).powi(2)).sum();
        standard_normal(generator) / (squares / 4.0).sqrt()
    });
    let fitted = df(&*fed("student-t", heavy));
    assert!((3.2..5.0).contains(&fitted), "{fitted}");
}

#[test]
fn a_mixture_of_three_parts_keeps_the_variance_of_the_returns() {
    let model = fed("empirical-histogram", normal_market(20));
    let densities = predict(&*model, Span::hours(1), Span::minutes(1));
    let (mean, variance) = moments(&densities[0]);
    assert!(mean.abs() < 1e-9, "{mean}");
    let reference = deviations(&predict(
        &*fed("random-walk:window=14d", normal_market(20)),
        Span::hours(1),
        Span::minutes(1),
    ));
    assert!((variance.sqrt() / reference[0] - 1.0).abs() < 1e-3);
}

#[test]
fn predict_all_answers_an_object_of_lists() {
    for entry in distinct() {
        let model = fed(&entry.spec.to_string(), normal_market(2));
        let steps = [300, 3600, 86_400, 7 * 86_400, 300].map(Span::seconds);
        let answer = model.predict_all(&btc(), Span::hours(24), &steps).unwrap();
        let answer: BTreeMap<String, Vec<Value>> = serde_json::from_str(&answer).unwrap();
        let counts: Vec<(&str, usize)> =
            answer.iter().map(|(step, list)| (step.as_str(), list.len())).collect();
        assert_eq!(counts, [("300", 288), ("3600", 24), ("86400", 1)], "{}", entry.model_id);
    }
}

#[test]
fn questions_without_sense_are_refused() {
    let model = model("random-walk");
    let refused = |horizon, step| {
        let error = model.predict(&btc(), Span::seconds(horizon), Span::seconds(step)).unwrap_err();
        assert!(matches!(error, ModelError::InvalidQuestion(_)));
        error.to_string()
    };
    assert!(refused(3600, 7).contains("a step of 7 s does not divide a horizon of 3600 s"));
    refused(0, 60);
    refused(60, 0);
    refused(60, 120);
    assert!(refused(86_400, 1).contains("86400 densities"));
}

#[test]
fn the_catalogue_describes_every_parameter() {
    let text = describe();
    for word in ["random-walk", "decay", "window", "scale", "persistence", "bins"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}
