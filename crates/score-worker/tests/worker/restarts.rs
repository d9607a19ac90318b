//! The same game gives the same bits, whoever runs it.

use std::collections::BTreeMap;
use std::process::Command;

use domain::{Span, Timestamp};

use crate::game::{Game, answer, hour, question};
use crate::naive::Naive;
use crate::season::{self, HOURS};

/// What a season left behind, to the bit.
struct Record {
    scores: Vec<String>,
    last: String,
    leaderboards: BTreeMap<Timestamp, String>,
    snapshots: Vec<(Timestamp, String)>,
}

impl Record {
    async fn of(game: &Game) -> Self {
        Record {
            scores: game.scores().await,
            last: game.leaderboard().await,
            leaderboards: game.leaderboards().await.into_iter().collect(),
            snapshots: game.snapshots().await,
        }
    }
}

async fn run_through() -> Record {
    let game = Game::new().await;
    let mut worker = game.worker();
    season::play(&game, async |now| {
        game.run_with(&mut worker, now).await;
    })
    .await;
    Record::of(&game).await
}

async fn restarted_all_the_time() -> Record {
    let game = Game::new().await;
    let (mut worker, mut runs) = (game.worker(), 0);
    season::play(&game, async |now| {
        runs += 1;
        if runs % 5 == 0 {
            worker = game.worker();
        }
        game.run_with(&mut worker, now).await;
    })
    .await;
    Record::of(&game).await
}

async fn taking_turns() -> Record {
    let game = Game::new().await;
    let (mut workers, mut runs) = ([game.worker(), game.worker()], 0);
    season::play(&game, async |now| {
        runs += 1;
        game.run_with(&mut workers[runs / 3 % 2], now).await;
    })
    .await;
    // The last word is that of the worker that has not run for a while.
    game.run_with(&mut workers[(runs / 3 + 1) % 2], hour(HOURS) + Span::minutes(31)).await;
    Record::of(&game).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_a_restarted_one_and_two_in_turn_leave_the_same_bits() {
    let (through, restarted, in_turn) = tokio::join!(run_through(), restarted_all_the_time(), taking_turns());
    assert_eq!(through.snapshots.len() as u32, HOURS);
    for other in [restarted, in_turn] {
        assert_eq!(other.scores, through.scores);
        assert_eq!(other.last, through.last);
        for (other, through) in other.snapshots.iter().zip(&through.snapshots) {
            assert_eq!(other, through);
        }
        assert_eq!(other.snapshots.len(), through.snapshots.len());
        for (as_of, leaderboard) in &through.leaderboards {
            assert_eq!(&other.leaderboards[as_of], leaderboard);
        }
    }
}

#[tokio::test]
async fn every_snapshot_and_the_leaderboard_equal_those_computed_afresh() {
    let game = Game::new().await;
    let mut worker = game.worker();
    season::play(&game, async |now| {
        game.run_with(&mut worker, now).await;
    })
    .await;
    let naive = Naive::read(&game).await;
    // Who came back at hour 150 was an older member before, so the snapshots from then on are compared.
    for n in 151..=HOURS {
        let stored = game.store.snapshots(hour(n), hour(n) + Span::HOUR);
        let stored = stored.await.unwrap();
        assert_eq!(format!("{:?}", stored[0]), format!("{:?}", naive.standings(hour(n))), "hour {n}");
    }
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    let ranked = leaderboard.entries.iter().filter(|entry| entry.rank.is_some());
    let ranked: Vec<_> = ranked.map(|entry| entry.model_id.clone()).collect();
    assert_eq!(ranked, naive.ranking(leaderboard.as_of));
}

/// Run by the test below, as a process of its own: a process has one pool of threads.
#[tokio::test]
#[ignore = "part of any_number_of_threads_gives_the_same_bits"]
async fn score_a_large_round() {
    let game = Game::new().await;
    let day = Span::hours(24);
    let models: Vec<_> = (0..40).map(|k| answer(&format!("m{k}"), day, 0.001 * f64::from(k + 1))).collect();
    game.close(&question("BTC", day, hour(0)), &models).await;
    game.prices("BTC", hour(0), hour(24), &[]).await;
    game.run_at(hour(24)).await;
    println!("BITS {:?} {}", game.scores().await, game.leaderboard().await);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let bits = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["restarts::score_a_large_round", "--exact", "--ignored", "--nocapture"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().find(|line| line.contains("BITS")).expect("the scores").to_owned()
    };
    let one = bits("1");
    assert!(one.contains("m39"), "{one}");
    assert_eq!(bits("4"), one);
}
