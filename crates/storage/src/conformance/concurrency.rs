//! Several processes on one database.

use futures::future::{join, join_all};

use domain::{ModelId, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::ChangeNumber;

const ROUNDS: u32 = 20;

pub async fn processes_may_migrate_at_once(database: &impl TestDatabase) {
    let stores = join_all((0..4).map(|_| database.open())).await;
    for result in join_all(stores.iter().map(|store| store.migrate())).await {
        result.unwrap();
    }
    stores[0].check_schema().await.unwrap();
}

pub async fn one_of_two_outcomes_stored_at_once_stays_whole(database: &impl TestDatabase) {
    let (one, two) = (database.open_migrated().await, database.open().await);
    one.save_models(&["alpha", "beta"].map(model)).await.unwrap();
    let of_one = vec![answer("alpha", "[1]"), answer("beta", "[1]")];
    let of_two = vec![answer("beta", "[2]"), absence("gamma")];
    for n in 0..ROUNDS {
        let asked = question(n);
        let results =
            join(one.close_round(&asked, minute(n), &of_one), two.close_round(&asked, minute(n), &of_two));
        let (first, second) = results.await;
        first.and(second).unwrap();
        let stored = one.predictions(asked.id).await.unwrap();
        assert!(stored == of_one || stored == of_two, "{stored:?}");
        let counts = one.round(asked.id).await.unwrap().unwrap().counts;
        assert_eq!(counts, stored.iter().map(|prediction| prediction.status).collect());
    }
}

pub async fn a_round_marked_twice_at_once_is_fresh_for_one(database: &impl TestDatabase) {
    let (one, two) = (database.open_migrated().await, database.open().await);
    for n in 0..ROUNDS {
        let asked = [question(n), question_of("ETH", domain::Span::HOUR, minute(n))];
        let reversed = [asked[1].clone(), asked[0].clone()];
        let (first, second) =
            join(one.mark_asked(&asked, minute(n)), two.mark_asked(&reversed, minute(n))).await;
        let mut fresh = [first.unwrap(), second.unwrap()].concat();
        fresh.sort_unstable();
        let mut ids = asked.map(|question| question.id);
        ids.sort_unstable();
        assert_eq!(fresh, ids);
    }
}

pub async fn scores_stored_twice_at_once_are_one_change(database: &impl TestDatabase) {
    let (one, two) = (database.open_migrated().await, database.open().await);
    let questions: Vec<_> = (0..ROUNDS).map(question).collect();
    close_all(&*one, &questions).await;
    for asked in &questions {
        let same = scores(asked, 0.5);
        let (first, second) = join(one.store_scores(&same), two.store_scores(&same)).await;
        first.and(second).unwrap();
    }
    let changes = one.score_changes(ChangeNumber(0), start(), CRPS, usize::MAX).await.unwrap();
    let numbers: Vec<i64> = changes.iter().map(|change| change.number.0).collect();
    assert_eq!(numbers, (1..=i64::from(ROUNDS)).collect::<Vec<_>>());
    assert!(changes.iter().all(|change| change.scored.as_ref().is_some_and(|round| round.scores.len() == 4)));
}

pub async fn workers_that_store_the_same_rounds_together_do_not_lock_each_other_out(
    database: &impl TestDatabase,
) {
    let stores = [database.open_migrated().await, database.open().await, database.open().await];
    let questions: Vec<_> = (0..3 * ROUNDS).map(question).collect();
    close_all(&*stores[0], &questions).await;
    let all: Vec<_> = questions.iter().map(|question| scores(question, 0.5)).collect();
    let work = stores.iter().enumerate().map(async |(lane, store)| {
        let mut own = all.clone();
        own.rotate_left(7 * lane);
        if lane == 1 {
            own.reverse();
        }
        for together in own.chunks(6) {
            store.store_scores_together(together).await?;
        }
        Ok::<_, crate::StorageError>(())
    });
    for result in join_all(work).await {
        result.unwrap();
    }
    let changes = stores[1].score_changes(ChangeNumber(0), start(), CRPS, usize::MAX).await.unwrap();
    let numbers: Vec<i64> = changes.iter().map(|change| change.number.0).collect();
    assert_eq!(numbers, (1..=i64::from(3 * ROUNDS)).collect::<Vec<_>>(), "each is one change");
}

pub async fn writers_of_many_rounds_do_not_lock_each_other_out(database: &impl TestDatabase) {
    let stores = [database.open_migrated().await, database.open().await, database.open().await];
    let names: Vec<String> = (0..50).map(|i| format!("{i:02}")).collect();
    let models: Vec<_> = names.iter().map(|name| model(name)).collect();
    let predictions: Vec<_> = names.iter().map(|name| answer(name, "[1]")).collect();
    stores[0].save_models(&models).await.unwrap();
    let work = stores.iter().zip(0u32..).map(|(store, lane)| {
        let (mut models, mut predictions) = (models.clone(), predictions.clone());
        if lane == 1 {
            models.reverse();
            predictions.reverse();
        }
        async move {
            for n in 0..ROUNDS {
                let asked = question(n * 3 + lane);
                store.close_round(&asked, asked.performed_at, &predictions).await?;
                store.save_models(&models).await?;
                store.store_scores(&scores(&asked, 0.5)).await?;
                store
                    .append_prices(&[entry(u64::from(n * 3 + lane) + 1, "BTC", minute(n), 1.0)], NOTED)
                    .await?;
            }
            Ok::<_, crate::StorageError>(())
        }
    });
    for result in join_all(work).await {
        result.unwrap();
    }
    let counts = stores[0].counts(start()).await.unwrap();
    assert_eq!((counts.rounds.scored, counts.prices), (u64::from(3 * ROUNDS), u64::from(3 * ROUNDS)));
    assert_eq!(counts.predictions.success, 50 * u64::from(3 * ROUNDS));
    let stored: Vec<ModelId> = stores[1].models().await.unwrap().into_iter().map(|model| model.id).collect();
    assert_eq!(stored.len(), names.len());
}

pub async fn no_change_appears_below_one_that_was_seen(database: &impl TestDatabase) {
    let stores = [database.open_migrated().await, database.open().await];
    let reader = database.open().await;
    let questions: Vec<_> = (0..3 * ROUNDS).map(question).collect();
    close_all(&*reader, &questions).await;
    let (even, odd): (Vec<_>, Vec<_>) =
        questions.iter().partition(|asked| asked.performed_at.timestamp() % 120 == 0);
    let score_all = async |store: &dyn crate::Store, questions: Vec<&domain::Question>| {
        for asked in questions {
            store.store_scores(&scores(asked, 0.5)).await.unwrap();
        }
    };
    let follow = async {
        let (mut seen, mut rounds) = (ChangeNumber::default(), 0);
        while rounds < questions.len() {
            for change in reader.score_changes(seen, Timestamp::MIN_UTC, CRPS, 7).await.unwrap() {
                assert!(change.number > seen);
                seen = change.number;
                rounds += 1;
            }
        }
        rounds
    };
    let work = join(score_all(&*stores[0], even), score_all(&*stores[1], odd));
    let (_, followed) = join(work, follow).await;
    assert_eq!(followed, questions.len(), "who follows the changes meets every round");
}

pub async fn a_change_of_scoring_recorded_twice_at_once_is_there_once(database: &impl TestDatabase) {
    let stores = [database.open_migrated().await, database.open().await];
    let change = scoring_change(1, CRPS, "{}");
    let (one, other) =
        join(stores[0].record_scoring_change(&change), stores[1].record_scoring_change(&change)).await;
    one.unwrap();
    other.unwrap();
    assert_eq!(stores[0].scoring_changes().await.unwrap(), [change]);
}
