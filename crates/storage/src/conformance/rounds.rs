//! Rounds and the predictions in them.

use std::time::Duration;

use domain::{Prediction, RoundState, Span, StatusCounts, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::{Contender, HolderId, LeaseName, RoundPages, RoundRecord, StorageError, Store};

async fn round(store: &dyn Store, question: &domain::Question) -> RoundRecord {
    store.round(question.id).await.unwrap().unwrap()
}

pub async fn an_asked_round_is_fresh_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (first, second, third) = (question(0), question(1), question(2));
    let fresh = store.mark_asked(&[second.clone(), first.clone(), second.clone()], minute(0)).await.unwrap();
    assert_eq!(fresh, [second.id, first.id]);
    close_all(&*store, std::slice::from_ref(&second)).await;
    let fresh = store.mark_asked(&[first.clone(), second, third.clone()], minute(5)).await.unwrap();
    assert_eq!(fresh, [third.id]);
    let record = round(&*store, &first).await;
    assert_eq!(
        record,
        RoundRecord {
            question: first,
            state: RoundState::Asked,
            reason: None,
            closed_at: None,
            scored_at: None,
            counts: StatusCounts::default(),
            rule: None,
            best: None,
            q95: None,
            contested: false,
            priced_up_to: None,
            first_priced_up_to: None,
            corrected_by: None,
        }
    );
}

pub async fn a_round_is_closed_with_everything_in_it(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let asked = question(0);
    store.mark_asked(std::slice::from_ref(&asked), minute(0)).await.unwrap();
    let mut shuffled = outcomes();
    shuffled.rotate_left(2);
    store.close_round(&asked, minute(1), &shuffled).await.unwrap();
    let record = round(&*store, &asked).await;
    assert_eq!((record.state, record.closed_at), (RoundState::Closed, Some(minute(1))));
    assert_eq!(record.counts, StatusCounts { success: 1, failed: 1, timeout: 1, absent: 1 });
    assert_eq!(record.question, asked);
    assert_eq!(store.predictions(asked.id).await.unwrap(), outcomes());
    assert_eq!(store.predictions(question(1).id).await.unwrap(), []);
}

pub async fn a_round_closes_from_nothing_from_interrupted_and_from_missed(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (unmarked, interrupted, missed) = (question(0), question(1), question(2));
    store.mark_asked(std::slice::from_ref(&interrupted), minute(1)).await.unwrap();
    store.interrupt_open_rounds(minute(2), "stopped").await.unwrap();
    store.record_missed(std::slice::from_ref(&missed), "nobody led", minute(2)).await.unwrap();
    for asked in [&unmarked, &interrupted, &missed] {
        store.close_round(asked, minute(3), &outcomes()).await.unwrap();
        let record = round(&*store, asked).await;
        assert_eq!((record.state, record.reason), (RoundState::Closed, None));
        assert_eq!((record.closed_at, record.counts.total()), (Some(minute(3)), 4));
        assert_eq!(store.predictions(asked.id).await.unwrap(), outcomes());
    }
}

pub async fn the_field_of_a_round_is_every_model_with_its_valid_answer(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.field(question(0).id).await.unwrap(), []);
    close_all(&*store, &[question(0), question(1)]).await;
    let contender =
        |prediction: Prediction| Contender { model_id: prediction.model_id, answer: prediction.answer };
    let expected: Vec<_> = outcomes().into_iter().map(contender).collect();
    assert_eq!(store.field(question(0).id).await.unwrap(), expected);
    assert_eq!(expected.iter().filter(|contender| contender.answer.is_some()).count(), 1);
}

pub async fn the_first_stored_outcome_of_a_round_stays(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (closed, scored, void) = (question(0), question(1), question(2));
    close_all(&*store, &[closed.clone(), scored.clone(), void.clone()]).await;
    store.store_scores(&scores(&scored, 0.5)).await.unwrap();
    store.void_round(void.id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    for asked in [closed, scored, void] {
        let (before, stored) = (round(&*store, &asked).await, store.predictions(asked.id).await.unwrap());
        store.close_round(&asked, minute(9), &[answer("alpha", "[2]"), answer("new", "[]")]).await.unwrap();
        assert_eq!(round(&*store, &asked).await, RoundRecord { contested: true, ..before });
        assert_eq!(store.predictions(asked.id).await.unwrap(), stored);
    }
}

pub async fn a_round_that_two_workers_asked_keeps_the_outcomes_stored_first_and_is_contested(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let asked = question(0);
    let first = vec![answer("alpha", "[1]"), answer("beta", "[1]"), absence("gamma")];
    store.close_round(&asked, minute(1), &first).await.unwrap();
    // The same worker, who does not know whether its first write arrived, or has what came before it died.
    for repeated in [&first[..], &first[..1], &[]] {
        store.close_round(&asked, minute(2), repeated).await.unwrap();
        assert!(!round(&*store, &asked).await.contested, "{repeated:?}");
    }
    let second = Prediction { received_at: Some(minute(3)), ..answer("alpha", "[2]") };
    store.close_round(&asked, minute(2), &[second, answer("delta", "[2]")]).await.unwrap();
    let record = round(&*store, &asked).await;
    assert_eq!((record.contested, record.state, record.counts.total()), (true, RoundState::Closed, 3));
    assert_eq!(store.predictions(asked.id).await.unwrap(), first);
    assert!(store.export_rounds(minute(0), minute(9), None, 9).await.unwrap()[0].contested);
    store.store_scores(&scores(&asked, 0.5)).await.unwrap();
    assert!(round(&*store, &asked).await.contested, "it stays so");
}

pub async fn of_two_outcomes_of_one_model_the_first_is_stored(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let first = answer("alpha", "[1]");
    store.close_round(&question(0), minute(0), &[first.clone(), absence("alpha")]).await.unwrap();
    assert_eq!(store.predictions(question(0).id).await.unwrap(), [first]);
    assert_eq!(round(&*store, &question(0)).await.counts.total(), 1);
}

pub async fn a_round_without_predictions_closes(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.close_round(&question(0), minute(0), &[]).await.unwrap();
    assert_eq!(round(&*store, &question(0)).await.state, RoundState::Closed);
    assert_eq!(store.predictions(question(0).id).await.unwrap(), []);
}

pub async fn missed_overwrites_a_mark_that_nobody_asked_after_and_nothing_else(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (marked, closed, interrupted, missed) = (question(0), question(1), question(2), question(3));
    store.mark_asked(std::slice::from_ref(&interrupted), minute(0)).await.unwrap();
    store.interrupt_open_rounds(minute(1), "stopped").await.unwrap();
    store.mark_asked(std::slice::from_ref(&marked), minute(0)).await.unwrap();
    close_all(&*store, std::slice::from_ref(&closed)).await;
    let all = [marked.clone(), closed.clone(), interrupted.clone(), missed.clone()];
    store.record_missed(&all, "paused", minute(3)).await.unwrap();
    store.record_missed(&all, "another reason", minute(4)).await.unwrap();
    assert_eq!(round(&*store, &closed).await.state, RoundState::Closed);
    assert_eq!(round(&*store, &interrupted).await.state, RoundState::Interrupted);
    for unasked in [marked, missed] {
        let record = round(&*store, &unasked).await;
        assert_eq!((record.state, record.reason.as_deref()), (RoundState::Missed, Some("paused")));
        assert_eq!(record.closed_at, Some(minute(3)));
        assert_eq!(store.mark_asked(&[unasked], minute(5)).await.unwrap(), [], "a missed round is not asked");
    }
}

pub async fn only_asked_rounds_are_interrupted(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (first, second, closed) = (question(0), question(1), question(2));
    store.mark_asked(&[second.clone(), first.clone(), closed.clone()], minute(0)).await.unwrap();
    close_all(&*store, std::slice::from_ref(&closed)).await;
    let interrupted = store.interrupt_open_rounds(minute(4), "the worker died").await.unwrap();
    assert_eq!(interrupted, [first.id, second.id], "in the order of ids");
    let record = round(&*store, &first).await;
    assert_eq!((record.state, record.closed_at), (RoundState::Interrupted, Some(minute(4))));
    assert_eq!(record.reason.as_deref(), Some("the worker died"));
    assert_eq!(round(&*store, &closed).await.state, RoundState::Closed);
    assert_eq!(store.interrupt_open_rounds(minute(5), "again").await.unwrap(), []);
    assert_eq!(ready(&*store, minute(999), 9).await, [closed]);
}

pub async fn open_rounds_are_withdrawn_as_if_never_asked_and_what_was_held_is_free(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let (first, second, closed, missed) = (question(0), question(1), question(2), question(3));
    store.mark_asked(&[second.clone(), first.clone(), closed.clone()], minute(0)).await.unwrap();
    close_all(&*store, std::slice::from_ref(&closed)).await;
    store.record_missed(std::slice::from_ref(&missed), "paused", minute(3)).await.unwrap();
    let (dead, next) = (HolderId::random(), HolderId::random());
    let take = async |by| store.take_lease(LeaseName::Ranking, &hold(by, minute(999), LONG)).await.unwrap();
    let lease = take(&dead).await.unwrap();
    assert_eq!(take(&next).await, None);
    let claimed = store.claim_ready(&hold(&dead, minute(999), LONG), 9).await.unwrap();
    assert_eq!(claimed, std::slice::from_ref(&closed));
    assert_eq!(ready(&*store, minute(999), 9).await, []);
    assert_eq!(store.withdraw_open_rounds().await.unwrap(), [first.id, second.id], "in the order of ids");
    assert_eq!(store.round(first.id).await.unwrap(), None);
    assert_eq!(round(&*store, &missed).await.state, RoundState::Missed);
    assert_eq!(ready(&*store, minute(999), 9).await, [closed], "nobody claims it any more");
    assert!(take(&next).await.unwrap().token > lease.token, "whoever had the lease can tell that it is lost");
    let again = store.mark_asked(&[first.clone(), second.clone()], minute(4)).await.unwrap();
    assert_eq!(again, [first.id, second.id]);
}

pub async fn odd_texts_and_refused_answers_survive(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let mut stored = Vec::new();
    for (i, text) in odd_texts().iter().enumerate() {
        stored.push(answer(&format!("a{i} 東"), text));
        stored.push(refusal(&format!("b{i} '"), text, text));
    }
    stored.sort_by(|a, b| a.model_id.cmp(&b.model_id));
    store.close_round(&question(0), minute(0), &stored).await.unwrap();
    assert_eq!(store.predictions(question(0).id).await.unwrap(), stored);

    let hostile = refusal("nul", "a\0b", "c\0d");
    store.close_round(&question(1), minute(1), &[hostile, answer("alpha", "[1]")]).await.unwrap();
    let stored = store.predictions(question(1).id).await.unwrap();
    assert_eq!(stored[0], answer("alpha", "[1]"), "one model's text costs nobody else's answer");
    assert_eq!(stored[1].reason.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(stored[1].refused.as_deref(), Some("c\0d"));

    store.record_missed(&[question(2)], "it's \0 \"odd\"", minute(2)).await.unwrap();
    assert_eq!(round(&*store, &question(2)).await.reason.as_deref(), Some("it's \u{fffd} \"odd\""));
}

pub async fn answers_come_back_byte_for_byte(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let stored = [answer("a", []), answer("b", [0]), answer("c", &every_byte), answer("d", [0; 9_000])];
    store.close_round(&question(0), minute(0), &stored).await.unwrap();
    assert_eq!(store.predictions(question(0).id).await.unwrap(), stored);
}

pub async fn a_thousand_predictions_are_stored_at_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let many: Vec<_> = (0..2345)
        .map(|i| {
            if i % 2 == 0 {
                answer(&format!("{i:04}"), "[0]")
            } else {
                refusal(&format!("{i:04}"), "no", "x")
            }
        })
        .collect();
    store.close_round(&question(0), minute(0), &many).await.unwrap();
    assert_eq!(store.predictions(question(0).id).await.unwrap(), many);
    assert_eq!(round(&*store, &question(0)).await.counts.failed, 1172);
}

pub async fn an_answer_that_cannot_be_read_names_its_place(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    database.execute("UPDATE predictions SET status = 'LATE' WHERE model_id = 'gamma'").await;
    match store.predictions(question(0).id).await.unwrap_err() {
        StorageError::Corrupt { table, column, row, why } => {
            assert_eq!((table, column), ("predictions", "status"));
            assert_eq!(row, format!("{} gamma", question(0).id));
            assert!(why.contains("LATE"), "{why}");
        }
        other => panic!("{other}"),
    }
}

pub async fn the_newest_slot_is_that_of_any_round(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.newest_slot().await.unwrap(), None);
    close_all(&*store, &[question(5)]).await;
    assert_eq!(store.newest_slot().await.unwrap(), Some(minute(5)));
    store.record_missed(&[question(9)], "starting", minute(9)).await.unwrap();
    store.mark_asked(&[question(7)], minute(7)).await.unwrap();
    assert_eq!(store.newest_slot().await.unwrap(), Some(minute(9)));
}

pub async fn instants_are_kept_to_the_microsecond(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let exact: Timestamp = "2025-05-20T00:00:00.123456Z".parse().unwrap();
    let finer = exact + Duration::from_nanos(789);
    let mut prediction = answer("alpha", "[]");
    prediction.received_at = Some(finer);
    store.close_round(&question(0), finer, &[prediction]).await.unwrap();
    assert_eq!(round(&*store, &question(0)).await.closed_at, Some(exact));
    assert_eq!(store.predictions(question(0).id).await.unwrap()[0].received_at, Some(exact));
}

pub async fn ready_rounds_come_in_the_order_of_resolution_and_id(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let long = question_of("BTC", Span::hours(2), minute(0)); // resolves at minute 120
    let mut same_instant = [question_of("ETH", Span::HOUR, minute(2)), question(2)]; // at minute 62
    same_instant.sort_by_key(|question| question.id);
    let first = question(1); // at minute 61
    let all = [long.clone(), same_instant[1].clone(), first.clone(), same_instant[0].clone()];
    close_all(&*store, &all).await;
    store.mark_asked(&[question(3)], minute(3)).await.unwrap();
    let ready = async |now, limit| ready(&*store, minute(now), limit).await;
    assert_eq!(ready(60, 9).await, []);
    assert_eq!(ready(61, 9).await, std::slice::from_ref(&first));
    let [a, b] = same_instant;
    assert_eq!(ready(999, 2).await, [first.clone(), a.clone()]);
    assert_eq!(ready(999, usize::MAX).await, [first, a, b, long]);
    assert_eq!(ready(999, 0).await, []);
}

pub async fn a_deferred_round_is_ready_again_in_time(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (deferred, other, asked) = (question(0), question(1), question(2));
    close_all(&*store, &[deferred.clone(), other.clone()]).await;
    store.mark_asked(std::slice::from_ref(&asked), minute(2)).await.unwrap();
    store.defer_scoring(deferred.id, minute(100)).await.unwrap();
    store.defer_scoring(asked.id, minute(999)).await.unwrap();
    store.defer_scoring(question(9).id, minute(999)).await.unwrap();
    assert_eq!(ready(&*store, minute(99), 9).await, std::slice::from_ref(&other));
    assert_eq!(ready(&*store, minute(100), 9).await, [deferred, other.clone()]);
    store.close_round(&asked, minute(3), &outcomes()).await.unwrap();
    assert!(ready(&*store, minute(200), 9).await.contains(&asked), "only closed rounds are deferred");
}

pub async fn pages_hold_every_round_of_a_span_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    // Three rounds in a slot, so that a page ends within one.
    let slot = |n| ["BTC", "ETH", "SOL"].map(|asset| question_of(asset, Span::HOUR, minute(n)));
    let questions: Vec<_> = (0..400).flat_map(slot).collect();
    store.record_missed(&questions, "paused", minute(400)).await.unwrap();
    let mut expected: Vec<_> = questions[3..1197].iter().map(|question| question.id).collect();
    expected.sort_unstable();

    let (mut found, mut pages) = (Vec::new(), RoundPages::new(&*store, minute(1), minute(399)));
    while let Some(page) = pages.next().await.unwrap() {
        assert!(page.len() < expected.len(), "it comes in pages");
        found.extend(page.into_iter().map(|round| round.round_id));
    }
    assert_eq!(found, expected);
    assert!(RoundPages::new(&*store, minute(400), minute(500)).next().await.unwrap().is_none());
}
