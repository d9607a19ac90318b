//! Predictions over time: one by one while they are few, else as means over periods, of each model, asset and horizon.
//!
//! Nothing is left out silently: a point says for how many predictions it stands and how many of them failed, and one with
//! failures in it is a failed one.

use std::collections::BTreeMap;

use domain::{ModelId, Parameter, PredictionStatus, Span, Timestamp, TimestampExt, Window};
use storage::{ScoredOutcome, ScoredQuestion};

use super::snapshots::{Mean, Snapshot};
use crate::AnswersTo;

/// Periods over which single predictions are taken together.
const MINUTES: [u32; 9] = [15, 30, 60, 120, 180, 240, 360, 720, 1440];

/// How much of one failure's cause is sent: charts show it in a line.
const MAX_REASON_CHARS: usize = 120;

/// One or more predictions of one model for one asset and horizon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) model_id: ModelId,
    pub(crate) parameter: Parameter,
    /// The first step of the question, where it is known.
    pub(crate) step: Option<Span>,
    /// The mean of the relative scores, 0 to 1; 0 counts for each prediction without a valid answer.
    pub(crate) score: f64,
    /// How many predictions.
    pub(crate) predictions: u32,
    /// How many of them have no score of their own.
    pub(crate) failures: u32,
    /// Why, when any failed.
    pub(crate) reason: Option<String>,
    /// When the last of them was scored.
    pub(crate) scored_at: Option<Timestamp>,
    /// When the last of them was asked; of the means over days, the end of the days.
    pub(crate) performed_at: Timestamp,
}

/// One point for each outcome, in the order of time. The words of a failure may quote the answer: they are told where `answers`
/// are everybody's.
pub(crate) fn singles(
    questions: &[ScoredQuestion],
    outcomes: Vec<ScoredOutcome>,
    answers: AnswersTo,
) -> Vec<Point> {
    let by_id: BTreeMap<_, _> = questions.iter().map(|scored| (scored.question.id, scored)).collect();
    let point = |outcome: ScoredOutcome| Some(single(by_id.get(&outcome.round_id)?, outcome, answers));
    let mut points: Vec<Point> = outcomes.into_iter().filter_map(point).collect();
    sort(&mut points);
    points
}

fn single(scored: &ScoredQuestion, outcome: ScoredOutcome, answers: AnswersTo) -> Point {
    let question = &scored.question;
    let has_failed = outcome.raw.is_none();
    Point {
        parameter: Parameter { asset: question.asset.clone(), horizon: question.horizon },
        step: question.steps.first().copied(),
        score: outcome.relative,
        predictions: 1,
        failures: u32::from(has_failed),
        reason: has_failed.then(|| cause(&outcome, answers)),
        scored_at: scored.scored_at,
        performed_at: question.performed_at,
        model_id: outcome.model_id,
    }
}

/// Why a prediction has no score. It is never empty.
fn cause(outcome: &ScoredOutcome, answers: AnswersTo) -> String {
    let told = outcome.failure.as_deref().or(outcome.reason.as_deref());
    let told = told.filter(|text| answers == AnswersTo::Public && !text.trim().is_empty());
    let status = outcome.status.filter(|status| *status != PredictionStatus::Success);
    let text = match (status, told) {
        (Some(status), Some(told)) => format!("{}: {told}", status.as_str()),
        (Some(status), None) => status.as_str().to_owned(),
        (None, Some(told)) => told.to_owned(),
        (None, None) => "no valid answer".to_owned(),
    };
    text.chars().take(MAX_REASON_CHARS).collect()
}

/// At most `limit` points where that is possible, by taking those of one model, asset and horizon together that lie in the
/// same period since the epoch: in the shortest that is enough, at most a day.
pub(crate) fn thinned(points: Vec<Point>, limit: usize) -> Vec<Point> {
    if points.len() <= limit {
        return points;
    }
    let periods = MINUTES.map(Span::minutes);
    let mut thinner = Vec::new();
    for period in periods {
        thinner = together(&points, period);
        if thinner.len() <= limit {
            break;
        }
    }
    thinner
}

fn together(points: &[Point], period: Span) -> Vec<Point> {
    let mut groups: BTreeMap<(Timestamp, &ModelId, &Parameter), Point> = BTreeMap::new();
    for point in points {
        let key = (point.performed_at.floor_to(period), &point.model_id, &point.parameter);
        groups.entry(key).and_modify(|group| group.take_in(point)).or_insert_with(|| point.clone());
    }
    let mut groups: Vec<Point> = groups.into_values().map(Point::with_count).collect();
    sort(&mut groups);
    groups
}

impl Point {
    /// Takes in a later one, and its cause of failure.
    fn take_in(&mut self, later: &Point) {
        let weigh = |point: &Point| point.score * f64::from(point.predictions);
        let sum = weigh(self) + weigh(later);
        self.predictions += later.predictions;
        self.failures += later.failures;
        self.score = sum / f64::from(self.predictions.max(1));
        self.reason = later.reason.clone().or(self.reason.take());
        self.scored_at = later.scored_at.max(self.scored_at);
        self.performed_at = later.performed_at;
        self.step = later.step;
    }

    /// Where there were several: how many failed, before why the last one did.
    fn with_count(mut self) -> Self {
        let Point { predictions, failures, .. } = self;
        if predictions > 1 {
            self.reason =
                self.reason.map(|last| format!("{failures} of {predictions} failed, the last: {last}"));
        }
        self
    }
}

fn sort(points: &mut [Point]) {
    points.sort_by(|a, b| {
        let key = |point: &'_ Point| (point.performed_at, point.scored_at);
        key(a).cmp(&key(b)).then_with(|| (&a.model_id, &a.parameter).cmp(&(&b.model_id, &b.parameter)))
    });
}

/// One point for each model and parameter of each snapshot: its mean over `period`. `is_chosen` says of which models.
pub(crate) fn means<'a>(
    snapshots: impl IntoIterator<Item = &'a Snapshot>,
    period: Window,
    is_chosen: impl Fn(&ModelId) -> bool,
    step_of: impl Fn(&Parameter) -> Option<Span>,
) -> Vec<Point> {
    let mut points = Vec::new();
    for snapshot in snapshots {
        for (model_id, parameter, windows) in &snapshot.by_parameter {
            let mean = windows.get(period);
            if mean.predictions > 0 && is_chosen(model_id) {
                points.push(Point {
                    model_id: model_id.clone(),
                    step: step_of(parameter),
                    parameter: parameter.clone(),
                    score: f64::from(mean.score.unwrap_or(0.0)),
                    predictions: mean.predictions,
                    failures: mean.failures,
                    reason: failures_in(mean, period),
                    scored_at: Some(snapshot.as_of),
                    performed_at: snapshot.as_of,
                });
            }
        }
    }
    points
}

fn failures_in(mean: &Mean, period: Window) -> Option<String> {
    let Mean { predictions, failures, .. } = mean;
    let days = period.span().divided_by(Span::days(1));
    let unit = if days == 1 { "day" } else { "days" };
    (*failures > 0).then(|| {
        format!("{failures} of {predictions} failed of those that resolved in the {days} {unit} before")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(minute: u32, model: &str, score: Option<f64>) -> Point {
        let at = "2026-01-30T00:00:00Z".parse::<Timestamp>().unwrap() + Span::minutes(minute);
        Point {
            model_id: model.parse().unwrap(),
            parameter: Parameter { asset: "BTC".parse().unwrap(), horizon: Span::HOUR },
            step: Some(Span::minutes(1)),
            score: score.unwrap_or(0.0),
            predictions: 1,
            failures: u32::from(score.is_none()),
            reason: score.is_none().then(|| format!("at {minute}")),
            scored_at: Some(at + Span::HOUR),
            performed_at: at,
        }
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = vec![point(0, "a", Some(0.5)), point(1, "a", None)];
        assert_eq!(thinned(points.clone(), 2), points);
    }

    #[test]
    fn of_many_those_of_a_period_are_one_that_counts_and_keeps_the_last_failure() {
        let points: Vec<Point> =
            (0..45).map(|minute| point(minute, "a", (![16, 20].contains(&minute)).then_some(0.75))).collect();
        let thinned = thinned(points, 3);
        let counts: Vec<_> = thinned.iter().map(|point| (point.predictions, point.failures)).collect();
        assert_eq!(counts, [(15, 0), (15, 2), (15, 0)]);
        assert_eq!(thinned[1].reason.as_deref(), Some("2 of 15 failed, the last: at 20"));
        assert!((thinned[1].score - 0.65).abs() < 1e-12);
        assert_eq!(thinned[1].performed_at, point(29, "a", None).performed_at);
        assert_eq!(thinned[0].reason, None);
    }

    #[test]
    fn models_are_never_taken_together_and_a_day_is_the_longest_period() {
        let points: Vec<Point> =
            (0..2880).flat_map(|minute| ["a", "b"].map(|model| point(minute, model, Some(0.5)))).collect();
        assert_eq!(thinned(points, 1).len(), 4);
    }

    #[test]
    fn a_cause_is_told_in_few_words_and_never_empty() {
        let outcome = |status, failure: Option<&str>, reason: Option<&str>| ScoredOutcome {
            round_id: domain::RoundId::first_at(Timestamp::UNIX_EPOCH),
            model_id: "a".parse().unwrap(),
            relative: 0.0,
            raw: None,
            failure: failure.map(str::to_owned),
            status,
            reason: reason.map(str::to_owned),
        };
        use PredictionStatus::{Absent, Failed, Success};
        let public = |outcome| cause(&outcome, AnswersTo::Public);
        assert_eq!(public(outcome(Some(Failed), None, Some("it is no list"))), "FAILED: it is no list");
        assert_eq!(public(outcome(Some(Success), Some("it is 0"), None)), "it is 0");
        assert_eq!(public(outcome(Some(Absent), None, Some(" "))), "ABSENT");
        assert_eq!(public(outcome(None, None, None)), "no valid answer");
        assert_eq!(
            public(outcome(Some(Failed), None, Some(&"é".repeat(999)))).chars().count(),
            MAX_REASON_CHARS
        );
        let quoted = outcome(Some(Failed), None, Some("`0.123` is no list"));
        assert_eq!(cause(&quoted, AnswersTo::Owner), "FAILED");
    }
}
