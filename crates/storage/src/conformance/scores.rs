//! Scores and their changes.

use domain::{Model, Parameter, RoundId, RoundState, ScoredPrediction, ScoredRound, Span, Timestamp};

use super::TestDatabase;
use super::samples::*;
use crate::{ChangeNumber, HolderId, RoundScores, ScoreChange, ScoreRecord, StepScore, StorageError, Store};

const FROM_THE_START: ChangeNumber = ChangeNumber(0);

async fn changes(store: &dyn Store) -> Vec<ScoreChange> {
    store.score_changes(FROM_THE_START, Timestamp::MIN_UTC, CRPS, usize::MAX).await.unwrap()
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
    store.void_round(void.id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    let before = changes(&*store).await;
    for question in [interrupted, asked, missed, void, question(9)] {
        let round = store.round(question.id).await.unwrap();
        store.store_scores(&scores(&question, 0.5)).await.unwrap();
        assert_eq!(store.round(question.id).await.unwrap(), round);
        assert_eq!(store.export_scores(question.id).await.unwrap(), []);
    }
    assert_eq!(changes(&*store).await, before);
}

pub async fn the_scores_of_rounds_are_stored_together_and_numbered_in_the_order_of_ids(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    let questions: Vec<_> = (0..6).map(question).collect();
    let [same, other, void, first, second, third] = &questions[..] else { unreachable!("there are six") };
    close_all(&*store, &questions).await;
    store.store_scores(&scores(same, 0.5)).await.unwrap();
    store.store_scores(&scores(other, 0.5)).await.unwrap();
    store.void_round(void.id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    let holder = HolderId::random();
    store.claim_ready(&hold(&holder, minute(500), LONG), 9).await.unwrap();

    let relative = |place: usize| 0.1 * (place + 5) as f64;
    let mut together: Vec<_> =
        questions.iter().enumerate().map(|(place, question)| scores(question, relative(place))).collect();
    together.push(scores(&question(9), 0.5));
    together.reverse();
    store.store_scores_together(&together).await.unwrap();
    store.store_scores_together(&[]).await.unwrap();

    let changed: Vec<_> =
        changes(&*store).await.into_iter().map(|change| (change.number.0, change.round_id)).collect();
    let mut new = [other.id, first.id, second.id, third.id];
    new.sort_unstable();
    let expected = [(1, same.id), (3, void.id), (4, new[0]), (5, new[1]), (6, new[2]), (7, new[3])];
    assert_eq!(changed, expected, "what is stored already, void or unknown does not change");
    for (place, question) in questions.iter().enumerate().filter(|(_, question)| question.id != void.id) {
        let round = store.round(question.id).await.unwrap().unwrap();
        assert_eq!((round.state, round.best, round.q95), (RoundState::Scored, Some(0.25), Some(0.75)));
        assert_eq!((round.rule.as_deref(), round.scored_at), (Some(CRPS), Some(question.resolves_at())));
        let stored = store.export_scores(question.id).await.unwrap();
        assert_eq!((stored.len(), stored[0].relative), (4, relative(place)));
    }
    let outdated = hold(&HolderId::random(), minute(500), LONG);
    let free = store.claim_outdated(&outdated, "log_score/1", start(), 9).await.unwrap();
    assert_eq!(free.len(), 6, "no claim is left");
}

pub async fn of_rounds_stored_together_all_have_scores_or_none(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions = [question(0), question(1)];
    close_all(&*store, &questions).await;
    let (good, odd) = (scores(&questions[0], 0.5), scores(&questions[1], f64::NAN));
    store.store_scores_together(&[good, odd]).await.unwrap_err();
    let mut twice = scores(&questions[1], 0.5);
    twice.scores.push(score("alpha", 0.25));
    store.store_scores_together(&[scores(&questions[0], 0.5), twice]).await.unwrap_err();
    for question in &questions {
        assert_eq!(store.round(question.id).await.unwrap().unwrap().state, RoundState::Closed);
        assert_eq!(store.export_scores(question.id).await.unwrap(), []);
    }
    assert_eq!(changes(&*store).await, []);
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

pub async fn a_round_is_voided_once_by_a_rule(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (void, scored, asked) = (question(0), question(1), question(2));
    close_all(&*store, &[void.clone(), scored.clone()]).await;
    store.store_scores(&scores(&scored, 0.5)).await.unwrap();
    store.mark_asked(std::slice::from_ref(&asked), minute(2)).await.unwrap();
    for (at, reason) in [(70, "no prices"), (80, "another reason")] {
        for question in [&void, &scored, &asked] {
            store.void_round(question.id, CRPS, UNPRICED, minute(at), reason).await.unwrap();
        }
    }
    let record = store.round(void.id).await.unwrap().unwrap();
    assert_eq!((record.state, record.reason.as_deref()), (RoundState::Void, Some("no prices")));
    assert_eq!((record.scored_at, record.counts.total()), (Some(minute(70)), 4));
    assert_eq!(store.round(scored.id).await.unwrap().unwrap().state, RoundState::Scored);
    assert_eq!(store.round(asked.id).await.unwrap().unwrap().state, RoundState::Asked);
    assert_eq!(ready(&*store, minute(999), 9).await, []);
    let changed = changes(&*store).await;
    assert_eq!(changed.len(), 2);
    assert_eq!((changed[1].round_id, &changed[1].scored), (void.id, &None));
}

/// The ids of the outdated rounds that are ready, and the count of all, under a rule.
async fn outdated(store: &dyn Store, rule: &str, now: Timestamp) -> (Vec<RoundId>, u64) {
    let ready = outdated_at(store, rule, Timestamp::MIN_UTC, now, 99).await;
    let count = store.outdated_rounds(rule, Timestamp::MIN_UTC, now).await.unwrap();
    assert_eq!(count.due, ready.len() as u64);
    (ready.iter().map(|question| question.id).collect(), count.all)
}

pub async fn rounds_judged_by_another_rule_are_outdated_the_latest_first(database: &impl TestDatabase) {
    const LOG_SCORE: &str = "log_score/1";
    let store = database.open_migrated().await;
    let (scored, void, closed, asked) = (question(0), question(1), question(2), question(3));
    let eth = question_of("ETH", Span::HOUR, minute(0));
    close_all(&*store, &[scored.clone(), void.clone(), closed, eth.clone()]).await;
    store.mark_asked(std::slice::from_ref(&asked), minute(3)).await.unwrap();
    for question in [&scored, &eth] {
        store.store_scores(&scores(question, 0.5)).await.unwrap();
    }
    store.void_round(void.id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();

    let now = minute(500);
    assert_eq!(outdated(&*store, CRPS, now).await, (vec![], 0));
    let mut same_instant = [scored.id, eth.id];
    same_instant.sort_unstable();
    let all = [&[void.id], &same_instant[..]].concat();
    assert_eq!(outdated(&*store, LOG_SCORE, now).await, (all.clone(), 3));
    let latest = outdated_at(&*store, LOG_SCORE, scored.resolves_at(), now, 9).await;
    assert_eq!(latest, std::slice::from_ref(&void));
    assert_eq!(store.outdated_rounds(LOG_SCORE, scored.resolves_at(), now).await.unwrap().all, 1);
    let two = outdated_at(&*store, LOG_SCORE, start(), now, 2).await;
    assert_eq!(two.iter().map(|question| question.id).collect::<Vec<_>>(), all[..2]);

    store.defer_scoring(void.id, minute(501)).await.unwrap();
    assert_eq!(outdated(&*store, LOG_SCORE, now).await, (all[1..].to_vec(), 3));
    assert_eq!(outdated(&*store, LOG_SCORE, minute(501)).await, (all, 3));
    let rescored = RoundScores { rule: LOG_SCORE.to_owned(), ..scores(&scored, 0.25) };
    store.store_scores(&rescored).await.unwrap();
    assert_eq!(outdated(&*store, LOG_SCORE, now).await, (vec![eth.id], 2));
    assert_eq!(outdated(&*store, CRPS, now).await, (vec![scored.id], 1));
}

pub async fn a_round_without_the_rule_that_voided_it_is_outdated(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    store.void_round(question(0).id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    database.execute("UPDATE rounds SET rule = NULL").await;
    assert_eq!(outdated(&*store, CRPS, minute(500)).await, (vec![question(0).id], 1));
    store.store_scores(&scores(&question(0), 0.5)).await.unwrap();
    assert_eq!(outdated(&*store, CRPS, minute(500)).await, (vec![], 0));
}

pub async fn another_rule_may_void_what_was_scored_and_score_what_was_void(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    let by_crps = scores(&question(0), 0.5);
    store.store_scores(&by_crps).await.unwrap();
    let scored = store.round(by_crps.round_id).await.unwrap().unwrap();

    store.void_round(by_crps.round_id, "log_score/1", UNPRICED, minute(80), "no valid answer").await.unwrap();
    let void = store.round(by_crps.round_id).await.unwrap().unwrap();
    assert_eq!((void.state, void.reason.as_deref()), (RoundState::Void, Some("no valid answer")));
    assert_eq!((void.rule.as_deref(), void.scored_at), (Some("log_score/1"), Some(minute(80))));
    assert_eq!((void.best, void.q95), (None, None));
    assert_eq!(store.export_scores(by_crps.round_id).await.unwrap(), []);
    let change = changes(&*store).await.pop().unwrap();
    assert_eq!((change.number, change.scored), (ChangeNumber(2), None));

    store.store_scores(&by_crps).await.unwrap();
    assert_eq!(store.round(by_crps.round_id).await.unwrap(), Some(scored), "as if it had never been void");
    assert_eq!(store.export_scores(by_crps.round_id).await.unwrap().len(), 4);
    assert_eq!(changes(&*store).await.pop().unwrap().number, ChangeNumber(3));
}

pub async fn changes_show_the_scores_of_the_rule_that_is_asked_for_only(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0), question(1)]).await;
    store.store_scores(&scores(&question(0), 0.5)).await.unwrap();
    let by_sum = RoundScores { rule: "crps/1;sum".to_owned(), ..scores(&question(1), 0.5) };
    store.store_scores(&by_sum).await.unwrap();
    for (rule, expected) in [(CRPS, [true, false]), ("crps/1;sum", [false, true]), ("crps/2", [false; 2])] {
        let changes = store.score_changes(FROM_THE_START, start(), rule, 9).await.unwrap();
        let shown = changes.iter().map(|change| change.scored.as_ref().is_some_and(|r| r.scores.len() == 4));
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{rule}");
        let ids: Vec<_> = changes.iter().map(|change| change.round_id).collect();
        assert_eq!(ids, [question(0).id, question(1).id], "all are changes");
    }
}

pub async fn changes_come_in_the_order_of_their_numbers(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (early, middle, late) = (question(0), question(1), question(2));
    assert_eq!(changes(&*store).await, []);
    close_all(&*store, &[early.clone(), middle.clone(), late.clone()]).await;
    store.store_scores(&scores(&late, 0.5)).await.unwrap();
    store.store_scores(&RoundScores { scores: Vec::new(), ..scores(&early, 0.5) }).await.unwrap();
    store.void_round(middle.id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();

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
    assert_eq!(
        (all[2].round_id, all[2].resolves_at, &all[2].scored),
        (middle.id, middle.resolves_at(), &None)
    );

    let some = async |after, resolved_after, limit| {
        store.score_changes(ChangeNumber(after), resolved_after, CRPS, limit).await.unwrap()
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
    let every: Vec<_> = ["never", "gamma", "beta", "alpha", "nobody"].map(model_id).to_vec();
    let first_scored = async |models: &[domain::ModelId]| store.first_scored(models).await.unwrap();
    assert_eq!(first_scored(&every).await, [first("alpha", 60), first("gamma", 62)]);
    assert_eq!(first_scored(&every[..1]).await, []);
    assert_eq!(first_scored(&every[..2]).await, [first("gamma", 62)]);
    assert_eq!(first_scored(&[]).await, []);
    store.void_round(all[4].id, CRPS, UNPRICED, minute(70), "no prices").await.unwrap();
    assert_eq!(first_scored(&every).await.len(), 2, "a void round scores nobody");
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
    let exported = store.export_scores(question(1).id).await.unwrap();
    assert_eq!((exported[0].raw, exported[0].relative), (Some(0.5), 0.5));
    assert_eq!((exported[3].model_id.as_str(), exported[3].raw), ("gamma", None));
}
