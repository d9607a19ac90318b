//! What people look at.

use std::time::Duration;

use domain::{
    PredictionStatus, Price, PricePoint, Question, RoundId, RoundState, Span, StatusCounts, Timestamp,
};

use super::TestDatabase;
use super::samples::*;
use crate::{
    ModelActivity, Outcome, OutcomeFilter, OutcomeScore, PORTION, Page, RoundFilter, RoundRecord, Store,
};

async fn listed(store: &dyn Store, filter: RoundFilter) -> Vec<RoundId> {
    let page = store.list_rounds(&filter, None, 99).await.unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|round| round.question.id).collect()
}

pub async fn rounds_are_listed_newest_first_by_what_they_are(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (asked, closed, scored) = (question(0), question(1), question(2));
    let (eth, long) =
        (question_of("ETH", Span::HOUR, minute(3)), question_of("BTC", Span::hours(2), minute(4)));
    store.mark_asked(std::slice::from_ref(&asked), minute(0)).await.unwrap();
    close_all(&*store, &[closed.clone(), scored.clone(), eth.clone(), long.clone()]).await;
    store.store_scores(&scores(&scored, 0.5)).await.unwrap();
    let all = RoundFilter::default;
    assert_eq!(listed(&*store, all()).await, [long.id, eth.id, scored.id, closed.id, asked.id]);
    let filters = [
        (RoundFilter { asset: Some(asset("ETH")), ..all() }, vec![eth.id]),
        (RoundFilter { horizon: Some(Span::hours(2)), ..all() }, vec![long.id]),
        (RoundFilter { state: Some(RoundState::Scored), ..all() }, vec![scored.id]),
        (RoundFilter { state: Some(RoundState::Void), ..all() }, vec![]),
        (RoundFilter { from: Some(minute(3)), ..all() }, vec![long.id, eth.id]),
        (RoundFilter { to: Some(minute(1)), ..all() }, vec![asked.id]),
        (RoundFilter { from: Some(minute(1)), to: Some(minute(3)), ..all() }, vec![scored.id, closed.id]),
        (RoundFilter { from: Some(Timestamp::MIN_UTC), to: Some(Timestamp::MIN_UTC), ..all() }, vec![]),
        (RoundFilter { from: Some(Timestamp::MAX_UTC), ..all() }, vec![]),
    ];
    for (filter, expected) in filters {
        assert_eq!(listed(&*store, filter.clone()).await, expected, "{filter:?}");
    }
    let page = store.list_rounds(&all(), Some(closed.id), 9).await.unwrap();
    let record: RoundRecord = store.round(asked.id).await.unwrap().unwrap();
    assert_eq!(page, Page { items: vec![record], next: None });
}

pub async fn a_list_of_rounds_goes_on_where_it_stopped(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let questions: Vec<Question> = (0..7).map(question).collect();
    store.mark_asked(&questions, minute(0)).await.unwrap();
    let (mut found, mut sizes, mut before) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.list_rounds(&RoundFilter::default(), before, 3).await.unwrap();
        sizes.push(page.items.len());
        found.extend(page.items.into_iter().map(|round| round.question));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    found.reverse();
    assert_eq!((found, sizes), (questions, vec![3, 3, 1]));
    let exact = store.list_rounds(&RoundFilter::default(), None, 7).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (7, None), "no page with nothing on it is promised");
}

/// As many rounds as one walk looks at, asked from minute 1 on, and before them an `extra` one.
async fn ask_a_portion(store: &dyn Store, extra: &Question) {
    store.mark_asked(std::slice::from_ref(extra), minute(0)).await.unwrap();
    let questions: Vec<Question> = (1..=PORTION as u32).map(question).collect();
    store.mark_asked(&questions, minute(0)).await.unwrap();
}

pub async fn a_search_for_rare_rounds_stops_and_goes_on(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let rare = question_of("ETH", Span::HOUR, minute(0));
    ask_a_portion(&*store, &rare).await;
    let filter = RoundFilter { asset: Some(asset("ETH")), ..RoundFilter::default() };
    let first = store.list_rounds(&filter, None, 9).await.unwrap();
    assert_eq!((first.items, first.next), (vec![], Some(question(1).id)));
    let second = store.list_rounds(&filter, first.next, 9).await.unwrap();
    let ids: Vec<RoundId> = second.items.iter().map(|round| round.question.id).collect();
    assert_eq!((ids, second.next), (vec![rare.id], None));
    let filter = RoundFilter { from: Some(minute(1)), ..filter };
    assert_eq!(store.list_rounds(&filter, None, 9).await.unwrap(), Page { items: vec![], next: None });
}

pub async fn a_round_tells_every_outcome_with_its_score_and_no_answer(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (closed, scored) = (question(0), question(1));
    close_all(&*store, &[closed.clone(), scored.clone()]).await;
    let mut all = scores(&scored, 0.5);
    all.scores[3].failure = Some("not finite".to_owned());
    store.store_scores(&all).await.unwrap();
    assert_eq!(store.round_outcomes(question(9).id).await.unwrap(), []);
    let expected = |score: fn(&str) -> Option<OutcomeScore>| -> Vec<Outcome> {
        let outcome = |prediction: domain::Prediction| Outcome {
            score: score(prediction.model_id.as_str()),
            model_id: prediction.model_id,
            deployment_id: prediction.deployment_id,
            status: prediction.status,
            reason: prediction.reason,
            received_at: prediction.received_at,
            took: prediction.took,
        };
        outcomes().into_iter().map(outcome).collect()
    };
    assert_eq!(store.round_outcomes(closed.id).await.unwrap(), expected(|_| None));
    let score = |model: &str| {
        Some(match model {
            "alpha" => OutcomeScore { raw: Some(0.5), relative: 0.5, failure: None },
            "gamma" => OutcomeScore { raw: None, relative: 0.0, failure: Some("not finite".to_owned()) },
            _ => OutcomeScore { raw: None, relative: 0.0, failure: None },
        })
    };
    assert_eq!(store.round_outcomes(scored.id).await.unwrap(), expected(score));
}

pub async fn one_prediction_is_found_with_its_answer(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    for expected in outcomes() {
        let found = store.prediction(question(0).id, &expected.model_id).await.unwrap();
        assert_eq!(found, Some(expected));
    }
    assert_eq!(store.prediction(question(0).id, &model_id("nobody")).await.unwrap(), None);
    assert_eq!(store.prediction(question(1).id, &model_id("alpha")).await.unwrap(), None);
}

pub async fn a_models_outcomes_come_newest_first_with_their_rounds_and_scores(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (first, scored, other) = (question(0), question(1), question_of("ETH", Span::hours(2), minute(2)));
    close_all(&*store, &[first.clone(), scored.clone()]).await;
    store
        .close_round(&other, minute(2), &[refusal("alpha", "no list", "{}"), answer("beta", "")])
        .await
        .unwrap();
    store.mark_asked(&[question(3)], minute(3)).await.unwrap();
    store.store_scores(&scores(&scored, 0.25)).await.unwrap();
    let alpha = model_id("alpha");
    let all = OutcomeFilter::default();
    let page = store.model_outcomes(&alpha, &all, None, 9).await.unwrap();
    assert_eq!(page.next, None);
    for (found, question) in page.items.iter().zip([&other, &scored, &first]) {
        assert_eq!(Some(&found.round), store.round(question.id).await.unwrap().as_ref());
        let outcomes = store.round_outcomes(question.id).await.unwrap();
        assert_eq!(found.outcome, outcomes[0], "{}", question.id);
    }
    assert_eq!(page.items[0].outcome.reason.as_deref(), Some("no list"));
    assert_eq!(page.items[1].outcome.score.as_ref().unwrap().relative, 0.25);

    let ids = async |filter: &OutcomeFilter| -> Vec<RoundId> {
        let page = store.model_outcomes(&alpha, filter, None, 9).await.unwrap();
        page.items.iter().map(|found| found.round.question.id).collect()
    };
    let rounds = |rounds| OutcomeFilter { rounds, status: None };
    let eth = RoundFilter { asset: Some(asset("ETH")), ..RoundFilter::default() };
    let long = RoundFilter { horizon: Some(Span::hours(2)), ..RoundFilter::default() };
    let judged = RoundFilter { state: Some(RoundState::Scored), ..RoundFilter::default() };
    let early = RoundFilter { to: Some(minute(1)), ..RoundFilter::default() };
    let failed = OutcomeFilter { status: Some(PredictionStatus::Failed), ..all.clone() };
    for (filter, expected) in [
        (rounds(eth), &other),
        (rounds(long), &other),
        (rounds(judged), &scored),
        (rounds(early), &first),
        (failed, &other),
    ] {
        assert_eq!(ids(&filter).await, [expected.id], "{filter:?}");
    }
    let page = store.model_outcomes(&alpha, &all, None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.next), (2, Some(scored.id)));
    let rest = store.model_outcomes(&alpha, &all, page.next, 2).await.unwrap();
    assert_eq!((rest.items.len(), rest.items[0].round.question.id, rest.next), (1, first.id, None));
}

pub async fn the_outcomes_of_a_model_that_is_rarely_asked_are_found_in_portions(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    ask_a_portion(&*store, &question(0)).await;
    store.close_round(&question(0), minute(1), &[answer("alpha", "[1]")]).await.unwrap();
    let (alpha, all) = (model_id("alpha"), OutcomeFilter::default());
    let first = store.model_outcomes(&alpha, &all, None, 9).await.unwrap();
    assert_eq!((first.items, first.next), (vec![], Some(question(1).id)));
    let second = store.model_outcomes(&alpha, &all, first.next, 9).await.unwrap();
    assert_eq!((second.items.len(), second.next), (1, None));
}

pub async fn the_activity_of_rounds_is_summed_by_model(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let all = [question(0), question(1), question(2), question(3)];
    store.mark_asked(&all[3..], minute(3)).await.unwrap();
    close_all(&*store, &all[..2]).await;
    let slow = domain::Prediction { took: Some(Duration::from_secs(30)), ..refusal("alpha", "no", "x") };
    store.close_round(&all[2], minute(2), &[slow]).await.unwrap();
    assert_eq!(store.answered_rounds(minute(0), minute(9)).await.unwrap(), [all[0].id, all[1].id, all[2].id]);
    assert_eq!(store.answered_rounds(minute(1), minute(2)).await.unwrap(), [all[1].id]);
    assert_eq!(store.activity(&[]).await.unwrap(), []);
    assert_eq!(store.activity(&[all[3].id]).await.unwrap(), []);
    let took = Duration::from_micros(1_234_567);
    let activity = |name: &str, counts, timed, took, longest| ModelActivity {
        model_id: model_id(name),
        counts,
        timed,
        took,
        longest,
    };
    let none = StatusCounts::default();
    let silent = |name, counts| activity(name, counts, 0, Duration::ZERO, Duration::ZERO);
    assert_eq!(
        store.activity(&[all[0].id, all[2].id, all[3].id]).await.unwrap(),
        [
            activity(
                "alpha",
                StatusCounts { success: 1, failed: 1, ..none },
                2,
                took + Duration::from_secs(30),
                Duration::from_secs(30)
            ),
            activity("beta", StatusCounts { failed: 1, ..none }, 1, took, took),
            silent("delta", StatusCounts { timeout: 1, ..none }),
            silent("gamma", StatusCounts { absent: 1, ..none }),
        ]
    );
}

pub async fn spaced_closes_are_the_last_of_each_span(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let entries = [
        entry(1, "BTC", minute(1), 101.0),
        entry(2, "BTC", minute(5), 105.0),
        entry(3, "ETH", minute(5), 7.0),
        entry(4, "BTC", minute(6), 106.0),
        entry(5, "BTC", minute(9), 109.0),
        entry(6, "BTC", minute(16), 116.0),
        entry(7, "BTC", minute(9), 99.5),
    ];
    store.append_prices(&entries, NOTED).await.unwrap();
    let close = |at: u32, price: f64| PricePoint { at: minute(at), price: Price::new(price).unwrap() };
    let closes = async |after: u32, up_to: u32, spacing| {
        let asset = asset("BTC");
        store.spaced_closes(&asset, minute(after), minute(up_to), spacing).await.unwrap()
    };
    let five = Span::minutes(5);
    assert_eq!(closes(0, 20, five).await, [close(5, 105.0), close(9, 99.5), close(16, 116.0)]);
    assert_eq!(closes(5, 8, five).await, [close(6, 106.0)], "neither before nor after what was asked for");
    assert_eq!(closes(9, 15, five).await, []);
    let each = closes(0, 16, Span::minutes(1)).await;
    assert_eq!(each, store.closes(&asset("BTC"), minute(0), minute(16)).await.unwrap());
    assert_eq!(closes(5, 5, five).await, []);
    assert_eq!(closes(9, 1, five).await, []);
    assert_eq!(closes(0, 20, Span::ZERO).await, []);
}
