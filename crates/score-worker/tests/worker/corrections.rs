//! Corrections of prices: the scores that they touch follow, and no others.

use std::collections::BTreeSet;

use domain::{Question, RoundId, RoundState, Span, Timestamp};
use score_worker::LEASE;
use storage::{Hold, HolderId, RoundScores};

use crate::game::{Game, INTERVAL, SETTLE_TIMEOUT, answer, hour, question};

/// A round over an hour or two that a sharp and a blunt model answered.
async fn round(game: &Game, asset: &str, hours: u32, from: Timestamp) -> Question {
    let horizon = Span::hours(hours);
    let question = question(asset, horizon, from);
    game.close(&question, &[answer("blunt", horizon, 0.5), answer("sharp", horizon, 0.01)]).await;
    question
}

/// A season of rounds of two assets around noon, scored at 15:00.
async fn season(game: &Game) -> Vec<Question> {
    let mut rounds = Vec::new();
    for asset in ["BTC", "ETH"] {
        game.prices(asset, hour(8), hour(15), &[]).await;
        for minutes in (0..240).step_by(20) {
            rounds.push(round(game, asset, 1, hour(10) + Span::minutes(minutes)).await);
        }
        rounds.push(round(game, asset, 2, hour(11)).await);
    }
    game.run_at(hour(15)).await;
    rounds
}

/// The scores of each round as stored, to the bit, with all that its record says.
async fn verdicts(game: &Game, rounds: &[Question]) -> Vec<(RoundId, String)> {
    let mut verdicts = Vec::new();
    for question in rounds {
        let scores = game.store.export_scores(question.id).await.unwrap();
        verdicts.push((question.id, format!("{:?} {scores:?}", game.round(question).await)));
    }
    verdicts
}

/// The rounds of which anything differs.
fn changed(before: &[(RoundId, String)], after: &[(RoundId, String)]) -> BTreeSet<RoundId> {
    let differs = |(one, other): &(&(RoundId, String), &(RoundId, String))| one != other;
    before.iter().zip(after).filter(differs).map(|(one, _)| one.0).collect()
}

/// The rounds about an asset with an end of an increment at this instant.
fn touched(rounds: &[Question], asset: &str, at: Timestamp) -> BTreeSet<RoundId> {
    let is_touched = |question: &&Question| {
        question.asset.as_str() == asset && question.performed_at <= at && at <= question.resolves_at()
    };
    rounds.iter().filter(is_touched).map(|question| question.id).collect()
}

#[tokio::test]
async fn a_correction_changes_exactly_the_scores_that_it_touches() {
    let game = Game::new().await;
    let rounds = season(&game).await;
    let (before, leaderboard) = (verdicts(&game, &rounds).await, game.leaderboard().await);

    game.correct_price("BTC", hour(12), 1.05).await;
    let progress = game.run_at(hour(15) + Span::minutes(1)).await;
    let expected = touched(&rounds, "BTC", hour(12));
    assert_eq!(expected.len(), 5, "four of an hour, one of two");
    assert_eq!((progress.rescored, progress.scored), (5, 0));
    assert_eq!(changed(&before, &verdicts(&game, &rounds).await), expected);
    for question in &rounds {
        let round = game.round(question).await;
        assert_eq!(round.is_corrected(), expected.contains(&question.id), "{question}");
        assert!(!round.awaits_corrected_scores(), "{question}");
    }
    assert_ne!(game.leaderboard().await, leaderboard);
}

#[tokio::test]
async fn scores_after_a_correction_are_those_of_a_game_that_had_the_price_from_the_start() {
    let (corrected, right) = (Game::new().await, Game::new().await);
    let rounds = season(&corrected).await;
    corrected.correct_price("ETH", hour(11) + INTERVAL, 0.9).await;
    corrected.run_at(hour(15) + Span::minutes(1)).await;

    for asset in ["BTC", "ETH"] {
        right.prices(asset, hour(8), hour(15), &[]).await;
    }
    right.correct_price("ETH", hour(11) + INTERVAL, 0.9).await;
    for question in &rounds {
        let horizon = question.horizon;
        right.close(question, &[answer("blunt", horizon, 0.5), answer("sharp", horizon, 0.01)]).await;
    }
    right.run_at(hour(15) + Span::minutes(1)).await;
    assert_eq!(corrected.scores().await, right.scores().await);
    assert_eq!(corrected.leaderboard().await, right.leaderboard().await);
}

#[tokio::test]
async fn a_correction_before_the_score_marks_nothing_and_one_back_again_restores_the_bits() {
    let game = Game::new().await;
    let question = round(&game, "BTC", 1, hour(11)).await;
    game.prices("BTC", hour(10), hour(12), &[]).await;
    game.correct_price("BTC", hour(12), 1.0 + 1e-9).await;
    game.run_at(hour(12)).await;
    assert!(!game.round(&question).await.is_corrected());

    let before = game.scores().await;
    game.correct_price("BTC", hour(12), 1.1).await;
    game.run_at(hour(12) + Span::minutes(1)).await;
    assert_ne!(game.scores().await, before);
    game.correct_price("BTC", hour(12), 1.0 + 1e-9).await;
    game.run_at(hour(12) + Span::minutes(2)).await;
    assert_eq!(game.scores().await, before);
    assert!(game.round(&question).await.is_corrected());
}

#[tokio::test]
async fn a_round_that_was_void_is_scored_when_its_prices_are_repaired() {
    let game = Game::new().await;
    let question = round(&game, "BTC", 1, hour(11)).await;
    let gap = [hour(11), hour(11) + INTERVAL, hour(11) + INTERVAL.times(2)];
    game.prices("BTC", hour(10), hour(20), &gap).await;
    game.run_at(hour(12) + SETTLE_TIMEOUT).await;
    assert_eq!(game.round(&question).await.state, RoundState::Void);
    for at in gap {
        game.correct_price("BTC", at, 1.0).await;
    }
    game.run_at(hour(20)).await;
    let round = game.round(&question).await;
    assert_eq!((round.state, round.reason.clone(), round.is_corrected()), (RoundState::Scored, None, true));
}

/// One worker has the lease, the other only helps; both are at it at once.
#[tokio::test]
async fn two_workers_come_to_the_same_and_a_killed_one_leaves_nothing_half_done() {
    let (game, alone) = (Game::new().await, Game::new().await);
    let rounds = season(&game).await;
    season(&alone).await;
    for game in [&game, &alone] {
        for (minute, factor) in [(0, 1.05), (20, 0.9), (40, 1.2)] {
            game.correct_price("BTC", hour(12) + Span::minutes(minute), factor).await;
        }
    }
    game.clock.set(hour(15) + Span::minutes(1));
    let mut killed = game.worker();
    let cut_off = tokio::time::timeout(std::time::Duration::from_millis(5), killed.run_once());
    drop(cut_off.await);
    killed.give_back().await.unwrap();
    let (mut one, mut other) = (game.worker(), game.worker());
    let (one, other) = tokio::join!(one.run_once(), other.run_once());
    assert!(one.is_ok() && other.is_ok());
    let mut last = game.worker();
    game.run_with(&mut last, hour(15) + Span::minutes(2)).await;

    alone.run_at(hour(15) + Span::minutes(1)).await;
    assert_eq!(game.scores().await, alone.scores().await);
    for question in &rounds {
        assert!(!game.round(question).await.awaits_corrected_scores(), "{question}");
    }
}

/// The other worker has read the prices of a round in hand, the ranking one marks it, and only then it is stored.
#[tokio::test]
async fn a_round_that_another_worker_had_in_hand_when_it_was_marked_is_scored_anew() {
    let game = Game::new().await;
    let rounds = season(&game).await;
    let in_hand = round(&game, "BTC", 1, hour(12) + Span::minutes(10)).await;
    let hold = Hold { by: HolderId::random(), now: hour(15), lasts: LEASE };
    assert_eq!(game.store.claim_ready(&hold, 9).await.unwrap(), std::slice::from_ref(&in_hand));
    let scores_of_before = RoundScores {
        round_id: in_hand.id,
        rule: game.round(&rounds[0]).await.rule.unwrap(),
        priced_up_to: game.store.ledger_end().await.unwrap(),
        scored_at: hour(15),
        best: 1.0,
        q95: 2.0,
        scores: Vec::new(),
    };

    let mut ranking = game.worker();
    game.run_with(&mut ranking, hour(15)).await;
    game.correct_price("BTC", hour(12) + Span::minutes(30), 1.05).await;
    game.run_with(&mut ranking, hour(15)).await;
    game.store.store_scores(&scores_of_before).await.unwrap();
    assert!(game.round(&in_hand).await.awaits_corrected_scores());
    for minutes in 1..3 {
        game.run_with(&mut ranking, hour(15) + Span::minutes(minutes)).await;
    }
    assert!(!game.round(&in_hand).await.awaits_corrected_scores());
    assert_eq!(game.relative(&in_hand).await.len(), 2);
}
