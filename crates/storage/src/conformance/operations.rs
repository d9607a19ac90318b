//! What an operator asks.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{MissedCause, Span, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::{DueRounds, SlotTally, Store, WorkerFacts, WorkerIdentity, WorkerRole, WorkerSign};

fn sign(role: WorkerRole, started_at: Timestamp, state: &str) -> WorkerSign {
    WorkerSign {
        identity: WorkerIdentity::new(role, "a \"machine\"".to_owned(), "1.2.3", started_at),
        schema: 11,
        state: state.to_owned(),
        facts: WorkerFacts::default(),
    }
}

/// What is on record at `now`, all of which was said a moment ago.
async fn said(store: &dyn Store, now: Timestamp) -> Vec<WorkerSign> {
    let workers = store.workers(now).await.unwrap();
    workers
        .into_iter()
        .map(|worker| {
            assert!(worker.silent_for < Duration::from_secs(120), "{worker:?}");
            worker.sign
        })
        .collect()
}

pub async fn workers_are_listed_as_they_said_last_until_they_stop(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let score = sign(WorkerRole::Score, minute(0), "scoring");
    let younger = sign(WorkerRole::Predict, minute(2), "standing by");
    let older = sign(WorkerRole::Predict, minute(1), "leading");
    for worker in [&score, &younger, &older] {
        store.note_worker(worker, minute(3)).await.unwrap();
        store.note_worker(worker, minute(3)).await.unwrap();
    }
    assert_eq!(said(&*store, minute(3)).await, [older.clone(), younger.clone(), score.clone()]);

    let facts = WorkerFacts {
        waiting_writes: Some(7),
        journal_bytes: Some(1 << 40),
        oldest_waiting_at: Some(minute(2)),
        due_rounds: Some(0),
        scoring_lag_s: Some(9),
    };
    let changed = WorkerSign { state: "starting".to_owned(), facts, ..older };
    store.note_worker(&changed, minute(4)).await.unwrap();
    store.forget_worker(&younger.identity.instance).await.unwrap();
    store.forget_worker(&younger.identity.instance).await.unwrap();
    let reader = database.open_read_only().await;
    assert_eq!(said(&*reader, minute(4)).await, [changed, score]);
}

pub async fn a_worker_that_was_silent_for_a_day_leaves_when_another_says_something(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let [silent, speaking] =
        ["leading", "standing by"].map(|state| sign(WorkerRole::Predict, start(), state));
    let now = start() + Span::hours(25);
    for worker in [&silent, &speaking] {
        store.note_worker(worker, now).await.unwrap();
    }
    database.execute("UPDATE workers SET seen_at = started_at").await;
    let silence = store.workers(now).await.unwrap()[0].silent_for;
    assert!(silence >= Duration::from_secs(25 * 3600), "{silence:?}");
    store.note_worker(&speaking, now).await.unwrap();
    assert_eq!(said(&*store, now).await, [speaking]);
}

pub async fn slots_are_counted_by_what_became_of_them(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.slot_tally(start(), minute(99)).await.unwrap(), SlotTally::default());
    let missed = [
        "no fresh price: there is no price of BTC yet",
        "no fresh price: the newest close of BTC is of then",
        "paused by ann: a: b",
        "never heard of",
    ];
    for (slot, reason) in (1..).zip(missed) {
        store.record_missed(&[question(slot)], reason, minute(slot)).await.unwrap();
    }
    store.mark_asked(&[question(10)], minute(10)).await.unwrap();
    store.interrupt_open_rounds(minute(11), "died").await.unwrap();
    store.mark_asked(&[question(12)], minute(12)).await.unwrap();
    close_all(&*store, &[question(13), question(14)]).await;
    store.store_scores(&scores(&question(13), 0.5)).await.unwrap();
    let tally = |asked, interrupted, missed: &[(MissedCause, u64)]| SlotTally {
        asked,
        interrupted,
        missed: BTreeMap::from_iter(missed.iter().copied()),
    };
    let (price, paused, other) = (MissedCause::NoFreshPrice, MissedCause::Paused, MissedCause::Other);
    let all = store.slot_tally(start(), minute(14)).await.unwrap();
    assert_eq!(all, tally(4, 1, &[(price, 2), (paused, 1), (other, 1)]));
    let some = store.slot_tally(minute(1), minute(12)).await.unwrap();
    assert_eq!(some, tally(2, 1, &[(price, 1), (paused, 1), (other, 1)]));
}

pub async fn rounds_that_wait_for_their_scores_are_counted(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(1), question(2), question(3), question(30)]).await;
    store.store_scores(&scores(&question(1), 0.5)).await.unwrap();
    store.defer_scoring(question(2).id, minute(90)).await.unwrap();
    let now = question(3).resolves_at();
    let due = store.due_rounds(now).await.unwrap();
    assert_eq!(due, DueRounds { rounds: 2, oldest_resolved_at: Some(question(2).resolves_at()) });
    assert_eq!(due.lag(now), Duration::from_secs(60));
    let none = store.due_rounds(minute(60)).await.unwrap();
    assert_eq!((none, none.lag(now)), (DueRounds::default(), Duration::ZERO));
}
