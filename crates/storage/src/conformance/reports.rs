//! What charts over days are made from.

use domain::{PredictionStatus, RoundId, Span, Timestamp};

use super::TestDatabase;
use super::samples::*;
use super::standings::ranking;
use crate::{ChangeNumber, SnapshotMark, StorageError};

pub async fn the_mark_of_the_snapshots_moves_whenever_one_may_have_changed(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    assert_eq!(store.snapshot_mark().await.unwrap(), None);
    store.save_snapshot(&ranking(60).1, &lease).await.unwrap();
    let mark = |newest, ranked: Option<u32>, number| SnapshotMark {
        oldest: minute(60),
        newest: minute(newest),
        ranked_as_of: ranked.map(minute),
        ranked_up_to: ChangeNumber(number),
    };
    assert_eq!(store.snapshot_mark().await.unwrap(), Some(mark(60, None, 0)));
    store.save_snapshot(&ranking(120).1, &lease).await.unwrap();
    assert_eq!(store.snapshot_mark().await.unwrap(), Some(mark(120, None, 0)));
    let (leaderboard, standings) = ranking(121);
    for number in [7, 8] {
        store.save_leaderboard(&leaderboard, &standings, ChangeNumber(number), &lease).await.unwrap();
        assert_eq!(store.snapshot_mark().await.unwrap(), Some(mark(120, Some(121), number)));
    }
}

pub async fn chosen_snapshots_come_packed_and_in_order(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    for as_of in [60, 120, 180] {
        store.save_snapshot(&ranking(as_of).1, &lease).await.unwrap();
    }
    let chosen = [minute(180), minute(61), minute(60), minute(240), minute(180)];
    let packed = store.packed_snapshots(&chosen).await.unwrap();
    let unpacked: Vec<_> = packed.iter().map(|packed| packed.unpack().unwrap()).collect();
    assert_eq!(unpacked, [ranking(60).1, ranking(180).1]);
    assert!(packed.iter().map(|packed| packed.as_of).eq([minute(60), minute(180)]));
    assert_eq!(store.packed_snapshots(&[]).await.unwrap(), []);
    let many: Vec<Timestamp> = (0..5000).map(|hour| start() + Span::hours(hour)).collect();
    assert_eq!(store.packed_snapshots(&many).await.unwrap().len(), 3);

    let mut broken = packed[0].clone();
    broken.document.truncate(5);
    assert!(matches!(broken.unpack(), Err(StorageError::Corrupt { table: "snapshots", .. })));
}

pub async fn scored_rounds_are_listed_by_slot_and_no_others(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let of_one_slot = [question_of("BTC", Span::HOUR, minute(2)), question_of("ETH", Span::HOUR, minute(2))];
    let scored = [question(0), question(1), of_one_slot[0].clone(), of_one_slot[1].clone(), question(4)];
    let others = [question(3), question(5), question(6)];
    close_all(&*store, &scored).await;
    close_all(&*store, &others[..2]).await;
    store.mark_asked(&others[2..], minute(6)).await.unwrap();
    for question in &scored {
        store.store_scores(&scores(question, 0.5)).await.unwrap();
    }
    store.void_round(question(5).id, CRPS, UNPRICED, minute(90), "no prices").await.unwrap();

    let listed = async |from, to, limit| store.scored_questions(from, to, limit).await.unwrap();
    let ids = |listed: &[crate::ScoredQuestion]| listed.iter().map(|it| it.question.id).collect::<Vec<_>>();
    let mut expected = scored.clone();
    expected.sort_by_key(|question| (question.performed_at, question.id));
    let all = listed(Timestamp::MIN_UTC, Timestamp::MAX_UTC, 99).await;
    assert_eq!(ids(&all), expected.clone().map(|question| question.id));
    assert_eq!(all[0].question, question(0), "with all its steps");
    assert_eq!(all[0].scored_at, Some(question(0).resolves_at()));
    assert_eq!(
        ids(&listed(minute(1), minute(2), 99).await),
        expected[1..4].iter().map(|q| q.id).collect::<Vec<_>>()
    );
    assert_eq!(ids(&listed(minute(1), minute(4), 2).await), [expected[1].id, expected[2].id]);
    assert_eq!(listed(minute(3), minute(3), 99).await, []);
}

pub async fn outcomes_of_chosen_models_say_why_there_is_no_score(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let rounds = [question(0), question(1), question(2)];
    close_all(&*store, &rounds).await;
    let mut first = scores(&rounds[0], 0.5);
    first.scores[0].raw = None;
    first.scores[0].failure = Some("the density is 0 everywhere".to_owned());
    store.store_scores(&first).await.unwrap();
    store.store_scores(&scores(&rounds[1], 0.25)).await.unwrap();

    // The third has no scores yet: nothing of it comes, whoever asks.
    let ids = [rounds[1].id, rounds[2].id, rounds[0].id];
    let models = ["gamma", "beta", "alpha", "nobody"].map(model_id);
    let outcomes = store.scored_outcomes(&ids, &models).await.unwrap();
    let keys: Vec<(RoundId, &str)> = outcomes.iter().map(|it| (it.round_id, it.model_id.as_str())).collect();
    let of = |round: usize| ["alpha", "beta", "gamma"].map(|model| (rounds[round].id, model));
    assert_eq!(keys, [of(0), of(1)].concat());

    let unscored = &outcomes[0];
    assert_eq!((unscored.raw, unscored.status), (None, Some(PredictionStatus::Success)));
    assert_eq!(unscored.failure.as_deref(), Some("the density is 0 everywhere"));
    let refused = &outcomes[1];
    assert_eq!((refused.raw, refused.status), (None, Some(PredictionStatus::Failed)));
    assert_eq!(refused.reason.as_deref(), Some("it is no list"));
    assert_eq!(outcomes[2].status, Some(PredictionStatus::Absent));
    let valid = &outcomes[3];
    assert_eq!((valid.raw, valid.relative), (Some(0.75), 0.25));
    assert_eq!((valid.status, &valid.reason, &valid.failure), (None, &None, &None));

    assert_eq!(store.scored_outcomes(&[], &models).await.unwrap(), []);
    assert_eq!(store.scored_outcomes(&ids, &[]).await.unwrap(), []);
}

pub async fn outcomes_of_many_rounds_and_models_come_at_once(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let rounds: Vec<_> = (0..40).map(question).collect();
    close_all(&*store, &rounds).await;
    for question in &rounds {
        store.store_scores(&scores(question, 0.5)).await.unwrap();
    }
    let asked: Vec<RoundId> = (0..1500).map(|minute| question(minute).id).collect();
    let models: Vec<_> = (0..1500).map(|n| model_id(&format!("m{n}"))).chain([model_id("delta")]).collect();
    let outcomes = store.scored_outcomes(&asked, &models).await.unwrap();
    assert_eq!(outcomes.len(), 40);
    assert!(outcomes.iter().map(|it| it.round_id).eq(rounds.iter().map(|question| question.id)));
}

pub async fn the_latest_prices_come_latest_first_and_corrections_before_what_they_correct(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let entries = [
        entry(1, "BTC", minute(0), 10.0),
        entry(2, "BTC", minute(2), 12.0),
        entry(3, "ETH", minute(3), 3.0),
        entry(4, "BTC", minute(1), 11.0),
        entry(5, "BTC", minute(2), 12.5),
    ];
    store.append_prices(&entries, NOTED).await.unwrap();
    let latest = store.latest_prices(&asset("BTC"), 3).await.unwrap();
    assert_eq!(latest, [entries[4].clone(), entries[1].clone(), entries[3].clone()]);
    assert_eq!(store.latest_prices(&asset("XAU"), 3).await.unwrap(), []);
}
