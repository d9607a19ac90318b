//! `condor score --explain`: how one score came about, from what is stored. Nothing is written.

use anyhow::bail;
use domain::{Clock, Prediction, PricePoint, Question, SystemClock, Timestamp};
use report_worker::why::{Report, can_be_explained};
use score_worker::ScoreSettings;
use scoring::{SettledRound, Settlement, SettlementSettings, settle};
use storage::{ExportedScore, RoundRecord, Store};

use super::{settings, table};
use crate::cli::PredictionId;
use crate::config::Config;
use crate::store;

/// Prints how the score of a prediction came about.
pub async fn run(id: &PredictionId, json: bool, config: &Config) -> anyhow::Result<()> {
    let store = store::open_read_only(&config.database.url).await?;
    store.check_schema().await?;
    let report = report(id, store.as_ref(), &settings(config)?, SystemClock.now()).await?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", table::text(&report));
    }
    Ok(())
}

async fn report(
    id: &PredictionId,
    store: &dyn Store,
    settings: &ScoreSettings,
    now: Timestamp,
) -> anyhow::Result<Report> {
    let Some(round) = store.round(id.round_id).await? else {
        bail!(
            "there is no round {}: `condor db export rounds --json` prints those that are stored",
            id.round_id
        );
    };
    let predictions = store.predictions(id.round_id).await?;
    let place = predictions.iter().position(|prediction| prediction.model_id == id.model_id);
    if place.is_none() && !predictions.is_empty() {
        let models = predictions.iter().map(|prediction| prediction.model_id.as_str()).collect::<Vec<_>>();
        bail!(
            "model {} was not asked in round {}: choose one of {}",
            id.model_id,
            id.round_id,
            models.join(", ")
        );
    }
    let prediction = place.map(|place| &predictions[place]);
    let mut report = Report::new(id.to_string(), &round, prediction, settings.stamp(), now);
    if let Some(place) = place.filter(|_| can_be_explained(&round, now)) {
        explain(&mut report, &round, &predictions, place, store, settings, now).await?;
    }
    Ok(report)
}

async fn explain(
    report: &mut Report,
    round: &RoundRecord,
    predictions: &[Prediction],
    place: usize,
    store: &dyn Store,
    settings: &ScoreSettings,
    now: Timestamp,
) -> anyhow::Result<()> {
    let question = &round.question;
    let (closes, settlement) = settlement(question, store, &settings.settlement, now).await?;
    let stored = stored(&predictions[place], round, store).await?;
    let explanation = match &settlement {
        Settlement::Settled(steps) => {
            let answers: Vec<_> = predictions.iter().map(|prediction| prediction.answer.as_ref()).collect();
            let settled = SettledRound { question, closes: &closes, steps, answers: &answers };
            Some(scoring::explain(&settled, place, &settings.settlement, &settings.scoring))
        }
        Settlement::Waiting { .. } | Settlement::Void { .. } => None,
    };
    report.explain(&settlement, stored, explanation);
    Ok(())
}

/// The closes of a round's asset as far as they settle it, and what they come to as of `now`.
pub async fn settlement(
    question: &Question,
    store: &dyn Store,
    settings: &SettlementSettings,
    now: Timestamp,
) -> anyhow::Result<(Vec<PricePoint>, Settlement)> {
    let newest = store.newest_close_at(&question.asset, now).await?;
    let (after, until) = settings.needed_closes(question, now);
    let closes = store.closes(&question.asset, after, until).await?;
    let settlement = settle(question, &closes, settings, now, newest);
    Ok((closes, settlement))
}

async fn stored(
    prediction: &Prediction,
    round: &RoundRecord,
    store: &dyn Store,
) -> anyhow::Result<Option<ExportedScore>> {
    let scores = store.export_scores(round.question.id).await?;
    Ok(scores.into_iter().find(|score| score.model_id == prediction.model_id))
}

#[cfg(test)]
mod tests;
