//! The stored predictions under other settings, against what a worker with those settings makes of them.

use domain::{Leaderboard, Span, WindowSpans};
use score_worker::{WhatIf, WhatIfOutcome};
use storage::{Action, Order};

use crate::game::{Game, answer, asset, hour, question};
use crate::season;

/// A season that was scored and ranked all along.
async fn played() -> Game {
    let game = Game::new().await;
    let mut worker = game.worker();
    let run = async |now| {
        game.run_with(&mut worker, now).await;
    };
    season::play(&game, run).await;
    worker.give_back().await.unwrap();
    game
}

async fn latest(game: &Game) -> Leaderboard {
    game.store.latest_leaderboard().await.unwrap().unwrap()
}

/// The leaderboard of the same instant as the newest on record, if settings and windows were as `change` makes them.
async fn what_if(game: &Game, change: impl FnOnce(&mut WhatIf)) -> WhatIfOutcome {
    let mut what_if = WhatIf { settings: game.settings.clone(), windows: WindowSpans::default() };
    change(&mut what_if);
    what_if.play(&game.store, latest(game).await.as_of, |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn without_a_difference_the_leaderboard_is_that_on_record_to_the_bit_and_nothing_is_written() {
    let game = played().await;
    let (before, scores) = (latest(&game).await, game.scores().await);
    let outcome = what_if(&game, |_| {}).await;
    assert_eq!(format!("{:?}", outcome.leaderboard), format!("{before:?}"));
    let other =
        what_if(&game, |it| it.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap());
    assert_ne!(other.await.leaderboard, before);
    assert_eq!((latest(&game).await, game.scores().await), (before, scores));
}

#[tokio::test]
async fn another_rule_gives_what_a_worker_with_that_rule_gives() {
    let mut game = played().await;
    let log_score = scoring::ScoreSettings::with_rule("log_score").unwrap();
    let expected = what_if(&game, |it| it.settings.scoring = log_score.clone()).await;
    game.settings.scoring = log_score;
    game.run_at(latest(&game).await.as_of).await;
    assert_eq!(format!("{:?}", latest(&game).await), format!("{:?}", expected.leaderboard));
    assert!(expected.scored > 300, "{}", expected.scored);
}

#[tokio::test]
async fn other_weights_give_what_a_worker_with_those_weights_gives() {
    let mut game = played().await;
    let weights = domain::Weights { assets: [(asset("ETH"), 5.0)].into(), ..game.settings.weights.clone() };
    let expected = what_if(&game, |it| it.settings.weights = weights.clone()).await.leaderboard;
    assert_ne!(expected, latest(&game).await);
    game.settings.weights = weights;
    let mut worker = game.worker();
    worker.rank(latest(&game).await.as_of).await.unwrap();
    assert_eq!(format!("{:?}", latest(&game).await), format!("{expected:?}"));
}

#[tokio::test]
async fn a_window_of_another_length_is_the_window_of_that_length() {
    let game = played().await;
    let standard = latest(&game).await;
    let windows = WindowSpans::new(Span::hours(72), Span::hours(168), Span::hours(200)).unwrap();
    let longer = what_if(&game, |it| it.windows = windows).await.leaderboard;
    for entry in &standard.entries {
        let same = longer.entries.iter().find(|it| it.model_id == entry.model_id).unwrap();
        assert_eq!(same.windows.recent, entry.windows.steady);
        assert_eq!(same.windows.steady, entry.windows.anchor);
    }
    let predictions = |board: &Leaderboard| -> u64 {
        board.entries.iter().map(|entry| entry.windows.anchor.predictions).sum()
    };
    assert!(predictions(&longer) > predictions(&standard));
}

#[tokio::test]
async fn a_round_without_prices_is_void_and_one_voided_by_hand_is_left_out() {
    let game = Game::new().await;
    game.join(&["a"], hour(0)).await;
    game.prices("BTC", hour(0), hour(3), &[]).await;
    let rounds = [("BTC", 0), ("BTC", 1), ("ETH", 0)].map(|(name, n)| question(name, Span::HOUR, hour(n)));
    for round in &rounds {
        game.close(round, &[answer("a", Span::HOUR, 0.01)]).await;
    }
    game.run_at(hour(3)).await;
    let outcome = what_if(&game, |_| {}).await;
    assert_eq!((outcome.scored, outcome.void), (2, 1));
    let action = Action::VoidRound(rounds[1].id);
    let order = Order { at: hour(3), by: "ann".to_owned(), action, reason: "a mistake".to_owned() };
    game.store.carry_out(&order).await.unwrap().unwrap();
    let outcome = what_if(&game, |_| {}).await;
    assert_eq!((outcome.scored, outcome.void), (1, 1));
}
