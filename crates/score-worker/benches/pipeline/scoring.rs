//! From closed rounds to a leaderboard.

use std::collections::BTreeMap;

use domain::{
    Cruncher, DeploymentId, LedgerEntry, LedgerPosition, Model, Price, PricePoint, Span, Stopwatch,
    Timestamp, Weights,
};
use score_worker::ScoreSettings;
use scoring::SettlementSettings;
use serde_json::json;
use storage::Store;

use crate::Result;
use crate::bytes::Counted;
use crate::cpu::Server;
use crate::game::{self, Numbers, Random, question, start};
use crate::work::{Report, Worker};

/// In each round.
const MODELS: u64 = 200;

/// Between rounds, and between closes.
const INTERVAL: Span = Span::minutes(1);

/// Workers and the threads of each, 0 for as many as they take by themselves. With one thread a worker does one thing after the
/// other, so that what a second one adds is not what the first had not got round to.
const CREWS: [(usize, usize); 4] = [(1, 1), (2, 1), (1, 0), (2, 0)];

/// Rounds whose bytes are counted.
const COUNTED: u32 = 20;

/// Scores `rounds` rounds by crew after crew, half of a day in steps of five minutes and half of an hour in steps of one; half of
/// the models answer with other densities in every step. Prints for each how many predictions a second that is with all that
/// belongs to it, from the claim to the leaderboard, and where the time goes.
pub async fn measure(store: &dyn Store, url: &str, rounds: u32) -> Result<()> {
    save_models(store, MODELS).await?;
    let server = Server::find(url).await?;
    let mut games = 0..;
    let mut game = async |rounds| Game::save(store, games.next().unwrap_or_default(), rounds).await;
    let read_bytes = read_bytes(&game(COUNTED).await?, url).await?;
    for (workers, threads) in CREWS {
        let game = game(rounds).await?;
        let before = server.as_ref().map(Server::used).transpose()?;
        let (reports, seconds) = game.play(url, workers, threads).await?;
        let after = server.as_ref().map(Server::used).transpose()?;
        let server_us = before.zip(after).map(|(before, after)| (after - before).as_secs_f64() * 1e6);
        let predictions = game.predictions() as f64;
        let each = |part: fn(&Report) -> f64| reports.iter().map(part).sum::<f64>() / predictions;
        let line = json!({
            "workers": workers,
            "threads": threads,
            "predictions": game.predictions(),
            "seconds": seconds,
            "per_second": predictions / seconds,
            "read_bytes": read_bytes,
            "worker_us": each(|report| report.cpu_us),
            "server_us": server_us.map(|us| us / predictions),
            "claiming_us": each(|report| report.claiming_us),
            "prices_us": each(|report| report.prices_us),
            "loading_us": each(|report| report.loading_us),
            "scoring_us": each(|report| report.scoring_us),
            "storing_us": each(|report| report.storing_us),
            "ranking_us": each(|report| report.ranking_us),
        });
        println!("{line}");
    }
    Ok(())
}

/// How many bytes a worker reads for each prediction: what the server says, or what it reads from the file.
async fn read_bytes(game: &Game, url: &str) -> Result<f64> {
    let bytes = if url.starts_with("sqlite://") {
        let (reports, _) = game.play(url, 1, 0).await?;
        reports.iter().map(|report| report.file_bytes).sum()
    } else {
        let counted = Counted::start(url).await?;
        game.play(&counted.url, 1, 0).await?;
        counted.bytes()
    };
    Ok(bytes as f64 / game.predictions() as f64)
}

/// Rounds that were closed and wait to be scored.
struct Game {
    rounds: u32,
    /// When all of them have resolved.
    end: Timestamp,
}

impl Game {
    /// Saves the game of this number. No two share a window, so that none has to do with what is left of another.
    async fn save(store: &dyn Store, number: u32, rounds: u32) -> Result<Self> {
        let start = start()? + Span::days(30 * number);
        save_prices(store, start, rounds).await?;
        close_rounds(store, start, rounds).await?;
        Ok(Game { rounds, end: start + Span::hours(24) + INTERVAL.times(rounds + 1) })
    }

    fn predictions(&self) -> u64 {
        u64::from(self.rounds) * MODELS
    }

    /// Has it scored by so many workers; returns what each did, and how many seconds all of it took.
    async fn play(&self, url: &str, workers: usize, threads: usize) -> Result<(Vec<Report>, f64)> {
        let mut crew = Vec::new();
        for _ in 0..workers {
            crew.push(Worker::start(url, self.end, threads).await?);
        }
        let watch = Stopwatch::start();
        for worker in &mut crew {
            worker.go().await?;
        }
        let mut reports = Vec::new();
        for worker in &mut crew {
            reports.push(worker.report().await?);
        }
        let seconds = watch.elapsed().as_secs_f64();
        for worker in crew {
            worker.end().await?;
        }
        let scored: u64 = reports.iter().map(|report| report.scored).sum();
        if scored != u64::from(self.rounds) {
            return Err(format!("{scored} of {} rounds were scored", self.rounds).into());
        }
        Ok((reports, seconds))
    }
}

/// As they come.
pub fn settings() -> Result<ScoreSettings> {
    Ok(ScoreSettings {
        scoring: scoring::ScoreSettings::with_rule("crps")?,
        settlement: SettlementSettings::new(INTERVAL),
        weights: Weights { assets: BTreeMap::new(), horizons: BTreeMap::new() },
        retry_after: INTERVAL,
    })
}

/// Stores so many models, which joined at the start.
pub async fn save_models(store: &dyn Store, count: u64) -> Result<()> {
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
    let models = (0..count).map(model).collect::<Result<Vec<_>>>()?;
    Ok(store.save_models(&models).await?)
}

/// A walk of closes until the last round has resolved.
async fn save_prices(store: &dyn Store, start: Timestamp, rounds: u32) -> Result<()> {
    let (asset, mut at, mut price) = ("BTC".parse::<domain::Asset>()?, start, 100_000.0);
    let end = store.ledger_end().await?.0;
    let mut random = Random::from_seed(1);
    let mut entries = Vec::new();
    for position in 1..=u64::from(24 * 60 + rounds + 2) {
        entries.push(LedgerEntry {
            position: LedgerPosition(end + position),
            asset: asset.clone(),
            point: PricePoint { at, price: Price::new(price)? },
            source: "made up".to_owned(),
        });
        at = at + INTERVAL;
        price *= 1.0 + random.between(-0.001..0.001);
    }
    Ok(store.append_prices(&entries, Timestamp::UNIX_EPOCH).await?)
}

async fn close_rounds(store: &dyn Store, start: Timestamp, rounds: u32) -> Result<()> {
    let kinds = [(Span::hours(24), Span::minutes(5)), (Span::HOUR, INTERVAL)];
    for (horizon, step) in kinds {
        let first = question(horizon, step, start)?;
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
