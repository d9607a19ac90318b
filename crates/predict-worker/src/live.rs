//! The predict worker's life: one slot after the other on the clock.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, Span, Timestamp, TimestampExt};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::faults::FaultLog;
use crate::repair::keep_repairing;
use crate::worker::{Before, PredictWorker};

/// How often the feed is asked again for a close that is not there yet, and how long it has at least to answer.
const FEED_PAUSE: Duration = Duration::from_millis(250);
/// The longest sleep, so that a clock that is set right is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How far back slots of a time when no predict worker ran are recorded as missed.
const LONGEST_DOWNTIME: Span = Span::days(7);

/// Between two looks for a pause.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How long the last slot may still wait for its closes when it is time to stop: whoever leads next comes too late for it.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How long a stop may take to bring into the database what the lead is needed for, before it gives the lead back. What is
/// left then is written by whoever leads next.
const HANDOVER: Duration = Duration::from_millis(500);

/// Asks slot after slot until `shutdown`, or until another worker leads; then the rounds in flight are closed and everything
/// is stored. The lead is given back as soon as nothing more is asked, so that another worker need not wait for the rounds in
/// flight; a question that waits for its model to be free is not put any more.
pub async fn run(worker: PredictWorker, shutdown: CancellationToken) {
    let interval = worker.context.settings().schedules.interval();
    let rounds = TaskTracker::new();
    let faults = Arc::new(FaultLog::default());
    let mut slot = worker.context.clock.now().ceil_to(interval);
    record_downtime(&worker, slot);
    tracing::info!(first_slot = %slot, models = worker.status().running_models(), "asking");
    let asking = async {
        while until_slot(&worker, slot, &shutdown).await {
            worker.adopt_changes(slot);
            tokio::select! {
                _ = async { tokio::join!(await_closes(&worker, slot), worker.look_for_pause()) } => {}
                () = last_wait(&shutdown) => {}
            }
            for round in worker.open_slot(slot).await {
                rounds.spawn(log_closed(round, Arc::clone(&faults)));
            }
            slot = next_slot(&worker, slot);
        }
    };
    tokio::select! {
        () = asking => {}
        never = keep_repairing(&worker) => match never {},
    }
    // What is not stored by then waits in the journal.
    let _ = tokio::time::timeout(HANDOVER, worker.recorder.flush()).await;
    worker.leadership.give_back().await;
    tracing::info!(rounds = rounds.len(), "stopping: the rounds in flight are closed and stored first");
    rounds.close();
    rounds.wait().await;
    if worker.leadership.is_lost() {
        // The database is there, and nothing of this run may be left when the next one begins.
        shutdown.run_until_cancelled(worker.recorder.end()).await;
    }
    worker.recorder.finish().await;
}

/// Waits for the slot; false when there will be none. Looks for a pause meanwhile: at the slot itself a database that is busy
/// may take too long to tell.
async fn until_slot(worker: &PredictWorker, slot: Timestamp, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        is_due = sleep_until(worker, slot, shutdown) => is_due,
        never = keep_looking_for_pause(worker) => match never {},
    }
}

async fn keep_looking_for_pause(worker: &PredictWorker) -> Infallible {
    loop {
        worker.look_for_pause().await;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// False when it is time to stop.
async fn sleep_until(worker: &PredictWorker, slot: Timestamp, shutdown: &CancellationToken) -> bool {
    loop {
        let left = slot.since(worker.context.clock.now());
        if left.is_zero() {
            return !shutdown.is_cancelled() && !worker.leadership.is_lost();
        }
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = worker.leadership.lost() => return false,
            () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
        }
    }
}

/// The end of all waiting for closes when it is time to stop: then a slot is asked with those that are there.
async fn last_wait(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(LAST_WAIT).await;
}

/// Takes prices until every close that can be expected of `slot` is there, or the questions can wait no longer.
async fn await_closes(worker: &PredictWorker, slot: Timestamp) {
    let asked = worker.questions_at(slot);
    let settings = worker.context.settings();
    let previous = slot - settings.schedules.interval();
    let closes = worker.intake.assets().into_iter().map(|asset| {
        let is_asked = asked.iter().any(|question| question.asset == asset);
        let is_wanted = is_asked || worker.intake.has_fresh_price(&asset, previous);
        let is_expected = is_wanted && settings.markets.expects_close(&asset, slot);
        await_close(worker, asset, slot, is_expected)
    });
    join_all(closes).await;
}

/// Takes one asset's prices; again and again if its close is expected.
async fn await_close(worker: &PredictWorker, asset: Asset, slot: Timestamp, is_expected: bool) {
    let grace = if is_expected { worker.context.settings().open_grace } else { Span::ZERO };
    let left = || grace.as_duration().saturating_sub(worker.late_by(slot));
    loop {
        worker.intake.take(&asset, slot, left().max(FEED_PAUSE)).await;
        if left().is_zero() || worker.intake.has_fresh_price(&asset, slot) {
            return;
        }
        tokio::time::sleep(FEED_PAUSE).await;
    }
}

/// The next slot that can still be met; those that cannot are recorded as missed.
fn next_slot(worker: &PredictWorker, slot: Timestamp) -> Timestamp {
    let settings = worker.context.settings();
    let mut next = slot + settings.schedules.interval();
    while worker.late_by(next) > settings.open_grace.as_duration() {
        let late = worker.late_by(next);
        worker
            .recorder
            .missed(worker.questions_at(next), format!("overrun: noticed {:.1} s late", late.as_secs_f64()));
        next = next + settings.schedules.interval();
    }
    next
}

/// Records the slots since the newest on record as missed. What is done in a slot is stored before the closes of the next one: of
/// slots before the newest close a worker that ran would have left a trace, had its schedules had them.
fn record_downtime(worker: &PredictWorker, first_slot: Timestamp) {
    let interval = worker.context.settings().schedules.interval();
    let Before { newest_slot, newest_close } = worker.before();
    let Some(newest_slot) = *newest_slot else { return };
    let mut slot = (newest_slot + interval).max(first_slot - LONGEST_DOWNTIME);
    let (mut unscheduled, mut missed) = (Vec::new(), Vec::new());
    while slot < first_slot {
        let ran = newest_close.is_some_and(|newest| slot < newest);
        let questions = if ran { &mut unscheduled } else { &mut missed };
        questions.extend(worker.questions_at(slot));
        slot = slot + interval;
    }
    worker.recorder.missed(unscheduled, "not scheduled: the schedules in force then did not have this slot");
    worker.recorder.missed(missed, "the predict worker was not running");
}

async fn log_closed(round: crate::OpenRound, faults: Arc<FaultLog>) {
    match round.await {
        Ok(closed) => {
            faults.note(&closed);
            let counts = closed.counts();
            tracing::info!(
                round = %closed.id(),
                success = counts.success,
                failed = counts.failed,
                timeout = counts.timeout,
                absent = counts.absent,
                "closed {}",
                closed.question
            );
        }
        Err(error) => tracing::error!(%error, "a round was lost in flight: it will be marked as interrupted"),
    }
}
