//! Leases.

use domain::Span;
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
