//! Nobody sees an open round's answers, by whatever path they try: those of the OpenAPI document, with all that it says can be
//! asked, and the others. A route that is added later is tried too, since it is in the document.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::world::{OPEN, VIEWERS, World, asked, later, open};

/// Paths that the document does not describe.
const OTHER_PATHS: [&str; 4] = ["/", "/assets/app.css", "/assets/js/main.js", "/docs"];

/// What a parameter can be in this world. A parameter that this does not know is to be added here.
fn values(name: &str) -> Vec<String> {
    let instant = "2025-05-28T23:00:00Z";
    match name {
        "round_id" => vec![open().id.to_string(), asked().id.to_string()],
        "model_id" => ["alpha", "beta"].map(str::to_owned).to_vec(),
        "models" | "projectIds" => vec!["alpha,beta".to_owned()],
        "asset" | "subject" => vec!["BTC".to_owned()],
        "from" | "since" | "start" => vec![instant.to_owned()],
        "at" => vec![instant.to_owned()],
        "search" => vec!["a".to_owned()],
        "to" | "until" | "end" => vec!["2025-05-29T00:00:00Z".to_owned()],
        "horizon" => vec!["1h".to_owned()],
        "resolution" | "granularity" => vec!["1m".to_owned()],
        "source" => vec!["made%20up".to_owned()],
        "kind" => vec!["candle".to_owned()],
        "limit" => vec!["1000".to_owned()],
        "hours" => vec!["168".to_owned()],
        // Without it lists begin at the start, which is all that there is here.
        "cursor" => vec![],
        other => panic!("say in this test what can be asked for as `{other}`"),
    }
}

/// One parameter of a path, and what to try it with.
struct Parameter {
    name: String,
    is_required: bool,
    values: Vec<String>,
}

impl Parameter {
    fn of(described: &Value) -> Self {
        let name = described["name"].as_str().unwrap().to_owned();
        let words = described["schema"]["enum"].as_array();
        let values = match words {
            Some(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => values(&name),
        };
        Parameter { is_required: described["required"] == true, name, values }
    }
}

/// Every request that a path of the document can be tried with: each parameter with each value, beside those that are required.
fn requests(path: &str, operation: &Value) -> Vec<String> {
    let described: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    let (in_path, in_query): (Vec<&Value>, Vec<&Value>) = described.iter().partition(|it| it["in"] == "path");
    let mut paths = vec![path.to_owned()];
    for parameter in in_path.into_iter().map(Parameter::of) {
        let place = format!("{{{}}}", parameter.name);
        let filled = |path: &String| -> Vec<String> {
            parameter.values.iter().map(|value| path.replace(&place, value)).collect()
        };
        paths = paths.iter().flat_map(filled).collect();
    }
    let parameters: Vec<Parameter> = in_query.into_iter().map(Parameter::of).collect();
    let required = parameters.iter().filter(|parameter| parameter.is_required);
    let required: Vec<String> = required.map(|it| format!("{}={}", it.name, it.values[0])).collect();
    let mut queries = vec![required.join("&")];
    for parameter in parameters.iter().filter(|parameter| !parameter.is_required) {
        for value in &parameter.values {
            let pair = format!("{}={value}", parameter.name);
            queries.push(required.iter().cloned().chain([pair]).collect::<Vec<_>>().join("&"));
        }
    }
    paths.iter().flat_map(|path| queries.iter().map(move |query| format!("{path}?{query}"))).collect()
}

/// Everything that can be asked.
async fn all_requests(world: &World) -> Vec<(String, Vec<String>)> {
    let document = world.get("/openapi.json").await;
    let described = document["paths"].as_object().unwrap().iter();
    let described = described.map(|(path, item)| (path.clone(), requests(path, &item["get"])));
    let others = OTHER_PATHS.iter().map(|path| (path.to_string(), vec![path.to_string()]));
    described.chain(others).collect()
}

/// Status, headers and body of an answer to the holder of this key; of a stream, what comes in a moment.
async fn everything(world: &World, request: &str, key: Option<&str>) -> (u16, String) {
    let mut response = world.ask_with(request, key).await;
    let status = response.status().as_u16();
    let mut text = format!("{:?}\n", response.headers());
    let body = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    // Only streams of events go on for longer.
    let _ = tokio::time::timeout(Duration::from_secs(2), body).await;
    (status, text)
}

/// What came of trying everything.
#[derive(Default)]
struct Findings {
    /// Who learned which secret.
    secrets: BTreeSet<(Option<&'static str>, &'static str)>,
    /// By which requests.
    leaks: Vec<String>,
    /// The paths that gave no answer to somebody.
    unanswered: Vec<String>,
}

/// Everybody asks for everything; each request by all of them at once.
async fn try_all(world: &World) -> Findings {
    let mut findings = Findings::default();
    for (path, requests) in all_requests(world).await {
        let mut answered = BTreeSet::new();
        for request in &requests {
            let answers = join_all(VIEWERS.map(|key| everything(world, request, key))).await;
            for (viewer, (status, text)) in VIEWERS.into_iter().zip(answers) {
                assert!(status < 500 || path == "/readyz", "{request}: {status} {text}");
                assert_ne!(status, 401, "{request}: {viewer:?} is known");
                if status == 200 {
                    answered.insert(viewer);
                }
                for secret in [OPEN.mean, OPEN.refused].into_iter().filter(|secret| text.contains(secret)) {
                    findings.secrets.insert((viewer, secret));
                    findings.leaks.push(format!("{request} tells {viewer:?} {secret}"));
                }
            }
        }
        if answered.len() < VIEWERS.len() {
            findings.unanswered.push(path);
        }
    }
    findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_open_rounds_answers_can_be_had_by_any_path_and_with_any_key() {
    let world = World::new().await;
    // What is asked for beforehand must not be kept and told afterwards either, nor the other way round.
    let Findings { secrets, leaks, unanswered } = try_all(&world).await;
    assert!(secrets.is_empty(), "{leaks:#?}");
    assert!(
        unanswered.iter().all(|path| OTHER_PATHS.contains(&path.as_str())),
        "nothing was tried by {unanswered:?}: say in this test how to get an answer there"
    );

    world.clock.set(later());
    let Findings { secrets, leaks, .. } = try_all(&world).await;
    let everybody_both = VIEWERS.map(|key| [OPEN.mean, OPEN.refused].map(|secret| (key, secret)));
    assert_eq!(
        secrets,
        everybody_both.into_iter().flatten().collect(),
        "this test must see them when they are told: {leaks:#?}"
    );
}
