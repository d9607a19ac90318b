//! Answers to `predict` as participants send them.

/// The standard deviation of a price's moves in one step.
const MOVE: f64 = 0.002;

/// A list of `increments` mixtures of two normals, no two the same, in 6 significant digits, as Python's `json.dumps` writes
/// it: about 300 bytes each. Another `seed` gives other numbers.
pub fn forecast(increments: usize, seed: usize) -> String {
    let mixtures: Vec<String> = (0..increments).map(|step| mixture(step + seed * increments)).collect();
    format!("[{}]", mixtures.join(", "))
}

/// The `n`th of a sequence of mixtures: a calm component and a wild one.
fn mixture(n: usize) -> String {
    let calm_weight = between(0.5, 0.9, n, 1);
    let calm = component(between(-0.1, 0.1, n, 2), between(0.5, 1.0, n, 3), calm_weight);
    let wild = component(between(-0.2, 0.2, n, 4), between(1.2, 3.0, n, 5), 1.0 - calm_weight);
    format!(r#"{{"type": "mixture", "components": [{calm}, {wild}]}}"#)
}

/// A weighted normal whose parameters are given in typical moves.
fn component(loc: f64, scale: f64, weight: f64) -> String {
    let (loc, scale, weight) = (six_digits(loc * MOVE), six_digits(scale * MOVE), six_digits(weight));
    let params = format!(r#"{{"loc": {loc:?}, "scale": {scale:?}}}"#);
    let density = format!(r#"{{"type": "builtin", "name": "norm", "params": {params}}}"#);
    format!(r#"{{"density": {density}, "weight": {weight:?}}}"#)
}

/// Spread evenly over the interval as `n` grows; each `stream` with a step of its own, the square root of a prime.
fn between(low: f64, high: f64, n: usize, stream: usize) -> f64 {
    const PRIMES: [f64; 6] = [2.0, 3.0, 5.0, 7.0, 11.0, 13.0];
    low + (high - low) * ((n + 1) as f64 * PRIMES[stream].sqrt()).fract()
}

fn six_digits(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn parsed(text: &str) -> Vec<Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_day_in_steps_of_five_minutes_is_as_long_as_an_answer_of_the_field() {
        let length = forecast(288, 0).len();
        assert!((80_000..90_000).contains(&length), "{length} bytes");
    }

    #[test]
    fn every_step_differs_from_every_other_and_from_those_of_another_seed() {
        let mut mixtures = parsed(&forecast(288, 0));
        mixtures.extend(parsed(&forecast(288, 1)));
        let different: HashSet<String> = mixtures.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), 2 * 288);
    }

    #[test]
    fn weights_add_up_to_one_and_scales_are_positive() {
        for mixture in parsed(&forecast(288, 7)) {
            let components = mixture["components"].as_array().unwrap();
            let weights: f64 = components.iter().map(|part| part["weight"].as_f64().unwrap()).sum();
            assert!((weights - 1.0).abs() < 1e-5, "{mixture}");
            let scale = |part: &Value| part["density"]["params"]["scale"].as_f64().unwrap();
            assert!(components.iter().all(|part| scale(part) > 0.0), "{mixture}");
        }
    }
}
