//! Follows an orchestrator, sets up every model that it runs, asks each one question, and prints what became of it.
//!
//! ```text
//! cargo run -p model-client --example ask_all -- ws://127.0.0.1:9091/condor --asset BTC --horizon 3600 --step 300
//! ```
//!
//! It takes each model's one call: use it on test fleets. Reporting is off: no model is stopped for what it answers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use model_client::{CallOutcome, Cluster, ClusterConfig, ClusterEvent, EncodedCall, EncodedSetup, ModelNode};
use protocol::{Value, method};
use serde_json::json;
use tokio::task::JoinSet;

const USAGE: &str = "usage: ask_all ws://HOST:PORT/CRUNCH [--base-class NAME] [--asset BTC] [--horizon SECONDS] \
                     [--step SECONDS] [--timeout SECONDS] [--json]";

struct Options {
    url: String,
    crunch_id: String,
    base_class: String,
    asset: String,
    horizon: i64,
    step: i64,
    timeout: Duration,
    is_json: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1)).map_err(|fault| format!("{fault}\n{USAGE}"))?;
    let mut config = ClusterConfig::new(&options.url, &options.crunch_id);
    config.report_failures = false;
    let (cluster, mut events) = Cluster::start(config);

    // Every model of the list joins before the list is complete.
    let mut nodes = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            ClusterEvent::Joined(node) => nodes.push(node),
            ClusterEvent::Disconnected { reason } => return Err(reason.into()),
            ClusterEvent::Initialised => break,
            ClusterEvent::Renamed(_) | ClusterEvent::Left { .. } => {}
        }
    }

    let setup = EncodedSetup::new(&options.base_class);
    let arguments = [Value::String(options.asset), Value::Int(options.horizon), Value::Int(options.step)];
    let question = EncodedCall::new(method::PREDICT, &arguments);
    let mut asked = JoinSet::new();
    for node in nodes {
        asked.spawn(ask(node, setup.clone(), question.clone(), options.timeout));
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|(one, _), (other, _)| one.model_id().cmp(other.model_id()));
    for (node, outcome) in &answers {
        if options.is_json { print_json(node, outcome) } else { print_row(node, outcome) }
    }
    cluster.shutdown().await;
    Ok(())
}

/// The outcome of the question, or that of the Setup when there is nobody to ask.
async fn ask(
    node: Arc<ModelNode>,
    setup: EncodedSetup,
    question: EncodedCall,
    patience: Duration,
) -> (Arc<ModelNode>, CallOutcome) {
    let set_up = node.setup(&setup, patience).await;
    let outcome = match set_up {
        CallOutcome::Answered { .. } => node.call(&question, patience).await,
        fault => fault,
    };
    (node, outcome)
}

fn print_row(node: &ModelNode, outcome: &CallOutcome) {
    let name = node.infos().model_name.unwrap_or_default();
    println!(
        "{:<12} {:<20} {:<22} {:<12} {}",
        node.model_id(),
        name,
        node.address(),
        kind(outcome),
        told(outcome)
    );
}

fn print_json(node: &ModelNode, outcome: &CallOutcome) {
    let (took_ms, answer) = match outcome {
        CallOutcome::Answered { took, value, .. } => (Some(took.as_secs_f64() * 1e3), Some(value)),
        _ => (None, None),
    };
    let line = json!({
        "model_id": node.model_id(),
        "model_name": node.infos().model_name,
        "address": node.address(),
        "outcome": kind(outcome),
        "took_ms": took_ms,
        "answer_type": answer.map(answer_type),
        "answer": answer.map(answer_as_json),
        "cause": outcome.cause(),
    });
    println!("{line}");
}

fn answer_type(value: &Value) -> &'static str {
    match value {
        Value::None => "NONE",
        Value::Double(_) => "DOUBLE",
        Value::Int(_) => "INT",
        Value::String(_) => "STRING",
        Value::Json(_) => "JSON",
    }
}

/// JSON of a model stays the text that it was: Python's may hold what no JSON has.
fn answer_as_json(value: &Value) -> serde_json::Value {
    match value {
        Value::None => json!(null),
        Value::Double(number) => json!(number),
        Value::Int(number) => json!(number),
        Value::String(text) | Value::Json(text) => json!(text),
    }
}

fn kind(outcome: &CallOutcome) -> &'static str {
    match outcome {
        CallOutcome::Answered { .. } => "answered",
        CallOutcome::Raised { .. } => "raised",
        CallOutcome::BadImplementation { .. } => "bad class",
        CallOutcome::NotSetUp { .. } => "not set up",
        CallOutcome::OurFault { .. } => "our fault",
        CallOutcome::TooLarge { .. } => "too large",
        CallOutcome::BadAnswer { .. } => "bad answer",
        CallOutcome::CredentialsRefused { .. } => "refused credentials",
        CallOutcome::Timeout { .. } => "timeout",
        CallOutcome::Busy { .. } => "busy",
        CallOutcome::Broken { .. } => "broken",
        CallOutcome::Unreachable { .. } => "unreachable",
        CallOutcome::CoolingDown { .. } => "cooling down",
    }
}

/// The beginning of what came, or the cause of its absence.
fn told(outcome: &CallOutcome) -> String {
    match outcome {
        CallOutcome::Answered { value: Value::Json(text) | Value::String(text), took, .. } => {
            format!("{took:.1?}, {} bytes: {}", text.len(), text.chars().take(60).collect::<String>())
        }
        CallOutcome::Answered { value, took, .. } => format!("{took:.1?}: {value:?}"),
        outcome => outcome.cause().to_owned(),
    }
}

impl Options {
    fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            url: String::new(),
            crunch_id: String::new(),
            base_class: "crunch_synth.tracker.TrackerBase".into(),
            asset: "BTC".into(),
            horizon: 3600,
            step: 300,
            timeout: Duration::from_secs(60),
            is_json: false,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            match argument.as_str() {
                "--base-class" => options.base_class = value()?,
                "--asset" => options.asset = value()?,
                "--horizon" => options.horizon = i64::from(seconds(&value()?)?),
                "--step" => options.step = i64::from(seconds(&value()?)?),
                "--timeout" => options.timeout = Duration::from_secs(seconds(&value()?)?.into()),
                "--json" => options.is_json = true,
                address => options.set_address(address)?,
            }
        }
        if options.url.is_empty() { Err("no orchestrator is named".to_owned()) } else { Ok(options) }
    }

    fn set_address(&mut self, address: &str) -> Result<(), String> {
        let parts =
            address.rsplit_once('/').filter(|(url, crunch)| url.contains("://") && !crunch.is_empty());
        let (url, crunch_id) =
            parts.ok_or(format!("`{address}` is not of the form ws://HOST:PORT/CRUNCH"))?;
        (self.url, self.crunch_id) = (url.to_owned(), crunch_id.to_owned());
        Ok(())
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number of seconds"))
}
