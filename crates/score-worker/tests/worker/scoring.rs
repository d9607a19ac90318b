//! One round after another: scored, void or waiting.

use domain::{Prediction, PredictionStatus, Question, RoundState, Span, Timestamp};
use storage::{ChangeNumber, RoundScores, ScoreRecord};

use crate::game::{
    CRPS, Game, INTERVAL, SETTLE_TIMEOUT, answer, answer_to, hour, miss, model_id, normals, question,
};

const TWO_HOURS: Span = Span::hours(2);

/// A round about BTC from 10:00 to 12:00 that a sharp and a blunt model answered.
async fn closed_round(game: &Game) -> Question {
    let question = question("BTC", TWO_HOURS, hour(10));
    game.close(&question, &[answer("blunt", TWO_HOURS, 0.5), answer("sharp", TWO_HOURS, 0.01)]).await;
    question
}

async fn changes(game: &Game) -> String {
    let all = game.store.score_changes(ChangeNumber(0), Timestamp::MIN_UTC, CRPS, 1000).await.unwrap();
    format!("{all:?}")
}

async fn state(game: &Game, question: &Question) -> RoundState {
    game.round(question).await.state
}

#[tokio::test]
async fn a_round_is_scored_once_and_running_again_changes_nothing() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    let mut worker = game.worker();
    let progress = game.run_with(&mut worker, hour(12)).await;
    assert_eq!((progress.scored, progress.predictions, progress.leaderboard), (1, 2, Some(hour(12))));
    assert_eq!(game.relative(&question).await, [("blunt".to_owned(), 0.0), ("sharp".to_owned(), 1.0)]);

    let all = async || (game.scores().await, changes(&game).await, game.leaderboards().await);
    let before = all().await;
    let again = game.run_with(&mut worker, hour(12)).await;
    assert_eq!((again.scored, again.leaderboard), (0, None));
    assert_eq!(game.run_at(hour(12)).await.scored, 0);
    assert_eq!(all().await, before);
}

#[tokio::test]
async fn a_model_alone_and_models_that_are_equal_get_one_each() {
    let game = Game::new().await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    let (alone, equal) = (question("BTC", Span::HOUR, hour(10)), question("BTC", Span::HOUR, hour(11)));
    game.close(&alone, &[answer("a", Span::HOUR, 0.01)]).await;
    let missing = miss("c", PredictionStatus::Timeout);
    game.close(&equal, &[answer("a", Span::HOUR, 0.01), answer("b", Span::HOUR, 0.01), missing]).await;
    assert_eq!(game.run_at(hour(12)).await.scored, 2);
    assert_eq!(game.relative(&alone).await, [("a".to_owned(), 1.0)]);
    let scores = game.relative(&equal).await;
    assert_eq!(scores.iter().map(|(_, score)| *score).collect::<Vec<_>>(), [1.0, 1.0, 0.0]);
}

#[tokio::test]
async fn a_round_that_nobody_answered_is_void_and_says_so() {
    let game = Game::new().await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    let (unanswered, unasked) =
        (question("BTC", Span::HOUR, hour(10)), question("BTC", Span::HOUR, hour(11)));
    game.close(
        &unanswered,
        &PredictionStatus::ALL[1..].iter().map(|s| miss(s.as_str(), *s)).collect::<Vec<_>>(),
    )
    .await;
    game.close(&unasked, &[]).await;
    let progress = game.run_at(hour(12)).await;
    assert_eq!((progress.void, progress.scored), (2, 0));
    for question in [unanswered, unasked] {
        let round = game.round(&question).await;
        assert_eq!((round.state, round.reason.as_deref()), (RoundState::Void, Some("no valid answer")));
    }
}

#[tokio::test]
async fn a_round_waits_for_its_prices_and_then_scores_as_if_they_had_been_in_time() {
    let (late, in_time) = (Game::new().await, Game::new().await);
    in_time.prices("BTC", hour(10), hour(12), &[]).await;
    late.prices("BTC", hour(10), hour(11), &[]).await;
    let question = closed_round(&late).await;
    closed_round(&in_time).await;
    in_time.run_at(hour(12)).await;

    assert_eq!(late.run_at(hour(12)).await.waiting, 1);
    assert_eq!(late.run_at(hour(12)).await.waiting, 0, "it is left alone for an interval");
    assert_eq!(late.run_at(hour(12) + INTERVAL).await.waiting, 1);
    assert_eq!(state(&late, &question).await, RoundState::Closed);
    late.prices("BTC", hour(11) + INTERVAL, hour(12), &[]).await;
    assert_eq!(late.run_at(hour(13)).await.scored, 1);
    assert_eq!(late.scores().await, in_time.scores().await);
}

#[tokio::test]
async fn prices_are_given_up_only_when_later_ones_are_there() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(11), &[]).await;
    let long_after = hour(24 * 30);
    assert_eq!(game.run_at(long_after).await.waiting, 1, "the outage is not over");
    game.prices("BTC", hour(13), hour(13), &[]).await;
    let progress = game.run_at(long_after + INTERVAL).await;
    assert_eq!((progress.scored, progress.void), (1, 0), "half of the moves are known");
    assert_eq!(state(&game, &question).await, RoundState::Scored);

    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(13), hour(13), &[]).await;
    let given_up_at = hour(12) + SETTLE_TIMEOUT;
    assert_eq!(game.run_at(given_up_at - Span::seconds(1)).await.waiting, 1);
    assert_eq!(game.run_at(given_up_at + INTERVAL).await.void, 1);
    let reason = game.round(&question).await.reason.unwrap();
    assert_eq!(reason, "prices are missing for over half of the moves: 0 of 6 for step 20m");
}

#[tokio::test]
async fn a_gap_leaves_the_same_increments_out_for_every_model() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(20), &[hour(11)]).await;
    assert_eq!(game.run_at(hour(12)).await.waiting, 1);
    assert_eq!(game.run_at(hour(12) + SETTLE_TIMEOUT).await.scored, 1);
    let scores = game.store.export_scores(question.id).await.unwrap();
    let counts: Vec<(u32, u32)> =
        scores.iter().map(|score| (score.steps[0].increments, score.steps[0].left_out)).collect();
    assert_eq!(counts, [(4, 2), (4, 2)]);
}

#[tokio::test]
async fn a_stored_answer_that_is_damaged_is_left_out_and_costs_its_model_and_the_others_nothing() {
    let (game, twin) = (Game::new().await, Game::new().await);
    let question = question("BTC", TWO_HOURS, hour(10));
    let others = [answer("blunt", TWO_HOURS, 0.5), answer("sharp", TWO_HOURS, 0.01)];
    let [blunt, sharp] = others.clone();
    game.close(&question, &[answer("best", TWO_HOURS, 0.005), blunt, sharp]).await;
    game.execute("UPDATE predictions SET answer = x'0100' WHERE model_id = 'best'").await;
    twin.close(&question, &others).await;
    for game in [&game, &twin] {
        game.prices("BTC", hour(10), hour(12), &[]).await;
        assert_eq!(game.run_at(hour(12)).await.scored, 1);
    }
    let of = async |game: &Game| game.store.export_scores(question.id).await.unwrap();
    assert_eq!(of(&game).await.len(), 2, "the damaged one has no score at all");
    assert_eq!(of(&game).await, of(&twin).await);
    let leaderboard = async |game: &Game| game.store.latest_leaderboard().await.unwrap().unwrap();
    assert_eq!(leaderboard(&game).await, leaderboard(&twin).await);
}

#[tokio::test]
async fn answers_stored_as_texts_before_there_were_packed_ones_have_the_same_scores() {
    let (before, now) = (Game::new().await, Game::new().await);
    let question = question("BTC", TWO_HOURS, hour(10));
    let texts = [("blunt", normals(6, 0.5)), ("sharp", normals(6, 0.01))];
    let packed = texts.clone().map(|(model, text)| answer_to(&question, model, &text));
    let as_text = texts.map(|(model, text)| Prediction {
        answer: Some(storage::encode_text(&text).into()),
        ..answer_to(&question, model, &text)
    });
    for (game, outcomes) in [(&before, as_text), (&now, packed)] {
        game.close(&question, &outcomes).await;
        game.prices("BTC", hour(10), hour(12), &[]).await;
        assert_eq!(game.run_at(hour(12)).await.scored, 1);
    }
    assert_eq!(before.scores().await, now.scores().await);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other_round() {
    let game = Game::new().await;
    let damaged = closed_round(&game).await;
    game.execute("UPDATE predictions SET model_id = '' WHERE model_id = 'blunt'").await;
    let sound = question("BTC", TWO_HOURS, hour(11));
    game.close(&sound, &[answer("a", TWO_HOURS, 0.01)]).await;
    game.prices("BTC", hour(10), hour(13), &[]).await;
    let progress = game.run_at(hour(13)).await;
    assert_eq!((progress.scored, progress.void), (1, 1));
    let reason = game.round(&damaged).await.reason.unwrap();
    assert!(reason.contains("predictions.model_id") && reason.contains(&damaged.id.to_string()), "{reason}");
}

#[tokio::test]
async fn a_price_that_cannot_be_read_stops_no_round_that_does_not_need_it() {
    let game = Game::new().await;
    let [early, late] = [hour(10), hour(12)].map(|at| question("BTC", TWO_HOURS, at));
    for round in [&early, &late] {
        game.close(round, &[answer("a", TWO_HOURS, 0.01)]).await;
    }
    game.prices("BTC", hour(10), hour(14), &[]).await;
    game.execute("UPDATE prices SET price = -1 WHERE position = 3").await;
    let progress = game.run_at(hour(15)).await;
    assert_eq!((progress.scored, progress.void), (1, 1), "they are settled at once");
    let reason = game.round(&early).await.reason.unwrap();
    assert!(reason.contains("prices.price") && reason.contains('3'), "{reason}");
    assert_eq!(state(&game, &late).await, RoundState::Scored);
}

#[tokio::test]
async fn rounds_that_wait_hold_up_no_other() {
    let game = Game::new().await;
    for minute in 0..130 {
        game.close(&question("BTC", Span::HOUR, hour(8) + Span::minutes(minute)), &[]).await;
    }
    let ready = question("ETH", Span::HOUR, hour(12));
    game.close(&ready, &[answer("a", Span::HOUR, 0.01)]).await;
    game.prices("ETH", hour(12), hour(13), &[]).await;
    let progress = game.run_at(hour(13)).await;
    assert_eq!((progress.waiting, progress.scored), (130, 1));
    assert_eq!(state(&game, &ready).await, RoundState::Scored);
}

#[tokio::test]
async fn of_two_workers_the_second_stores_nothing_new() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    game.clock.set(hour(12));
    let (mut one, mut other) = (game.worker(), game.worker());
    let (one, other) = tokio::join!(one.run_once(), other.run_once());
    assert!(one.unwrap().scored + other.unwrap().scored >= 1);
    let all = game.store.score_changes(ChangeNumber(0), Timestamp::MIN_UTC, CRPS, 1000).await.unwrap();
    assert_eq!(all.iter().map(|change| change.number).collect::<Vec<_>>(), [ChangeNumber(1)]);
    assert_eq!(game.relative(&question).await.len(), 2);
}

#[tokio::test]
async fn scores_made_from_corrected_prices_replace_the_leaderboards_numbers() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(12)).await;
    let score = |model: &str, relative| ScoreRecord {
        model_id: model_id(model),
        raw: Some(1.0),
        relative,
        failure: None,
        steps: Vec::new(),
    };
    let scores = vec![score("blunt", 1.0), score("sharp", 0.25)];
    let rescored = RoundScores {
        round_id: question.id,
        rule: CRPS.to_owned(),
        priced_up_to: game.store.ledger_end().await.unwrap(),
        scored_at: hour(12),
        best: 1.0,
        q95: 1.0,
        scores,
    };
    game.store.store_scores(&rescored).await.unwrap();
    assert_eq!(
        game.run_with(&mut worker, hour(12) + Span::minutes(1)).await.leaderboard,
        Some(hour(12) + Span::minutes(1))
    );
    game.run_at(hour(12) + Span::minutes(1)).await;
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    let scores: Vec<_> = leaderboard.entries.iter().map(|entry| entry.windows.recent.score).collect();
    assert_eq!(scores, [Some(1.0), Some(0.25)]);
}

#[tokio::test]
async fn a_correction_of_a_price_counts_when_it_comes_before_the_score() {
    let game = Game::new().await;
    let question = closed_round(&game).await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    let correction = game.entry("BTC", hour(12), 50.0);
    game.store.append_prices(&[correction], Timestamp::UNIX_EPOCH).await.unwrap();
    game.run_at(hour(12)).await;
    let sharp = game.store.export_scores(question.id).await.unwrap().remove(1);
    assert!(sharp.raw.unwrap() > 0.1, "{sharp:?}: the price halved in the last of six steps");
}
