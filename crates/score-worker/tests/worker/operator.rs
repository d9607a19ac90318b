//! What operators order, and what becomes of it.

use domain::{Prediction, RoundState, Span, Weights};
use storage::{Action, Order};

use crate::game::{Game, answer, asset, hour, model_id, question};

async fn order(game: &Game, action: Action) {
    let order = Order { at: hour(12), by: "ann".to_owned(), action, reason: "a reason".to_owned() };
    game.store.carry_out(&order).await.unwrap().unwrap();
}

fn outcomes() -> Vec<Prediction> {
    ["best", "good", "poor"]
        .into_iter()
        .zip([0.01, 0.02, 0.5])
        .map(|(model, scale)| answer(model, Span::HOUR, scale))
        .collect()
}

async fn ranked(game: &Game) -> Vec<String> {
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    leaderboard.entries.iter().map(|entry| entry.model_id.to_string()).collect()
}

#[tokio::test]
async fn an_excluded_model_is_scored_and_not_ranked_and_costs_nobody_else_anything() {
    let game = Game::new().await;
    game.join(&["best", "good", "poor"], hour(9)).await;
    game.prices("BTC", hour(10), hour(14), &[]).await;
    game.close(&question("BTC", Span::HOUR, hour(10)), &outcomes()).await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(12)).await;
    let (scores, before) = (game.scores().await, ranked(&game).await);
    assert_eq!(before.len(), 3);
    let first = model_id(&before[0]);

    order(&game, Action::ExcludeModel(first.clone())).await;
    assert_eq!(game.run_with(&mut worker, hour(12)).await.leaderboard, Some(hour(12)), "at once");
    assert_eq!(ranked(&game).await, before[1..]);
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    assert_eq!(leaderboard.entries[0].rank, Some(1));
    assert!(leaderboard.excluded.iter().eq([&first]));
    assert_eq!(game.scores().await, scores);
    let standings = game.store.latest_standings().await.unwrap().unwrap();
    assert_eq!(standings.models.len(), 3, "its own scores are kept");
    assert_eq!(game.run_with(&mut worker, hour(12)).await.leaderboard, None);
    game.run_at(hour(13)).await;
    assert_eq!(ranked(&game).await, before[1..], "another worker says the same");

    order(&game, Action::IncludeModel(first)).await;
    game.run_with(&mut worker, hour(13)).await;
    assert_eq!(ranked(&game).await, before);
}

#[tokio::test]
async fn a_round_voided_by_hand_leaves_the_windows_until_it_is_rescored() {
    let mut game = Game::new().await;
    game.prices("BTC", hour(10), hour(14), &[]).await;
    let asked = question("BTC", Span::HOUR, hour(10));
    game.close(&asked, &outcomes()).await;
    game.run_at(hour(12)).await;
    let (scores, board) = (game.scores().await, ranked(&game).await);

    order(&game, Action::VoidRound(asked.id)).await;
    game.run_at(hour(12)).await;
    assert_eq!(ranked(&game).await, [""; 0]);
    game.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
    assert_eq!(game.run_at(hour(12)).await.rescored, 0, "no rule undoes what was done by hand");
    assert_eq!(game.round(&asked).await.state, RoundState::Void);
    game.settings.scoring = scoring::ScoreSettings::with_rule("crps").unwrap();

    order(&game, Action::RescoreRound(asked.id)).await;
    assert_eq!(game.run_at(hour(12)).await.scored, 1);
    assert_eq!((game.scores().await, ranked(&game).await), (scores, board));
}

/// The score of a model in the longest window.
async fn scores_now(game: &Game) -> Vec<(String, Option<f64>)> {
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    let score = |entry: &domain::LeaderboardEntry| (entry.model_id.to_string(), entry.windows.anchor.score);
    leaderboard.entries.iter().map(score).collect()
}

/// Of two models one is better at BTC and the other at ETH.
async fn rivals() -> Game {
    let game = Game::new().await;
    game.join(&["btc", "eth"], hour(9)).await;
    for (name, scales) in [("BTC", [0.01, 0.02]), ("ETH", [0.02, 0.01])] {
        game.prices(name, hour(10), hour(14), &[]).await;
        let outcomes = ["btc", "eth"].into_iter().zip(scales);
        let outcomes: Vec<_> = outcomes.map(|(model, scale)| answer(model, Span::HOUR, scale)).collect();
        game.close(&question(name, Span::HOUR, hour(10)), &outcomes).await;
    }
    game
}

fn weights(name: &str, weight: f64) -> Weights {
    Weights { assets: [(asset(name), weight)].into(), ..Weights::default() }
}

#[tokio::test]
async fn changed_weights_rank_anew_at_once_and_score_nothing_again() {
    let game = rivals().await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(12)).await;
    let scores = game.scores().await;
    for (name, weight) in [("BTC", 9.0), ("ETH", 9.0)] {
        worker.reloadable().weigh(weights(name, weight));
        let progress = game.run_with(&mut worker, hour(12)).await;
        assert_eq!((progress.scored, progress.rescored, progress.leaderboard), (0, 0, Some(hour(12))));
        let ranked = scores_now(&game).await;
        assert_eq!(ranked[0].0, name.to_lowercase());
        assert_eq!(game.run_with(&mut worker, hour(12)).await.leaderboard, None, "once");

        // A worker that is started with these weights finds the same to the last bit.
        let mut other = rivals().await;
        other.settings.weights = weights(name, weight);
        other.run_at(hour(12)).await;
        assert_eq!(scores_now(&other).await, ranked);
    }
    assert_eq!(game.scores().await, scores);
    let changes = game.store.scoring_changes().await.unwrap();
    assert_eq!(changes.len(), 3);
    assert!(changes[2].settings.contains(r#""asset_weights":{"ETH":9.0}"#), "{}", changes[2].settings);
}

#[tokio::test]
async fn workers_that_are_told_of_the_same_weights_one_after_the_other_all_go_on() {
    let game = rivals().await;
    let (mut first, mut second) = (game.worker(), game.worker());
    game.run_with(&mut first, hour(12)).await;
    game.run_with(&mut second, hour(12)).await;
    first.reloadable().weigh(weights("BTC", 9.0));
    game.run_with(&mut first, hour(12)).await;
    game.run_with(&mut second, hour(12)).await;
    assert!(second.status().stands_by_for().is_some(), "not told yet");
    second.reloadable().weigh(weights("BTC", 3.0));
    game.run_with(&mut second, hour(12)).await;
    assert!(second.status().stands_by_for().is_some(), "who stands by does not take over");
    second.reloadable().weigh(weights("BTC", 9.0));
    game.run_with(&mut second, hour(12)).await;
    game.run_with(&mut first, hour(12)).await;
    assert!(second.status().stands_by_for().is_none() && first.status().stands_by_for().is_none());
    assert_eq!(game.store.scoring_changes().await.unwrap().len(), 2);
}
