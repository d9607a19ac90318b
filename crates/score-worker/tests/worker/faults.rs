//! What goes wrong around the worker: kills, lost connections, neighbours that write at the same time, rules that panic.

use std::sync::Arc;

use domain::{Asset, RoundState, Span, Timestamp};
use score_worker::LEASE;
use scoring::{Density, Distribution, Rule};
use tokio_util::sync::CancellationToken;

use crate::flaky::{Fault, flaky};
use crate::game::{Game, INTERVAL, SETTLE_TIMEOUT, answer, hour, question};

#[tokio::test]
async fn prices_that_arrive_while_a_round_is_settled_are_not_taken_for_missing() {
    let game = Game::new().await;
    let round = question("BTC", Span::HOUR, hour(10));
    game.close(&round, &[answer("a", Span::HOUR, 0.01)]).await;
    let now = hour(11) + SETTLE_TIMEOUT;
    let backfill = Fault::PricesArrive(game.entries("BTC", hour(10), now, &[]));
    let (store, _) = flaky(&game.store, backfill, "closes newest_close_at", 0);
    game.run_with(&mut game.worker_over(store), now).await;
    game.run_at(now + INTERVAL).await;
    assert_eq!(game.round(&round).await.state, RoundState::Scored);
}

#[tokio::test]
async fn in_an_outage_no_round_reads_closes_only_to_learn_that_the_last_is_missing() {
    let game = Game::new().await;
    game.prices("BTC", hour(0), hour(10), &[]).await;
    for minute in 1..40 {
        game.close(&question("BTC", Span::HOUR, hour(9) + INTERVAL + Span::minutes(minute)), &[]).await;
    }
    let (store, calls) = flaky(&game.store, Fault::Unreached, "closes", 0);
    let mut worker = game.worker_over(store);
    assert_eq!(game.run_with(&mut worker, hour(12)).await.waiting, 39);
    assert_eq!(calls.count(), 0);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_leaves_its_backlog_to_the_next() {
    let game = Game::new().await;
    for minute in 0..100 {
        game.close(&question("BTC", Span::HOUR, hour(9) + Span::minutes(minute)), &[]).await;
    }
    game.prices("BTC", hour(0), hour(12), &[]).await;
    game.clock.set(hour(12));
    let shutdown = CancellationToken::new();
    let stop = Fault::ToldToStop(shutdown.clone());
    let (store, calls) = flaky(&game.store, stop, "void_round", 5);
    score_worker::run(game.worker_over(store), shutdown).await.unwrap();
    assert!(calls.count() < 10, "{} rounds", calls.count());
    game.run_at(hour(12)).await;
    assert!(game.rounds().await.iter().all(|round| round.state == RoundState::Void));
}

/// Panics at, and gives numbers that cannot be compared for, moves that no sane market makes.
pub struct Brittle;

pub const PANIC: f64 = 2.0;
const OVERFLOW: f64 = 1.0;

impl Rule for Brittle {
    fn id(&self) -> &'static str {
        "brittle"
    }
    fn version(&self) -> u32 {
        1
    }
    fn score(&self, density: &Density, x: f64, _: &Asset, _: Span) -> f64 {
        assert!(x < PANIC, "a fault of ours");
        match x {
            _ if x < OVERFLOW => density.crps(x),
            _ if density.cdf(x) > 0.999 => f64::MAX,
            _ => f64::MIN,
        }
    }
    fn can_be_negative(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_fault_in_the_scoring_of_one_round_stops_no_other() {
    let mut game = Game::new().await;
    game.settings.scoring.rule = Arc::new(Brittle);
    let mut rounds = Vec::new();
    for (name, end) in
        [("AAA", 100.0 * PANIC.exp() + 1.0), ("BBB", 100.0 * OVERFLOW.exp() + 1.0), ("CCC", 101.0)]
    {
        let round = question(name, INTERVAL, hour(10));
        game.close(&round, &[answer("a", INTERVAL, 0.01), answer("b", INTERVAL, 100.0)]).await;
        let prices = [game.entry(name, hour(10), 100.0), game.entry(name, hour(10) + INTERVAL, end)];
        game.store.append_prices(&prices, Timestamp::UNIX_EPOCH).await.unwrap();
        rounds.push(round);
    }
    let progress = game.run_at(hour(11)).await;
    assert_eq!((progress.waiting, progress.void, progress.scored), (1, 1, 1));
    assert_eq!(
        game.round(&rounds[0]).await.state,
        RoundState::Closed,
        "it waits for a program that can score it"
    );
    let reason = game.round(&rounds[1]).await.reason.unwrap();
    assert!(reason.contains("finite"), "{reason}");
    game.settings.scoring = scoring::ScoreSettings::with_rule("crps").unwrap();
    assert_eq!(game.run_at(hour(12)).await.scored, 1);
}

/// Three rounds of which one is void and one waits, as of a full hour.
async fn prepared() -> Game {
    let game = Game::new().await;
    game.join(&["a", "b"], hour(9)).await;
    for (name, models) in [("BTC", vec!["a", "b"]), ("ETH", vec![]), ("SOL", vec!["a"])] {
        let outcomes: Vec<_> = models.iter().map(|model| answer(model, Span::HOUR, 0.01)).collect();
        game.close(&question(name, Span::HOUR, hour(10)), &outcomes).await;
    }
    game.prices("BTC", hour(10), hour(11), &[]).await;
    game.prices("ETH", hour(10), hour(11), &[]).await;
    game
}

type ByInstant = Vec<(Timestamp, String)>;

async fn everything(game: &Game) -> (Vec<String>, ByInstant, ByInstant) {
    (game.scores().await, game.leaderboards().await, game.snapshots().await)
}

#[tokio::test]
async fn a_worker_killed_at_any_call_leaves_nothing_that_the_next_one_does_not_finish() {
    let expected = prepared().await;
    expected.run_at(hour(11)).await;
    let expected = everything(&expected).await;
    for is_reached in [false, true] {
        for call in 0.. {
            let game = prepared().await;
            let fault = if is_reached { Fault::Unanswered } else { Fault::Unreached };
            let (store, calls) = flaky(&game.store, fault, "", call);
            game.clock.set(hour(11));
            let killed = game.worker_over(store).run_once().await;
            game.run_at(hour(11) + LEASE).await;
            assert_eq!(
                everything(&game).await,
                expected,
                "killed at call {call}, which arrived: {is_reached}"
            );
            if killed.is_ok() {
                assert!(calls.count() == call && call > 10, "{call} calls");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_connection_goes_on_where_it_was() {
    let expected = prepared().await;
    expected.run_at(hour(11)).await;
    let expected = everything(&expected).await;
    for call in 0.. {
        let game = prepared().await;
        let (store, _) = flaky(&game.store, Fault::Unanswered, "", call);
        let mut worker = game.worker_over(store);
        game.clock.set(hour(11));
        let lost = worker.run_once().await;
        if lost.is_ok() {
            break;
        }
        worker.run_once().await.unwrap();
        assert_eq!(everything(&game).await, expected, "lost at call {call}");
    }
}
