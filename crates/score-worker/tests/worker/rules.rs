//! Another rule, or the same with other settings: what was scored is scored again, and nothing is mixed.

use std::sync::Arc;

use domain::{Leaderboard, Method, Question, Rescoring, RoundState, Span, Target, Timestamp};
use score_worker::LEASE;
use scoring::Aggregation;
use storage::{RoundScores, ScoreRecord};

use crate::faults::{Brittle, PANIC};
use crate::flaky::{Fault, flaky};
use crate::game::{CRPS, Game, INTERVAL, answer, answer_to, asset, hour, normals, question};
use crate::naive::Naive;

const LOG_SCORE: &str = "log_score/1;max_price_age=20m";

/// A round about BTC over an hour for each of these hours; who is sharper changes.
async fn close_hours(game: &Game, hours: std::ops::Range<u32>) {
    for n in hours {
        let scale = |k: u32| 0.002 * f64::from(1 + (n * 7 + k * 5) % 11);
        let outcomes = ["a", "b", "c"].iter().zip(0..).map(|(model, k)| answer(model, Span::HOUR, scale(k)));
        game.close(&question("BTC", Span::HOUR, hour(n)), &outcomes.collect::<Vec<_>>()).await;
    }
}

/// A game of so many rounds that all have resolved.
async fn game_of(rounds: u32) -> Game {
    let game = Game::new().await;
    game.join(&["a", "b", "c"], hour(0)).await;
    game.prices("BTC", hour(0), hour(rounds + 10), &[]).await;
    close_hours(&game, 0..rounds).await;
    game
}

/// The same, scored by the CRPS, and then told to score by another rule.
async fn changed_game_of(rounds: u32, id: &str) -> Game {
    let mut game = game_of(rounds).await;
    game.run_at(hour(rounds)).await;
    game.settings.scoring = scoring::ScoreSettings::with_rule(id).unwrap();
    game
}

async fn latest(game: &Game) -> Leaderboard {
    game.store.latest_leaderboard().await.unwrap().unwrap()
}

async fn rules(game: &Game) -> Vec<Option<String>> {
    game.rounds().await.into_iter().map(|round| round.rule).collect()
}

/// Runs a worker that is killed right after this call.
async fn run_until(game: &Game, call: &'static str, nth: usize, now: Timestamp) {
    let (store, _) = flaky(&game.store, Fault::Unanswered, call, nth);
    game.clock.set(now);
    game.worker_over(store).run_once().await.unwrap_err();
}

#[tokio::test]
async fn a_changed_rule_scores_the_last_week_again_and_ends_with_the_bits_of_a_fresh_game() {
    let now = hour(150) + Span::minutes(1);
    let game = changed_game_of(150, "log_score").await;
    let progress = game.run_at(now).await;
    assert_eq!((progress.rescored, progress.scored, progress.leaderboard), (150, 0, Some(now)));
    assert_eq!(rules(&game).await, vec![Some(LOG_SCORE.to_owned()); 150]);

    let mut fresh = game_of(150).await;
    fresh.settings = game.settings.clone();
    assert_eq!(fresh.run_at(now).await.scored, 150);
    assert_eq!(game.scores().await, fresh.scores().await);
    assert_eq!(game.leaderboard().await, fresh.leaderboard().await);
    let naive = Naive::read(&game).await;
    let standings = game.store.latest_standings().await.unwrap().unwrap();
    assert_eq!(format!("{standings:?}"), format!("{:?}", naive.standings(now)));

    let again = game.run_at(now).await;
    assert_eq!((again.rescored, again.scored), (0, 0));
    assert_eq!(game.leaderboard().await, fresh.leaderboard().await);
}

#[tokio::test]
async fn meanwhile_the_leaderboard_says_so_and_holds_only_scores_of_the_new_rule_the_latest_first() {
    let now = hour(150) + Span::minutes(1);
    let game = changed_game_of(150, "log_score").await;
    assert_eq!((latest(&game).await.rule.as_str(), latest(&game).await.rescoring), (CRPS, None));
    let before = game.snapshots().await;
    run_until(&game, "save_leaderboard", 0, now).await;

    let leaderboard = latest(&game).await;
    assert_eq!((leaderboard.as_of, leaderboard.rule.as_str()), (now, LOG_SCORE));
    assert_eq!(leaderboard.rescoring, Some(Rescoring { rounds_left: 86 }));
    for entry in &leaderboard.entries {
        let windows = entry.windows;
        assert_eq!((windows.anchor.predictions, windows.recent.predictions), (64, 24));
        assert!(entry.windows.recent.full, "it has been scored for longer than that");
    }

    run_until(&game, "save_leaderboard", 0, hour(151)).await;
    assert_eq!(latest(&game).await.rescoring, Some(Rescoring { rounds_left: 22 }));
    assert_eq!(game.snapshots().await, before, "none is made of half a window");
    let progress = game.run_at(hour(151) + LEASE).await;
    assert_eq!(progress.rescored, 22, "another worker does what is left");
    assert_eq!(game.snapshots().await.len(), before.len() + 1);
    assert_eq!(latest(&game).await.rescoring, None);
    assert_eq!(latest(&game).await.entries[0].windows.anchor.predictions, 150);
}

#[tokio::test]
async fn new_rounds_come_before_those_that_are_scored_again() {
    let game = changed_game_of(70, "log_score").await;
    close_hours(&game, 70..71).await;
    run_until(&game, "store_scores_together", 0, hour(71)).await;
    let judged: Vec<_> =
        rules(&game).await.into_iter().filter(|rule| rule.as_deref() == Some(LOG_SCORE)).collect();
    let new = game.round(&question("BTC", Span::HOUR, hour(70))).await;
    assert_eq!((judged.len(), new.rule.as_deref()), (1, Some(LOG_SCORE)));
}

#[tokio::test]
async fn killed_at_any_call_the_next_worker_does_the_rest() {
    let now = hour(4) + Span::minutes(1);
    let mut fresh = game_of(4).await;
    fresh.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
    fresh.run_at(now).await;
    for call in 0.. {
        let game = changed_game_of(4, "log_score").await;
        let (store, _) = flaky(&game.store, Fault::Unanswered, "", call);
        game.clock.set(now);
        let killed = game.worker_over(store).run_once().await;
        game.run_at(now + LEASE).await;
        assert_eq!(game.scores().await, fresh.scores().await, "killed at call {call}");
        assert_eq!(game.leaderboard().await, fresh.leaderboard().await, "killed at call {call}");
        if killed.is_ok() {
            assert!(call > 20, "{call} calls");
            break;
        }
    }
}

#[tokio::test]
async fn what_is_older_than_a_week_stays_as_it_is_and_still_says_since_when_a_model_plays() {
    let game = changed_game_of(200, "log_score").await;
    let now = hour(200) + Span::minutes(1);
    assert_eq!(game.run_at(now).await.rescored, 168);
    for round in game.rounds().await {
        let is_in_a_window = round.resolves_at > now - Span::hours(168);
        assert_eq!(round.rule.as_deref(), Some(if is_in_a_window { LOG_SCORE } else { CRPS }));
    }
    let leaderboard = latest(&game).await;
    assert_eq!((leaderboard.rescoring, leaderboard.entries.len()), (None, 3));
    for entry in &leaderboard.entries {
        assert_eq!((entry.first_scored_at, entry.windows.anchor.full), (Some(hour(1)), true));
        assert_eq!(entry.windows.anchor.predictions, 168);
    }
}

#[tokio::test]
async fn snapshots_of_the_earlier_rule_stay_and_later_ones_are_whole() {
    for is_killed in [false, true] {
        let game = changed_game_of(100, "log_score").await;
        let before = game.snapshots().await;
        close_hours(&game, 100..103).await;
        let changed_at = hour(100) + Span::minutes(5);
        if is_killed {
            run_until(&game, "save_leaderboard", 0, changed_at).await;
        }
        let mut worker = game.worker();
        for now in [changed_at, hour(101), hour(102), hour(103)] {
            game.run_with(&mut worker, now).await;
        }
        let after = game.snapshots().await;
        assert_eq!(after.len(), 103);
        assert_eq!(after[..before.len()], before);
        let naive = Naive::read(&game).await;
        for (as_of, snapshot) in &after[before.len()..] {
            assert_eq!(*snapshot, format!("{:?}", naive.standings(*as_of)));
        }
    }
}

#[tokio::test]
async fn a_change_that_is_cut_short_for_hours_leaves_no_snapshot_of_half_a_window() {
    let game = changed_game_of(200, "log_score").await;
    let before = game.snapshots().await.len();
    close_hours(&game, 200..204).await;
    run_until(&game, "save_leaderboard", 0, hour(200) + Span::minutes(5)).await;
    game.run_at(hour(204)).await;
    let (first, last) = (Timestamp::MIN_UTC, Timestamp::MAX_UTC);
    let snapshots = game.store.snapshots(first, last).await.unwrap().split_off(before);
    let counts = snapshots.iter().map(|snapshot| snapshot.models[0].windows.anchor.predictions);
    assert_eq!(counts.collect::<Vec<_>>(), [168; 4]);
}

#[tokio::test]
async fn a_round_that_cannot_be_scored_again_holds_up_no_snapshot() {
    let mut game = game_of(3).await;
    let wild = question("AAA", INTERVAL, hour(1));
    game.close(&wild, &[answer("a", INTERVAL, 0.01)]).await;
    let end = 100.0 * PANIC.exp() + 1.0;
    let prices = [game.entry("AAA", hour(1), 100.0), game.entry("AAA", hour(1) + INTERVAL, end)];
    game.store.append_prices(&prices, Timestamp::UNIX_EPOCH).await.unwrap();
    game.run_at(hour(3)).await;
    let before = game.snapshots().await.len();
    game.settings.scoring.rule = Arc::new(Brittle);
    game.run_at(hour(5)).await;
    assert_eq!(game.snapshots().await.len(), before + 2);
}

#[tokio::test]
async fn a_worker_with_the_settings_of_before_stands_by_and_undoes_nothing() {
    for is_rule in [true, false] {
        let mut game = game_of(5).await;
        let mut old = game.worker();
        game.run_with(&mut old, hour(5)).await;
        let before = game.settings.clone();
        if is_rule {
            game.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
        } else {
            game.settings.weights.assets.insert(asset("BTC"), 2.0);
        }
        game.run_at(hour(6)).await;
        let after = async || (game.scores().await, game.leaderboards().await, game.snapshots().await);
        let expected = after().await;
        close_hours(&game, 5..6).await;
        let progress = game.run_with(&mut old, hour(7)).await;
        assert_eq!((progress.scored, progress.leaderboard), (0, None));
        assert_eq!(after().await.1, expected.1);
        assert_eq!(game.run_at(hour(7)).await.scored, 1);

        game.settings = before;
        game.run_at(hour(8)).await;
        close_hours(&game, 6..7).await;
        let of_another_rule: Vec<_> =
            game.snapshots().await.into_iter().filter(|(at, _)| *at < hour(8)).collect();
        assert_eq!(game.run_with(&mut old, hour(8)).await.scored, 1, "its settings are in force again");
        if is_rule {
            assert_eq!(
                game.snapshots().await[..of_another_rule.len()],
                of_another_rule,
                "they stay as they are"
            );
        }
        assert_eq!(game.store.scoring_changes().await.unwrap().len(), 3);
        let naive = Naive::read(&game).await;
        let standings = game.store.latest_standings().await.unwrap().unwrap();
        assert_eq!(format!("{standings:?}"), format!("{:?}", naive.standings(hour(8))));
    }
}

/// It was in the middle of a round when the rule changed.
#[tokio::test]
async fn what_a_worker_with_the_settings_of_before_still_stores_is_scored_again() {
    let game = changed_game_of(3, "log_score").await;
    let mut worker = game.worker();
    game.run_with(&mut worker, hour(3)).await;
    let expected = game.scores().await;
    let asked = question("BTC", Span::HOUR, hour(1));
    let stored = game.store.export_scores(asked.id).await.unwrap();
    let late = RoundScores {
        round_id: asked.id,
        rule: CRPS.to_owned(),
        priced_up_to: game.store.ledger_end().await.unwrap(),
        scored_at: hour(3),
        best: 0.0,
        q95: 1.0,
        scores: stored
            .into_iter()
            .map(|score| ScoreRecord {
                model_id: score.model_id,
                raw: Some(0.5),
                relative: 0.5,
                failure: None,
                steps: score.steps,
            })
            .collect(),
    };
    game.store.store_scores(&late).await.unwrap();
    assert_ne!(game.scores().await, expected);
    game.run_with(&mut worker, hour(4)).await;
    assert_eq!(latest(&game).await.rescoring, Some(Rescoring { rounds_left: 1 }));
    assert_eq!(game.run_with(&mut worker, hour(4) + Span::seconds(1)).await.rescored, 1);
    assert_eq!(game.scores().await, expected);
    assert_eq!(latest(&game).await.rescoring, None);
}

#[tokio::test]
async fn each_change_is_recorded_with_its_time_and_changing_back_gives_the_same_bits_again() {
    let mut game = game_of(30).await;
    game.run_at(hour(30)).await;
    let (scores, crps) = (game.scores().await, game.settings.clone());
    game.settings.scoring.aggregation = Aggregation::Sum;
    game.settings.scoring.asset_scales.insert(asset("BTC"), 0.5);
    game.run_at(hour(31)).await;
    game.run_at(hour(32)).await;
    let stamp = game.settings.stamp();
    assert!(stamp.starts_with("crps/1;sum;asset_scales="), "{stamp}");
    assert_eq!(rules(&game).await, vec![Some(stamp.clone()); 30]);
    assert_ne!(game.scores().await, scores);
    game.settings = crps;
    game.settings.weights.assets.insert(asset("BTC"), 2.0);
    game.run_at(hour(33)).await;
    assert_eq!(game.scores().await, scores);
    game.settings.weights.assets.insert(asset("BTC"), 3.0);
    let progress = game.run_at(hour(34)).await;
    assert_eq!(progress.rescored, 0, "weights apply at once");

    let changes = game.store.scoring_changes().await.unwrap();
    let recorded: Vec<_> = changes.iter().map(|change| (change.at, change.rule.as_str())).collect();
    assert_eq!(recorded, [(hour(30), CRPS), (hour(31), stamp.as_str()), (hour(33), CRPS), (hour(34), CRPS)]);
    assert!(changes[1].settings.contains(r#""aggregation":"sum","asset_scales":{"BTC":0.5}"#));
    assert!(changes[3].settings.contains(r#""asset_weights":{"BTC":3.0}"#), "{}", changes[3].settings);
}

#[tokio::test]
async fn a_round_that_is_void_by_the_new_rule_comes_back_with_the_old_one() {
    let mut game = Game::new().await;
    game.prices("BTC", hour(0), hour(3), &[]).await;
    let round = question("BTC", INTERVAL, hour(0));
    game.close(&round, &[answer_to(&round, "a", r#"{"0.001": 1.0}"#)]).await;
    game.run_at(hour(1)).await;
    let (scores, crps) = (game.scores().await, game.settings.clone());
    game.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
    assert_eq!(game.run_at(hour(2)).await.rescored, 1);
    let void = game.round(&round).await;
    assert_eq!((void.state, void.rule.as_deref()), (RoundState::Void, Some(LOG_SCORE)));
    assert!(
        void.reason.unwrap().starts_with("no valid answer; the first has no score: the log_score score of")
    );
    assert_eq!(game.store.export_scores(round.id).await.unwrap(), []);
    assert_eq!(latest(&game).await.entries, [], "nobody has a score by this rule");
    assert_eq!(game.run_at(hour(2)).await.rescored, 0, "void is its verdict");
    game.settings = crps;
    assert_eq!(game.run_at(hour(3)).await.rescored, 1);
    assert_eq!(game.scores().await, scores);
}

#[tokio::test]
async fn a_round_that_cannot_be_scored_again_yet_holds_up_no_other_and_is_tried_again() {
    let mut game = game_of(3).await;
    let wild = question("AAA", INTERVAL, hour(1));
    game.close(&wild, &[answer("a", INTERVAL, 0.01)]).await;
    let end = 100.0 * PANIC.exp() + 1.0;
    let prices = [game.entry("AAA", hour(1), 100.0), game.entry("AAA", hour(1) + INTERVAL, end)];
    game.store.append_prices(&prices, Timestamp::UNIX_EPOCH).await.unwrap();
    game.run_at(hour(3)).await;
    game.settings.scoring.rule = Arc::new(Brittle);
    let mut worker = game.worker();
    let progress = game.run_with(&mut worker, hour(4)).await;
    assert_eq!((progress.rescored, progress.waiting), (3, 1));
    assert_eq!(latest(&game).await.rescoring, Some(Rescoring { rounds_left: 1 }));
    assert_eq!(game.round(&wild).await.rule.as_deref(), Some(CRPS));
    assert_eq!(game.run_with(&mut worker, hour(4)).await.waiting, 0, "it is left alone for an interval");
    assert_eq!(game.run_with(&mut worker, hour(5)).await.waiting, 1);
}

#[tokio::test]
async fn several_steps_are_scored_from_question_to_leaderboard() {
    let game = Game::new().await;
    game.prices("BTC", hour(0), hour(2), &[]).await;
    let steps = vec![INTERVAL, Span::HOUR];
    let crunch = "condor".parse().unwrap();
    let asked = Question::new(
        &crunch,
        asset("BTC"),
        Span::hours(2),
        steps,
        Method::PredictAll,
        Target::Return,
        hour(0),
    );
    let both = |model: &str, scale: f64| {
        let (short, long) = (normals(6, scale), normals(2, scale));
        answer_to(&asked, model, &format!(r#"{{"1200": {short}, "3600": {long}, "60": "ignored"}}"#))
    };
    game.close(&asked, &[both("sharp", 0.01), both("wide", 0.5)]).await;
    assert_eq!(game.run_at(hour(2)).await.scored, 1);
    let scores = game.store.export_scores(asked.id).await.unwrap();
    for score in &scores {
        let steps: Vec<(Span, u32)> = score.steps.iter().map(|step| (step.step, step.increments)).collect();
        assert_eq!(steps, [(INTERVAL, 6), (Span::HOUR, 2)]);
        assert_eq!(score.raw, Some((score.steps[0].mean + score.steps[1].mean) / 2.0));
    }
    let order: Vec<_> =
        latest(&game).await.entries.into_iter().map(|entry| entry.model_id.to_string()).collect();
    assert_eq!(order, ["sharp", "wide"]);
}
