//! Whatever happens, in whatever order: the leaderboard equals one computed afresh from the stored scores.

use domain::{Prediction, PredictionStatus, Span, Timestamp};
use proptest::prelude::*;

use crate::game::{Game, INTERVAL, answer, asset, hour, miss, question};
use crate::naive::Naive;

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
    /// One of them is killed and started again.
    Restart { worker: usize },
    /// A model joins, or comes back.
    Join { model: usize },
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
async fn play(events: &[Event]) -> (Game, Timestamp) {
    let mut game = Game::new().await;
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
            Event::Restart { worker } => workers[worker] = game.worker(),
            Event::Join { model } => game.join(&[MODELS[model]], now).await,
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_leaderboard_equals_one_computed_afresh(events in prop::collection::vec(event(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (game, now) = play(&events).await;
            let naive = Naive::read(&game).await;
            let standings = game.store.latest_standings().await.unwrap().unwrap();
            assert_eq!(format!("{standings:?}"), format!("{:?}", naive.standings(now)));
            let leaderboard = game.store.latest_leaderboard().await.unwrap().unwrap();
            assert_eq!(leaderboard.as_of, now);
            let ranked = leaderboard.entries.iter().filter(|entry| entry.rank.is_some());
            let ranked: Vec<_> = ranked.map(|entry| entry.model_id.clone()).collect();
            assert_eq!(ranked, naive.ranking(now));
            let closed = game.rounds().await.into_iter().find(|round| round.state == domain::RoundState::Closed);
            assert_eq!(closed, None, "every price has come");
        });
    }
}
