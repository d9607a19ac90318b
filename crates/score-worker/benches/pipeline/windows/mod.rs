//! Windows and leaderboard over weeks of scored predictions.

mod history;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, LedgerPosition, SimulatedClock, Span, Stopwatch, SystemClock, Timestamp, TimestampExt};
use score_worker::ScoreWorker;
use serde_json::json;
use storage::{Hold, HolderId, LeaseName, RoundScores, ScoreRecord, StepScore, Store};

use crate::game::{self, Random, start};
use crate::scoring::{save_models, settings};
use crate::{Result, open};
use history::History;

/// In each round: 24 rounds an hour make 4 million predictions a week.
const MODELS: u64 = 1000;

/// How often a worker is started.
const STARTS: u32 = 9;

/// How often scores are new.
const CYCLES: u32 = 40;

/// Between them: the rounds of an hour of each of four assets.
const CYCLE: Span = Span::minutes(15);

const WEEK: Span = Span::days(7);

const MONTH: Span = Span::days(30);

/// Prints a line about the windows over a week, and another when `weeks` before it are stored as well.
pub async fn measure(url: &str, weeks: u32) -> Result<()> {
    let store = open(url).await?;
    store.migrate().await?;
    save_models(store.as_ref(), MODELS).await?;
    let end = start()? + WEEK.times(weeks + 1);
    let mut history = History::open(url, Arc::clone(&store), settings()?.stamp()).await?;
    history.fill(weeks, end - WEEK, end).await?;
    let watch = Stopwatch::start();
    let made = run(&store, end).await?;
    made.give_back().await?;
    let made_s = watch.elapsed().as_secs_f64();
    let now = report(url, &history, end, made_s).await?;
    for week in (0..weeks).rev() {
        let first = start()? + WEEK.times(week);
        history.fill(week, first, first + WEEK).await?;
    }
    if weeks > 0 {
        report(url, &history, now, made_s).await?;
    }
    Ok(())
}

/// Leaves a week of scored predictions up to now, the leaderboard at its end, and snapshots of the whole month before that.
pub async fn fill(url: &str) -> Result<()> {
    let store = open(url).await?;
    store.migrate().await?;
    save_models(store.as_ref(), MODELS).await?;
    // What a report worker counts is counted back from now.
    let end = SystemClock.now().floor_to(Span::HOUR);
    let mut history = History::open(url, Arc::clone(&store), settings()?.stamp()).await?;
    history.fill(0, end - WEEK, end).await?;
    history.answer(0).await?;
    history.price(end).await?;
    run(&store, end).await?.give_back().await?;
    let first = end - MONTH;
    let hold = Hold { by: HolderId::random(), now: end, lasts: Span::HOUR };
    let lease = store.take_lease(LeaseName::Ranking, &hold).await?.ok_or("somebody else ranks")?;
    let mut standings = store.latest_standings().await?.ok_or("there is no leaderboard")?;
    while standings.as_of > first {
        standings.as_of = standings.as_of - Span::HOUR;
        store.save_snapshot(&standings, &lease).await?;
    }
    history.settle().await
}

/// Measures starts and then cycles from `now` on; returns the instant of the last one.
async fn report(url: &str, history: &History, now: Timestamp, made_s: f64) -> Result<Timestamp> {
    history.settle().await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let store = open(url).await?;
        store.ping().await?;
        let watch = Stopwatch::start();
        let worker = run(&store, now).await?;
        starts.push(watch.elapsed());
        worker.give_back().await?;
    }
    let (mut cycles, mut hours) = (Vec::new(), Vec::new());
    let store = open(url).await?;
    let clock = Arc::new(SimulatedClock::at(now));
    let mut worker = ScoreWorker::new(settings()?, Arc::clone(&store), Arc::clone(&clock) as _);
    worker.run_once().await?;
    let mut at = now;
    for _ in 0..CYCLES {
        for question in history::questions(at, at + CYCLE)? {
            store.close_round(&question, question.performed_at, &[]).await?;
            store.store_scores(&scores(question)?).await?;
        }
        at = at + CYCLE;
        clock.set(at);
        let watch = Stopwatch::start();
        let progress = worker.run_once().await?;
        let took = watch.elapsed();
        if progress.leaderboard != Some(at) {
            return Err(format!("there is no leaderboard as of {at}: {progress:?}").into());
        }
        // On the full hour there is a snapshot too.
        if at.timestamp() % 3600 == 0 { hours.push(took) } else { cycles.push(took) }
    }
    worker.give_back().await?;
    let line = json!({
        "stored": history.rounds() * MODELS,
        "made_s": made_s,
        "start_ms": in_words(starts),
        "cycle_ms": in_words(cycles),
        "hour_ms": in_words(hours),
    });
    println!("{line}");
    Ok(at)
}

/// Starts a worker and lets it write its first leaderboard.
async fn run(store: &Arc<dyn Store>, now: Timestamp) -> Result<ScoreWorker> {
    let mut worker = ScoreWorker::new(settings()?, Arc::clone(store), Arc::new(SimulatedClock::at(now)));
    let progress = worker.run_once().await?;
    if progress.leaderboard != Some(now) {
        return Err(format!("there is no leaderboard as of {now}: {progress:?}").into());
    }
    Ok(worker)
}

/// What every model might have scored.
fn scores(question: domain::Question) -> Result<RoundScores> {
    let mut random = Random::from_seed(question.performed_at.timestamp().unsigned_abs());
    let score = |model| -> Result<ScoreRecord> {
        let relative = random.between(0.0..1.0);
        let step = StepScore { step: question.steps[0], mean: relative, increments: 60, left_out: 0 };
        let model_id = game::model_id(model)?;
        Ok(ScoreRecord { model_id, raw: Some(1.0 - relative), relative, failure: None, steps: vec![step] })
    };
    Ok(RoundScores {
        round_id: question.id,
        rule: settings()?.stamp(),
        priced_up_to: LedgerPosition::START,
        scored_at: question.resolves_at(),
        best: 0.0,
        q95: 1.0,
        scores: (0..MODELS).map(score).collect::<Result<_>>()?,
    })
}

/// The median and the longest, in milliseconds.
fn in_words(mut times: Vec<Duration>) -> serde_json::Value {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map(|time| time.as_secs_f64() * 1e3);
    json!({"median": ms(times.get(times.len() / 2)), "longest": ms(times.last())})
}
