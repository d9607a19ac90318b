//! Nine days of a game with everything that happens: misses, late prices, models that join late and come back.

use domain::{Prediction, PredictionStatus, Span, Timestamp};

use crate::game::{Game, INTERVAL, answer, hour, miss, question};

pub const HOURS: u32 = 9 * 24;
const HORIZON: Span = Span::hours(1);
/// When the prices of ETH are away, and come all at once afterwards.
const OUTAGE: std::ops::Range<u32> = 195..199;

/// Plays the season; `run` runs the score worker at each full hour and once between.
pub async fn play(game: &Game, mut run: impl AsyncFnMut(Timestamp)) {
    game.join(&["steady", "sleepy"], hour(0)).await;
    for n in 0..=HOURS {
        if n == 60 {
            game.join(&["late"], hour(n)).await;
        }
        if n == 150 {
            game.join(&["sleepy"], hour(n)).await;
        }
        prices(game, n).await;
        run(hour(n)).await;
        if n < HOURS {
            for (name, offset) in [("BTC", Span::ZERO), ("ETH", INTERVAL)] {
                game.close(&question(name, HORIZON, hour(n) + offset), &outcomes(n)).await;
            }
        }
        run(hour(n) + Span::minutes(31)).await;
    }
}

/// The closes up to half past the hour.
async fn prices(game: &Game, n: u32) {
    let from = if n == 0 { hour(0) } else { hour(n - 1) + INTERVAL.times(2) };
    let to = hour(n) + INTERVAL;
    game.prices("BTC", from, to, &[]).await;
    if n == OUTAGE.end {
        game.prices("ETH", hour(OUTAGE.start - 1) + INTERVAL.times(2), to, &[]).await;
    } else if !OUTAGE.contains(&n) {
        game.prices("ETH", from, to, &[]).await;
    }
}

/// Different scales from hour to hour, and sometimes no answer.
fn outcomes(n: u32) -> Vec<Prediction> {
    let scale = |k: u32| 0.001 * f64::from(1 + (n * 31 + k * 17) % 23);
    let mut outcomes = vec![answer("steady", HORIZON, scale(0))];
    if !(100..150).contains(&n) {
        let is_asleep = n.is_multiple_of(7);
        outcomes.push(if is_asleep {
            miss("sleepy", PredictionStatus::Timeout)
        } else {
            answer("sleepy", HORIZON, scale(1))
        });
    }
    if n >= 60 {
        outcomes.push(if n.is_multiple_of(11) {
            miss("late", PredictionStatus::Absent)
        } else {
            answer("late", HORIZON, scale(2))
        });
    }
    outcomes
}
