//! `condor probe`: calls every model of an orchestrator in phases, and tells what came of it and what it cost.

mod action;
mod fleet;
mod payload;
mod report;
mod usage;

use std::sync::Arc;

use anyhow::bail;
use domain::{Clock, Method, Question, Span, Stopwatch, SystemClock, Target, Timestamp, TimestampExt};
use model_client::{ClusterConfig, EncodedCall, EncodedSetup};
use protocol::{Value, method};

use super::UsageError;
use crate::cli::ProbeArgs;
use crate::config::{Config, load};
use action::{Action, Ask};
use fleet::{Fleet, Round};
use report::Report;
use usage::Meter;

/// What `--help` adds to the options.
pub const EXPLANATION: &str = "\
Phases, in this order; in each round all models are called at once, and the next begins when all have an outcome:
  connect       from opening the WebSocket until every model of the first list is connected and its Setup has ended
  tick_minute   one minute's closes of all assets
  predict       --rounds questions; each answer is parsed and checked as the predict worker does, and thrown away
  tick_history  made-up history of --tick-mb, a round for each part of at most 3 MB

A line for each phase when it ends: ok, failed and timeout count calls and add up to models times rounds; wall times are
those of rounds; cpu_per_call_us is this process's processor time in the phase by its calls; rss_mb is the most memory
that was resident in the phase. A model that is still busy, or cools down after timeouts, counts as timeout. One whose
Setup did not succeed is not called again and counts in each phase as it did in `connect`. Causes are told on standard
error. Nothing is reported to the orchestrator.

Exit status: 0 when every call succeeded, 1 when one did not or the orchestrator could not be heard, 2 on wrong usage.";

/// The price interval of the made-up prices.
const MINUTE: Span = Span::minutes(1);

/// Runs all phases and prints a line for each.
pub async fn run(args: ProbeArgs) -> anyhow::Result<()> {
    check(&args)?;
    args.orchestrator.confirm("a probe sends its models made-up prices", args.yes)?;
    let config = load(args.config.as_deref(), None)?.config;
    let cluster = args.orchestrator.cluster_config(&config)?;
    let mut report = Report::new(args.json);
    let fleet = connect(&config, cluster, &args, &mut report).await?;
    let now = SystemClock.now().floor_to(MINUTE);
    for (phase, actions) in phases(&args, &config, now) {
        call(&fleet, phase, actions, &mut report).await?;
    }
    fleet.shutdown().await;
    match report.not_succeeded() {
        0 => Ok(()),
        faults => bail!("{faults} of {} calls did not succeed", report.calls()),
    }
}

fn check(args: &ProbeArgs) -> Result<(), UsageError> {
    if args.horizon.is_zero() || !args.horizon.is_multiple_of(args.step) {
        let (horizon, step) = (args.horizon, args.step);
        return Err(UsageError(format!("--step {step} does not divide --horizon {horizon}")));
    }
    if args.timeout.is_zero() {
        return Err(UsageError("--timeout 0s leaves no time for an answer: write 60s".into()));
    }
    Ok(())
}

async fn connect(
    config: &Config,
    cluster: ClusterConfig,
    args: &ProbeArgs,
    report: &mut Report,
) -> anyhow::Result<Fleet> {
    let meter = Meter::start()?;
    let watch = Stopwatch::start();
    let mut fleet = Fleet::join(cluster, args.timeout.as_duration()).await?;
    report.begins("connect", fleet.size(), 1);
    let set_up = fleet.set_up(EncodedSetup::new(&config.models.base_class)).await;
    let round = Round { wall: watch.elapsed(), ..set_up };
    report.ends("connect", fleet.size(), vec![round], &meter)?;
    Ok(fleet)
}

/// The phases after `connect`, each with what is done in its rounds.
fn phases(args: &ProbeArgs, config: &Config, now: Timestamp) -> [(&'static str, Vec<Action>); 3] {
    let limits = config.models.limits();
    let questions = args.assets.iter().cycle().take(args.rounds as usize).map(|asset| {
        let (crunch, steps) = (&config.crunch_id, vec![args.step]);
        let question = Question::new(
            crunch,
            asset.clone(),
            args.horizon,
            steps,
            Method::Predict,
            Target::default(),
            now,
        );
        let call = encode(&question, args.step);
        Action::Ask(Arc::new(Ask { call, question, limits }))
    });
    let history = payload::history(&args.assets, now, args.tick_mb);
    [
        ("tick_minute", vec![Action::Tick(payload::minute(&args.assets, now))]),
        ("predict", questions.collect()),
        ("tick_history", history.into_iter().map(Action::Tick).collect()),
    ]
}

fn encode(question: &Question, step: Span) -> EncodedCall {
    let seconds = |span: Span| Value::Int(i64::from(span.as_secs()));
    let asset = Value::String(question.asset.to_string());
    EncodedCall::new(method::PREDICT, &[asset, seconds(question.horizon), seconds(step)])
}

async fn call(
    fleet: &Fleet,
    phase: &'static str,
    actions: Vec<Action>,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.begins(phase, fleet.size(), actions.len());
    let meter = Meter::start()?;
    let mut rounds = Vec::with_capacity(actions.len());
    for action in actions {
        let round = fleet.round(action).await;
        report.progress(phase, rounds.len() + 1, &round);
        rounds.push(round);
    }
    report.ends(phase, fleet.size(), rounds, &meter)
}
