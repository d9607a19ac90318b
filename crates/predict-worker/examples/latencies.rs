//! How long after the beginning of a round the models' answers are there, checked and packed.
//!
//! ```text
//! cargo run -p predict-worker --release --example latencies -- ws://127.0.0.1:9091/condor --rounds 20 --hanging 1
//! ```
//!
//! In each round all models are asked at once. A round ends when all have answered but `--hanging` of them; those are asked
//! again in the next round, as a worker does it. It prints the 99th percentile of each round over those that answered, and
//! when the last answer was there, as JSON. With `--unread` answers are thrown away as they come: what is left is what models
//! and wire take. Use it on test fleets: it takes each model's one call.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use domain::{Asset, Method, Question, Span, Stopwatch, Target, Timestamp};
use model_client::{CallOutcome, Cluster, ClusterConfig, ClusterEvent, EncodedCall, EncodedSetup, ModelNode};
use predict_worker::pack_answer;
use protocol::{Value, method};
use scoring::Limits;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Longer than any measurement takes: what hangs shall hang.
const PATIENCE: Duration = Duration::from_secs(600);

/// Rounds that do not count: buffers grow to their size in them.
const WARM_UP: usize = 3;

#[derive(Parser)]
struct Options {
    /// ws://HOST:PORT/CRUNCH
    orchestrator: String,
    /// Rounds that are measured
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: usize,
    /// How many models are known never to answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    hanging: usize,
    /// Seconds that are forecast
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    horizon: u32,
    /// Seconds between the densities of an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    step: u32,
    /// Throw answers away instead of checking and packing them
    #[arg(long)]
    unread: bool,
}

/// What every model is asked.
struct Ask {
    call: EncodedCall,
    question: Question,
    limits: Limits,
    is_unread: bool,
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let options = Options::parse();
    let (url, crunch_id) = options.orchestrator.rsplit_once('/').ok_or("no crunch in the address")?;
    let mut config = ClusterConfig::new(url, crunch_id);
    config.report_failures = false;
    let (cluster, mut events) = Cluster::start(config);
    let nodes = listed(&mut events).await?;
    set_up(&nodes).await?;
    let ask = Arc::new(Ask::new(crunch_id, &options)?);
    let answering = nodes.len().saturating_sub(options.hanging);
    let (mut percentiles, mut lasts) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UP + options.rounds {
        let latencies = round(&nodes, &ask, answering).await?;
        lasts.extend(latencies.last().map(|last| last.as_secs_f64() * 1e3));
        percentiles.push(percentile_99(latencies).ok_or("no model answers")?.as_secs_f64() * 1e3);
    }
    let line = serde_json::json!({
        "models": nodes.len(),
        "p99_ms": percentiles[WARM_UP..],
        "last_ms": lasts[WARM_UP..],
    });
    println!("{line}");
    cluster.shutdown().await;
    Ok(())
}

/// Every model of the list joins before the list is complete.
async fn listed(events: &mut UnboundedReceiver<ClusterEvent>) -> Result<Vec<Arc<ModelNode>>, Fault> {
    let mut nodes = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            ClusterEvent::Joined(node) => nodes.push(node),
            ClusterEvent::Disconnected { reason } => return Err(reason.into()),
            ClusterEvent::Initialised => break,
            ClusterEvent::Renamed(_) | ClusterEvent::Left { .. } => {}
        }
    }
    Ok(nodes)
}

async fn set_up(nodes: &[Arc<ModelNode>]) -> Result<(), Fault> {
    let setup = EncodedSetup::new("crunch_synth.tracker.TrackerBase");
    let mut setups = JoinSet::new();
    for node in nodes {
        let (node, setup) = (Arc::clone(node), setup.clone());
        setups.spawn(async move { node.setup(&setup, PATIENCE).await });
    }
    let is_answered = |outcome: &CallOutcome| matches!(outcome, CallOutcome::Answered { .. });
    match setups.join_all().await.into_iter().find(|outcome| !is_answered(outcome)) {
        Some(fault) => Err(format!("a Setup failed: {}", fault.cause()).into()),
        None => Ok(()),
    }
}

/// From the beginning of the round to each outcome, until so many models have answered.
async fn round(nodes: &[Arc<ModelNode>], ask: &Arc<Ask>, answering: usize) -> Result<Vec<Duration>, Fault> {
    let watch = Stopwatch::start();
    let mut asked = JoinSet::new();
    for node in nodes {
        let (node, ask) = (Arc::clone(node), Arc::clone(ask));
        asked.spawn(async move { ask.ask(&node).await.map(|()| watch.elapsed()) });
    }
    let mut latencies = Vec::new();
    while latencies.len() < answering {
        let outcome = asked.join_next().await.ok_or("there are fewer models than shall answer")?;
        latencies.push(outcome??);
    }
    asked.detach_all();
    Ok(latencies)
}

impl Ask {
    fn new(crunch_id: &str, options: &Options) -> Result<Self, Fault> {
        let asset = Asset::new("BTC")?;
        let (horizon, step) = (Span::seconds(options.horizon), Span::seconds(options.step));
        let seconds = |span: Span| Value::Int(i64::from(span.as_secs()));
        let arguments = [Value::String(asset.to_string()), seconds(horizon), seconds(step)];
        let call = EncodedCall::new(method::PREDICT, &arguments);
        let (target, asked_at) = (Target::default(), Timestamp::UNIX_EPOCH);
        let question =
            Question::new(&crunch_id.parse()?, asset, horizon, vec![step], Method::Predict, target, asked_at);
        Ok(Ask { call, question, limits: Limits::default(), is_unread: options.unread })
    }

    /// Asks one model, and checks and packs what it answers, unless it is not to be read.
    async fn ask(&self, node: &ModelNode) -> Result<(), Fault> {
        match node.call(&self.call, PATIENCE).await {
            CallOutcome::Answered { .. } if self.is_unread => Ok(()),
            CallOutcome::Answered { value, room: _room, .. } => {
                let packed = pack_answer(value, &self.question, &self.limits).await;
                packed.map(drop).map_err(|refused| refused.reason.into())
            }
            fault => Err(format!("{}: {}", node.model_id(), fault.cause()).into()),
        }
    }
}

/// The duration that 99 of 100 do not exceed.
fn percentile_99(mut latencies: Vec<Duration>) -> Option<Duration> {
    latencies.sort();
    let rank = (latencies.len() * 99).div_ceil(100);
    latencies.get(rank.checked_sub(1)?).copied()
}
