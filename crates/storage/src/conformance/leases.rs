//! Leases.

use domain::{LedgerPosition, RoundState, Span};
use futures::future::join_all;

use super::TestDatabase;
use super::samples::*;
use super::standings::ranking;
use crate::{ChangeNumber, HolderId, Lease, LeaseName, StorageError, Store};

async fn take(store: &dyn Store, by: &HolderId, lasts: Span) -> Option<Lease> {
    store.take_lease(LeaseName::Ranking, &hold(by, start(), lasts)).await.unwrap()
}

pub async fn a_lease_has_one_holder_at_a_time(database: &impl TestDatabase) {
    let (store, other) = (database.open_migrated().await, database.open().await);
    let (a, b) = (HolderId::random(), HolderId::random());
    let lease = take(&*store, &a, LONG).await;
    assert!(lease.is_some());
    assert_eq!(take(&*other, &b, LONG).await, None);
    assert_eq!(take(&*store, &a, LONG).await, lease, "the holder keeps it");
}

pub async fn a_lease_that_ran_out_is_taken_by_another_with_a_higher_token(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (dead, next) = (HolderId::random(), HolderId::random());
    let lost = take(&*store, &dead, SHORT).await.unwrap();
    let taken = take(&*store, &next, LONG).await.unwrap();
    assert!(taken.token > lost.token);
    assert!(!store.renew_lease(&lost, &hold(&dead, start(), LONG)).await.unwrap());
    store.release_lease(&lost).await.unwrap();
    assert_eq!(take(&*store, &dead, LONG).await, None, "what one has lost one cannot give back");
}

pub async fn a_lease_that_is_renewed_or_given_back_ends_later_or_at_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (a, b) = (HolderId::random(), HolderId::random());
    let lease = take(&*store, &a, SHORT).await.unwrap();
    assert!(store.renew_lease(&lease, &hold(&a, start(), LONG)).await.unwrap());
    assert_eq!(take(&*store, &b, LONG).await, None);
    store.release_lease(&lease).await.unwrap();
    let taken = take(&*store, &b, LONG).await.unwrap();
    assert!(taken.token > lease.token);
    assert_eq!(take(&*store, &a, LONG).await, None);
}

pub async fn of_many_that_want_a_lease_at_once_one_gets_it(database: &impl TestDatabase) {
    database.open_migrated().await;
    let stores = join_all((0..4).map(|_| database.open())).await;
    let wants = stores.iter().map(|store| async move {
        let hold = hold(&HolderId::random(), start(), LONG);
        store.take_lease(LeaseName::Ranking, &hold).await.unwrap()
    });
    assert_eq!(join_all(wants).await.iter().flatten().count(), 1);
}

pub async fn a_lease_is_taken_at_once_from_a_holder_that_is_known_to_be_dead(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let hold = |by: &HolderId| hold(by, start(), LONG);
    let (dead, next, late) = (HolderId::random(), HolderId::random(), HolderId::random());
    let of_the_dead = take(&*store, &dead, LONG).await.unwrap();
    let taken = store.succeed_lease(&of_the_dead, &hold(&next)).await.unwrap().unwrap();
    assert!(taken.token > of_the_dead.token);
    assert!(!store.renew_lease(&of_the_dead, &hold(&dead)).await.unwrap());
    assert!(store.renew_lease(&taken, &hold(&next)).await.unwrap());
    assert_eq!(store.succeed_lease(&of_the_dead, &hold(&late)).await.unwrap(), None, "it was not the last");
    assert_eq!(take(&*store, &late, LONG).await, None);
}

pub async fn who_holds_a_lease_and_since_when_is_told(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let holder = async || store.lease_holder(LeaseName::Ranking, start()).await.unwrap();
    let (a, b) = (HolderId::random_on("ada"), HolderId::random());
    assert_eq!(holder().await, None);
    let lease = take(&*store, &a, LONG).await.unwrap();
    let first = holder().await.unwrap();
    assert_eq!(first.holder, a.as_str());
    assert!(first.holder.starts_with("ada/"), "{}", first.holder);
    take(&*store, &a, LONG).await.unwrap();
    store.renew_lease(&lease, &hold(&a, start(), LONG)).await.unwrap();
    assert_eq!(holder().await.unwrap(), first, "it holds it since then");
    store.release_lease(&lease).await.unwrap();
    assert_eq!(holder().await, None);
    take(&*store, &b, LONG).await.unwrap();
    let second = holder().await.unwrap();
    assert_eq!(second.holder, b.as_str());
    assert!(second.since >= first.since);
    let other = store.lease_holder(LeaseName::Predict, start()).await.unwrap();
    assert_eq!(other, None, "of another lease nothing is said");
}

async fn predict_lease(store: &dyn Store) -> Lease {
    let hold = hold(&HolderId::random(), start(), LONG);
    store.take_lease(LeaseName::Predict, &hold).await.unwrap().unwrap()
}

pub async fn who_lost_the_lead_closes_its_rounds_and_writes_nothing_else(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lost = predict_lease(&*store).await;
    let deposed = store.led_by(&lost);
    let asked = question(0);
    deposed.append_prices(&[entry(1, "BTC", minute(0), 1.0)], NOTED).await.unwrap();
    deposed.save_models(&[model("alpha")]).await.unwrap();
    assert_eq!(deposed.mark_asked(std::slice::from_ref(&asked), minute(0)).await.unwrap(), [asked.id]);
    store.release_lease(&lost).await.unwrap();
    deposed.record_missed(&[question(1)], "nobody has taken it yet", minute(1)).await.unwrap();
    let leader = store.led_by(&predict_lease(&*store).await);

    let (unasked, models) = ([question(2)], store.models().await.unwrap());
    for result in [
        deposed.append_prices(&[entry(2, "BTC", minute(1), 2.0)], NOTED).await,
        deposed.save_models(&[model("beta")]).await,
        deposed.mark_asked(&unasked, minute(2)).await.map(drop),
        deposed.record_missed(&unasked, "late", minute(2)).await,
        deposed.interrupt_open_rounds(minute(2), "late").await.map(drop),
    ] {
        assert!(matches!(result, Err(StorageError::LeaseLost(LeaseName::Predict))), "{result:?}");
    }
    assert_eq!(store.ledger_end().await.unwrap(), LedgerPosition(1));
    assert_eq!(store.models().await.unwrap(), models);
    assert_eq!(store.round(unasked[0].id).await.unwrap(), None);

    leader.append_prices(&[entry(2, "BTC", minute(1), 3.0)], NOTED).await.unwrap();
    assert_eq!(leader.interrupt_open_rounds(minute(2), "it was in flight").await.unwrap(), [asked.id]);
    deposed.close_round(&asked, minute(2), &outcomes()).await.unwrap();
    assert_eq!(store.round(asked.id).await.unwrap().unwrap().state, RoundState::Closed);
    assert_eq!(store.predictions(asked.id).await.unwrap(), outcomes());
}

pub async fn who_lost_the_ranking_writes_no_leaderboard_and_no_snapshot(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lost = ranking_lease(&*store).await;
    store.release_lease(&lost).await.unwrap();
    let lease = ranking_lease(&*store).await;
    let (leaderboard, standings) = ranking(60);
    store.save_leaderboard(&leaderboard, &standings, ChangeNumber(0), &lease).await.unwrap();
    store.save_snapshot(&standings, &lease).await.unwrap();

    let (newer, newer_standings) = ranking(120);
    for result in [
        store.save_leaderboard(&newer, &newer_standings, ChangeNumber(0), &lost).await,
        store.save_snapshot(&newer_standings, &lost).await,
    ] {
        assert!(matches!(result, Err(StorageError::LeaseLost(LeaseName::Ranking))), "{result:?}");
    }
    assert_eq!(store.latest_leaderboard().await.unwrap(), Some(leaderboard));
    assert_eq!(store.newest_snapshot_at().await.unwrap(), Some(minute(60)));
}
