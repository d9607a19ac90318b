//! How one score came about, as far as it may be told: what `condor score --explain` and the route of one prediction
//! have in common.

use domain::{DeploymentId, Prediction, PredictionStatus, RoundState, Timestamp};
use scoring::{Explanation, Settlement};
use serde::Serialize;
use storage::{ExportedRound, ExportedScore, RoundRecord};

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
    /// In a word.
    pub status: PredictionStatus,
    /// Why there is no valid answer; not told before the round has resolved, for it may quote the answer.
    pub reason: Option<String>,
    /// Which start of its code; `None` when it was not running.
    pub deployment_id: Option<DeploymentId>,
    /// When the answer had arrived.
    pub received_at: Option<Timestamp>,
    /// From the question to the whole answer, in microseconds.
    pub took_us: Option<u64>,
}

impl Outcome {
    fn of(prediction: &Prediction, has_resolved: bool) -> Self {
        Outcome {
            status: prediction.status,
            reason: prediction.reason.clone().filter(|_| has_resolved),
            deployment_id: prediction.deployment_id.clone(),
            received_at: prediction.received_at,
            took_us: prediction.took.map(|took| took.as_micros() as u64),
        }
    }
}

impl Report {
    /// What can be told at `now` without prices and scores. `rule` is the stamp of the settings in force.
    pub fn new(
        prediction_id: String,
        round: &RoundRecord,
        prediction: Option<&Prediction>,
        rule: String,
        now: Timestamp,
    ) -> Self {
        let has_resolved = round.question.resolves_at() <= now;
        Report {
            prediction_id,
            standing: standing(round, now),
            outcome: prediction.map(|prediction| Outcome::of(prediction, has_resolved)),
            rule,
            explanation: None,
            stored: None,
            agrees: None,
            differences: Vec::new(),
            round: ExportedRound::from(round.clone()),
        }
    }

    /// Adds how the score came about. Only for a round that [can be explained](can_be_explained).
    pub fn explain(
        &mut self,
        settlement: &Settlement,
        stored: Option<ExportedScore>,
        explanation: Option<Explanation>,
    ) {
        self.standing = scored_standing(&self.round, settlement);
        if let (Some(stored), Some(explanation)) = (&stored, &explanation) {
            self.differences = differences(stored, &self.round, &self.rule, explanation);
            self.agrees = Some(self.differences.is_empty());
        }
        self.stored = stored;
        self.explanation = explanation;
    }
}

/// True when predictions of this round have a score, or will have one by now, and may be told.
pub fn can_be_explained(round: &RoundRecord, now: Timestamp) -> bool {
    matches!(round.state, RoundState::Closed | RoundState::Scored) && round.question.resolves_at() <= now
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
            instant(round.question.resolves_at())
        ),
        RoundState::Closed | RoundState::Scored => "closed without any prediction".to_owned(),
    }
}

fn scored_standing(round: &ExportedRound, settlement: &Settlement) -> String {
    let is_scored = round.state == RoundState::Scored;
    match settlement {
        Settlement::Settled(_) if is_scored => {
            let rule = round.rule.as_deref().unwrap_or("an unknown rule");
            let at = round.scored_at.map_or_else(String::new, |at| format!(" at {}", self::instant(at)));
            format!("scored{at} under {rule}")
        }
        Settlement::Settled(_) => {
            "resolved but not scored yet: this is what the score worker will come to".to_owned()
        }
        Settlement::Waiting { instant } if is_scored => format!(
            "scored, but that cannot be repeated: the ledger no longer holds a price of {}",
            self::instant(*instant)
        ),
        Settlement::Waiting { instant } => {
            format!("resolved but not scored yet: it waits for the price of {}", self::instant(*instant))
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
    round: &ExportedRound,
    rule: &str,
    explanation: &Explanation,
) -> Vec<String> {
    let place = explanation.place.as_ref();
    let mut all = Vec::new();
    let mut compare = |what: &str, stored: Option<f64>, now: Option<f64>| {
        if stored.map(f64::to_bits) != now.map(f64::to_bits) {
            all.push(format!("{what}: {} on record, {} now", exact(stored), exact(now)));
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

/// An instant as everywhere: RFC 3339 with `Z`, to the second.
pub fn instant(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// All digits that tell a number from its neighbours.
pub fn exact(number: Option<f64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("{number:?}"))
}
