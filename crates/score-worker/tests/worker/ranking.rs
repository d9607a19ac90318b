//! Windows, leaderboards and snapshots.

use domain::{Leaderboard, LeaderboardEntry, PredictionStatus, RankingGroup, Span, Timestamp};

use crate::game::{Game, INTERVAL, answer, asset, hour, miss, model_id, question};
use crate::naive::Naive;

const ALL_DAY: u32 = 24;

/// A round about BTC over an hour, asked at this hour, in which `sharp` is better than `blunt`.
async fn close_hourly(game: &Game, n: u32) {
    let outcomes = [answer("blunt", Span::HOUR, 0.5), answer("sharp", Span::HOUR, 0.01)];
    game.close(&question("BTC", Span::HOUR, hour(n)), &outcomes).await;
}

async fn latest(game: &Game) -> Leaderboard {
    game.store.latest_leaderboard().await.unwrap().unwrap()
}

fn entry<'a>(leaderboard: &'a Leaderboard, model: &str) -> &'a LeaderboardEntry {
    leaderboard.entries.iter().find(|entry| entry.model_id.as_str() == model).unwrap()
}

async fn snapshot_hours(game: &Game) -> Vec<Timestamp> {
    game.snapshots().await.into_iter().map(|(as_of, _)| as_of).collect()
}

#[tokio::test]
async fn a_leaderboard_is_as_of_the_full_minute_and_written_only_when_scores_changed() {
    let game = Game::new().await;
    let mut worker = game.worker();
    game.prices("BTC", hour(0), hour(5), &[]).await;
    assert_eq!(game.run_with(&mut worker, hour(0)).await.leaderboard, None, "nobody has a score yet");
    close_hourly(&game, 0).await;
    let late = hour(1) + Span::seconds(59);
    assert_eq!(game.run_with(&mut worker, late).await.leaderboard, Some(hour(1)));
    assert_eq!(game.run_with(&mut worker, late + Span::minutes(3)).await.leaderboard, None);
    game.close(&question("BTC", Span::HOUR, hour(1)), &[]).await;
    let progress = game.run_with(&mut worker, hour(2)).await;
    assert_eq!((progress.void, progress.leaderboard), (1, None), "a void round changes no score");
    assert_eq!(game.leaderboards().await.len(), 1);
}

#[tokio::test]
async fn leaderboards_written_at_full_hours_alone_hold_what_was_scored_in_between() {
    let game = Game::new().await;
    game.prices("BTC", hour(0), hour(5), &[]).await;
    close_hourly(&game, 0).await;
    let later = question("BTC", Span::HOUR, hour(0) + Span::minutes(20));
    game.close(&later, &[answer("sharp", Span::HOUR, 0.01)]).await;
    let mut worker = game.worker().ranking_every(Span::HOUR);
    let progress = game.run_with(&mut worker, hour(1) + Span::minutes(5)).await;
    assert_eq!((progress.scored, progress.leaderboard), (1, None));
    let progress = game.run_with(&mut worker, hour(1) + Span::minutes(20)).await;
    assert_eq!((progress.scored, progress.leaderboard), (1, None));
    assert_eq!(game.run_with(&mut worker, hour(2)).await.leaderboard, Some(hour(2)));
    assert_eq!(entry(&latest(&game).await, "sharp").windows.recent.predictions, 2);
    assert_eq!(snapshot_hours(&game).await, [hour(1), hour(2)]);
}

#[tokio::test]
async fn a_round_that_resolves_within_a_minute_is_on_the_leaderboard_of_the_next() {
    let mut game = Game::new().await;
    game.settings.settlement = scoring::SettlementSettings::new(Span::seconds(10));
    let mut worker = game.worker();
    for asked in [hour(0), hour(0) + Span::seconds(30)] {
        game.close(&question("BTC", INTERVAL, asked), &[answer("a", INTERVAL, 0.01)]).await;
        game.prices("BTC", asked, asked + INTERVAL, &[]).await;
    }
    let minute = hour(0) + INTERVAL;
    let progress = game.run_with(&mut worker, minute + Span::seconds(45)).await;
    assert_eq!((progress.scored, progress.leaderboard), (2, Some(minute)));
    assert_eq!(latest(&game).await.entries[0].windows.recent.predictions, 1);
    let next = minute + Span::minutes(1);
    assert_eq!(game.run_with(&mut worker, next).await.leaderboard, Some(next));
    assert_eq!(latest(&game).await.entries[0].windows.recent.predictions, 2);
}

#[tokio::test]
async fn misses_count_zero_and_a_score_of_zero_is_a_score() {
    let game = Game::new().await;
    game.prices("BTC", hour(0), hour(9), &[]).await;
    let misses = [PredictionStatus::Failed, PredictionStatus::Timeout, PredictionStatus::Absent];
    for (n, status) in misses.into_iter().enumerate() {
        let outcomes = [
            answer("best", Span::HOUR, 0.01),
            miss("dead", status),
            if n == 0 { answer("once", Span::HOUR, 0.01) } else { miss("once", status) },
            answer("worst", Span::HOUR, 0.5),
        ];
        game.close(&question("BTC", Span::HOUR, hour(n as u32)), &outcomes).await;
    }
    game.run_at(hour(9)).await;
    let leaderboard = latest(&game).await;
    let recent = |model| {
        let window = entry(&leaderboard, model).windows.recent;
        (window.score, window.predictions, window.valid)
    };
    assert_eq!(recent("best"), (Some(1.0), 3, 3));
    assert_eq!(recent("once"), (Some(1.0 / 3.0), 3, 1));
    assert_eq!(recent("worst"), (Some(0.0), 3, 3));
    assert_eq!(recent("dead"), (None, 3, 0));
    let ranks: Vec<_> =
        leaderboard.entries.iter().map(|entry| (entry.model_id.as_str(), entry.rank)).collect();
    assert_eq!(ranks, [("best", Some(1)), ("once", Some(2)), ("worst", Some(3)), ("dead", None)]);
}

#[tokio::test]
async fn the_anchor_window_is_full_from_168_hours_after_the_first_scored_round() {
    let game = Game::new().await;
    game.join(&["sharp", "blunt"], hour(0)).await;
    game.prices("BTC", hour(0), hour(200), &[]).await;
    for n in 0..169 {
        close_hourly(&game, n).await;
    }
    let first_scored_at = hour(1);
    let mut worker = game.worker();
    let full_at = first_scored_at + Span::hours(168);
    game.run_with(&mut worker, full_at - Span::HOUR).await;
    for (now, is_full) in [(full_at - Span::minutes(1), false), (full_at, true)] {
        for worker in [&mut worker, &mut game.worker()] {
            game.clock.set(now);
            worker.run_once().await.unwrap();
            worker.rank(now).await.unwrap();
            worker.give_back().await.unwrap();
            let leaderboard = latest(&game).await;
            let sharp = entry(&leaderboard, "sharp");
            assert_eq!(sharp.first_scored_at, Some(first_scored_at));
            assert_eq!((sharp.windows.anchor.full, sharp.windows.steady.full), (is_full, true), "{now}");
            assert_eq!(sharp.group == RankingGroup::Anchor, is_full);
        }
    }
    let leaderboard = latest(&game).await;
    assert_eq!(entry(&leaderboard, "sharp").windows.anchor.predictions, 168);
}

#[tokio::test]
async fn there_is_a_snapshot_of_every_full_hour_also_after_a_pause_and_before_the_first_start() {
    let game = Game::new().await;
    game.join(&["sharp", "blunt"], hour(0)).await;
    game.prices("BTC", hour(0), hour(100), &[]).await;
    for n in 0..40 {
        close_hourly(&game, n).await;
    }
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(3) + Span::minutes(5)).await;
    assert_eq!(snapshot_hours(&game).await, (1..=3).map(hour).collect::<Vec<_>>(), "before the first start");
    game.run_with(&mut worker, hour(20)).await;
    assert_eq!(snapshot_hours(&game).await.len(), 20, "paused");
    game.run_at(hour(50)).await;
    assert_eq!(snapshot_hours(&game).await, (1..=50).map(hour).collect::<Vec<_>>(), "away");
    let naive = Naive::read(&game).await;
    let expected: Vec<String> = (1..=50).map(|n| format!("{:?}", naive.standings(hour(n)))).collect();
    let stored: Vec<String> = game.snapshots().await.into_iter().map(|(_, snapshot)| snapshot).collect();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_late_score_is_in_every_snapshot_since_its_round_resolved() {
    let game = Game::new().await;
    game.join(&["sharp", "blunt"], hour(0)).await;
    for n in 0..8 {
        close_hourly(&game, n).await;
    }
    game.prices("BTC", hour(0), hour(3), &[]).await;
    let mut worker = game.worker();
    for n in 0..=8 {
        game.run_with(&mut worker, hour(n)).await;
    }
    game.prices("BTC", hour(3) + INTERVAL, hour(8), &[]).await;
    assert_eq!(game.run_with(&mut worker, hour(9)).await.scored, 5);
    let naive = Naive::read(&game).await;
    for (as_of, snapshot) in game.snapshots().await {
        assert_eq!(snapshot, format!("{:?}", naive.standings(as_of)));
    }
    assert_eq!(snapshot_hours(&game).await, (1..=9).map(hour).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_model_that_comes_back_starts_anew_before_and_after_a_restart() {
    let game = Game::new().await;
    game.join(&["sharp", "blunt"], hour(0)).await;
    game.prices("BTC", hour(0), hour(100), &[]).await;
    let mut worker = game.worker();
    for n in 0..30 {
        close_hourly(&game, n).await;
        game.run_with(&mut worker, hour(n)).await;
    }
    game.run_with(&mut worker, hour(30)).await;
    assert!(entry(&latest(&game).await, "sharp").windows.recent.full);
    game.join(&["sharp"], hour(30)).await;
    close_hourly(&game, 30).await;
    game.run_with(&mut worker, hour(31)).await;
    let warm = game.leaderboard().await;
    let leaderboard = latest(&game).await;
    assert_eq!(entry(&leaderboard, "sharp").first_scored_at, Some(hour(31)));
    assert!(
        !entry(&leaderboard, "sharp").windows.recent.full && entry(&leaderboard, "blunt").windows.recent.full
    );
    worker.give_back().await.unwrap();
    game.worker().rank(hour(31)).await.unwrap();
    assert_eq!(game.leaderboard().await, warm);
}

#[tokio::test]
async fn a_round_scored_after_a_week_says_when_a_model_began_as_after_a_restart() {
    let game = Game::new().await;
    game.join(&["sharp", "blunt"], hour(0)).await;
    close_hourly(&game, 0).await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(1)).await;
    game.prices("BTC", hour(250), hour(300), &[]).await;
    close_hourly(&game, 250).await;
    game.run_with(&mut worker, hour(251)).await;
    game.prices("BTC", hour(0), hour(1), &[]).await;
    game.close(&question("BTC", Span::HOUR, hour(251)), &[answer("sharp", Span::HOUR, 0.01)]).await;
    game.run_with(&mut worker, hour(252)).await;
    let warm = game.leaderboard().await;
    worker.give_back().await.unwrap();
    game.worker().rank(hour(252)).await.unwrap();
    assert_eq!(game.leaderboard().await, warm);
}

#[tokio::test]
async fn weights_count_over_parameters_and_take_effect_at_once() {
    let mut game = Game::new().await;
    game.prices("BTC", hour(0), hour(1), &[]).await;
    game.prices("ETH", hour(0), hour(1), &[]).await;
    let field =
        |better: &str, worse: &str| [answer(better, Span::HOUR, 0.01), answer(worse, Span::HOUR, 0.5)];
    game.close(&question("BTC", Span::HOUR, hour(0)), &field("a", "b")).await;
    game.close(&question("ETH", Span::HOUR, hour(0)), &field("b", "a")).await;
    for (weight, expected) in [(1.0, [0.5, 0.5]), (3.0, [0.75, 0.25])] {
        game.settings.weights.assets.insert(asset("BTC"), weight);
        game.run_at(hour(1)).await;
        let leaderboard = latest(&game).await;
        let scores: Vec<_> = leaderboard.entries.iter().map(|entry| entry.windows.recent.score).collect();
        assert_eq!(scores, expected.map(Some), "weight {weight}");
        assert_eq!(leaderboard.entries[0].model_id, model_id("a"), "the tie goes by id");
    }
}

#[tokio::test]
async fn who_was_asked_last_more_than_a_week_ago_is_on_no_leaderboard() {
    let game = Game::new().await;
    game.prices("BTC", hour(0), hour(300), &[]).await;
    close_hourly(&game, 0).await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(1)).await;
    let late = 1 + 7 * ALL_DAY;
    game.close(&question("BTC", Span::HOUR, hour(late - 1)), &[answer("new", Span::HOUR, 0.01)]).await;
    game.run_with(&mut worker, hour(late)).await;
    let ids: Vec<_> = latest(&game).await.entries.iter().map(|entry| entry.model_id.to_string()).collect();
    assert_eq!(ids, ["new"]);
}
