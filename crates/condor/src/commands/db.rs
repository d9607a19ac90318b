//! `condor db`

use std::io::{BufWriter, Write};
use std::sync::Arc;

use domain::{AnswerBytes, Clock, RoundId, Span, Standings, SystemClock, Timestamp, TimestampExt};
use scoring::PackedAnswer;
use serde::Serialize;
use serde_json::json;
use storage::{Counts, ExportedPrediction, RoundPages, Store, without_secrets};

use super::prune;
use crate::cli::{DbCommand, ExportKind, SettingsArgs};
use crate::config::load;
use crate::store;

/// Looks after the database.
pub async fn run(command: DbCommand) -> anyhow::Result<()> {
    match command {
        DbCommand::Migrate(settings) => migrate(&settings).await,
        DbCommand::Status { settings, json } => status(&settings, json).await,
        DbCommand::Prune(args) => prune::run(args).await,
        DbCommand::Export { what, settings, from, to, json: _ } => {
            let range = (from.unwrap_or(Timestamp::UNIX_EPOCH), to.unwrap_or(Timestamp::MAX_UTC));
            match export(what, &settings, range).await {
                // The reader has seen enough.
                Err(error) if is_broken_pipe(&error) => Ok(()),
                outcome => outcome,
            }
        }
    }
}

fn url(settings: &SettingsArgs) -> anyhow::Result<String> {
    Ok(load(settings.config.as_deref(), settings.database.as_deref())?.config.database.url)
}

async fn migrate(settings: &SettingsArgs) -> anyhow::Result<()> {
    let url = url(settings)?;
    let store = store::open(&url).await?;
    store.migrate().await?;
    let version = store.counts(Timestamp::UNIX_EPOCH).await?.schema_version;
    println!("{}: schema version {version}", without_secrets(&url));
    Ok(())
}

async fn status(settings: &SettingsArgs, json: bool) -> anyhow::Result<()> {
    let store = open_existing(settings).await?;
    let counts = store.counts(SystemClock.now() - Span::hours(24)).await?;
    if json {
        println!("{}", serde_json::to_string(&counts)?);
    } else {
        print_status(&counts);
    }
    Ok(())
}

fn print_status(counts: &Counts) {
    let time = |at: Option<Timestamp>| at.map_or("-".into(), TimestampExt::to_utc_string);
    let (rounds, predictions) = (&counts.rounds, &counts.predictions);
    println!("models       {} ({} answered in the last 24 h)", counts.models, counts.active_models);
    println!(
        "rounds       {} scored, {} void, {} closed, {} asked, {} interrupted, {} missed",
        rounds.scored, rounds.void, rounds.closed, rounds.asked, rounds.interrupted, rounds.missed
    );
    println!("             from {} to {}", time(counts.oldest_round_at), time(counts.newest_round_at));
    println!(
        "predictions  {} success, {} failed, {} timeout, {} absent ({} in the last 24 h)",
        predictions.success,
        predictions.failed,
        predictions.timeout,
        predictions.absent,
        counts.recent_predictions
    );
    println!("prices       {}", counts.prices);
    println!(
        "size         {:.1} MB, schema version {}",
        counts.size_bytes as f64 / 1e6,
        counts.schema_version
    );
}

async fn open_existing(settings: &SettingsArgs) -> anyhow::Result<Arc<dyn Store>> {
    let store = store::open_read_only(&url(settings)?).await?;
    store.check_schema().await?;
    Ok(store)
}

async fn export(
    what: ExportKind,
    settings: &SettingsArgs,
    range: (Timestamp, Timestamp),
) -> anyhow::Result<()> {
    let store = open_existing(settings).await?;
    let mut out = Lines(BufWriter::new(std::io::stdout()));
    match what {
        ExportKind::Prices => export_prices(store.as_ref(), range, &mut out).await?,
        ExportKind::Windows => {
            if let Some(standings) = store.latest_standings().await? {
                export_windows(&standings, &mut out)?;
            }
        }
        ExportKind::Leaderboard => {
            if let Some(leaderboard) = store.latest_leaderboard().await? {
                for entry in &leaderboard.entries {
                    out.print(&json!({
                        "as_of": leaderboard.as_of,
                        "rule": leaderboard.rule,
                        "rank": entry.rank,
                        "group": entry.group,
                        "model_id": entry.model_id,
                        "first_scored_at": entry.first_scored_at,
                        "recent": entry.windows.recent,
                        "steady": entry.windows.steady,
                        "anchor": entry.windows.anchor,
                    }))?;
                }
            }
        }
        ExportKind::ScoringChanges => out.print_all(&store.scoring_changes().await?)?,
        ExportKind::Rounds | ExportKind::Predictions | ExportKind::Scores => {
            export_by_round(what, store.as_ref(), range, &mut out).await?;
        }
    }
    out.0.flush()?;
    Ok(())
}

async fn export_prices(
    store: &dyn Store,
    (from, to): (Timestamp, Timestamp),
    out: &mut Lines<impl Write>,
) -> anyhow::Result<()> {
    for entry in store.ledger_since(from).await?.iter().filter(|entry| entry.point.at < to) {
        out.print(entry)?;
    }
    Ok(())
}

async fn export_by_round(
    what: ExportKind,
    store: &dyn Store,
    (from, to): (Timestamp, Timestamp),
    out: &mut Lines<impl Write>,
) -> anyhow::Result<()> {
    let mut pages = RoundPages::new(store, from, to);
    while let Some(rounds) = pages.next().await? {
        for round in &rounds {
            match what {
                ExportKind::Predictions => out.print_all(&predictions(store, round.round_id).await?)?,
                ExportKind::Scores => out.print_all(&store.export_scores(round.round_id).await?)?,
                _ => out.print(round)?,
            }
        }
    }
    Ok(())
}

async fn predictions(store: &dyn Store, id: RoundId) -> anyhow::Result<Vec<ExportedPrediction>> {
    let to_json = |answer: &AnswerBytes| PackedAnswer::new(answer).to_json();
    let predictions = store.predictions(id).await?.into_iter();
    Ok(predictions.map(|prediction| ExportedPrediction::new(id, prediction, to_json)).collect())
}

/// One line for each model over all parameters, and one for each of its parameters.
fn export_windows(standings: &Standings, out: &mut Lines<impl Write>) -> anyhow::Result<()> {
    for model in &standings.models {
        let line =
            |asset: Option<&str>, horizon: Option<u32>, windows: &domain::PerWindow<domain::WindowScore>| {
                json!({
                    "as_of": standings.as_of,
                    "model_id": model.model_id,
                    "asset": asset,
                    "horizon": horizon,
                    "first_scored_at": model.first_scored_at,
                    "recent": windows.recent,
                    "steady": windows.steady,
                    "anchor": windows.anchor,
                })
            };
        out.print(&line(None, None, &model.windows))?;
        for standing in &model.parameters {
            let parameter = &standing.parameter;
            let (asset, horizon) = (parameter.asset.as_str(), parameter.horizon.as_secs());
            out.print(&line(Some(asset), Some(horizon), &standing.windows))?;
        }
    }
    Ok(())
}

struct Lines<W>(W);

impl<W: Write> Lines<W> {
    fn print<T: Serialize>(&mut self, row: &T) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.0, row).map_err(std::io::Error::from)?;
        self.0.write_all(b"\n")?;
        Ok(())
    }

    fn print_all<T: Serialize>(&mut self, rows: &[T]) -> anyhow::Result<()> {
        rows.iter().try_for_each(|row| self.print(row))
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_broken)
}
