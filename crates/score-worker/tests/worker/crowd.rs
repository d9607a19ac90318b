//! Many score workers over one database.

use std::sync::Arc;

use domain::{Clock, PredictionStatus, Question, Span, Timestamp};
use score_worker::{LEASE, Progress, ScoreWorker};
use storage::{ChangeNumber, Hold, HolderId, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::flaky::{Fault, flaky};
use crate::game::{CRPS, Game, answer, hour, miss, question};
use crate::naive::Naive;
use crate::postgres::Postgres;

const ROUNDS: u32 = 240;

/// Two rounds each half hour, some of which nobody answered.
async fn backlog(game: &Game, rounds: u32) -> Vec<Question> {
    let end = hour(10) + Span::minutes(30).times(rounds / 2) + Span::HOUR;
    game.join(&["a", "b", "c"], hour(0)).await;
    let mut questions = Vec::new();
    for name in ["BTC", "ETH"] {
        game.prices(name, hour(9), end, &[]).await;
        for n in 0..rounds / 2 {
            let question = question(name, Span::HOUR, hour(10) + Span::minutes(30).times(n));
            let scale = |k: u32| 0.002 * f64::from(1 + (n * 7 + k * 5) % 11);
            let mut outcomes = vec![miss("c", PredictionStatus::Timeout)];
            if n % 13 != 0 {
                outcomes.extend([answer("a", Span::HOUR, scale(0)), answer("b", Span::HOUR, scale(1))]);
            }
            game.close(&question, &outcomes).await;
            questions.push(question);
        }
    }
    game.clock.set(end);
    questions
}

/// Runs workers at once; returns what each did.
async fn run_all(workers: &mut Vec<ScoreWorker>) -> Vec<Progress> {
    let mut running = JoinSet::new();
    for (n, mut worker) in workers.drain(..).enumerate() {
        running.spawn(async move {
            let progress = worker.run_once().await.unwrap();
            (n, progress, worker)
        });
    }
    let mut done = running.join_all().await;
    done.sort_by_key(|(n, ..)| *n);
    let (mut all, mut returned) = (Vec::new(), Vec::new());
    for (_, progress, worker) in done {
        all.push(progress);
        returned.push(worker);
    }
    *workers = returned;
    all
}

async fn share_a_backlog(game: &Game, stores: Vec<Arc<dyn Store>>, alone: &Game) {
    let count = stores.len() as u64;
    let mut workers: Vec<_> = stores.into_iter().map(|store| game.worker_over(store)).collect();
    let shares: Vec<u64> = run_all(&mut workers).await.iter().map(|did| did.scored + did.void).collect();
    assert_eq!(shares.iter().sum::<u64>(), u64::from(ROUNDS), "each round is one worker's: {shares:?}");
    let fair = u64::from(ROUNDS) / count;
    assert!(shares.iter().all(|share| *share >= fair / 4), "{shares:?}");
    run_all(&mut workers).await;
    assert_eq!(workers.iter().filter(|worker| worker.status().is_ranking()).count(), 1);

    let changes = game.store.score_changes(ChangeNumber(0), Timestamp::MIN_UTC, CRPS, 1000).await.unwrap();
    let numbers: Vec<i64> = changes.iter().map(|change| change.number.0).collect();
    assert_eq!(numbers, (1..=i64::from(ROUNDS)).collect::<Vec<_>>(), "each is scored once");
    assert_eq!(game.scores().await, alone.scores().await);
    assert_eq!(game.leaderboard().await, alone.leaderboard().await);
    assert_eq!(game.snapshots().await, alone.snapshots().await);
    let naive = Naive::read(game).await;
    let standings = game.store.latest_standings().await.unwrap().unwrap();
    assert_eq!(format!("{standings:?}"), format!("{:?}", naive.standings(standings.as_of)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_and_four_workers_share_a_backlog_and_leave_the_bits_of_one() {
    let alone = Game::new().await;
    backlog(&alone, ROUNDS).await;
    alone.worker().run_once().await.unwrap();
    for count in [2, 4] {
        let game = Game::new().await;
        backlog(&game, ROUNDS).await;
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(game.open_again().await);
        }
        share_a_backlog(&game, stores, &alone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_share_a_backlog_and_leave_the_bits_of_one() {
    let alone = Game::new().await;
    backlog(&alone, ROUNDS).await;
    alone.worker().run_once().await.unwrap();
    for threads in [2, 5] {
        let game = Game::new().await;
        backlog(&game, ROUNDS).await;
        let mut worker = game.worker_with_threads(Arc::clone(&game.store), threads);
        let progress = worker.run_once().await.unwrap();
        assert_eq!(progress.scored + progress.void, u64::from(ROUNDS));
        assert_eq!(game.scores().await, alone.scores().await);
        assert_eq!(game.leaderboard().await, alone.leaderboard().await);
        assert_eq!(game.snapshots().await, alone.snapshots().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_and_four_workers_do_so_on_postgresql() {
    let alone = Game::new().await;
    backlog(&alone, ROUNDS).await;
    alone.worker().run_once().await.unwrap();
    for count in [2, 4] {
        let Some(database) = Postgres::fresh().await else { return };
        let game = Game::over(database.open().await).await;
        backlog(&game, ROUNDS).await;
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(database.open().await);
        }
        share_a_backlog(&game, stores, &alone).await;
        database.remove().await;
    }
}

#[tokio::test]
async fn what_a_dead_worker_had_claimed_is_scored_by_another_when_the_claims_have_run_out() {
    let game = Game::new().await;
    backlog(&game, 40).await;
    let now = hour(21);
    game.clock.set(now);
    let (store, _) = flaky(&game.store, Fault::Unreached, "store_scores_together", 3);
    game.worker_over(store).run_once().await.unwrap_err();
    let mut worker = game.worker();
    let done = |progress: Progress| progress.scored + progress.void;
    assert_eq!(done(game.run_with(&mut worker, now).await), 40 - 16, "it had claimed eight twice");
    assert_eq!(done(game.run_with(&mut worker, now + LEASE - Span::seconds(1)).await), 0);
    assert_eq!(
        done(game.run_with(&mut worker, now + LEASE).await),
        4,
        "the others it had stored, four at a time"
    );
}

#[tokio::test]
async fn a_snapshot_waits_for_rounds_that_another_worker_is_at() {
    let game = Game::new().await;
    backlog(&game, ROUNDS).await;
    let now = game.clock.now();
    let slow = Hold { by: HolderId::random(), now, lasts: LEASE };
    let taken = game.store.claim_ready(&slow, 8).await.unwrap();
    let mut worker = game.worker();
    worker.run_once().await.unwrap();
    let first_taken = taken[0].resolves_at();
    assert!(game.snapshots().await.iter().all(|(as_of, _)| *as_of < first_taken));
    game.store.release_claims(&slow.by).await.unwrap();
    worker.run_once().await.unwrap();
    let alone = Game::new().await;
    backlog(&alone, ROUNDS).await;
    alone.worker().run_once().await.unwrap();
    assert_eq!(game.snapshots().await, alone.snapshots().await);
}

#[tokio::test]
async fn a_dead_ranker_is_replaced_within_its_lease() {
    let game = Game::new().await;
    backlog(&game, 40).await;
    let now = hour(21);
    let mut dead = game.worker();
    game.run_with(&mut dead, now).await;
    drop(dead);
    let mut worker = game.worker();
    let late = question("BTC", Span::HOUR, hour(11) + Span::minutes(7));
    game.close(&late, &[answer("a", Span::HOUR, 0.01)]).await;
    let progress = game.run_with(&mut worker, now + LEASE - Span::seconds(1)).await;
    assert_eq!((progress.scored, progress.leaderboard), (1, None), "it scores, and does not rank yet");
    assert!(!worker.status().is_ranking());
    assert_eq!(game.run_with(&mut worker, now + LEASE).await.leaderboard, Some(now));
    assert!(worker.status().is_ranking());
}

#[tokio::test]
async fn what_is_renewed_is_not_taken() {
    let game = Game::new().await;
    backlog(&game, 40).await;
    let now = hour(21);
    let (store, _) = flaky(&game.store, Fault::Unreached, "store_scores_together save_leaderboard", 40);
    let mut slow = game.worker_over(store);
    game.run_with(&mut slow, now).await;
    game.clock.set(now + Span::seconds(20));
    slow.renew().await.unwrap();
    let mut other = game.worker();
    game.run_with(&mut other, now + LEASE).await;
    assert!(slow.status().is_ranking() && !other.status().is_ranking());
    game.run_with(&mut other, now + LEASE + Span::seconds(20)).await;
    assert!(other.status().is_ranking());
    slow.renew().await.unwrap();
    assert!(!slow.status().is_ranking(), "it learns that it has lost the lease");
}

#[tokio::test]
async fn a_clean_stop_gives_claims_and_ranking_back_at_once() {
    let game = Game::new().await;
    backlog(&game, 40).await;
    let now = hour(21);
    game.clock.set(now);
    let shutdown = CancellationToken::new();
    let (store, _) = flaky(&game.store, Fault::ToldToStop(shutdown.clone()), "store_scores_together", 3);
    score_worker::run(game.worker_over(store), shutdown).await.unwrap();
    let mut worker = game.worker();
    let progress = game.run_with(&mut worker, now).await;
    assert!(progress.scored + progress.void >= 20, "{progress:?}");
    assert_eq!(game.rounds().await.iter().filter(|round| round.scored_at.is_none()).count(), 0);
    assert_eq!(progress.leaderboard, Some(now));

    let shutdown = CancellationToken::new();
    shutdown.cancel();
    score_worker::run(worker, shutdown).await.unwrap();
    let mut next = game.worker();
    game.run_with(&mut next, now).await;
    assert!(next.status().is_ranking());
}

#[tokio::test]
async fn a_ranker_that_was_asleep_writes_nothing_over_what_another_wrote_meanwhile() {
    let game = Game::new().await;
    backlog(&game, 40).await;
    let (now, later) = (hour(21), hour(21) + LEASE);
    let (mut asleep, mut other) = (game.worker(), game.worker());
    game.run_with(&mut asleep, now).await;
    game.run_with(&mut other, later).await;
    let late = question("BTC", Span::HOUR, hour(11) + Span::minutes(7));
    game.close(&late, &[answer("b", Span::HOUR, 0.01)]).await;
    let progress = game.run_with(&mut asleep, later).await;
    assert_eq!((progress.scored, progress.leaderboard), (1, None));
    assert!(!asleep.status().is_ranking());
    assert_eq!(game.run_with(&mut other, later).await.leaderboard, Some(now));
}

#[tokio::test]
async fn a_worker_that_stands_by_says_for_which_settings_and_holds_nothing() {
    let mut game = Game::new().await;
    backlog(&game, 40).await;
    let now = hour(21);
    let mut old = game.worker();
    game.run_with(&mut old, now).await;
    assert_eq!(old.status().stands_by_for(), None);
    game.settings.scoring = scoring::ScoreSettings::with_rule("log_score").unwrap();
    let mut new = game.worker();
    game.run_with(&mut new, now).await;
    assert!(!new.status().is_ranking(), "the old one has not looked yet");
    game.run_with(&mut old, now).await;
    let others = old.status().stands_by_for().unwrap();
    assert_eq!(others.rule, game.settings.stamp());
    assert!(!old.status().is_ranking());
    game.run_with(&mut new, now).await;
    assert!(new.status().is_ranking(), "at once");
}
