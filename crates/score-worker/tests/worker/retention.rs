//! What is old goes by itself.

use std::time::Duration;

use domain::{Question, Span, Stopwatch};
use storage::{Keep, Retention};
use tokio_util::sync::CancellationToken;

use crate::game::{Game, answer, hour, question};

fn retention() -> Retention {
    Retention {
        predictions: Keep::For(Span::days(16)),
        scores: Keep::For(Span::days(20)),
        ..Retention::default()
    }
}

/// A round an hour, all scored, as of day 30; the first is on day 0.
async fn played() -> (Game, Vec<Question>) {
    let game = Game::new().await;
    game.join(&["a", "b"], hour(0)).await;
    let end = hour(30 * 24);
    game.prices("BTC", hour(0), end, &[]).await;
    let questions: Vec<_> = (1..30).map(|day| question("BTC", Span::HOUR, hour(day * 24))).collect();
    for question in &questions {
        game.close(question, &[answer("a", Span::HOUR, 0.01), answer("b", Span::HOUR, 0.02)]).await;
    }
    game.clock.set(end);
    (game, questions)
}

/// How many predictions and scores are stored of each round.
async fn stored(game: &Game, questions: &[Question]) -> Vec<(usize, usize)> {
    let mut stored = Vec::new();
    for question in questions {
        let predictions = game.store.predictions(question.id).await.unwrap().len();
        stored.push((predictions, game.store.export_scores(question.id).await.unwrap().len()));
    }
    stored
}

/// Day 30 less 20 days of scores, and less 16 of predictions.
fn expected() -> Vec<(usize, usize)> {
    (1..30).map(|day| (if day < 14 { 0 } else { 2 }, if day < 10 { 0 } else { 2 })).collect()
}

#[tokio::test]
async fn the_worker_that_ranks_removes_what_is_old_and_no_number_changes() {
    let (game, questions) = played().await;
    let mut ranking = game.worker().pruning(retention());
    let now = hour(30 * 24);
    game.run_with(&mut ranking, now).await;
    let mut other = game.worker().pruning(retention());
    game.run_with(&mut other, now).await;
    assert_eq!(other.prune().await.unwrap().iter().map(|pruned| pruned.rows).sum::<u64>(), 0);
    assert_eq!(stored(&game, &questions).await, vec![(2, 2); 29], "it does not rank");
    let (leaderboard, snapshots) = (game.leaderboard().await, game.snapshots().await);

    ranking.prune().await.unwrap();
    assert_eq!(stored(&game, &questions).await, expected());
    assert_eq!(game.leaderboard().await, leaderboard);
    // What a worker that is started now makes of what is left is the same.
    ranking.give_back().await.unwrap();
    let mut next = game.worker();
    next.rank(now).await.unwrap();
    assert_eq!(game.leaderboard().await, leaderboard);
    assert_eq!(game.snapshots().await, snapshots);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_worker_removes_what_is_old_without_a_hand() {
    let (game, questions) = played().await;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(score_worker::run(game.worker().pruning(retention()), shutdown.clone()));
    let watch = Stopwatch::start();
    while stored(&game, &questions).await != expected() {
        assert!(watch.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
