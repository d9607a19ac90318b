//! The database as a whole.

use domain::{StatusCounts, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::{Action, ChangeNumber, Counts, HolderId, RoundCounts, StorageError};

pub async fn empty_arguments_change_nothing(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.ping().await.unwrap();
    store.append_prices(&[], NOTED).await.unwrap();
    store.save_models(&[]).await.unwrap();
    assert_eq!(store.mark_asked(&[], start()).await.unwrap(), []);
    store.record_missed(&[], "nothing", start()).await.unwrap();
    assert_eq!(store.interrupt_open_rounds(start(), "nothing").await.unwrap(), []);
    let counts = store.counts(start()).await.unwrap();
    let empty =
        Counts { size_bytes: counts.size_bytes, schema_version: counts.schema_version, ..Counts::default() };
    assert_eq!(counts, empty);
}

pub async fn bounds_may_be_the_first_and_last_instant(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (first, last) = (Timestamp::MIN_UTC, Timestamp::MAX_UTC);
    store.append_prices(&[entry(1, "BTC", minute(1), 1.0)], NOTED).await.unwrap();
    close_all(&*store, &[question(0), question(1)]).await;
    store.store_scores(&scores(&question(0), 0.5)).await.unwrap();
    assert_eq!(store.ledger_since(first).await.unwrap().len(), 1);
    assert_eq!(store.closes(&asset("BTC"), first, last).await.unwrap().len(), 1);
    assert_eq!(ready(&*store, last, 9).await.len(), 1);
    assert_eq!(store.score_changes(ChangeNumber(0), first, CRPS, 9).await.unwrap().len(), 1);
    assert_eq!(store.scored_count(&model_id("alpha"), first).await.unwrap(), 1);
    assert_eq!(store.export_rounds(first, last, None, 9).await.unwrap().len(), 2);
    assert_eq!(store.counts(first).await.unwrap().recent_predictions, 8);
    assert_eq!(store.leaderboards(first, last, 9).await.unwrap(), []);
    assert_eq!(store.snapshots(first, last).await.unwrap(), []);
}

pub async fn counts_add_up(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.save_models(&["alpha", "beta"].map(model)).await.unwrap();
    store
        .append_prices(&[entry(1, "BTC", minute(1), 1.0), entry(2, "BTC", minute(1), 2.0)], NOTED)
        .await
        .unwrap();
    store.mark_asked(&[question(1)], minute(1)).await.unwrap();
    store.interrupt_open_rounds(minute(2), "died").await.unwrap();
    store.mark_asked(&[question(2), question(3)], minute(3)).await.unwrap();
    store.record_missed(&[question(4)], "starting", minute(4)).await.unwrap();
    close_all(&*store, &[question(5), question(6), question(7), question(8)]).await;
    store.store_scores(&scores(&question(6), 0.5)).await.unwrap();
    store.void_round(question(7).id, CRPS, UNPRICED, minute(80), "no prices").await.unwrap();
    store.void_round(question(8).id, CRPS, UNPRICED, minute(80), "no prices").await.unwrap();
    let counts = store.counts(minute(7)).await.unwrap();
    assert!(counts.size_bytes > 1000);
    assert_eq!(
        counts,
        Counts {
            models: 2,
            active_models: 1,
            rounds: RoundCounts { asked: 2, closed: 1, scored: 1, void: 2, interrupted: 1, missed: 1 },
            predictions: StatusCounts { success: 4, failed: 4, timeout: 4, absent: 4 },
            recent_predictions: 8,
            prices: 2,
            oldest_round_at: Some(minute(1)),
            newest_round_at: Some(minute(8)),
            size_bytes: counts.size_bytes,
            schema_version: counts.schema_version,
        }
    );
}

pub async fn an_empty_database_needs_a_migration(database: &impl TestDatabase) {
    let store = database.open().await;
    let error = store.check_schema().await.unwrap_err();
    assert!(matches!(error, StorageError::SchemaTooOld { found: 0, needed: 1.. }), "{error}");
    assert!(error.to_string().ends_with("run `condor db migrate`"), "{error}");
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
    assert!(store.counts(start()).await.unwrap().schema_version >= 1);
}

pub async fn migrating_again_changes_nothing(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.migrate().await.unwrap();
    database.open_migrated().await.check_schema().await.unwrap();
    assert_eq!(store.predictions(question(0).id).await.unwrap(), outcomes());
}

pub async fn a_schema_from_a_newer_program_is_refused(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 99999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    for error in [store.check_schema().await.unwrap_err(), store.migrate().await.unwrap_err()] {
        assert!(matches!(error, StorageError::SchemaTooNew { found: 99_999, known: 1.. }), "{error}");
    }
    // A refused migration leaves no lock behind.
    assert!(database.open().await.migrate().await.is_err());
}

pub async fn a_schema_from_an_older_program_is_refused(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let newest = store.counts(start()).await.unwrap().schema_version;
    let forget_newest =
        "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    database.execute(forget_newest).await;
    for store in [store, database.open_read_only().await] {
        let error = store.check_schema().await.unwrap_err();
        let is_right = matches!(error, StorageError::SchemaTooOld { found: 1.., needed } if needed == newest);
        assert!(is_right, "{error}");
        assert!(error.to_string().ends_with("run `condor db migrate`"), "{error}");
    }
}

pub async fn a_store_for_reading_reads_and_refuses_every_write(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    let reader = database.open_read_only().await;
    reader.check_schema().await.unwrap();
    assert_eq!(reader.predictions(question(0).id).await.unwrap(), outcomes());
    let standings = domain::Standings { as_of: start(), models: Vec::new() };
    let lease = ranking_lease(&*store).await;
    let by = HolderId::random();
    let hold = hold(&by, minute(99), LONG);
    let refused = [
        reader.append_prices(&[entry(1, "BTC", minute(1), 1.0)], NOTED).await,
        reader.save_models(&[model("alpha")]).await,
        reader.mark_asked(&[question(1)], minute(1)).await.map(drop),
        reader.close_round(&question(1), minute(1), &outcomes()).await,
        reader.record_missed(&[question(1)], "missed", minute(1)).await,
        reader.interrupt_open_rounds(minute(1), "died").await.map(drop),
        reader.defer_scoring(question(0).id, minute(99)).await,
        reader.store_scores(&scores(&question(0), 0.5)).await,
        reader.void_round(question(0).id, CRPS, UNPRICED, minute(1), "void").await,
        reader
            .save_leaderboard(&domain::rank(&standings, "crps/1"), &standings, ChangeNumber(0), &lease)
            .await,
        reader.save_snapshot(&standings, &lease).await,
        reader.clear_roll_ups(&lease).await,
        reader.carry_out(&order(1, Action::Pause)).await.map(drop),
        reader.note_settings(&note(1, &[("schedules", "[]")])).await.map(drop),
        reader.claim_ready(&hold, 1).await.map(drop),
        reader.claim_outdated(&hold, CRPS, start(), 1).await.map(drop),
        reader.renew_claims(&hold).await,
        reader.release_claims(&by).await,
        reader.renew_lease(&lease, &hold).await.map(drop),
        reader.release_lease(&lease).await,
        reader.record_scoring_change(&scoring_change(1, CRPS, "{}")).await,
    ];
    for (i, result) in refused.into_iter().enumerate() {
        // A server that takes no writes may take them later.
        let is_refused = matches!(result, Err(StorageError::Refused(_) | StorageError::Unavailable(_)));
        assert!(is_refused, "write {i}: {result:?}");
    }
    let counts = store.counts(start()).await.unwrap();
    assert_eq!((counts.rounds.closed, counts.models, counts.prices), (1, 0, 0));
}
