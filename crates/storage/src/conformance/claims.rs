//! Claims on rounds.

use domain::Question;
use futures::future::join_all;

use super::TestDatabase;
use super::samples::*;
use crate::{ChangeNumber, HolderId, OutdatedRounds, RoundScores, Store};

/// When all rounds of these tests have resolved.
fn now() -> domain::Timestamp {
    minute(500)
}

async fn closed(store: &dyn Store, rounds: u32) -> Vec<Question> {
    let questions: Vec<_> = (0..rounds).map(question).collect();
    close_all(store, &questions).await;
    questions
}

async fn claim(store: &dyn Store, by: &HolderId, limit: usize) -> Vec<Question> {
    store.claim_ready(&hold(by, now(), LONG), limit).await.unwrap()
}

pub async fn no_two_claims_hold_one_round(database: &impl TestDatabase) {
    let (store, other) = (database.open_migrated().await, database.open().await);
    let questions = closed(&*store, 5).await;
    let (a, b) = (HolderId::random(), HolderId::random());
    assert_eq!(claim(&*store, &a, 2).await, questions[..2]);
    assert_eq!(claim(&*other, &b, 2).await, questions[2..4]);
    assert_eq!(claim(&*other, &b, 9).await, questions[2..], "one's own are free for oneself");
    assert_eq!(claim(&*store, &a, 9).await, questions[..2]);
    assert_eq!(claim(&*store, &HolderId::random(), 9).await, []);
}

pub async fn a_claim_that_ran_out_is_taken_by_another_and_the_late_result_changes_nothing(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let questions = closed(&*store, 2).await;
    let (late, quick) = (HolderId::random(), HolderId::random());
    store.claim_ready(&hold(&late, now(), SHORT), 9).await.unwrap();
    assert_eq!(claim(&*store, &quick, 9).await, questions);
    for _ in [&quick, &late] {
        for question in &questions {
            store.store_scores(&scores(question, 0.5)).await.unwrap();
        }
    }
    let changes = store.score_changes(ChangeNumber(0), start(), CRPS, 9).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.number.0).collect::<Vec<_>>(), [1, 2]);
}

pub async fn the_first_round_that_is_ready_is_found_whoever_has_claimed_it(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions = closed(&*store, 3).await;
    let first_ready = async |now| store.first_ready(now).await.unwrap();
    let resolves = |n: usize| questions[n].resolves_at();
    assert_eq!(first_ready(resolves(0) - domain::Span::seconds(1)).await, None);
    claim(&*store, &HolderId::random(), 1).await;
    assert_eq!(first_ready(now()).await, Some(resolves(0)));
    store.store_scores(&scores(&questions[0], 0.5)).await.unwrap();
    store.defer_scoring(questions[1].id, now() + domain::Span::HOUR).await.unwrap();
    assert_eq!(first_ready(now()).await, Some(resolves(2)));
    assert_eq!(first_ready(now() + domain::Span::HOUR).await, Some(resolves(1)));
}

pub async fn a_claim_that_is_renewed_lasts_longer(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions = closed(&*store, 3).await;
    let (living, dead, other) = (HolderId::random(), HolderId::random(), HolderId::random());
    store.claim_ready(&hold(&dead, now(), SHORT), 9).await.unwrap();
    store.claim_ready(&hold(&living, now(), SHORT), 1).await.unwrap();
    store.renew_claims(&hold(&living, now(), LONG)).await.unwrap();
    assert_eq!(claim(&*store, &other, 9).await, questions[1..]);
}

pub async fn claims_that_are_given_back_are_free_at_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions = closed(&*store, 3).await;
    let (stops, stays) = (HolderId::random(), HolderId::random());
    claim(&*store, &stops, 2).await;
    claim(&*store, &stays, 1).await;
    store.release_claims(&stops).await.unwrap();
    store.release_claims(&HolderId::random()).await.unwrap();
    assert_eq!(claim(&*store, &HolderId::random(), 9).await, questions[..2]);
}

pub async fn a_claim_ends_when_its_round_is_scored_voided_or_deferred(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions = closed(&*store, 4).await;
    let by = HolderId::random();
    claim(&*store, &by, 9).await;
    store.store_scores(&scores(&questions[0], 0.5)).await.unwrap();
    store.void_round(questions[1].id, CRPS, UNPRICED, now(), "no prices").await.unwrap();
    store.defer_scoring(questions[2].id, now()).await.unwrap();
    let other = hold(&HolderId::random(), now(), LONG);
    assert_eq!(store.claim_ready(&other, 9).await.unwrap(), questions[2..3]);
    let outdated = store.claim_outdated(&other, "log_score/1", start(), 9).await.unwrap();
    assert_eq!(outdated, [questions[1].clone(), questions[0].clone()]);
}

pub async fn outdated_rounds_are_claimed_too(database: &impl TestDatabase) {
    const LOG_SCORE: &str = "log_score/1";
    let store = database.open_migrated().await;
    let questions = closed(&*store, 3).await;
    for question in &questions {
        store.store_scores(&scores(question, 0.5)).await.unwrap();
    }
    let (a, b) = (hold(&HolderId::random(), now(), LONG), hold(&HolderId::random(), now(), LONG));
    let claim = async |hold, limit| store.claim_outdated(hold, LOG_SCORE, start(), limit).await.unwrap();
    assert_eq!(claim(&a, 1).await, questions[2..], "the latest first");
    assert_eq!(claim(&b, 9).await, [questions[1].clone(), questions[0].clone()]);
    let count = async || store.outdated_rounds(LOG_SCORE, start(), now()).await.unwrap();
    assert_eq!(count().await, OutdatedRounds { all: 3, due: 3 }, "a claim is no verdict");
    store.defer_scoring(questions[0].id, minute(501)).await.unwrap();
    assert_eq!(count().await, OutdatedRounds { all: 3, due: 2 });
    store
        .store_scores(&RoundScores { rule: LOG_SCORE.to_owned(), ..scores(&questions[2], 0.5) })
        .await
        .unwrap();
    assert_eq!(count().await, OutdatedRounds { all: 2, due: 1 });
}

pub async fn many_workers_claim_each_round_once(database: &impl TestDatabase) {
    let first = database.open_migrated().await;
    let questions = closed(&*first, 60).await;
    let stores = join_all((0..4).map(|_| database.open())).await;
    let work = stores.iter().map(|store| async move {
        let (by, mut claimed) = (HolderId::random(), Vec::new());
        loop {
            let batch = claim(&**store, &by, 3).await;
            if batch.is_empty() {
                return claimed;
            }
            for question in batch {
                store.store_scores(&scores(&question, 0.5)).await.unwrap();
                claimed.push(question.id);
            }
        }
    });
    let mut claimed = join_all(work).await.concat();
    claimed.sort_unstable();
    let mut expected: Vec<_> = questions.iter().map(|question| question.id).collect();
    expected.sort_unstable();
    assert_eq!(claimed, expected);
}
