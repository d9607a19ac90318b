//! The OpenAPI document is what is answered, and changes only when somebody says so.

use std::path::Path;

use super::*;
use crate::router::document;

/// Where the document is kept, for who reads it without a worker, and so that every change of it is seen in review.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

#[test]
fn the_document_is_the_one_that_is_kept() {
    let now = format!("{}\n", document().to_pretty_json().unwrap());
    if std::env::var_os("RENEW_SNAPSHOTS").is_some() {
        std::fs::write(KEPT, &now).unwrap();
    }
    let kept = std::fs::read_to_string(Path::new(KEPT)).unwrap_or_default();
    assert!(
        now == kept,
        "the interface has changed: run `RENEW_SNAPSHOTS=1 cargo test -p report-worker openapi` and look at the difference"
    );
}

#[tokio::test]
async fn the_document_is_served_and_tagged() {
    let (router, _) = start(sample());
    let answer = get(&router, "/openapi.json").await;
    assert_eq!(answer.json(), serde_json::to_value(document()).unwrap());
    assert_eq!(answer.json()["openapi"], "3.1.0");
    let tag = answer.header(header::ETAG);
    let again = get_with(&router, "/openapi.json", header::IF_NONE_MATCH, tag).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

/// A path with the ids of the sample in it, and with the parameters that it needs but for `other`.
fn filled_in(path: &str, operation: &Value, other: &str) -> String {
    let path = path.replace("{model_id}", "zero").replace("{round_id}", browse::ROUND);
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let needed = parameters.filter(|it| it["in"] == "query" && it["required"] == true && it["name"] != other);
    let needed = needed.map(|parameter| match parameter["name"].as_str().unwrap() {
        "asset" => "asset=BTC",
        "models" => "models=zero",
        other => panic!("say here what {path} can be asked for as `{other}`"),
    });
    format!("{path}?{}", needed.collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn every_route_answers_what_the_document_says() {
    let document = serde_json::to_value(document()).unwrap();
    let nothing = Fake { schema_too_old: true, ..Fake::default() };
    for (path, item) in document["paths"].as_object().unwrap() {
        for fake in [sample(), Fake { away: true, ..sample() }, nothing.clone()] {
            let (router, _) = start(fake);
            let place = filled_in(path, &item["get"], "");
            check(&document, &item["get"], &get(&router, &place).await);
            check(&document, &item["get"], &get(&router, &format!("{place}&surprise=1")).await);
        }
    }
}

#[tokio::test]
async fn every_parameter_is_known_to_its_route_and_its_bounds_are_those_of_the_document() {
    let document = serde_json::to_value(document()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let (router, _) = start(sample());
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            assert!(parameter["description"].is_string(), "{path}: {name} is not described");
            let ask = async |value: &str| {
                let answer =
                    get(&router, &format!("{}&{name}={value}", filled_in(path, &item["get"], name))).await;
                check(&document, &item["get"], &answer);
                answer.status
            };
            for bound in ["minimum", "maximum"].iter().filter_map(|bound| schema[bound].as_i64()) {
                assert_eq!(ask(&bound.to_string()).await, StatusCode::OK, "{path}: {name}={bound}");
            }
            if let (Some(minimum), Some(maximum)) = (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
                for beyond in [minimum - 1, maximum + 1] {
                    assert_eq!(ask(&beyond.to_string()).await, StatusCode::BAD_REQUEST, "{path}: {name}");
                }
            }
            for word in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert_eq!(ask(word).await, StatusCode::OK, "{path}: {name}={word}");
            }
        }
    }
}

/// Checks an answer against what the document says of the operation.
fn check(document: &Value, operation: &Value, answer: &Answer) {
    let id = operation["operationId"].as_str().unwrap();
    let response = &operation["responses"][answer.status.as_str()];
    assert!(response.is_object(), "{id} answers {}, which is not in the document", answer.status);
    let media_type = answer.header(header::CONTENT_TYPE).split(';').next().unwrap();
    let content = &response["content"][media_type];
    assert!(content.is_object(), "{id} answers {} as {media_type}", answer.status);
    if media_type.ends_with("json") {
        conforms(document, &content["schema"], &answer.json(), id);
    }
}

/// Checks a value against a schema: as much of JSON Schema as the document uses.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target =
            document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is missing"));
        return conforms(document, target, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
        let choice = choice.unwrap_or_else(|| panic!("{place}: {value} is none of {choices:?}"));
        return conforms(document, choice, value, place);
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => return,
        one => vec![one.clone()],
    };
    let is = |kind: &Value| types.contains(kind);
    match value {
        Value::Null => assert!(is(&json!("null")), "{place} is null"),
        Value::Bool(_) => assert!(is(&json!("boolean")), "{place} is {value}"),
        Value::Number(number) => {
            assert!(is(&json!("number")) || is(&json!("integer")) && !number.is_f64(), "{place} is {value}");
            let number = number.as_f64().unwrap();
            assert!(schema["minimum"].as_f64().is_none_or(|least| number >= least), "{place} is {value}");
            assert!(schema["maximum"].as_f64().is_none_or(|most| number <= most), "{place} is {value}");
        }
        Value::String(text) => {
            assert!(is(&json!("string")), "{place} is {value}");
            assert!(
                schema["enum"].as_array().is_none_or(|words| words.contains(&json!(text))),
                "{place}: {text}"
            );
        }
        Value::Array(items) => {
            assert!(is(&json!("array")), "{place} is {value}");
            for item in items {
                conforms(document, &schema["items"], item, place);
            }
        }
        Value::Object(members) => {
            assert!(is(&json!("object")), "{place} is {value}");
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(members.contains_key(name), "{place} lacks {name}");
            }
            for (name, member) in members {
                let place = format!("{place}.{name}");
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Bool(false)) => panic!("{place} is not in the document"),
                    (Value::Null, other) => conforms(document, other, member, &place),
                    (property, _) => conforms(document, property, member, &place),
                }
            }
        }
    }
}
