//! Corrections of prices, and the rounds that they touch.

use std::collections::BTreeMap;

use domain::{LedgerPosition, Price, PriceCorrection, Question, RoundState, Span};

use super::TestDatabase;
use super::samples::*;
use crate::{Action, RoundScores, Store};

fn place(position: u64) -> LedgerPosition {
    LedgerPosition(position)
}

fn price(value: f64) -> Price {
    Price::new(value).unwrap()
}

/// The places of these corrections.
fn places(corrections: &[PriceCorrection]) -> Vec<u64> {
    corrections.iter().map(|correction| correction.position.0).collect()
}

async fn all(store: &dyn Store) -> Vec<u64> {
    places(&store.corrections(None, None, usize::MAX).await.unwrap())
}

/// The scores of a round made from prices up to a place in the ledger.
fn scores_up_to(question: &Question, relative: f64, position: u64) -> RoundScores {
    RoundScores { priced_up_to: place(position), ..scores(question, relative) }
}

/// Notes that a correction at this place touches a round.
async fn correct(store: &dyn Store, question: &Question, position: u64) {
    let touched = BTreeMap::from([(question.id, place(position))]);
    store.apply_corrections(&[place(position)], &touched).await.unwrap();
}

async fn outdated(store: &dyn Store) -> u64 {
    store.outdated_rounds(CRPS, minute(0), minute(99)).await.unwrap().all
}

pub async fn a_price_that_comes_when_its_instant_is_past_is_a_correction(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let first = [
        entry(1, "BTC", minute(1), 1.0),
        entry(2, "BTC", minute(2), 2.0),
        entry(3, "BTC", minute(4), 4.0),
        entry(4, "ETH", minute(1), 9.0),
    ];
    store.append_prices(&first, minute(4)).await.unwrap();
    assert!(all(&*store).await.is_empty(), "a history in the order of time corrects nothing");

    let mut other = entry(5, "BTC", minute(2), 2.5);
    other.source = "second source".to_owned();
    let late = entry(6, "BTC", minute(3), 3.0);
    let same = entry(7, "BTC", minute(1), 1.0);
    let new = entry(8, "ETH", minute(3), 9.0);
    store.append_prices(&[other, late, same, new], minute(5)).await.unwrap();
    let corrections = store.corrections(None, None, usize::MAX).await.unwrap();
    let late = PriceCorrection {
        position: place(6),
        asset: asset("BTC"),
        at: minute(3),
        old: None,
        new: price(3.0),
        source: "recorded".to_owned(),
        recorded_at: minute(5),
    };
    let other = PriceCorrection {
        position: place(5),
        at: minute(2),
        old: Some(price(2.0)),
        new: price(2.5),
        source: "second source".to_owned(),
        ..late.clone()
    };
    assert_eq!(corrections, [late, other]);
}

pub async fn a_correction_is_of_what_was_known_last_and_on_record_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let close = |position, price| entry(position, "BTC", minute(1), price);
    store.append_prices(&[close(1, 1.0), close(2, 2.0)], minute(1)).await.unwrap();
    for _ in 0..2 {
        store.append_prices(&[close(3, 3.0)], minute(2)).await.unwrap();
    }
    store.append_prices(&[close(3, 3.0), close(4, 1.0)], minute(3)).await.unwrap();
    let corrections = store.corrections(None, None, usize::MAX).await.unwrap();
    let moves: Vec<_> =
        corrections.iter().map(|one| (one.position.0, one.old, one.new, one.recorded_at)).collect();
    assert_eq!(
        moves,
        [
            (4, Some(price(3.0)), price(1.0), minute(3)),
            (3, Some(price(2.0)), price(3.0), minute(2)),
            (2, Some(price(1.0)), price(2.0), minute(1)),
        ]
    );
}

pub async fn corrections_are_listed_by_asset_and_by_close(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let close = |n, name, at| entry(n, name, minute(at), n as f64);
    let known = [close(1, "BTC", 1), close(2, "BTC", 2), close(3, "ETH", 2)];
    store.append_prices(&known, NOTED).await.unwrap();
    store.append_prices(&[close(4, "BTC", 2), close(5, "ETH", 2), close(6, "BTC", 1)], NOTED).await.unwrap();
    let (btc, eth) = (asset("BTC"), asset("ETH"));
    let listed = async |asset, before, limit| places(&store.corrections(asset, before, limit).await.unwrap());
    assert_eq!(listed(None, None, 9).await, [6, 5, 4]);
    assert_eq!(listed(None, Some(place(6)), 1).await, [5]);
    assert_eq!(listed(Some(&btc), None, 9).await, [6, 4]);
    assert_eq!(listed(Some(&btc), Some(place(6)), 9).await, [4]);
    assert_eq!(listed(Some(&eth), None, 9).await, [5]);

    let of_closes = async |after, up_to| {
        places(&store.corrected_closes(&btc, minute(after), minute(up_to)).await.unwrap())
    };
    assert_eq!(of_closes(0, 2).await, [4, 6]);
    assert_eq!(of_closes(1, 2).await, [4]);
    assert_eq!(of_closes(0, 1).await, [6]);
}

pub async fn corrections_are_applied_once_and_the_last_mark_of_a_round_stays(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.append_prices(&[entry(1, "BTC", minute(1), 1.0)], NOTED).await.unwrap();
    for n in 2..=4 {
        store.append_prices(&[entry(n, "BTC", minute(1), n as f64)], NOTED).await.unwrap();
    }
    let unapplied = async |limit| places(&store.unapplied_corrections(limit).await.unwrap());
    assert_eq!((unapplied(2).await, unapplied(9).await), (vec![2, 3], vec![2, 3, 4]));

    close_all(&*store, &[question(0), question(1)]).await;
    let touched = BTreeMap::from([(question(0).id, place(3))]);
    store.apply_corrections(&[place(2), place(3)], &touched).await.unwrap();
    correct(&*store, &question(0), 2).await;
    assert_eq!(unapplied(9).await, [4]);
    let mark = async |question: Question| store.round(question.id).await.unwrap().unwrap().corrected_by;
    assert_eq!((mark(question(0)).await, mark(question(1)).await), (Some(place(3)), None));
    store.apply_corrections(&[place(4)], &BTreeMap::new()).await.unwrap();
    assert!(unapplied(9).await.is_empty());
}

pub async fn rounds_that_may_have_been_priced_are_found(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let eth = question_of("ETH", Span::HOUR, minute(1));
    close_all(&*store, &[question(0), question(1), question(2), question(3), eth]).await;
    store.store_scores(&scores(&question(1), 0.5)).await.unwrap();
    store.void_round(question(2).id, CRPS, UNPRICED, minute(90), "no prices").await.unwrap();
    store.mark_asked(&[question(4)], minute(4)).await.unwrap();
    store.record_missed(&[question(5)], "no fresh price", minute(5)).await.unwrap();
    let btc = asset("BTC");
    let found = async |from, to| {
        let found = store.priced_rounds(&btc, minute(from), minute(to)).await.unwrap();
        found.into_iter().map(|question| question.performed_at).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 99).await, [0, 1, 2, 3].map(minute));
    assert_eq!(found(62, 99).await, [2, 3].map(minute), "those that resolved at the first instant count");
    assert_eq!(found(0, 1).await, [0, 1].map(minute), "and so do those that were asked at the last");
}

pub async fn a_round_with_a_later_correction_is_scored_again(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0), question(1)]).await;
    store.store_scores(&scores_up_to(&question(0), 0.5, 10)).await.unwrap();
    store.store_scores(&scores_up_to(&question(1), 0.5, 10)).await.unwrap();
    let round = async || store.round(question(0).id).await.unwrap().unwrap();

    correct(&*store, &question(0), 9).await;
    assert_eq!((outdated(&*store).await, round().await.is_corrected()), (0, false), "it counted already");
    correct(&*store, &question(0), 12).await;
    assert_eq!(outdated(&*store).await, 1);
    assert!(round().await.is_corrected() && round().await.awaits_corrected_scores());
    assert_eq!(outdated_at(&*store, CRPS, minute(0), minute(99), 9).await, [question(0)]);
    let changes = store.score_changes(Default::default(), minute(0), CRPS, 9).await.unwrap();
    let awaiting =
        changes.iter().filter(|change| change.awaits_corrected_scores).map(|change| change.round_id);
    assert_eq!(Vec::from_iter(awaiting), [question(0).id]);

    store.store_scores(&scores_up_to(&question(0), 0.25, 12)).await.unwrap();
    assert_eq!(outdated(&*store).await, 0);
    let corrected = round().await;
    assert!(corrected.is_corrected() && !corrected.awaits_corrected_scores());
    let priced = (corrected.first_priced_up_to, corrected.priced_up_to);
    assert_eq!(priced, (Some(place(10)), Some(place(12))));
    assert!(!store.round(question(1).id).await.unwrap().unwrap().is_corrected());
}

pub async fn scores_that_a_correction_leaves_as_they_are_count_as_no_change(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.store_scores(&scores_up_to(&question(0), 0.5, 10)).await.unwrap();
    let before = store.earliest_change(Default::default(), minute(0)).await.unwrap();
    correct(&*store, &question(0), 11).await;
    let later = RoundScores { scored_at: minute(99), ..scores_up_to(&question(0), 0.5, 11) };
    store.store_scores(&later).await.unwrap();
    let round = store.round(question(0).id).await.unwrap().unwrap();
    assert_eq!(
        (round.priced_up_to, round.scored_at),
        (Some(place(11)), Some(scores(&question(0), 0.5).scored_at))
    );
    assert_eq!(store.earliest_change(Default::default(), minute(0)).await.unwrap(), before);
    assert_eq!(outdated(&*store).await, 0);
}

pub async fn scores_from_older_prices_replace_none_from_newer_ones(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.store_scores(&scores_up_to(&question(0), 0.5, 10)).await.unwrap();
    store.store_scores(&scores_up_to(&question(0), 0.25, 9)).await.unwrap();
    store.void_round(question(0).id, "other/1", place(9), minute(99), "no prices").await.unwrap();
    let round = store.round(question(0).id).await.unwrap().unwrap();
    assert_eq!((round.state, round.priced_up_to), (RoundState::Scored, Some(place(10))));
    assert_eq!(store.export_scores(question(0).id).await.unwrap()[0].relative, 0.5);
}

pub async fn a_void_round_is_scored_when_its_prices_come_after_all(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.void_round(question(0).id, CRPS, place(10), minute(70), "no prices").await.unwrap();
    store.store_scores(&scores_up_to(&question(0), 0.5, 11)).await.unwrap();
    let state = async || store.round(question(0).id).await.unwrap().unwrap().state;
    assert_eq!(state().await, RoundState::Void, "nothing was corrected");
    correct(&*store, &question(0), 11).await;
    assert_eq!(outdated(&*store).await, 1);
    store.store_scores(&scores_up_to(&question(0), 0.5, 11)).await.unwrap();
    assert_eq!((state().await, outdated(&*store).await), (RoundState::Scored, 0));
}

pub async fn a_round_voided_by_hand_stays_void_whatever_is_corrected(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.store_scores(&scores_up_to(&question(0), 0.5, 10)).await.unwrap();
    let void = order(80, Action::VoidRound(question(0).id));
    store.carry_out(&void).await.unwrap().unwrap();
    correct(&*store, &question(0), 11).await;
    store.store_scores(&scores_up_to(&question(0), 0.25, 11)).await.unwrap();
    assert_eq!(outdated(&*store).await, 0);
    let round = store.round(question(0).id).await.unwrap().unwrap();
    assert_eq!((round.state, round.awaits_corrected_scores()), (RoundState::Void, false));
}
