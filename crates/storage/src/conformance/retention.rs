//! What is old leaves, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use domain::{LedgerPosition, Question, RoundState, Span, Stopwatch, Timestamp};
use futures::future::{FutureExt, join};

use super::TestDatabase;
use super::samples::*;
use super::standings::ranking;
use crate::{
    Amount, ChangeNumber, Expiry, Keep, Place, Prunable, Pruned, Pruning, Retention, Store, Unfinished,
};

/// The tables with rows for each round.
const BY_ROUND: [Prunable; 3] = [Prunable::RefusedAnswers, Prunable::Predictions, Prunable::Scores];

fn day(n: u32) -> Timestamp {
    start() + Span::days(n)
}

/// BTC over an hour, asked at the beginning of this day.
fn question_on(n: u32) -> Question {
    question_of("BTC", Span::HOUR, day(n))
}

/// Goes: what was asked before day 20, of rounds that resolved by day 10.
fn expiry() -> Expiry {
    Expiry { before: day(20), needed_after: day(10) }
}

async fn score(store: &dyn Store, question: &Question) {
    store.close_round(question, question.performed_at, &outcomes()).await.unwrap();
    store.store_scores(&scores(question, 0.5)).await.unwrap();
}

/// Removes all that may go; returns how much that was. What is busy is tried again: a server cleans up on its own, and goes
/// on for a moment with what a client that left had begun.
async fn prune_all(store: &dyn Store, what: Prunable, expiry: &Expiry) -> Amount {
    const MOST_TRIES: usize = 300;
    let (mut total, mut place, mut busy) = (Amount::default(), Place::Start, 0);
    while place != Place::End {
        let portion = store.prune(what, expiry, &place).await.unwrap();
        total.rows += portion.removed.rows;
        total.bytes += portion.removed.bytes;
        if portion.is_busy {
            busy += 1;
            assert!(busy < MOST_TRIES, "{what} is in use for good");
        } else {
            place = portion.next;
        }
    }
    total
}

/// How much is stored of a round: predictions, refused answers among them, scores.
async fn stored(store: &dyn Store, question: &Question) -> [usize; 3] {
    let predictions = store.predictions(question.id).await.unwrap();
    let refused = predictions.iter().filter(|prediction| prediction.refused.is_some()).count();
    [predictions.len(), refused, store.export_scores(question.id).await.unwrap().len()]
}

const WHOLE: [usize; 3] = [4, 1, 4];

pub async fn old_rounds_leave_and_what_is_needed_stays(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let [scored, void, waiting, resolved_late, young] = [
        question_on(1),
        question_on(2),
        question_on(3),
        question_of("BTC", Span::days(9), day(5)),
        question_on(20),
    ];
    for question in [&scored, &resolved_late, &young] {
        score(&*store, question).await;
    }
    close_all(&*store, &[void.clone(), waiting.clone()]).await;
    store.void_round(void.id, CRPS, UNPRICED, day(3), "nobody knows").await.unwrap();
    let before = store.counts(day(0)).await.unwrap();
    let rounds = store.export_rounds(Timestamp::MIN_UTC, Timestamp::MAX_UTC, None, 99).await.unwrap();

    for (what, rows) in BY_ROUND.into_iter().zip([2, 8, 4]) {
        assert_eq!(store.prunable(what, &expiry()).await.unwrap().rows, rows, "{what}");
        assert_eq!(prune_all(&*store, what, &expiry()).await.rows, rows, "{what}");
        assert_eq!(store.prunable(what, &expiry()).await.unwrap(), Amount::default(), "{what}");
        assert_eq!(prune_all(&*store, what, &expiry()).await, Amount::default(), "again nothing goes");
    }
    assert_eq!(stored(&*store, &scored).await, [0, 0, 0]);
    assert_eq!(stored(&*store, &void).await, [0, 0, 0]);
    assert_eq!(stored(&*store, &waiting).await, [4, 1, 0], "it is still to be scored");
    assert_eq!(stored(&*store, &resolved_late).await, WHOLE, "windows hold it");
    assert_eq!(stored(&*store, &young).await, WHOLE);
    let after = store.counts(day(0)).await.unwrap();
    assert_eq!(
        (after.rounds, after.predictions),
        (before.rounds, before.predictions),
        "what was counted stays so"
    );
    assert_eq!(store.export_rounds(Timestamp::MIN_UTC, Timestamp::MAX_UTC, None, 99).await.unwrap(), rounds);
}

pub async fn a_round_waits_for_its_scores_and_leaves_then(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let waiting = question_on(3);
    close_all(&*store, std::slice::from_ref(&waiting)).await;
    assert_eq!(prune_all(&*store, Prunable::Predictions, &expiry()).await.rows, 0);
    store.store_scores(&scores(&waiting, 0.5)).await.unwrap();
    assert_eq!(prune_all(&*store, Prunable::Predictions, &expiry()).await.rows, 4);
    assert_eq!(stored(&*store, &waiting).await, [0, 0, 4]);
}

pub async fn a_round_that_arrives_after_its_day_has_left_is_stored_and_leaves_too(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    score(&*store, &question_on(3)).await;
    prune_all(&*store, Prunable::Predictions, &expiry()).await;
    let late = question_of("ETH", Span::HOUR, day(3));
    for process in [&store, &database.open().await] {
        process.close_round(&late, day(40), &outcomes()).await.unwrap();
        assert_eq!(stored(&**process, &late).await, [4, 1, 0]);
    }
    prune_all(&*store, Prunable::Predictions, &expiry()).await;
    assert_eq!(stored(&*store, &late).await, [4, 1, 0]);
    store.store_scores(&scores(&late, 0.5)).await.unwrap();
    assert_eq!(prune_all(&*store, Prunable::Predictions, &expiry()).await.rows, 4);
    assert_eq!(stored(&*store, &late).await, [0, 0, 4]);
}

/// Runs a future for so many turns; `None` when it is not done then, and it is dropped.
async fn run_for<T>(turns: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future.fuse());
    let mut turn = 0;
    std::future::poll_fn(move |context| match future.poll_unpin(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if turn == turns => Poll::Ready(None),
        Poll::Pending => {
            turn += 1;
            Poll::Pending
        }
    })
    .await
}

pub async fn a_removal_that_is_cut_short_anywhere_loses_nothing_else(database: &impl TestDatabase) {
    let (store, reader) = (database.open_migrated().await, database.open().await);
    let (old, young) = (question_on(3), question_on(30));
    let many: Vec<_> = (0..700).map(|n| answer(&format!("{n:03}"), vec![7; 5000])).collect();
    store.close_round(&old, day(3), &many).await.unwrap();
    store.void_round(old.id, CRPS, UNPRICED, day(3), "nobody knows").await.unwrap();
    score(&*store, &young).await;
    let mut left = many.len();
    for turns in 0.. {
        let pruned = run_for(turns, prune_all(&*store, Prunable::Predictions, &expiry())).await;
        let predictions = reader.predictions(old.id).await.unwrap();
        assert!(predictions.len() <= left, "what has gone does not come back");
        left = predictions.len();
        assert!(predictions.iter().all(|prediction| many.contains(prediction)), "what stays is whole");
        assert_eq!(stored(&*reader, &young).await, WHOLE);
        if pruned.is_some() {
            break;
        }
    }
    assert_eq!(left, 0);
}

pub async fn two_processes_may_remove_the_same(database: &impl TestDatabase) {
    let (one, two) = (database.open_migrated().await, database.open().await);
    for n in 1..9 {
        score(&*one, &question_on(n)).await;
    }
    score(&*one, &question_on(25)).await;
    let all = async |store: &dyn Store| {
        let retention = Retention { scores: Keep::For(Span::days(20)), ..Retention::default() };
        let mut pruning = Pruning::plan(store, &retention, day(50)).await.unwrap();
        while pruning.step(store).await.unwrap().is_some() {}
        pruning.done().iter().map(|pruned| pruned.rows).sum::<u64>()
    };
    let (first, second) = join(all(&*one), all(&*two)).await;
    assert_eq!(first + second, 8 * (1 + 4 + 4) + (1 + 4), "{first} + {second}: each is counted once");
    for n in (1..9).chain([25]) {
        assert_eq!(stored(&*one, &question_on(n)).await, if n == 25 { [4, 0, 0] } else { [0, 0, 0] });
    }
}

pub async fn of_old_leaderboards_the_first_of_each_hour_and_the_newest_stay(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    for at in [0, 1, 59, 62, 63, 120, 180, 181, 182] {
        let (leaderboard, standings) = ranking(at);
        store.save_leaderboard(&leaderboard, &standings, ChangeNumber(0), &lease).await.unwrap();
    }
    let left = async || -> Vec<i64> {
        let all = store.leaderboards(Timestamp::MIN_UTC, Timestamp::MAX_UTC, 99).await.unwrap();
        all.iter().map(|leaderboard| (leaderboard.as_of - start()).num_minutes()).collect()
    };
    let until = |at| Expiry { before: minute(at), needed_after: day(10) };
    assert_eq!(store.prunable(Prunable::Leaderboards, &until(63)).await.unwrap().rows, 2);
    prune_all(&*store, Prunable::Leaderboards, &until(63)).await;
    assert_eq!(left().await, [0, 62, 63, 120, 180, 181, 182]);
    prune_all(&*store, Prunable::Leaderboards, &until(999)).await;
    assert_eq!(left().await, [0, 62, 120, 180, 182]);
    assert_eq!(prune_all(&*store, Prunable::Leaderboards, &until(999)).await, Amount::default());
    assert!(store.latest_standings().await.unwrap().is_some());
}

pub async fn old_snapshots_and_prices_leave_but_for_the_newest(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    for at in [0, 60, 120] {
        store.save_snapshot(&ranking(at).1, &lease).await.unwrap();
    }
    let prices = [("BTC", 0), ("ETH", 0), ("BTC", 1), ("ETH", 1), ("XAU", 5), ("BTC", 2)];
    let entries: Vec<_> =
        (1..).zip(prices).map(|(position, (name, at))| entry(position, name, minute(at), 1.0)).collect();
    store.append_prices(&entries, NOTED).await.unwrap();
    let until = |at| Expiry { before: minute(at), needed_after: day(10) };

    assert_eq!(prune_all(&*store, Prunable::Snapshots, &until(60)).await.rows, 1);
    assert_eq!(prune_all(&*store, Prunable::Snapshots, &until(999)).await.rows, 1);
    assert_eq!(store.newest_snapshot_at().await.unwrap(), Some(minute(120)));

    assert_eq!(prune_all(&*store, Prunable::Prices, &until(1)).await.rows, 2);
    let left = store.ledger_since(Timestamp::MIN_UTC).await.unwrap();
    assert_eq!(left, entries[2..], "the last minutes stay");
    assert_eq!(store.prunable(Prunable::Prices, &until(999)).await.unwrap().rows, 3);
    assert_eq!(prune_all(&*store, Prunable::Prices, &until(999)).await.rows, 3);
    assert_eq!(store.ledger_end().await.unwrap(), LedgerPosition(6), "no position is given twice");
}

pub async fn when_a_model_was_first_scored_outlives_the_score(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.save_models(&["alpha", "beta"].map(model)).await.unwrap();
    for n in [3, 4, 30] {
        score(&*store, &question_on(n)).await;
    }
    let both = ["alpha", "beta"].map(model_id);
    let first_scored = async || store.first_scored(&both).await.unwrap();
    let first = first_scored().await;
    assert_eq!(first, ["alpha", "beta"].map(|id| (model_id(id), day(3) + Span::HOUR)));
    assert_eq!(prune_all(&*store, Prunable::Scores, &expiry()).await.rows, 8);
    assert_eq!(first_scored().await, first);
    store.save_models(&["alpha", "beta"].map(model)).await.unwrap();
    assert_eq!(first_scored().await, first);
    let back = domain::Model { joined_at: day(20), ..model("beta") };
    store.save_models(&[back]).await.unwrap();
    let since_then = first_scored().await;
    assert_eq!(since_then, [first[0].clone(), (model_id("beta"), day(30) + Span::HOUR)]);
}

/// Stores a day of a thousand models by the default timetable and removes it, so many portions alone and the rest while
/// another process writes as fast as it can; prints how long that took: for figures, not for every run.
pub async fn a_day_of_a_thousand_models_leaves(database: &impl TestDatabase, portions_alone: usize) {
    let (store, other) = (database.open_migrated().await, database.open().await);
    store_a_day(&*store).await;
    let young = question_on(30);
    score(&*store, &young).await;
    let size = store.counts(day(0)).await.unwrap().size_bytes;
    let (mut place, mut total) = (Place::Start, Amount::default());
    remove(&*store, &mut place, &mut total, portions_alone).await;
    let is_done = AtomicBool::new(false);
    let rest = async {
        remove(&*store, &mut place, &mut total, usize::MAX).await;
        is_done.store(true, Ordering::SeqCst);
    };
    let writes = async {
        let mut times = Vec::new();
        for n in 0.. {
            if is_done.load(Ordering::SeqCst) {
                break;
            }
            let watch = Stopwatch::start();
            close_all(&*other, &[question_of("XAU", Span::HOUR, minute(30 * 24 * 60 + n))]).await;
            times.push(watch.elapsed());
        }
        println!("small rounds stored by another process meanwhile: {}", described(times));
    };
    join(rest, writes).await;
    println!("{} rows and {} of {} bytes gone", total.rows, total.bytes, size);
    assert_eq!(total.rows, 768_000);
    assert_eq!(stored(&*other, &young).await, WHOLE);
}

/// Rounds of an hour, four hours and a day ahead.
async fn store_a_day(store: &dyn Store) {
    const ROUNDS_AND_BYTES: [(u32, usize); 3] = [(480, 1400), (192, 120), (96, 4700)];
    for (kind, (rounds, bytes)) in ROUNDS_AND_BYTES.into_iter().enumerate() {
        let outcomes: Vec<_> =
            (0..1000).map(|n| answer(&format!("model-{n:04}"), noise(n * 7 + kind, bytes))).collect();
        for n in 0..rounds {
            let at = day(1) + Span::seconds(n * 86_400 / rounds);
            let question = question_of(["BTC", "ETH", "SOL"][kind], Span::HOUR, at);
            store.close_round(&question, at, &outcomes).await.unwrap();
            store.void_round(question.id, CRPS, UNPRICED, at, "nobody knows").await.unwrap();
        }
    }
}

/// Removes up to so many portions and prints what they took.
async fn remove(store: &dyn Store, place: &mut Place, total: &mut Amount, portions: usize) {
    let mut times = Vec::new();
    while *place != Place::End && times.len() < portions {
        let watch = Stopwatch::start();
        let portion = store.prune(Prunable::Predictions, &expiry(), place).await.unwrap();
        times.push(watch.elapsed());
        total.rows += portion.removed.rows;
        total.bytes += portion.removed.bytes;
        // As Pruning does: what is busy is tried again.
        if !portion.is_busy {
            *place = portion.next;
        }
    }
    println!("portions removed: {}", described(times));
}

fn described(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at =
        |percent: usize| times.get(times.len() * percent / 100).or(times.last()).copied().unwrap_or_default();
    let [half, most, longest] = [at(50), at(99), at(100)];
    let all: Duration = times.iter().sum();
    format!(
        "{} in {all:.2?}, half within {half:.2?}, 99 % within {most:.2?}, all within {longest:.2?}",
        times.len()
    )
}

/// Bytes that do not shrink when they are packed.
fn noise(seed: usize, size: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let next = || {
        state = state * 48_271 % 2_147_483_647;
        state as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

pub async fn unfinished_rounds_are_counted(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.unfinished(day(9)).await.unwrap(), Unfinished::default());
    score(&*store, &question_on(1)).await;
    store.record_missed(&[question_on(2)], "paused", day(2)).await.unwrap();
    store.mark_asked(&[question_on(3), question_on(8)], day(3)).await.unwrap();
    close_all(&*store, &[question_on(5)]).await;
    let counted = async |before| store.unfinished(before).await.unwrap();
    assert_eq!(counted(day(5)).await, Unfinished { rounds: 1, oldest: Some(day(3)) });
    assert_eq!(counted(day(9)).await, Unfinished { rounds: 3, oldest: Some(day(3)) });
    assert_eq!(counted(day(2)).await, Unfinished { rounds: 0, oldest: Some(day(3)) });
}

pub async fn everything_leaves_as_the_settings_say(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let at = |n: u32| Span::minutes(1).times(24 * 60 * n);
    let entries: Vec<_> =
        (1..).zip(0..90).map(|(position, n)| entry(position, "BTC", start() + at(n), 1.0)).collect();
    store.append_prices(&entries, NOTED).await.unwrap();
    for n in [20, 70, 85] {
        score(&*store, &question_on(n)).await;
    }
    let waiting = question_on(45);
    close_all(&*store, std::slice::from_ref(&waiting)).await;
    let retention =
        Retention { prices: Keep::For(Span::days(40)), scores: Keep::Forever, ..Retention::default() };
    let mut pruning = Pruning::plan(&*store, &retention, day(90)).await.unwrap();
    assert_eq!(pruning.held_back(), 1);
    let rows =
        |pruned: &[Pruned]| -> Vec<_> { pruned.iter().map(|pruned| (pruned.what, pruned.rows)).collect() };
    // Prices stay that the waiting round may need.
    let expected = [
        (Prunable::RefusedAnswers, 2),
        (Prunable::Predictions, 4),
        (Prunable::Leaderboards, 0),
        (Prunable::Prices, 30),
    ];
    assert_eq!(rows(&pruning.survey(&*store).await.unwrap()), expected);
    assert_eq!(stored(&*store, &question_on(20)).await, WHOLE, "a survey changes nothing");
    while pruning.step(&*store).await.unwrap().is_some() {}
    assert_eq!(rows(pruning.done()), expected);
    assert_eq!(stored(&*store, &question_on(20)).await, [0, 0, 4]);
    assert_eq!(stored(&*store, &question_on(70)).await, [4, 0, 4]);
    assert_eq!(stored(&*store, &question_on(85)).await, WHOLE);
    assert_eq!(store.round(waiting.id).await.unwrap().unwrap().state, RoundState::Closed);
    assert_eq!(stored(&*store, &waiting).await, [4, 1, 0]);
}
