//! Whatever happens, in whatever order: the leaderboard equals one computed afresh from the stored scores, and so do the
//! roll-ups from which it was made.

use domain::{Prediction, PredictionStatus, RoundState, Span, Timestamp};
use proptest::prelude::*;
use storage::{Action, Order};

use crate::game::{Game, INTERVAL, answer, asset, hour, miss, question};
use crate::naive::Naive;
use crate::postgres::Postgres;

const MODELS: [&str; 4] = ["ant", "bee", "cat", "dog"];
const ASSETS: [&str; 2] = ["BTC", "ETH"];

/// A worker that starts leaves out what resolved long before the windows, so no score may come later than that.
const LONGEST_OUTAGE: Span = Span::days(5);

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    /// A round that resolves now or earlier turns up, closed: asset, horizon, how long ago it resolved, and each model's
    /// part: not in the field, a miss, or the scale of its answer.
    Round { asset: usize, hours: u32, ago: u32, field: Vec<u32> },
    /// The prices of an asset arrive up to now.
    Prices { asset: usize },
    /// Time passes.
    Wait { minutes: u32 },
    /// One of two score workers runs.
    Score { worker: usize },
    /// One of them is killed and started again; on PostgreSQL it is stopped, for there real time would have to pass until
    /// another may rank.
    Restart { worker: usize },
    /// A model joins, or comes back.
    Join { model: usize },
    /// An operator voids a round, of those that were judged.
    Void { round: usize },
    /// A price is corrected when a round was judged, and an operator has the round scored again.
    Rescore { round: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let field = prop::collection::vec(0..8u32, MODELS.len());
    prop_oneof![
        8 => (0..ASSETS.len(), 1..3u32, 0..90u32, field)
            .prop_map(|(asset, hours, ago, field)| Event::Round { asset, hours, ago, field }),
        2 => (0..ASSETS.len()).prop_map(|asset| Event::Prices { asset }),
        4 => prop_oneof![1..90u32, 600..2000u32].prop_map(|minutes| Event::Wait { minutes }),
        3 => (0..2usize).prop_map(|worker| Event::Score { worker }),
        1 => (0..2usize).prop_map(|worker| Event::Restart { worker }),
        1 => (0..MODELS.len()).prop_map(|model| Event::Join { model }),
        1 => (0..99usize).prop_map(|round| Event::Void { round }),
        2 => (0..99usize).prop_map(|round| Event::Rescore { round }),
    ]
}

fn outcome(model: &str, part: u32, horizon: Span) -> Option<Prediction> {
    match part {
        0 => None,
        1..4 => Some(miss(model, PredictionStatus::ALL[part as usize])),
        scale => Some(answer(model, horizon, 0.002 * f64::from(scale - 3).powi(2))),
    }
}

/// Plays events, and then lets every price arrive.
async fn play(mut game: Game, events: &[Event]) -> (Game, Timestamp) {
    game.settings.weights.assets.insert(asset("ETH"), 0.7);
    game.settings.weights.horizons.insert(Span::hours(2), 1.3);
    // Prices that come later than any timeout count all the same: the ledger ends before.
    let mut priced_up_to = [hour(0); ASSETS.len()];
    let mut workers = [game.worker(), game.worker()];
    let mut now = hour(48);
    for event in events {
        match *event {
            Event::Round { asset, hours, ago, ref field } => {
                let horizon = Span::hours(hours);
                let resolved = domain::TimestampExt::floor_to(now - INTERVAL.times(ago), INTERVAL);
                let question = question(ASSETS[asset], horizon, resolved - horizon);
                let parts = MODELS.iter().zip(field);
                let outcomes: Vec<_> =
                    parts.filter_map(|(model, part)| outcome(model, *part, horizon)).collect();
                game.close(&question, &outcomes).await;
            }
            Event::Prices { asset } => bring_prices(&game, asset, &mut priced_up_to, now).await,
            Event::Wait { minutes } => {
                now = now + Span::minutes(minutes);
                for asset in 0..ASSETS.len() {
                    if priced_up_to[asset] + LONGEST_OUTAGE < now {
                        bring_prices(&game, asset, &mut priced_up_to, now).await;
                    }
                }
            }
            Event::Score { worker } => drop(game.run_with(&mut workers[worker], now).await),
            Event::Restart { worker } => {
                if game.is_on_postgres() {
                    workers[worker].give_back().await.unwrap();
                }
                workers[worker] = game.worker();
            }
            Event::Join { model } => game.join(&[MODELS[model]], now).await,
            Event::Void { round } => judge_by_hand(&game, round, Action::VoidRound, now).await,
            Event::Rescore { round } => judge_by_hand(&game, round, Action::RescoreRound, now).await,
        }
    }
    now = now + INTERVAL;
    for asset in 0..ASSETS.len() {
        bring_prices(&game, asset, &mut priced_up_to, now).await;
    }
    for worker in &workers {
        worker.give_back().await.unwrap();
    }
    for worker in &mut workers {
        game.run_with(worker, now).await;
        worker.rank(now).await.unwrap();
        worker.give_back().await.unwrap();
    }
    (game, now)
}

async fn bring_prices(game: &Game, asset: usize, up_to: &mut [Timestamp], now: Timestamp) {
    game.prices(ASSETS[asset], up_to[asset], now, &[]).await;
    while up_to[asset] <= now {
        up_to[asset] = up_to[asset] + INTERVAL;
    }
}

/// Corrects the price at the end of a round that was judged, and gives an order about it.
async fn judge_by_hand(game: &Game, nth: usize, action: fn(domain::RoundId) -> Action, now: Timestamp) {
    let judged: Vec<_> = game.rounds().await.into_iter().filter(|round| round.scored_at.is_some()).collect();
    let Some(round) = judged.get(nth % judged.len().max(1)) else { return };
    game.correct_price(round.asset.as_str(), round.resolves_at, 1.0 + nth as f64 / 1000.0).await;
    let order =
        Order { at: now, by: "ann".to_owned(), action: action(round.round_id), reason: "a test".to_owned() };
    // It may be void by hand already, and then nothing changes.
    let _ = game.store.carry_out(&order).await.unwrap();
}

async fn check(game: Game, events: &[Event]) {
    let (game, now) = play(game, events).await;
    let naive = Naive::read(&game).await;
    let standings = game.store.latest_standings().await.unwrap().unwrap();
    assert_eq!(format!("{standings:?}"), format!("{:?}", naive.standings(now)));
    let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
    assert_eq!(leaderboard.as_of, now);
    let ranked = leaderboard.entries.iter().filter(|entry| entry.rank.is_some());
    let ranked: Vec<_> = ranked.map(|entry| entry.model_id.clone()).collect();
    assert_eq!(ranked, naive.ranking(now));
    let closed = game.rounds().await.into_iter().find(|round| round.state == RoundState::Closed);
    assert_eq!(closed, None, "every price has come");
    let since = now - domain::Window::Anchor.span();
    assert_eq!(roll_ups(&game, since).await, naive.hours(since));
}

/// The roll-ups of hours that end after `since`, as stored, by the names of models.
async fn roll_ups(game: &Game, since: Timestamp) -> Vec<String> {
    let since = domain::TimestampExt::ceil_to(since, Span::HOUR);
    let Some(stored) = game.store.roll_ups(&game.settings.stamp(), since).await.unwrap() else {
        return Vec::new();
    };
    let lines = stored.hours.iter().flat_map(|hour| {
        hour.sums.entries().map(|(model, sums)| {
            let model = &stored.models[model.0 as usize].id;
            (hour.end, hour.parameter.clone(), model.clone(), *sums)
        })
    });
    let mut lines: Vec<String> = lines.map(|line| format!("{line:?}")).collect();
    lines.sort();
    lines
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn the_leaderboard_equals_one_computed_afresh(events in prop::collection::vec(event(), 1..120)) {
        runtime().block_on(async { check(Game::new().await, &events).await });
    }
}

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn so_it_does_on_postgresql(events in prop::collection::vec(event(), 1..120)) {
        runtime().block_on(async {
            let Some(database) = Postgres::fresh().await else { return };
            check(Game::over(database.open().await).await, &events).await;
            database.remove().await;
        });
    }
}
