//! Roll-ups, as they are saved and read.

use std::collections::BTreeMap;

use domain::{
    ModelNumber, Parameter, RollUp, RollUpChanges, RolledHour, RolledModel, RolledRound, Span, Sums,
    Timestamp,
};

use super::TestDatabase;
use super::samples::*;
use crate::{ChangeNumber, LeaseName, RollUpMark, RoundScores, StorageError, Store};

fn mark(up_to: i64, after: Timestamp) -> RollUpMark {
    RollUpMark { rule: CRPS.to_owned(), up_to: ChangeNumber(up_to), after }
}

fn parameter(name: &str) -> Parameter {
    Parameter { asset: asset(name), horizon: Span::HOUR }
}

/// Sums of a model for each odd number, that differ by the first.
fn sums(first: f64) -> RollUp {
    let numbers = [first].into_iter().chain(ODD_NUMBERS).zip(0..);
    let entry = |(number, model): (f64, u32)| {
        (
            ModelNumber(model),
            Sums { relative: number, raw: -number, predictions: 1000 * model + 1, valid: model },
        )
    };
    RollUp::new(numbers.map(entry).collect())
}

fn rolled(name: &str, joined_at: Option<Timestamp>) -> RolledModel {
    RolledModel { id: model_id(name), joined_at, first_scored_at: joined_at.map(|at| at + Span::HOUR) }
}

/// As many models as the sums are of.
fn models() -> BTreeMap<ModelNumber, RolledModel> {
    let named =
        |n: u32| (ModelNumber(n), rolled(&format!("m'{n}"), n.is_multiple_of(2).then_some(minute(n))));
    (0..=ODD_NUMBERS.len() as u32).map(named).collect()
}

fn round(name: &str, resolves: u32, first: f64) -> RolledRound {
    let question = question_of(name, Span::HOUR, minute(resolves) - Span::HOUR);
    RolledRound {
        id: question.id,
        parameter: parameter(name),
        resolves_at: minute(resolves),
        sums: sums(first),
    }
}

fn changes(rounds: &[RolledRound], hours: &[(u32, &str, RollUp)]) -> RollUpChanges {
    let hour = |(end, name, sums): &(u32, &str, RollUp)| ((minute(*end), parameter(name)), sums.clone());
    RollUpChanges {
        models: BTreeMap::new(),
        rounds: rounds.iter().map(|round| (round.id, Some(round.clone()))).collect(),
        hours: hours.iter().map(hour).collect(),
    }
}

/// What is stored, to the bit.
async fn stored(store: &dyn Store, after: Timestamp) -> (RollUpMark, Vec<RolledModel>, String) {
    let stored = store.roll_ups(CRPS, after).await.unwrap().unwrap();
    (stored.mark, stored.models, format!("{:?}", stored.hours))
}

fn hour(end: u32, name: &str, sums: RollUp) -> RolledHour {
    RolledHour { end: minute(end), parameter: parameter(name), sums }
}

pub async fn roll_ups_come_back_to_the_last_bit_and_are_replaced(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    assert_eq!(store.roll_ups(CRPS, minute(0)).await.unwrap(), None);
    let rounds =
        [round("ETH", 60, 0.5), round("BTC", 60, 0.25), round("BTC", 1, 0.75), round("BTC", 61, 1.0)];
    let hours = [(60, "ETH", sums(0.5)), (60, "BTC", sums(1.0)), (120, "BTC", sums(1.0))];
    let first = RollUpChanges { models: models(), ..changes(&rounds, &hours) };
    for _ in 0..2 {
        store.save_roll_ups(&first, &mark(4, minute(0)), &lease).await.unwrap();
        let hours = [hour(60, "BTC", sums(1.0)), hour(60, "ETH", sums(0.5)), hour(120, "BTC", sums(1.0))];
        let expected = (mark(4, minute(0)), models().into_values().collect(), format!("{hours:?}"));
        assert_eq!(stored(&*store, minute(0)).await, expected);
    }
    let mut same_instant = [rounds[0].clone(), rounds[1].clone()];
    same_instant.sort_by_key(|round| round.id);
    let [a, b] = same_instant;
    let in_order = [rounds[2].clone(), a, b];
    assert_eq!(format!("{:?}", store.rolled_rounds(&[minute(60)]).await.unwrap()), format!("{in_order:?}"));
    let both = store.rolled_rounds(&[minute(120), minute(60)]).await.unwrap();
    assert_eq!(both.iter().map(|round| round.resolves_at).max(), Some(minute(61)));
    assert_eq!((both.len(), store.rolled_rounds(&[]).await.unwrap().len()), (4, 0));

    let back = BTreeMap::from([(ModelNumber(1), rolled("m'1", Some(minute(70))))]);
    let mut second = RollUpChanges {
        models: back.clone(),
        ..changes(&[round("BTC", 60, 0.125)], &[(60, "BTC", sums(0.875)), (60, "ETH", RollUp::default())])
    };
    second.rounds.insert(rounds[0].id, None);
    store.save_roll_ups(&second, &mark(6, minute(0)), &lease).await.unwrap();
    let hours = [hour(60, "BTC", sums(0.875)), hour(120, "BTC", sums(1.0))];
    let expected = models().into_iter().chain(back).collect::<BTreeMap<_, _>>().into_values().collect();
    assert_eq!(stored(&*store, minute(0)).await, (mark(6, minute(0)), expected, format!("{hours:?}")));
    let rounds = store.rolled_rounds(&[minute(60)]).await.unwrap();
    assert_eq!(rounds, [round("BTC", 1, 0.75), round("BTC", 60, 0.125)]);
}

pub async fn roll_ups_are_of_one_rule_and_reach_back_so_far(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    let rounds = [round("BTC", 60, 0.5), round("BTC", 61, 0.5), round("BTC", 121, 0.5)];
    let hours = [(60, "BTC", sums(0.5)), (120, "BTC", sums(0.5)), (180, "BTC", sums(0.5))];
    let all = RollUpChanges { models: models(), ..changes(&rounds, &hours) };
    store.save_roll_ups(&all, &mark(3, minute(0)), &lease).await.unwrap();
    assert_eq!(store.roll_ups("crps/2", minute(0)).await.unwrap(), None);
    assert_eq!(store.roll_ups(CRPS, minute(0) - Span::HOUR).await.unwrap(), None, "they do not reach so far");
    assert_eq!(store.roll_ups(CRPS, minute(60)).await.unwrap().unwrap().hours.len(), 2);

    store.save_roll_ups(&RollUpChanges::default(), &mark(3, minute(60)), &lease).await.unwrap();
    assert_eq!(store.roll_ups(CRPS, minute(0)).await.unwrap(), None, "what has resolved before is gone");
    assert_eq!(store.roll_ups(CRPS, minute(60)).await.unwrap().unwrap().hours.len(), 2);
    let ends = [60, 120, 180].map(minute);
    assert_eq!(store.rolled_rounds(&ends).await.unwrap(), rounds[1..]);

    store.clear_roll_ups(&lease).await.unwrap();
    assert_eq!(store.roll_ups(CRPS, minute(60)).await.unwrap(), None);
    assert_eq!(store.rolled_rounds(&ends).await.unwrap(), []);
    let other = RollUpMark { rule: "crps/2".to_owned(), ..mark(9, minute(0)) };
    store.save_roll_ups(&RollUpChanges::default(), &other, &lease).await.unwrap();
    let begun = store.roll_ups("crps/2", minute(0)).await.unwrap().unwrap();
    assert_eq!((begun.mark, begun.models, begun.hours), (other, vec![], vec![]));
}

pub async fn who_lost_the_ranking_rolls_nothing_up(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lost = ranking_lease(&*store).await;
    store.release_lease(&lost).await.unwrap();
    let lease = ranking_lease(&*store).await;
    let all = RollUpChanges { models: models(), ..changes(&[], &[(60, "BTC", sums(0.5))]) };
    store.save_roll_ups(&all, &mark(1, minute(0)), &lease).await.unwrap();
    let before = stored(&*store, minute(0)).await;
    for result in [
        store.save_roll_ups(&changes(&[], &[(60, "BTC", sums(0.75))]), &mark(2, minute(0)), &lost).await,
        store.clear_roll_ups(&lost).await,
    ] {
        assert!(matches!(result, Err(StorageError::LeaseLost(LeaseName::Ranking))), "{result:?}");
    }
    assert_eq!(stored(&*store, minute(0)).await, before);
}

pub async fn a_roll_up_that_cannot_be_read_names_its_place(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    let all =
        RollUpChanges { models: models(), ..changes(&[round("BTC", 60, 0.5)], &[(60, "BTC", sums(0.5))]) };
    store.save_roll_ups(&all, &mark(1, minute(0)), &lease).await.unwrap();
    // Its sums are of one model more than there are now.
    database.execute("DELETE FROM roll_up_models WHERE number = 7").await;
    let of_hour = store.roll_ups(CRPS, minute(0)).await.unwrap_err();
    let of_round = store.rolled_rounds(&[minute(60)]).await.unwrap_err();
    for (error, expected) in [(of_hour, "roll_up_hours"), (of_round, "roll_up_rounds")] {
        match error {
            StorageError::Corrupt { table, column, row, why } => {
                assert_eq!((table, column), (expected, "sums"));
                assert!(row.contains("BTC 3600") || row.contains(&question(0).id.to_string()), "{row}");
                assert!(why.ends_with("no roll-up of 7 models"), "{why}");
            }
            other => panic!("{other}"),
        }
    }
}

pub async fn the_earliest_round_with_a_change_is_found(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let all = [question(0), question(1), question(2)];
    close_all(&*store, &all).await;
    let earliest = async |after, resolved_after| {
        store.earliest_change(ChangeNumber(after), resolved_after).await.unwrap()
    };
    assert_eq!(earliest(0, start()).await, None);
    for asked in [&all[1], &all[2]] {
        store.store_scores(&scores(asked, 0.5)).await.unwrap();
    }
    store.void_round(all[0].id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    assert_eq!(earliest(0, Timestamp::MIN_UTC).await, Some(minute(60)), "void rounds are changes");
    assert_eq!(earliest(0, minute(60)).await, Some(minute(61)));
    assert_eq!(earliest(1, minute(60)).await, Some(minute(62)));
    assert_eq!(earliest(3, start()).await, None);
    let again = RoundScores { best: 0.125, ..scores(&all[1], 0.5) };
    store.store_scores(&again).await.unwrap();
    assert_eq!(earliest(3, start()).await, Some(minute(61)));
}
