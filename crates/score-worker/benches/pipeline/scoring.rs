//! From closed rounds to a leaderboard.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{
    Cruncher, DeploymentId, LedgerEntry, LedgerPosition, Model, Price, PricePoint, SimulatedClock, Span,
    Stopwatch, Weights,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use score_worker::{ScoreSettings, ScoreWorker};
use scoring::SettlementSettings;
use serde_json::json;
use storage::Store;

use crate::Result;
use crate::game::{self, Numbers, Random, question, start};

/// In each round.
const MODELS: u64 = 200;

/// Between rounds, and between closes.
const INTERVAL: Span = Span::minutes(1);

/// Scores `rounds` rounds, half of a day in steps of five minutes and half of an hour in steps of one; half of the models
/// answer with other densities in every step. Prints how many predictions a second that is with all that belongs to it.
pub async fn measure(store: Arc<dyn Store>, rounds: u32) -> Result<()> {
    save_models(store.as_ref()).await?;
    save_prices(store.as_ref(), rounds).await?;
    close_rounds(store.as_ref(), rounds).await?;
    let end = start()? + Span::hours(24) + INTERVAL.times(rounds + 1);
    let mut worker = ScoreWorker::new(settings()?, store, Arc::new(SimulatedClock::at(end)));
    let watch = Stopwatch::start();
    let progress = worker.run_once().await?;
    let seconds = watch.elapsed().as_secs_f64();
    if progress.scored != u64::from(rounds) {
        return Err(format!("{} of {rounds} rounds were scored", progress.scored).into());
    }
    let per_second = progress.predictions as f64 / seconds;
    let line = json!({"predictions": progress.predictions, "seconds": seconds, "per_second": per_second});
    println!("{line}");
    Ok(())
}

fn settings() -> Result<ScoreSettings> {
    Ok(ScoreSettings {
        scoring: scoring::ScoreSettings::with_rule("crps")?,
        settlement: SettlementSettings::new(INTERVAL),
        weights: Weights { assets: BTreeMap::new(), horizons: BTreeMap::new() },
        retry_after: INTERVAL,
    })
}

async fn save_models(store: &dyn Store) -> Result<()> {
    let joined_at = start()?;
    let model = |number| -> Result<Model> {
        Ok(Model {
            id: game::model_id(number)?,
            deployment_id: DeploymentId::new("d-1")?,
            name: None,
            cruncher: Cruncher::default(),
            joined_at,
            last_connected_at: joined_at,
            is_baseline: false,
        })
    };
    let models = (0..MODELS).map(model).collect::<Result<Vec<_>>>()?;
    Ok(store.save_models(&models).await?)
}

/// A walk of closes until the last round has resolved.
async fn save_prices(store: &dyn Store, rounds: u32) -> Result<()> {
    let (asset, mut at, mut price) = ("BTC".parse::<domain::Asset>()?, start()?, 100_000.0);
    let mut random = Random(ChaCha8Rng::seed_from_u64(1));
    let mut entries = Vec::new();
    for position in 1..=u64::from(24 * 60 + rounds + 2) {
        entries.push(LedgerEntry {
            position: LedgerPosition(position),
            asset: asset.clone(),
            point: PricePoint { at, price: Price::new(price)? },
            source: "made up".to_owned(),
        });
        at = at + INTERVAL;
        price *= 1.0 + random.between(-0.001..0.001);
    }
    Ok(store.append_prices(&entries).await?)
}

async fn close_rounds(store: &dyn Store, rounds: u32) -> Result<()> {
    let kinds = [(Span::hours(24), Span::minutes(5)), (Span::HOUR, INTERVAL)];
    for (horizon, step) in kinds {
        let first = question(horizon, step, start()?)?;
        let numbers = |model| if model % 2 == 0 { Numbers::SixDigits } else { Numbers::Repeated };
        let texts: Vec<String> = (0..MODELS).map(|model| game::text(&first, numbers(model), model)).collect();
        let predictions = game::predictions(&first, &texts)?;
        for round in 0..rounds / 2 {
            let question = question(horizon, step, first.performed_at + INTERVAL.times(round))?;
            store.close_round(&question, question.performed_at, &predictions).await?;
        }
    }
    Ok(())
}
