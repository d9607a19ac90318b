//! `condor score --explain`: how one score came about, from what is stored. Nothing is written.

use anyhow::bail;
use domain::{
    Clock, DeploymentId, Prediction, PredictionStatus, PricePoint, Question, RoundState, SystemClock,
    Timestamp,
};
use score_worker::ScoreSettings;
use scoring::{Explanation, SettledRound, Settlement, SettlementSettings, settle};
use serde::Serialize;
use storage::{ExportedRound, ExportedScore, RoundRecord, Store};

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

/// All that can be told about one prediction.
#[derive(Debug, Serialize)]
pub struct Report {
    /// ROUND_ID/MODEL_ID.
    pub prediction_id: String,
    /// The round as exported.
    pub round: ExportedRound,
    /// Where the round stands and what that means for this prediction.
    pub standing: String,
    /// How the prediction ended; `None` in a round that was never asked or is being asked.
    pub outcome: Option<Outcome>,
    /// The rule and settings in force, by which the explanation is made.
    pub rule: String,
    /// How the score comes about; `None` where there is or may be none.
    pub explanation: Option<Explanation>,
    /// The score on record.
    pub stored: Option<ExportedScore>,
    /// Whether the explanation comes to the very bits on record; `None` where one of them is missing.
    pub agrees: Option<bool>,
    /// Where it does not, and why that may be.
    pub differences: Vec<String>,
}

/// How a prediction ended.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub status: PredictionStatus,
    /// Why there is no valid answer; not told before the round has resolved, for it may quote the answer.
    pub reason: Option<String>,
    pub deployment_id: Option<DeploymentId>,
    pub received_at: Option<Timestamp>,
    pub took_us: Option<u64>,
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
    let mut report = Report {
        prediction_id: id.to_string(),
        standing: String::new(),
        outcome: None,
        rule: settings.stamp(),
        explanation: None,
        stored: None,
        agrees: None,
        differences: Vec::new(),
        round: ExportedRound::from(round.clone()),
    };
    let has_resolved = round.question.resolves_at() <= now;
    report.outcome = place.map(|place| outcome(&predictions[place], has_resolved));
    match (round.state, place) {
        (RoundState::Closed | RoundState::Scored, Some(place)) if has_resolved => {
            report.explain(&round, &predictions, place, store, settings, now).await?;
        }
        _ => report.standing = standing(&round, now),
    }
    Ok(report)
}

fn outcome(prediction: &Prediction, has_resolved: bool) -> Outcome {
    Outcome {
        status: prediction.status,
        reason: prediction.reason.clone().filter(|_| has_resolved),
        deployment_id: prediction.deployment_id.clone(),
        received_at: prediction.received_at,
        took_us: prediction.took.map(|took| took.as_micros() as u64),
    }
}

/// Why there is nothing to explain.
fn standing(round: &RoundRecord, now: Timestamp) -> String {
    let reason = round.reason.as_deref().unwrap_or("no reason is on record");
    match round.state {
        RoundState::Missed => format!("missed: it was never asked and counts for nobody ({reason})"),
        RoundState::Void => format!("void: it counts for nobody ({reason})"),
        RoundState::Interrupted => {
            format!("interrupted: it counts for nobody unless its outcomes turn up in a journal ({reason})")
        }
        RoundState::Asked => "being asked: its outcomes are not stored yet".to_owned(),
        RoundState::Closed | RoundState::Scored if now < round.question.resolves_at() => format!(
            "open until {}: until then answers are shown to nobody",
            table::instant(round.question.resolves_at())
        ),
        RoundState::Closed | RoundState::Scored => "closed without any prediction".to_owned(),
    }
}

impl Report {
    async fn explain(
        &mut self,
        round: &RoundRecord,
        predictions: &[Prediction],
        place: usize,
        store: &dyn Store,
        settings: &ScoreSettings,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let question = &round.question;
        let (closes, settlement) = settlement(question, store, &settings.settlement, now).await?;
        self.stored = stored(&predictions[place], round, store).await?;
        self.standing = scored_standing(round, &settlement);
        let Settlement::Settled(steps) = settlement else { return Ok(()) };
        let answers: Vec<_> = predictions.iter().map(|prediction| prediction.answer.as_ref()).collect();
        let settled = SettledRound { question, closes: &closes, steps: &steps, answers: &answers };
        let explanation = scoring::explain(&settled, place, &settings.settlement, &settings.scoring);
        if let Some(stored) = &self.stored {
            self.differences = differences(stored, round, &self.rule, &explanation);
            self.agrees = Some(self.differences.is_empty());
        }
        self.explanation = Some(explanation);
        Ok(())
    }
}

async fn settlement(
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

fn scored_standing(round: &RoundRecord, settlement: &Settlement) -> String {
    let is_scored = round.state == RoundState::Scored;
    match settlement {
        Settlement::Settled(_) if is_scored => {
            let rule = round.rule.as_deref().unwrap_or("an unknown rule");
            let at = round.scored_at.map_or_else(String::new, |at| format!(" at {}", table::instant(at)));
            format!("scored{at} under {rule}")
        }
        Settlement::Settled(_) => {
            "resolved but not scored yet: this is what the score worker will come to".to_owned()
        }
        Settlement::Waiting { instant } if is_scored => format!(
            "scored, but that cannot be repeated: the ledger no longer holds a price of {}",
            table::instant(*instant)
        ),
        Settlement::Waiting { instant } => {
            format!("resolved but not scored yet: it waits for the price of {}", table::instant(*instant))
        }
        Settlement::Void { reason } if is_scored => {
            format!(
                "scored, but that cannot be repeated: by the prices and settings of today it is void ({reason})"
            )
        }
        Settlement::Void { reason } => format!("resolved but not scored yet: it will be void ({reason})"),
    }
}

/// What an explanation comes to that is not what is on record, to the bit.
fn differences(
    stored: &ExportedScore,
    round: &RoundRecord,
    rule: &str,
    explanation: &Explanation,
) -> Vec<String> {
    let place = explanation.place.as_ref();
    let mut all = Vec::new();
    let mut compare = |what: &str, stored: Option<f64>, now: Option<f64>| {
        if stored.map(f64::to_bits) != now.map(f64::to_bits) {
            all.push(format!("{what}: {} on record, {} now", table::exact(stored), table::exact(now)));
        }
    };
    compare("raw score", stored.raw, explanation.raw);
    compare("relative score", Some(stored.relative), place.map(|place| place.relative));
    compare("best of the round", round.best, place.map(|place| place.best));
    compare("q95 of the round", round.q95, place.map(|place| place.q95));
    for step in &explanation.steps {
        let on_record = stored.steps.iter().find(|score| score.step == step.step).map(|score| score.mean);
        compare(&format!("mean of step {}", step.step), on_record, step.mean);
    }
    let on_record = round.rule.as_deref().unwrap_or("an unknown rule");
    if on_record != rule {
        all.push(format!("it was scored under {on_record}, the settings in force are {rule}"));
    } else if !all.is_empty() {
        all.push(
            "the rule is the same: since it was scored prices have come or were corrected, or the program has changed"
                .to_owned(),
        );
    }
    all
}

#[cfg(test)]
mod tests;
