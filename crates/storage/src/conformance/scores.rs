//! Scores and their changes.

use domain::{
    Model, Parameter, PredictionStatus, RoundState, ScoredPrediction, ScoredRound, Span, Timestamp,
};

use super::TestDatabase;
use super::samples::*;
use crate::{ChangeNumber, RoundScores, ScoreChange, ScoreRecord, StepScore, StorageError, Store};

const FROM_THE_START: ChangeNumber = ChangeNumber(0);

async fn changes(store: &dyn Store) -> Vec<ScoreChange> {
    store.score_changes(FROM_THE_START, Timestamp::MIN_UTC, usize::MAX).await.unwrap()
}

pub async fn scores_come_back_to_the_last_bit(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    let records: Vec<ScoreRecord> = ODD_NUMBERS
        .into_iter()
        .enumerate()
        .map(|(i, number)| ScoreRecord {
            model_id: model_id(&format!("m{i}")),
            raw: Some(number),
            relative: number,
            failure: Some("it's odd: \"∞\"".to_owned()),
            steps: vec![StepScore {
                step: Span::minutes(5),
                mean: number,
                increments: u32::MAX,
                left_out: 0,
            }],
        })
        .chain([no_score("none")])
        .collect();
    let mut shuffled = records.clone();
    shuffled.reverse();
    let all = RoundScores { best: -0.0, q95: 5e-324, scores: shuffled, ..scores(&question(0), 0.5) };
    store.store_scores(&all).await.unwrap();

    let round = store.round(question(0).id).await.unwrap().unwrap();
    assert_eq!((round.state, round.rule.as_deref()), (RoundState::Scored, Some("crps/1")));
    assert_eq!(round.scored_at, Some(all.scored_at));
    assert_eq!(round.best.map(f64::to_bits), Some((-0.0f64).to_bits()));
    assert_eq!(round.q95.map(f64::to_bits), Some(1));

    let exported = store.export_scores(question(0).id).await.unwrap();
    let changed = changes(&*store).await.remove(0).scored.unwrap().scores;
    assert_eq!((exported.len(), changed.len()), (records.len(), records.len()));
    for ((record, exported), changed) in records.iter().zip(&exported).zip(&changed) {
        let bits = |number: Option<f64>| number.map(f64::to_bits);
        let means = |steps: &[StepScore]| steps.iter().map(|step| step.mean.to_bits()).collect::<Vec<_>>();
        assert_eq!((&exported.model_id, &changed.model_id), (&record.model_id, &record.model_id));
        assert_eq!(bits(exported.raw), bits(record.raw));
        assert_eq!(bits(changed.raw), bits(record.raw));
        assert_eq!(exported.relative.to_bits(), record.relative.to_bits());
        assert_eq!(changed.relative.to_bits(), record.relative.to_bits());
        assert_eq!(means(&exported.steps), means(&record.steps));
        assert_eq!((&exported.steps, &exported.failure), (&record.steps, &record.failure));
    }
}

pub async fn storing_the_same_scores_again_changes_nothing(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    let mut first = scores(&question(0), 0.5);
    first.scores[1].failure = Some("with \0".to_owned());
    store.store_scores(&first).await.unwrap();
    let before = (changes(&*store).await, store.round(first.round_id).await.unwrap());
    let mut again = first.clone();
    again.scored_at = minute(500);
    again.scores.reverse();
    store.store_scores(&again).await.unwrap();
    assert_eq!((changes(&*store).await, store.round(first.round_id).await.unwrap()), before);
}

pub async fn other_scores_replace_and_count_as_a_change(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (first, second) = (question(0), question(1));
    close_all(&*store, &[first.clone(), second.clone()]).await;
    store.store_scores(&scores(&first, 0.5)).await.unwrap();
    store.store_scores(&scores(&second, 0.5)).await.unwrap();
    let mut rescored = scores(&first, 0.75);
    rescored.rule = "crps/2".to_owned();
    rescored.scores.truncate(2);
    store.store_scores(&rescored).await.unwrap();

    let exported = store.export_scores(first.id).await.unwrap();
    assert_eq!(exported.len(), 2, "what is not among the new scores is gone");
    assert_eq!(exported[0].relative, 0.75);
    assert_eq!(store.round(first.id).await.unwrap().unwrap().rule.as_deref(), Some("crps/2"));
    let changed = changes(&*store).await;
    assert_eq!(changed.iter().map(|change| change.round_id).collect::<Vec<_>>(), [second.id, first.id]);
    for (what, change) in [
        ("rule", RoundScores { rule: "crps/3".to_owned(), ..rescored.clone() }),
        ("best", RoundScores { best: 0.125, ..rescored.clone() }),
        ("q95", RoundScores { q95: 0.875, ..rescored.clone() }),
        ("raw", RoundScores { scores: vec![score("alpha", 0.1), no_score("beta")], ..rescored.clone() }),
    ] {
        let before = changes(&*store).await.pop().unwrap().number;
        store.store_scores(&change).await.unwrap();
        let last = changes(&*store).await.pop().unwrap();
        assert!(last.number > before && last.round_id == first.id, "another {what} is a change");
    }
}

pub async fn rounds_that_cannot_have_scores_get_none(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (interrupted, asked, missed, void) = (question(0), question(1), question(2), question(3));
    store.mark_asked(std::slice::from_ref(&interrupted), minute(0)).await.unwrap();
    store.interrupt_open_rounds(minute(1), "died").await.unwrap();
    store.mark_asked(std::slice::from_ref(&asked), minute(1)).await.unwrap();
    store.record_missed(std::slice::from_ref(&missed), "starting", minute(2)).await.unwrap();
    close_all(&*store, std::slice::from_ref(&void)).await;
    store.void_round(void.id, minute(70), "no prices").await.unwrap();
    let before = changes(&*store).await;
    for question in [interrupted, asked, missed, void, question(9)] {
        let round = store.round(question.id).await.unwrap();
        store.store_scores(&scores(&question, 0.5)).await.unwrap();
        assert_eq!(store.round(question.id).await.unwrap(), round);
        assert_eq!(store.export_scores(question.id).await.unwrap(), []);
    }
    assert_eq!(changes(&*store).await, before);
}

pub async fn scores_that_are_not_finite_are_refused(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    let mut odd_raw = scores(&question(0), 0.5);
    odd_raw.scores[0].raw = Some(f64::NAN);
    let odd_relative = scores(&question(0), f64::INFINITY);
    let odd_best = RoundScores { best: f64::NEG_INFINITY, ..scores(&question(0), 0.5) };
    for odd in [odd_raw, odd_relative, odd_best] {
        let error = store.store_scores(&odd).await.unwrap_err();
        assert!(matches!(error, StorageError::Refused(_)) && !error.is_transient(), "{error}");
    }
    assert_eq!(store.round(question(0).id).await.unwrap().unwrap().state, RoundState::Closed);
}

pub async fn a_round_is_voided_once_and_for_all(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (void, scored, asked) = (question(0), question(1), question(2));
    close_all(&*store, &[void.clone(), scored.clone()]).await;
    store.store_scores(&scores(&scored, 0.5)).await.unwrap();
    store.mark_asked(std::slice::from_ref(&asked), minute(2)).await.unwrap();
    for (at, reason) in [(70, "no prices"), (80, "another reason")] {
        for question in [&void, &scored, &asked] {
            store.void_round(question.id, minute(at), reason).await.unwrap();
        }
    }
    let record = store.round(void.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.reason.as_deref()), (RoundState::Void, Some("no prices")));
    assert_eq!((record.scored_at, record.counts.total()), (Some(minute(70)), 4));
    assert_eq!(store.round(scored.id).await.unwrap().unwrap().state, RoundState::Scored);
    assert_eq!(store.round(asked.id).await.unwrap().unwrap().state, RoundState::Asked);
    assert_eq!(store.fetch_ready_to_score(minute(999), 9).await.unwrap(), []);
    let changed = changes(&*store).await;
    assert_eq!(changed.len(), 2);
    assert_eq!((changed[1].round_id, &changed[1].scored), (void.id, &None));
}

pub async fn changes_come_in_the_order_of_their_numbers(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (early, middle, late) = (question(0), question(1), question(2));
    assert_eq!(changes(&*store).await, []);
    close_all(&*store, &[early.clone(), middle.clone(), late.clone()]).await;
    store.store_scores(&scores(&late, 0.5)).await.unwrap();
    store.store_scores(&RoundScores { scores: Vec::new(), ..scores(&early, 0.5) }).await.unwrap();
    store.void_round(middle.id, minute(70), "no prices").await.unwrap();

    let all = changes(&*store).await;
    assert_eq!(all.iter().map(|change| change.number.0).collect::<Vec<_>>(), [1, 2, 3]);
    let scored = ScoredRound {
        id: late.id,
        parameter: Parameter { asset: asset("BTC"), horizon: Span::HOUR },
        performed_at: late.performed_at,
        resolves_at: late.resolves_at(),
        scores: ["alpha", "beta", "delta", "gamma"]
            .map(|name| ScoredPrediction {
                model_id: model_id(name),
                relative: if name == "alpha" { 0.5 } else { 0.0 },
                raw: (name == "alpha").then_some(0.5),
            })
            .to_vec(),
    };
    assert_eq!(all[0].scored, Some(scored));
    assert_eq!(all[1].scored.as_ref().map(|round| round.scores.len()), Some(0));
    assert_eq!((all[2].round_id, &all[2].scored), (middle.id, &None));

    let some = async |after, resolved_after, limit| {
        store.score_changes(ChangeNumber(after), resolved_after, limit).await.unwrap()
    };
    assert_eq!(some(0, start(), 2).await, all[..2]);
    assert_eq!(some(2, start(), 9).await, all[2..]);
    assert_eq!(some(3, start(), 9).await, []);
    assert_eq!(some(0, start(), 0).await, []);
    assert_eq!(some(0, early.resolves_at(), 9).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(some(0, middle.resolves_at(), 1).await, all[..1]);
}

pub async fn the_first_scored_round_since_a_model_joined_is_found(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let joined = |id: &str, at| Model { joined_at: minute(at), ..model(id) };
    store
        .save_models(&[joined("gamma", 2), joined("alpha", 0), joined("beta", 3), joined("never", 0)])
        .await
        .unwrap();
    let long = question_of("BTC", Span::hours(2), minute(0)); // resolves after all others
    let all = [long.clone(), question(0), question(1), question(2), question(3)];
    close_all(&*store, &all).await;
    for asked in [&long, &all[1], &all[2], &all[3]] {
        store.store_scores(&scores(asked, 0.5)).await.unwrap();
    }
    let first = |name: &str, at| (model_id(name), minute(at));
    assert_eq!(store.first_scored().await.unwrap(), [first("alpha", 60), first("gamma", 62)]);
    store.void_round(all[4].id, minute(70), "no prices").await.unwrap();
    assert_eq!(store.first_scored().await.unwrap().len(), 2, "a void round scores nobody");
}

pub async fn scored_predictions_are_counted_by_model(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let all = [question(0), question(1), question(2)];
    close_all(&*store, &all).await;
    store.store_scores(&scores(&all[0], 0.5)).await.unwrap();
    store.store_scores(&scores(&all[1], 0.5)).await.unwrap();
    let count = async |name, after| store.scored_count(&model_id(name), after).await.unwrap();
    assert_eq!(count("alpha", start()).await, 2);
    assert_eq!(
        count("gamma", all[0].resolves_at()).await,
        1,
        "also those without an answer, after the instant"
    );
    assert_eq!(count("alpha", all[1].resolves_at()).await, 0);
    assert_eq!(count("nobody", start()).await, 0);
}

pub async fn exports_page_through_all_rounds_in_order(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions: Vec<_> = (0..7).rev().map(question).collect();
    close_all(&*store, &questions).await;
    let mut expected: Vec<_> = questions[1..6].iter().map(|question| question.id).collect();
    expected.sort_unstable();
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = store.export_rounds(minute(1), minute(6), after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.round_id);
        paged.extend(page.iter().map(|round| round.round_id));
    }
    assert_eq!(paged, expected);

    store.store_scores(&scores(&question(1), 0.5)).await.unwrap();
    let round = store.export_rounds(minute(1), minute(2), None, 9).await.unwrap().remove(0);
    assert_eq!((round.asset.as_str(), round.resolves_at, round.counts.total()), ("BTC", minute(61), 4));
    assert_eq!((round.rule.as_deref(), round.best, round.q95), (Some("crps/1"), Some(0.25), Some(0.75)));
    let predictions = store.export_predictions(question(1).id).await.unwrap();
    assert_eq!(predictions.len(), 4);
    assert_eq!((predictions[0].answer.as_deref(), predictions[0].took_us), (Some("[1]"), Some(1_234_567)));
    assert_eq!((predictions[1].status, &predictions[1].answer), (PredictionStatus::Failed, &None));
    let exported = store.export_scores(question(1).id).await.unwrap();
    assert_eq!((exported[0].raw, exported[0].relative), (Some(0.5), 0.5));
    assert_eq!((exported[3].model_id.as_str(), exported[3].raw), ("gamma", None));
}
