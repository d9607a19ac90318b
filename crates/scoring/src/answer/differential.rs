//! The parser against another reader of JSON and a second, slower statement of the grammar.

use std::collections::BTreeSet;
use std::fmt;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;
use crate::Distribution;

/// Densities with `#` for each number above zero, in every type, with keys in odd orders and keys that nobody asked for.
const LEAVES: [&str; 9] = [
    r#"{"type":"builtin","name":"norm","params":{"loc":-#,"scale":#}}"#,
    r#"{"params":{"scale":#,"x":"7 8; 9","df":#,"loc":#},"name":"t","type":"builtin"}"#,
    r#"{"step":#,"type":"scipy","name":"laplace","params":{"loc":#}}"#,
    r#"{"type":"statistics","na\u006de":"normal","params":{"sigma":#,"note":[#,{"mu":null}]}}"#,
    r#"{"type":"statistics","name":"normal","params":{"mu":#,"loc":"none","scale":#}}"#,
    r#"{"type":"buckets","probabilities":{"0.1":#,"-2":#}}"#,
    r#"{"type":"histogram","edges":[-#,0,#],"probabilities":[#,#]}"#,
    r#"{"type":"samples","weights":[#,0,#],"values":[#,-#,#]}"#,
    r#"{"type":"quantiles","levels":[0.1,0.5],"values":[-#,#]}"#,
];

fn leaf() -> impl Strategy<Value = String> {
    prop::sample::select(&LEAVES[..]).prop_map(str::to_owned)
}

fn component() -> impl Strategy<Value = String> {
    (leaf(), any::<bool>()).prop_map(|(density, weight_first)| match weight_first {
        true => format!(r#"{{"weight":-#,"density":{density}}}"#),
        false => format!(r#"{{"density":{density},"weight":#}}"#),
    })
}

fn template() -> impl Strategy<Value = String> {
    let mixture = prop::collection::vec(component(), 1..4)
        .prop_map(|components| format!(r#"{{"type":"mixture","components":[{}]}}"#, components.join(",")));
    (prop_oneof![leaf(), mixture], 0..3).prop_map(|(template, style)| match style {
        0 => template,
        1 => template.replace(',', ", ").replace("\":", "\": "),
        _ => template.replace(',', " ,\n\t").replace("\":", "\" : ").replace('[', "[ "),
    })
}

/// Numbers above zero as people and libraries write them.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (1e-9..1e3).prop_map(|x: f64| format!("{x}")),
        (1e-9..1e3).prop_map(|x: f64| format!("{x:e}")),
        (1e-9..1e3).prop_map(|x: f64| format!("{x:.5E}")),
        (1u32..1000).prop_map(|n| n.to_string()),
        "0[.]0{0,3}[1-9][0-9]{0,30}(e[+-]?[0-2])?",
    ]
}

fn filled(template: &str, numbers: &[String]) -> String {
    let mut numbers = numbers.iter().cycle();
    template
        .split('#')
        .map(str::to_owned)
        .reduce(|text, rest| text + numbers.next().unwrap() + &rest)
        .unwrap()
}

/// Twelve densities from a few templates; some are like the one before.
pub(super) fn elements() -> impl Strategy<Value = Vec<String>> {
    let element = (any::<prop::sample::Index>(), prop::collection::vec(number(), 1..8), 0..4);
    (prop::collection::vec(template(), 1..10), prop::collection::vec(element, 12)).prop_map(
        |(templates, elements)| {
            let mut texts: Vec<String> = Vec::new();
            for (template, numbers, repeated) in elements {
                let fresh = filled(&templates[template.index(templates.len())], &numbers);
                let again = texts.last().filter(|_| repeated == 0).cloned();
                texts.push(again.unwrap_or(fresh));
            }
            texts
        },
    )
}

fn hour_by_five_minutes() -> Expected {
    Expected { horizon: Span::HOUR, steps: vec![Span::minutes(5)], method: Method::Predict }
}

fn bits(density: &Density) -> Vec<u64> {
    let at = |x: f64| [density.cdf(x).to_bits(), density.pdf(x).to_bits(), density.sf(x).to_bits()];
    [-3.0, 0.0, 0.1, 0.7, 40.0].into_iter().flat_map(at).collect()
}

/// As another reader understands it, written in its way.
fn rewritten(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text).unwrap().to_string()
}

proptest! {
    #[test]
    fn an_element_means_the_same_in_a_list_and_alone_and_in_other_words(elements in elements()) {
        let text = format!("[{}]", elements.join(", "));
        let answer = parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default()).unwrap();
        let densities = &answer.steps[0].densities;
        for (density, element) in densities.iter().zip(&elements) {
            for alone in [element, &rewritten(element)] {
                let alone = parse_density(alone.as_bytes(), &Limits::default()).unwrap();
                prop_assert_eq!(bits(density), bits(&alone), "{}", element);
            }
        }
        for (pair, texts) in densities.windows(2).zip(elements.windows(2)) {
            prop_assert_eq!(Arc::ptr_eq(&pair[0], &pair[1]), texts[0] == texts[1]);
        }
    }

    #[test]
    fn a_bad_number_is_refused_in_the_same_words_in_a_list_and_alone(
        elements in elements(), at in 0usize..12, bad in "0|-1|NaN|-Infinity|1e999|true|null|\"1\"",
        slot in any::<prop::sample::Index>(),
    ) {
        let mut elements = elements;
        let starts: Vec<usize> = elements[at]
            .match_indices(|c: char| c.is_ascii_digit())
            .map(|(start, _)| start)
            .filter(|&start| elements[at][..start].ends_with([':', ' ', '[', ',']))
            .collect();
        let start = starts[slot.index(starts.len())];
        let length = elements[at][start..].find([',', '}', ']', ' ']).unwrap();
        elements[at].replace_range(start..start + length, &bad);
        let alone = parse_density(elements[at].as_bytes(), &Limits::default()).map(|density| bits(&density));
        let text = format!("[{}]", elements.join(", "));
        let answer = parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default());
        match (alone, answer) {
            (Ok(alone), answer) => prop_assert_eq!(alone, bits(&answer.unwrap().steps[0].densities[at])),
            (Err(alone), answer) if alone.path.is_empty() && alone.reason.starts_with("not valid JSON") => {
                prop_assert!(answer.unwrap_err().reason.starts_with("not valid JSON"));
            }
            // The same text may stand more than once.
            (Err(alone), answer) => {
                let first = elements.iter().position(|element| *element == elements[at]).unwrap();
                prop_assert_eq!(answer.unwrap_err(), alone.at_index(first));
            }
        }
    }

    #[test]
    fn a_damaged_answer_is_accepted_exactly_when_the_reference_accepts_it(
        elements in elements(), damage in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..3),
    ) {
        let mut text = format!("[{}]", elements.join(", "));
        for (at, (length, by)) in damage {
            let start = at.index(text.len());
            let end = text.len().min(start + length);
            if text.is_char_boundary(start) && text.is_char_boundary(end) {
                text.replace_range(start..end, &by);
            }
        }
        let ours = parse_answer(text.as_bytes(), &hour_by_five_minutes(), &Limits::default());
        let reference = serde_json::from_str::<Json>(&text).is_ok_and(|json| is_answer(&json));
        prop_assert_eq!(ours.is_ok(), reference, "{:?} {}", ours.err(), text);
    }
}

/// How many bytes to replace by what.
fn damage() -> impl Strategy<Value = (usize, String)> {
    let by = prop_oneof![
        "[\\[\\]{},:\"0-9a-z.\\\\ -]{0,2}",
        r#"null|true|1|-|0|"loc": 1, |"scale": 2, |, |"note": \[\], |"mu": 3, |"type": "x", |"weight": 0, |\\u0041"#,
    ];
    (prop_oneof![3 => Just(0usize), 5 => Just(1), 1 => 2usize..60], by)
}

/// JSON with all members of objects, also those that are given twice.
#[derive(Debug, PartialEq)]
enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    String(String),
    Number(f64),
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Other)
            }
            fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
                Ok(Json::Number(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(Json::Number(number as f64))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Number(number as f64))
            }
            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::String(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Json::List(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Json::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Json {
    /// The value of a key that is given once.
    fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let mut values = members.iter().filter(|(name, _)| name == key).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }

    fn has(&self, key: &str) -> bool {
        matches!(self, Json::Object(members) if members.iter().any(|(name, _)| name == key))
    }

    fn number(&self) -> Option<f64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Json::List(elements) => elements.iter().map(Json::number).collect(),
            _ => None,
        }
    }

    fn is(&self, text: &str) -> bool {
        matches!(self, Json::String(string) if string == text)
    }
}

fn is_answer(json: &Json) -> bool {
    matches!(json, Json::List(elements) if elements.len() == 12 && elements.iter().all(|json| leaves(json).is_some_and(|n| n <= 3)))
}

/// How many leaves a density has; `None` where it is none.
fn leaves(density: &Json) -> Option<usize> {
    let Json::String(kind) = density.get("type")? else { return None };
    let is_leaf = match kind.as_str() {
        "mixture" => return mixture_leaves(density),
        "builtin" | "scipy" => is_family(kind == "scipy", density.get("name")?, density.get("params")?),
        "statistics" => density.get("name")?.is("normal") && is_normal(density.get("params")?),
        "buckets" => is_buckets(density.get("probabilities")?),
        "histogram" => {
            is_histogram(&density.get("edges")?.numbers()?, &density.get("probabilities")?.numbers()?)
        }
        "samples" => is_samples(density)?,
        "quantiles" => is_quantiles(&density.get("levels")?.numbers()?, &density.get("values")?.numbers()?),
        _ => false,
    };
    is_leaf.then_some(1)
}

/// The nesting that a few damages can build is below the limit.
fn mixture_leaves(density: &Json) -> Option<usize> {
    let Json::List(components) = density.get("components")? else { return None };
    let weights: Vec<f64> =
        components.iter().map(|component| component.get("weight")?.number()).collect::<Option<_>>()?;
    let leaves: Vec<usize> =
        components.iter().map(|component| leaves(component.get("density")?)).collect::<Option<_>>()?;
    weights.iter().any(|&weight| weight != 0.0).then(|| leaves.iter().sum())
}

fn is_family(is_scipy: bool, name: &Json, params: &Json) -> bool {
    let Json::Object(members) = params else { return false };
    let Json::String(name) = name else { return false };
    let shapes: &[&str] = match name.as_str() {
        "norm" | "laplace" => &[],
        "t" => &["df"],
        _ => return false,
    };
    let has = |key: &str| params.has(key);
    let above_zero = |key: &str| params.get(key).and_then(Json::number).is_some_and(|number| number > 0.0);
    let is_known = |key: &str| shapes.contains(&key) || key == "loc" || key == "scale";
    shapes.iter().all(|shape| above_zero(shape))
        && ((is_scipy && !has("loc")) || params.get("loc").and_then(Json::number).is_some())
        && ((is_scipy && !has("scale")) || above_zero("scale"))
        && (!is_scipy || members.iter().all(|(key, _)| is_known(key)))
}

fn is_normal(params: &Json) -> bool {
    let Json::Object(_) = params else { return false };
    let first = |keys: [&'static str; 2]| keys.into_iter().find(|key| params.has(key));
    // One that is given twice counts as bad even where the other name goes before it.
    let number = |key: &str| params.get(key).and_then(Json::number);
    first(["mu", "loc"]).is_none_or(|key| number(key).is_some())
        && first(["sigma", "scale"]).is_none_or(|key| number(key).is_some_and(|sigma| sigma > 0.0))
}

fn is_buckets(probabilities: &Json) -> bool {
    let Json::Object(members) = probabilities else { return false };
    let bucket = |key: &str| key.parse::<f64>().ok().filter(|value| value.is_finite());
    let values: Option<BTreeSet<u64>> =
        members.iter().map(|(key, _)| bucket(key).map(|value| (value + 0.0).to_bits())).collect();
    let masses: Option<Vec<f64>> = members.iter().map(|(_, mass)| mass.number()).collect();
    values.is_some_and(|values| values.len() == members.len())
        && masses.is_some_and(|masses| are_masses(&masses))
}

fn are_masses(masses: &[f64]) -> bool {
    masses.iter().all(|&mass| mass >= 0.0) && masses.iter().any(|&mass| mass > 0.0)
}

fn is_histogram(edges: &[f64], probabilities: &[f64]) -> bool {
    edges.len() == probabilities.len() + 1
        && edges.windows(2).all(|pair| pair[0] < pair[1])
        && are_masses(probabilities)
}

fn is_samples(density: &Json) -> Option<bool> {
    let values = density.get("values")?.numbers()?;
    if !density.has("weights") || density.get("weights") == Some(&Json::Other) {
        return Some(!values.is_empty());
    }
    let weights = density.get("weights")?.numbers()?;
    Some(weights.len() == values.len() && are_masses(&weights))
}

fn is_quantiles(levels: &[f64], values: &[f64]) -> bool {
    !levels.is_empty()
        && levels.len() == values.len()
        && levels.iter().all(|&level| level > 0.0 && level < 1.0)
        && levels.windows(2).all(|pair| pair[0] < pair[1])
        && values.windows(2).all(|pair| pair[0] <= pair[1])
}
