//! The ledger.

use std::collections::BTreeMap;

use domain::{Asset, LedgerPosition, Price, PricePoint, Span, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::{FeedStatus, StorageError};

pub async fn prices_come_back_as_they_were_stored(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let entries: Vec<_> = ODD_NUMBERS
        .into_iter()
        .filter(|price| *price > 0.0)
        .zip(1..)
        .map(|(price, position)| entry(position, "BTC", minute(position as u32), price))
        .collect();
    store.append_prices(&entries, NOTED).await.unwrap();
    let stored = store.ledger_since(start()).await.unwrap();
    assert_eq!(stored, entries);
    let bits = |entry: &domain::LedgerEntry| entry.point.price.value().to_bits();
    assert!(stored.iter().map(bits).eq(entries.iter().map(bits)));
    assert_eq!(store.ledger_end().await.unwrap(), LedgerPosition(entries.len() as u64));
}

pub async fn a_position_that_is_taken_keeps_its_price(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let first = entry(1, "BTC", minute(1), 100.0);
    store.append_prices(std::slice::from_ref(&first), NOTED).await.unwrap();
    let other = entry(1, "ETH", minute(2), 7.0);
    let next = entry(2, "BTC", minute(2), 101.0);
    store.append_prices(&[other, next.clone()], NOTED).await.unwrap();
    store.append_prices(&[first.clone(), next.clone()], NOTED).await.unwrap();
    assert_eq!(store.ledger_since(start()).await.unwrap(), [first, next]);
}

pub async fn closes_lie_after_the_start_up_to_the_end_and_corrections_win(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let entries = [
        entry(1, "BTC", minute(3), 103.0),
        entry(2, "BTC", minute(1), 101.0),
        entry(3, "ETH", minute(2), 7.0),
        entry(4, "BTC", minute(2), 102.0),
        entry(5, "BTC", minute(4), 104.0),
        entry(6, "BTC", minute(2), 99.5),
    ];
    store.append_prices(&entries, NOTED).await.unwrap();
    let close = |at: u32, price: f64| PricePoint { at: minute(at), price: Price::new(price).unwrap() };
    let closes = store.closes(&asset("BTC"), minute(1), minute(3)).await.unwrap();
    assert_eq!(closes, [close(2, 99.5), close(3, 103.0)]);
    assert_eq!(store.newest_close_at(&asset("BTC"), minute(9)).await.unwrap(), Some(minute(4)));
    assert_eq!(store.newest_close_at(&asset("BTC"), minute(3)).await.unwrap(), Some(minute(3)));
    assert_eq!(store.newest_close_at(&asset("SOL"), minute(9)).await.unwrap(), None);
    let late: Vec<_> = store.ledger_since(minute(3)).await.unwrap().iter().map(|e| e.position.0).collect();
    assert_eq!(late, [1, 5]);
}

pub async fn the_feed_status_counts_by_asset(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let mut corrected = entry(4, "BTC", minute(1), 99.5);
    corrected.source = "backfill".to_owned();
    let entries = [
        entry(1, "ETH", minute(2), 7.0),
        entry(2, "BTC", minute(1), 101.0),
        entry(3, "BTC", minute(5), 102.0),
        corrected,
    ];
    store.append_prices(&entries, NOTED).await.unwrap();
    let status = |name: &str, source: &str, count, oldest, newest| FeedStatus {
        asset: asset(name),
        source: source.to_owned(),
        count,
        oldest_at: minute(oldest),
        newest_at: minute(newest),
    };
    let expected = [status("BTC", "backfill", 3, 1, 5), status("ETH", "recorded", 1, 2, 2)];
    assert_eq!(store.feed_status().await.unwrap(), expected);
}

pub async fn an_empty_ledger_has_no_prices(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.ledger_end().await.unwrap(), LedgerPosition::START);
    assert_eq!(store.ledger_since(Timestamp::MIN_UTC).await.unwrap(), []);
    assert_eq!(store.closes(&asset("BTC"), start(), minute(9)).await.unwrap(), []);
    assert_eq!(store.feed_status().await.unwrap(), []);
}

pub async fn many_prices_are_appended_at_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let entries: Vec<_> =
        (1..=7001).map(|i| entry(i, "BTC", start() + Span::seconds(i as u32), i as f64 / 7.0)).collect();
    store.append_prices(&entries, NOTED).await.unwrap();
    assert_eq!(store.ledger_since(start()).await.unwrap(), entries);
}

pub async fn a_price_that_cannot_be_read_names_its_place(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store
        .append_prices(&[entry(1, "BTC", minute(1), 1.0), entry(2, "BTC", minute(2), 2.0)], NOTED)
        .await
        .unwrap();
    database.execute("UPDATE prices SET asset = 'B T C' WHERE position = 2").await;
    match store.ledger_since(start()).await.unwrap_err() {
        StorageError::Corrupt { table, column, row, .. } => {
            assert_eq!((table, column, row.as_str()), ("prices", "asset", "2"));
        }
        other => panic!("{other}"),
    }
}

pub async fn assets_are_awaited_until_their_last_round_is_judged(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert!(store.awaited_assets().await.unwrap().is_empty());
    let eth = |performed| question_of("ETH", Span::HOUR, minute(performed));
    store.mark_asked(&[question(0), question(3)], minute(0)).await.unwrap();
    close_all(&*store, &[eth(1), eth(2)]).await;
    store.record_missed(&[question_of("SOL", Span::HOUR, minute(9))], "starting", minute(9)).await.unwrap();
    let awaited = |expected: &[(&str, u32)]| -> BTreeMap<Asset, Timestamp> {
        expected.iter().map(|(name, at)| (asset(name), minute(*at))).collect()
    };
    assert_eq!(store.awaited_assets().await.unwrap(), awaited(&[("BTC", 63), ("ETH", 62)]));
    store.interrupt_open_rounds(minute(4), "died").await.unwrap();
    store.store_scores(&scores(&eth(2), 0.5)).await.unwrap();
    assert_eq!(store.awaited_assets().await.unwrap(), awaited(&[("BTC", 63), ("ETH", 61)]));
    store.void_round(eth(1).id, CRPS, UNPRICED, minute(99), "no prices").await.unwrap();
    assert_eq!(store.awaited_assets().await.unwrap(), awaited(&[("BTC", 63)]));
}

pub async fn holes_are_found_between_closes_that_are_too_far_apart(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let closes = [(1, 1), (2, 2), (3, 5), (4, 6), (5, 9), (6, 9), (7, 10)];
    let entries: Vec<_> = closes.map(|(n, at)| entry(n, "BTC", minute(at), n as f64)).into();
    store.append_prices(&entries, NOTED).await.unwrap();
    store.append_prices(&[entry(8, "ETH", minute(3), 1.0)], NOTED).await.unwrap();
    let holes = async |after, up_to, interval| {
        let found =
            store.holes(&asset("BTC"), minute(after), minute(up_to), Span::minutes(interval)).await.unwrap();
        found.into_iter().map(|hole| (hole.after, hole.before)).collect::<Vec<_>>()
    };
    let hole = |after, before| (minute(after), minute(before));
    assert_eq!(holes(0, 99, 1).await, [hole(2, 5), hole(6, 9)]);
    assert_eq!(holes(2, 99, 1).await, [hole(6, 9)], "what is missing at the ends is no hole");
    assert_eq!(holes(0, 8, 1).await, [hole(2, 5)]);
    assert_eq!(holes(0, 99, 3).await, []);
}
