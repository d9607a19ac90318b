use proptest::prelude::*;

use super::*;
use crate::Distribution;

const NORM: &str = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.01}}"#;

fn expected(horizon: Span, steps: &[Span], method: Method) -> Expected {
    Expected { horizon, steps: steps.to_vec(), method }
}

fn hour_by_five_minutes() -> Expected {
    expected(Span::HOUR, &[Span::minutes(5)], Method::Predict)
}

fn list_of(count: usize, density: &str) -> String {
    format!("[{}]", vec![density; count].join(", "))
}

fn refusal(text: &str) -> String {
    parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).unwrap_err().to_string()
}

fn density_refusal(text: &str) -> String {
    parse_density(text.as_bytes(), &Limits::default()).unwrap_err().to_string()
}

#[test]
fn identical_consecutive_densities_are_one() {
    let text = list_of(12, NORM);
    let answer = parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).unwrap();
    let densities = &answer.steps[0].densities;
    assert_eq!(densities.len(), 12);
    assert!(densities.iter().all(|density| Arc::ptr_eq(density, &densities[0])));
}

#[test]
fn a_refusal_says_where_and_why() {
    let bad = r#"{"type": "mixture", "components": [
        {"density": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}, "weight": 1},
        {"density": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": -0.2}}, "weight": 1}]}"#;
    let mut elements = [NORM; 12];
    elements[7] = bad;
    let text = format!("[{}]", elements.join(","));
    assert_eq!(refusal(&text), "[7].components[1].density.params.scale: must be > 0, got -0.2");
}

#[test]
fn another_count_of_densities_is_refused() {
    assert_eq!(refusal(&list_of(11, NORM)), "expected 12 densities, got 11");
    assert_eq!(refusal(&list_of(13, NORM)), "expected 12 densities, got 13");
    assert_eq!(refusal("[]"), "expected 12 densities, got 0");
}

#[test]
fn what_is_no_list_is_refused_by_its_name() {
    assert_eq!(refusal("null"), "expected a list of 12 densities, got null");
    assert_eq!(refusal("\"up\""), "expected a list of 12 densities, got the string \"up\"");
    assert_eq!(refusal("None"), "not valid JSON at byte 0: expected a value, found `None`");
    assert_eq!(refusal(""), "not valid JSON at byte 0: expected a value, the text ends");
    assert_eq!(refusal(NORM), "expected a list of 12 densities, got a single density");
    let elements = list_of(11, NORM).replace(']', ", null]");
    assert_eq!(refusal(&elements), "[11]: expected a density, got null");
}

#[test]
fn numbers_that_are_not_finite_are_refused_by_value_and_place() {
    for word in ["NaN", "Infinity", "-Infinity", "1e999"] {
        let text = NORM.replace("0.01", word);
        assert_eq!(density_refusal(&text), format!("params.scale: must be finite, got {word}"));
    }
    let weight = format!(r#"{{"type": "mixture", "components": [{{"density": {NORM}, "weight": NaN}}]}}"#);
    assert_eq!(density_refusal(&weight), "components[0].weight: must be finite, got NaN");
    let elsewhere = NORM.replace("{\"type\"", "{\"note\": NaN, \"type\"");
    assert!(density_refusal(&elsewhere).starts_with("not valid JSON at byte 9"));
}

#[test]
fn booleans_strings_and_null_are_no_numbers() {
    for (sent, got) in [("true", "true"), ("null", "null"), ("\"1\"", "the string \"1\""), ("[1]", "a list")]
    {
        let text = NORM.replace("0.01", sent);
        assert_eq!(density_refusal(&text), format!("params.scale: expected a number, got {got}"));
    }
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    let text = NORM.replace("\"scale\"", "\"loc\": 1, \"scale\"");
    assert_eq!(density_refusal(&text), "params.loc: is given twice");
}

#[test]
fn unknown_keys_are_ignored_except_in_the_parameters_of_scipy() {
    let text =
        NORM.replace("\"loc\"", "\"mu\": null, \"loc\"").replace("{\"type\"", "{\"step\": [300], \"type\"");
    assert!(parse_density(text.as_bytes(), &Limits::default()).is_ok());
    let text = NORM.replace("\"loc\"", "\"mu\": 1, \"loc\"").replace("builtin", "scipy");
    assert_eq!(density_refusal(&text), "params.mu: is no parameter of norm");
}

#[test]
fn the_three_types_of_leaf_have_their_own_defaults() {
    let read =
        |text: &str| parse_density(text.as_bytes(), &Limits::default()).map(|density| density.crps(0.7));
    let standard = read(r#"{"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}"#);
    for same in [
        r#"{"type": "scipy", "name": "norm", "params": {}}"#,
        r#"{"type": "statistics", "name": "normal", "params": {}}"#,
        r#"{"type": "statistics", "name": "normal", "params": {"mu": 0, "loc": 9, "scale": 1, "x": 3}}"#,
        r#"{"params": {"sigma": 1, "scale": "no"}, "name": "norm\u0061l", "type": "statistics"}"#,
    ] {
        assert_eq!(read(same), standard, "{same}");
    }
    assert_eq!(
        density_refusal(r#"{"type":"builtin","name":"norm","params":{"loc":0}}"#),
        "params.scale: is missing"
    );
    assert_eq!(density_refusal(r#"{"type":"scipy","name":"t","params":{}}"#), "params.df: is missing");
    let sigma = r#"{"type":"statistics","name":"normal","params":{"sigma":0}}"#;
    assert_eq!(density_refusal(sigma), "params.sigma: must be > 0, got 0");
}

#[test]
fn an_unknown_family_is_refused_with_those_that_are_known_to_its_type() {
    let refusal = density_refusal(&NORM.replace("norm", "gaussian"));
    assert!(refusal.starts_with("name: distribution `gaussian` is unknown: use one of "), "{refusal}");
    assert!(refusal.contains("gamma") && !refusal.contains("logistic"), "{refusal}");
    let of_scipy_alone = density_refusal(&NORM.replace("norm", "logistic"));
    assert_eq!(of_scipy_alone, "name: logistic is of type scipy, not builtin");
}

#[test]
fn leaves_and_nesting_have_limits() {
    let mixture = |inner: &[String]| {
        let components: Vec<String> =
            inner.iter().map(|density| format!(r#"{{"density": {density}, "weight": 1}}"#)).collect();
        format!(r#"{{"type": "mixture", "components": [{}]}}"#, components.join(", "))
    };
    let leaf = NORM.to_owned();
    let three = mixture(&[leaf.clone(), mixture(&[leaf.clone(), leaf.clone()])]);
    assert!(parse_density(three.as_bytes(), &Limits::default()).is_ok());
    let four = mixture(&[three.clone(), leaf.clone()]);
    assert_eq!(
        density_refusal(&four),
        "components[1].density: more distributions in one density than the limit of 3"
    );
    assert!(parse_density(four.as_bytes(), &Limits::NONE).is_ok());

    let nested = |levels: usize| (1..levels).fold(leaf.clone(), |inner, _| mixture(&[inner]));
    assert!(parse_density(nested(4).as_bytes(), &Limits::default()).is_ok());
    let path = "components[0].density.".repeat(4);
    let deep =
        format!("{}: densities are nested deeper than the limit of 4 levels", path.trim_end_matches('.'));
    assert_eq!(density_refusal(&nested(5)), deep);
    assert!(parse_density(nested(300).as_bytes(), &Limits::NONE).is_err());
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    for open in ["[", "{\"a\":", "[{\"components\":"] {
        let text = open.repeat(100_000);
        assert!(refusal(&text).starts_with("nested deeper than 128 levels"));
    }
}

#[test]
fn a_text_above_the_limit_is_refused_by_its_size_alone() {
    let text = vec![b'['; 100_000_000];
    let reason = parse_answer(&text, &hour_by_five_minutes(), &Limits::default()).unwrap_err().to_string();
    assert_eq!(reason, "the answer has 100000000 bytes, the limit is 4194304");
}

#[test]
fn what_is_not_utf8_is_refused() {
    let reason = parse_answer(b"[\"\xff\"]", &hour_by_five_minutes(), &Limits::default()).unwrap_err();
    assert_eq!(reason.to_string(), "not UTF-8 at byte 2");
}

#[test]
fn a_bucket_dictionary_answers_only_where_the_step_is_the_horizon() {
    let text = br#"{"-0.01": 0.2, "0.0": 0.5, "1e-2": 0.3}"#;
    let whole = expected(Span::HOUR, &[Span::HOUR], Method::Predict);
    let answer = parse_answer(text, &whole, &Limits::default()).unwrap();
    assert!((answer.steps[0].densities[0].cdf(0.0) - 0.7).abs() < 1e-15);
    let reason = parse_answer(text, &hour_by_five_minutes(), &Limits::default()).unwrap_err().to_string();
    let only = "a bucket dictionary is accepted only where the one step is the whole horizon";
    assert_eq!(reason, format!("expected a list of 12 densities: {only}"));
}

#[test]
fn buckets_are_checked_one_by_one() {
    let limits = Limits { max_buckets: 3, ..Limits::default() };
    let reason = |text: &str| parse_buckets(text.as_bytes(), &limits).unwrap_err().to_string();
    assert_eq!(reason(r#"{"0.1": -1}"#), r#"["0.1"]: a probability must be a finite number >= 0, got -1"#);
    assert_eq!(reason(r#"{"up": 1}"#), "up: a bucket's key must be a finite number");
    assert_eq!(reason(r#"{"inf": 1}"#), "inf: a bucket's key must be a finite number");
    assert_eq!(reason(r#"{"0.10": 1, "1e-1": 1}"#), "bucket 0.1 is given twice");
    assert_eq!(reason("{}"), "no bucket has a probability above zero");
    assert_eq!(reason(r#"{"1": 1, "2": 1, "3": 1, "4": 1}"#), "4 buckets, the limit is 3");
    let leaf = r#"{"type": "buckets", "probabilities": {"0.1": NaN}}"#;
    assert_eq!(
        density_refusal(leaf),
        r#"probabilities["0.1"]: a probability must be a finite number >= 0, got NaN"#
    );
}

#[test]
fn histograms_samples_and_quantiles_are_leaves() {
    let cdf = |text: &str, x: f64| parse_density(text.as_bytes(), &Limits::default()).unwrap().cdf(x);
    let histogram = r#"{"type": "histogram", "edges": [-1, 0, 2], "probabilities": [1, 3]}"#;
    assert_eq!(cdf(histogram, 1.0), 0.625);
    assert_eq!(cdf(r#"{"type": "samples", "values": [3, 1, 1, 2]}"#, 1.0), 0.5);
    assert_eq!(cdf(r#"{"type": "samples", "values": [3, 1], "weights": [3, 1]}"#, 1.0), 0.25);
    assert_eq!(cdf(r#"{"type": "samples", "values": [3, 1], "weights": null}"#, 1.0), 0.5);
    assert_eq!(cdf(r#"{"type": "quantiles", "levels": [0.25, 0.75], "values": [0, 1]}"#, 0.5), 0.5);
    let mixture =
        format!(r#"{{"type": "mixture", "components": [{{"density": {histogram}, "weight": 1}}]}}"#);
    assert_eq!(cdf(&mixture, 1.0), 0.625);
}

#[test]
fn lists_of_numbers_are_checked_one_by_one() {
    for (leaf, reason) in [
        (r#""samples", "values": []"#, "values: needs one sample or more"),
        (r#""samples", "values": 3"#, "values: expected a list of numbers, got 3"),
        (r#""samples", "samples": [1]"#, "values: is missing"),
        (r#""samples", "values": [1, "2"]"#, "values[1]: expected a number, got the string \"2\""),
        (r#""samples", "values": [1, -Infinity]"#, "values[1]: must be finite, got -Infinity"),
        (r#""samples", "values": [1, 2], "weights": [1]"#, "weights: expected 2, one for each sample, got 1"),
        (r#""samples", "values": [1, 2], "weights": [1, -0.5]"#, "weights[1]: must be >= 0, got -0.5"),
        (r#""samples", "values": [1, 2], "weights": [0, 0]"#, "weights: the weights are all zero"),
        (
            r#""histogram", "edges": [0, 0], "probabilities": [1]"#,
            "edges[1]: must be finite and above the one before, got 0.0",
        ),
        (
            r#""histogram", "edges": [0], "probabilities": []"#,
            "a histogram needs two edges or more, one more than probabilities",
        ),
        (
            r#""quantiles", "levels": [0.5], "values": []"#,
            "quantiles need one level or more, and as many values",
        ),
        (
            r#""quantiles", "levels": [50], "values": [1]"#,
            "levels[0]: must be between 0 and 1 and above the one before, got 50.0",
        ),
        (
            r#""quantiles", "levels": [0.1, 0.5], "values": [1, 0]"#,
            "values[1]: must be finite and at least the one before, got 0.0",
        ),
    ] {
        assert_eq!(density_refusal(&format!(r#"{{"type": {leaf}}}"#)), reason);
    }
}

#[test]
fn lists_of_numbers_have_limits() {
    let limits = Limits { max_buckets: 2, max_samples: 3, ..Limits::default() };
    let refused =
        |text: &str| parse_density(text.as_bytes(), &limits).err().map(|refusal| refusal.to_string());
    assert_eq!(refused(r#"{"type": "samples", "values": [1, 1, 1]}"#), None);
    let many = refused(r#"{"type": "samples", "values": [1, 1, 1, 1]}"#);
    assert_eq!(many.unwrap(), "values: 4 samples, the limit is 3");
    assert_eq!(refused(r#"{"type": "histogram", "edges": [1, 2, 3], "probabilities": [1, 1]}"#), None);
    let many = refused(r#"{"type": "histogram", "edges": [1, 2, 3, 4], "probabilities": [1, 1, 1]}"#);
    assert_eq!(many.unwrap(), "3 bins, the limit is 2");
    let many = refused(r#"{"type": "quantiles", "levels": [0.1, 0.2, 0.3], "values": [1, 1, 1]}"#);
    assert_eq!(many.unwrap(), "3 levels, the limit is 2");
}

#[test]
fn samples_and_quantiles_are_also_read_alone() {
    let samples = parse_samples(br#"{"id": "a", "samples": [2, 1], "weights": [1, 3]}"#, &Limits::default());
    assert_eq!(samples.unwrap().cdf(1.5), 0.75);
    let reason = parse_samples(br#"{"values": [2, 1]}"#, &Limits::default()).unwrap_err().to_string();
    assert_eq!(reason, "samples: is missing");
    let quantiles = parse_quantiles(br#"{"levels": [0.5], "values": [1]}"#, &Limits::default());
    assert_eq!(quantiles.unwrap().cdf(1.0), 1.0);
    assert!(parse_quantiles(b"[]", &Limits::default()).is_err());
}

/// A number may end where the words of an earlier element go on, and words may continue where they ended.
#[test]
fn words_of_an_earlier_element_are_no_excuse_for_broken_ones() {
    for (from, to) in
        [("0.01}", "0.01.5}"), ("0.01}", "01}"), ("0.01}", "-}"), ("0.01}", "0.01}}"), ("0.0,", "0.0")]
    {
        let broken = NORM.replace(from, to);
        assert_ne!(broken, NORM);
        let text =
            format!("[{NORM}, {}, {broken}{}]", NORM.replace("0.01", "0.02"), format!(", {NORM}").repeat(9));
        assert!(refusal(&text).starts_with("not valid JSON at byte "), "{}", refusal(&text));
    }
}

#[test]
fn predict_all_answers_every_step_and_further_keys_are_ignored() {
    let asked = expected(Span::HOUR, &[Span::minutes(30), Span::HOUR], Method::PredictAll);
    let read = |text: &str| parse_answer(text.as_bytes(), &asked, &Limits::default());
    let full = format!(r#"{{"60": "ignored", "3600": [{NORM}], "1800": [{NORM}, {NORM}]}}"#);
    let steps: Vec<(Span, usize)> =
        read(&full).unwrap().steps.iter().map(|answer| (answer.step, answer.densities.len())).collect();
    assert_eq!(steps, [(Span::minutes(30), 2), (Span::HOUR, 1)]);
    let refused = |text: &str| read(text).unwrap_err().to_string();
    assert_eq!(refused(&format!(r#"{{"1800": [{NORM}, {NORM}]}}"#)), "the list for step 3600 is missing");
    // The first in the order of the text.
    assert_eq!(refused(&full.replace("0.01", "0")), r#"["3600"][0].params.scale: must be > 0, got 0"#);
    let twice = format!(r#"{{"3600": [{NORM}], "1800": [{NORM}, {NORM}], "36\u00300": []}}"#);
    assert_eq!(refused(&twice), r#"["3600"]: is given twice"#);
    let broken = full.replace("\"ignored\"", "[nul]");
    assert_eq!(refused(&broken), "not valid JSON at byte 8: expected a value, found `nul`");
    let inside = full.replace("0.01}}], \"1800\"", "0.01]}], \"1800\"");
    assert!(refused(&inside).starts_with("not valid JSON at byte "), "{}", refused(&inside));
    assert_eq!(refused(&list_of(2, NORM)), "expected an object from step in seconds to list, got a list");
}

proptest! {
    /// Whatever arrives is an answer or a refusal; what is accepted can be stored as JSON.
    #[test]
    fn a_damaged_answer_never_breaks_the_parser(
        damage in prop::collection::vec((0usize..900, "[\\[\\]{},:\"0-9a-zN.\\\\-]{0,3}"), 1..4),
    ) {
        let mut text = list_of(12, NORM);
        for (at, by) in damage {
            let at = at % text.len();
            text.replace_range(at..at + 1, &by);
        }
        if parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).is_ok() {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn arbitrary_bytes_never_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_answer(&bytes, &hour_by_five_minutes(), &Limits::default()).is_err());
    }
}
