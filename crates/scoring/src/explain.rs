//! How a score came about: everything that went into it, in the order in which it was made.

use domain::{PricePoint, Question, Span, Timestamp};
use serde::{Serialize, Serializer};

use crate::round::score_alone;
use crate::{
    Aggregation, Density, Distribution, Expected, PredictionScore, RelativeScores, RoundOutcome,
    ScoreSettings, SettledStep, SettlementSettings, StepAnswer, StoredAnswer, UnreadableAnswer,
    relative_scores, score_round,
};

/// A settled round and what its models answered.
#[derive(Debug, Clone, Copy)]
pub struct SettledRound<'a, A = &'a str> {
    /// What was asked.
    pub question: &'a Question,
    /// The closes with which it was settled.
    pub closes: &'a [PricePoint],
    /// What they say.
    pub steps: &'a [SettledStep],
    /// Those that were accepted, packed or as text, `None` for any other outcome.
    pub answers: &'a [Option<A>],
}

/// How one prediction's score came about. Numbers that are not finite are `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// How the scores of all increments become one.
    pub aggregation: Aggregation,
    /// What that is divided by.
    pub scale: f64,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// Why a valid answer has no score.
    pub failure: Option<String>,
    /// Why it is left out of its round, in words: a fault of ours, so it counts neither for its model nor against it.
    pub left_out: Option<String>,
    /// Among its round; `None` when the round is void or leaves it out.
    pub place: Option<Place>,
    /// Why the round is void, in words.
    pub void: Option<String>,
    /// By step size, in the order that was asked.
    pub steps: Vec<ExplainedStep>,
}

/// The increments of one step size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedStep {
    /// The step size.
    #[serde(serialize_with = "seconds")]
    pub step: Span,
    /// The mean over the increments that counted; `None` without a valid answer, and for a step that is left out.
    pub mean: Option<f64>,
    /// Why it is left out for every model, in words.
    pub left_out: Option<String>,
    /// In the order of time.
    pub increments: Vec<ExplainedIncrement>,
}

/// One increment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedIncrement {
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends.
    pub to: Timestamp,
    /// The price with which it begins.
    pub from_price: Option<PricePoint>,
    /// The price with which it ends.
    pub to_price: Option<PricePoint>,
    /// What happened, in the unit of the round's target; `None` when it is left out.
    #[serde(rename = "move")]
    pub move_: Option<f64>,
    /// Why it is left out for every model, in words.
    pub left_out: Option<String>,
    /// The probability that the model gave to a move of at most this.
    pub cdf: Option<f64>,
    /// The rule's value.
    pub score: Option<f64>,
}

/// A prediction among its round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// 1 for the best to 0, higher is better.
    pub relative: f64,
    /// 1 for the best raw score, and so on; `None` without a valid answer. Equals share the better rank.
    pub rank: Option<usize>,
    /// How many have a raw score.
    pub valid: usize,
    /// How many were asked, or ought to have been.
    pub field: usize,
    /// The best raw score.
    pub best: f64,
    /// The median of the raw scores.
    pub median: f64,
    /// What raw scores are capped at; `None` for rules that can be negative.
    pub cap: Option<f64>,
    /// The worst raw score after capping, with which those without a valid answer count.
    pub worst: f64,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: f64,
}

/// Explains the score of the prediction at `index`, by scoring the whole round as [`score_round`] does.
pub fn explain<A: StoredAnswer>(
    round: &SettledRound<'_, A>,
    index: usize,
    settlement: &SettlementSettings,
    settings: &ScoreSettings,
) -> Explanation {
    let explanation = without_scores(round, index, settlement, settings);
    match score_round(round.question, round.answers, round.steps, settings) {
        RoundOutcome::Void { reason } => Explanation { void: Some(reason), ..explanation },
        RoundOutcome::Scored { predictions, .. } => explanation.with_score(index, &predictions, settings),
    }
}

/// Explains the score of one prediction by itself: the only one in `round`. Its place is not known: see [`Place::among`].
pub fn explain_alone<A: StoredAnswer>(
    round: &SettledRound<'_, A>,
    settlement: &SettlementSettings,
    settings: &ScoreSettings,
) -> Explanation {
    let explanation = without_scores(round, 0, settlement, settings);
    match score_alone(round.question, &round.answers[0], round.steps, settings) {
        Ok(own) => explanation.with_own(&own),
        Err(unreadable) => Explanation { left_out: Some(unreadable.to_string()), ..explanation },
    }
}

/// The moves, and what the prediction at `index` says of them.
fn without_scores<A: StoredAnswer>(
    round: &SettledRound<'_, A>,
    index: usize,
    settlement: &SettlementSettings,
    settings: &ScoreSettings,
) -> Explanation {
    let expected = Expected::from(round.question);
    let answer = round.answers[index].as_ref().and_then(|answer| answer.answer(&expected).ok());
    let steps = round
        .question
        .steps
        .iter()
        .map(|&step| {
            let answered = answer.as_ref().and_then(|answer| answer.steps.iter().find(|it| it.step == step));
            StepView { round, settlement, settings, step, answered }.explain()
        })
        .collect();
    Explanation {
        aggregation: settings.aggregation,
        scale: settings.scale_of(&round.question.asset),
        raw: None,
        failure: None,
        left_out: None,
        place: None,
        void: None,
        steps,
    }
}

impl Explanation {
    fn with_score(
        self,
        index: usize,
        round: &[Result<PredictionScore, UnreadableAnswer>],
        settings: &ScoreSettings,
    ) -> Self {
        let own = match &round[index] {
            Ok(own) => own,
            Err(unreadable) => return Explanation { left_out: Some(unreadable.to_string()), ..self },
        };
        let raw: Vec<Option<f64>> = round.iter().flatten().map(|prediction| prediction.raw).collect();
        let index = round[..index].iter().flatten().count();
        Explanation { place: Place::among(&raw, index, settings), ..self.with_own(own) }
    }

    fn with_own(mut self, own: &PredictionScore) -> Self {
        for step in &mut self.steps {
            step.mean = own.steps.iter().find(|scored| scored.step == step.step).map(|scored| scored.mean);
        }
        Explanation { raw: own.raw, failure: own.failure.clone(), ..self }
    }
}

impl Place {
    /// The place of the prediction at `index` among the raw scores of its round, `None` for those without; `None` where nobody
    /// has one.
    pub fn among(raw: &[Option<f64>], index: usize, settings: &ScoreSettings) -> Option<Self> {
        relative_scores(raw, settings.cap()).map(|field| place(index, raw, &field))
    }
}

fn place(index: usize, raw: &[Option<f64>], field: &RelativeScores) -> Place {
    let valid = || raw.iter().flatten();
    let rank = raw[index].map(|own| 1 + valid().filter(|&&other| other < own).count());
    Place {
        relative: field.scores[index],
        rank,
        valid: valid().count(),
        field: raw.len(),
        best: field.best,
        median: field.median,
        cap: field.cap,
        worst: field.worst,
        q95: field.q95,
    }
}

/// What is known of one step size of one prediction.
struct StepView<'a, A> {
    round: &'a SettledRound<'a, A>,
    settlement: &'a SettlementSettings,
    settings: &'a ScoreSettings,
    step: Span,
    answered: Option<&'a StepAnswer>,
}

impl<A> StepView<'_, A> {
    fn explain(&self) -> ExplainedStep {
        let settled = self.round.steps.iter().find(|settled| settled.step == self.step);
        let count = self.round.question.horizon.divided_by(self.step);
        let increments: Vec<ExplainedIncrement> =
            (0..count).map(|place| self.increment(place, settled)).collect();
        let left_out = settled.is_none().then(|| "prices are missing for over half of its moves".to_owned());
        ExplainedStep { step: self.step, mean: None, left_out, increments }
    }

    fn increment(&self, place: usize, settled: Option<&SettledStep>) -> ExplainedIncrement {
        let instant = |k: usize| self.round.question.performed_at + self.step.times(k as u32);
        let price = |instant| self.settlement.price_at(self.round.closes, instant);
        let (from, to) = (instant(place), instant(place + 1));
        let (from_price, to_price) = (price(from), price(to));
        let move_ = settled.and_then(|settled| settled.increments[place]).map(|increment| increment.move_);
        let density = self.answered.and_then(|answered| answered.densities.get(place));
        let judged = density.zip(move_);
        ExplainedIncrement {
            from,
            to,
            from_price,
            to_price,
            move_,
            left_out: left_out(from, from_price, to, to_price),
            cdf: judged.map(|(density, x)| density.cdf(x)),
            score: judged.map(|(density, x)| self.score(density, x)),
        }
    }

    fn score(&self, density: &Density, x: f64) -> f64 {
        self.settings.rule.score(density, x, &self.round.question.asset, self.step)
    }
}

fn left_out(
    from: Timestamp,
    from_price: Option<PricePoint>,
    to: Timestamp,
    to_price: Option<PricePoint>,
) -> Option<String> {
    match (from_price, to_price) {
        (Some(start), Some(end)) if start.at == end.at => Some("one and the same price at both ends".into()),
        (Some(_), Some(_)) => None,
        (None, Some(_)) => Some(format!("no price for {}", in_words(from))),
        (Some(_), None) => Some(format!("no price for {}", in_words(to))),
        (None, None) => Some(format!("no price for {} and for {}", in_words(from), in_words(to))),
    }
}

fn in_words(instant: Timestamp) -> String {
    instant.format("%H:%M:%S").to_string()
}

fn seconds<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(span.as_secs())
}

#[cfg(test)]
mod tests {
    use domain::{Asset, CrunchId, Method, Price, Target, TimestampExt};

    use super::*;
    use crate::{Settlement, settle};

    const SETTLEMENT: SettlementSettings = SettlementSettings::new(Span::minutes(1));

    fn question(steps: &[Span]) -> Question {
        let (crunch, asset): (CrunchId, Asset) = ("condor".parse().unwrap(), "BTC".parse().unwrap());
        let start = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        let horizon = Span::minutes(10);
        Question::new(&crunch, asset, horizon, steps.to_vec(), Method::PredictAll, Target::PriceChange, start)
    }

    /// A close each minute of ten, one more each time, but for the `missing` minutes.
    fn closes(question: &Question, missing: &[u32]) -> Vec<PricePoint> {
        let kept = (0..=10).filter(|minute| !missing.contains(minute));
        kept.map(|minute| PricePoint {
            at: question.performed_at + Span::minutes(minute),
            price: Price::new(100.0 + f64::from(minute)).unwrap(),
        })
        .collect()
    }

    /// A normal of this scale for every increment of every step.
    fn answer(question: &Question, scale: f64) -> String {
        let density =
            format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": 1, "scale": {scale:?}}}}}"#);
        let lists = question.steps.iter().map(|&step| {
            let count = question.horizon.divided_by(step);
            format!(r#""{}": [{}]"#, step.as_secs(), vec![density.as_str(); count].join(", "))
        });
        format!("{{{}}}", lists.collect::<Vec<_>>().join(", "))
    }

    fn explanations(question: &Question, missing: &[u32], answers: &[Option<&str>]) -> Vec<Explanation> {
        let closes = closes(question, missing);
        let late = question.resolves_at() + Span::days(1);
        let Settlement::Settled(steps) = settle(question, &closes, &SETTLEMENT, late, Some(late)) else {
            panic!()
        };
        let round = SettledRound { question, closes: &closes, steps: &steps, answers };
        let settings = ScoreSettings::with_rule("crps").unwrap();
        (0..answers.len()).map(|index| explain(&round, index, &SETTLEMENT, &settings)).collect()
    }

    #[test]
    fn every_increment_has_its_prices_its_move_its_cdf_and_its_score() {
        let question = question(&[Span::minutes(5)]);
        let explained = &explanations(&question, &[], &[Some(&answer(&question, 4.0))])[0];
        let [step] = &explained.steps[..] else { panic!() };
        assert_eq!(step.increments.len(), 2);
        let second = &step.increments[1];
        let price = |price: Option<PricePoint>| price.unwrap().price.value();
        assert_eq!((second.from - question.performed_at).num_minutes(), 5);
        assert_eq!((price(second.from_price), price(second.to_price)), (105.0, 110.0));
        assert_eq!((second.move_, second.left_out.as_deref()), (Some(5.0), None));
        // One standard deviation above the mean.
        assert!((second.cdf.unwrap() - 0.841_344_746_068_542_9).abs() < 1e-15);
        let scores: Vec<f64> = step.increments.iter().filter_map(|increment| increment.score).collect();
        assert_eq!(step.mean, Some((scores[0] + scores[1]) / 2.0));
        assert_eq!(explained.raw, step.mean);
    }

    #[test]
    fn what_is_left_out_says_why() {
        let question = question(&[Span::minutes(1), Span::minutes(2)]);
        let text = answer(&question, 1.0);
        let explained = &explanations(&question, &[2, 3], &[Some(&text)])[0];
        let reasons = |step: usize| -> Vec<Option<&str>> {
            explained.steps[step].increments.iter().map(|increment| increment.left_out.as_deref()).collect()
        };
        let (second, third) = (Some("no price for 00:02:00"), Some("no price for 00:03:00"));
        let both = Some("no price for 00:02:00 and for 00:03:00");
        assert_eq!(reasons(0)[..5], [None, second, both, third, None]);
        assert_eq!(reasons(1), [second, second, None, None, None]);
        for increment in explained.steps.iter().flat_map(|step| &step.increments) {
            assert_eq!(increment.left_out.is_none(), increment.score.is_some());
        }
    }

    #[test]
    fn one_price_at_both_ends_is_a_reason_too() {
        let minute = |minute: u32| question(&[Span::minutes(1)]).performed_at + Span::minutes(minute);
        let point = |at| Some(PricePoint { at, price: Price::new(100.0).unwrap() });
        let reason = left_out(minute(1), point(minute(0)), minute(2), point(minute(0)));
        assert_eq!(reason.as_deref(), Some("one and the same price at both ends"));
        assert_eq!(left_out(minute(1), point(minute(0)), minute(2), point(minute(2))), None);
    }

    #[test]
    fn a_step_that_is_left_out_as_a_whole_has_no_score() {
        let question = question(&[Span::minutes(1), Span::minutes(10)]);
        let explained = &explanations(&question, &[2, 4, 6], &[Some(&answer(&question, 1.0))])[0];
        let [minutes, whole] = &explained.steps[..] else { panic!() };
        assert_eq!(minutes.left_out.as_deref(), Some("prices are missing for over half of its moves"));
        assert_eq!(minutes.mean, None);
        assert!(minutes.increments.iter().all(|increment| increment.score.is_none()));
        assert_eq!((whole.left_out.as_deref(), whole.mean), (None, explained.raw));
    }

    #[test]
    fn a_place_says_what_the_relative_score_is_made_of() {
        let question = question(&[Span::minutes(1)]);
        let scales = [1.0, 2.0, 3.0, 1000.0];
        let texts = scales.map(|scale| answer(&question, scale));
        let mut answers: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        answers.push(None);
        let all = explanations(&question, &[], &answers);
        let places: Vec<&Place> = all.iter().map(|explained| explained.place.as_ref().unwrap()).collect();
        let ranks: Vec<Option<usize>> = places.iter().map(|place| place.rank).collect();
        assert_eq!(ranks, [Some(1), Some(2), Some(3), Some(4), None]);
        let raw: Vec<f64> = all.iter().filter_map(|explained| explained.raw).collect();
        for place in places {
            assert_eq!((place.valid, place.field, place.best), (4, 5, raw[0]));
            assert_eq!(place.median, (raw[1] + raw[2]) / 2.0);
            assert_eq!(place.cap, Some(10.0 * place.median));
            assert_eq!(place.worst, 10.0 * place.median, "the worst is capped");
        }
        let second = all[1].place.as_ref().unwrap();
        assert_eq!(second.relative, (second.q95 - raw[1]) / (second.q95 - second.best));
        let absent = all[4].place.as_ref().unwrap();
        assert_eq!((all[4].raw, absent.relative), (None, 0.0));
        assert!(all[4].steps[0].increments.iter().all(|it| it.move_.is_some() && it.cdf.is_none()));
    }

    #[test]
    fn a_prediction_explained_alone_is_explained_as_in_its_round_but_for_its_place() {
        let question = question(&[Span::minutes(1), Span::minutes(2)]);
        let texts = [1.0, 2.0, 1000.0].map(|scale| answer(&question, scale));
        let infinite = texts[0].replace("norm\", \"params\": {", "t\", \"params\": {\"df\": 0.4, ");
        let mut answers: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        answers.extend([None, Some(infinite.as_str()), Some("no answer")]);
        let closes = closes(&question, &[3]);
        let late = question.resolves_at() + Span::days(1);
        let Settlement::Settled(steps) = settle(&question, &closes, &SETTLEMENT, late, Some(late)) else {
            panic!()
        };
        let settings = ScoreSettings::with_rule("crps").unwrap();
        let together = explanations(&question, &[3], &answers);
        let readable = &together[..together.len() - 1];
        let raw: Vec<Option<f64>> = readable.iter().map(|explained| explained.raw).collect();
        for (index, explained) in together.iter().enumerate() {
            let round = SettledRound {
                question: &question,
                closes: &closes,
                steps: &steps,
                answers: &answers[index..=index],
            };
            let alone = explain_alone(&round, &SETTLEMENT, &settings);
            assert_eq!(alone.place, None);
            let place = readable.get(index).and_then(|_| Place::among(&raw, index, &settings));
            assert_eq!(&Explanation { place, ..alone }, explained, "{index}");
        }
        assert_eq!(Place::among(&[None, None], 0, &settings), None);
    }

    #[test]
    fn equals_share_the_better_rank() {
        let question = question(&[Span::minutes(1)]);
        let texts = [2.0, 1.0, 2.0, 3.0].map(|scale| answer(&question, scale));
        let answers: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        let ranks = explanations(&question, &[], &answers).into_iter().map(|it| it.place.unwrap().rank);
        assert_eq!(ranks.collect::<Vec<_>>(), [Some(2), Some(1), Some(2), Some(4)]);
    }

    #[test]
    fn a_score_that_failed_shows_its_reason_and_a_round_without_any_is_void() {
        let question = question(&[Span::minutes(1)]);
        let infinite =
            answer(&question, 1.0).replace("norm\", \"params\": {", "t\", \"params\": {\"df\": 0.4, ");
        let good = answer(&question, 1.0);
        let all = explanations(&question, &[], &[Some(&infinite), Some(&good)]);
        assert!(all[0].failure.as_ref().unwrap().contains("is not finite: inf"), "{:?}", all[0].failure);
        assert_eq!((all[0].raw, all[0].place.as_ref().unwrap().relative), (None, 0.0));
        assert_eq!((all[0].steps[0].mean, all[0].steps[0].increments[0].score), (None, Some(f64::INFINITY)));
        let alone = &explanations(&question, &[], &[Some(&infinite)])[0];
        assert!(alone.place.is_none() && alone.void.as_ref().unwrap().starts_with("no valid answer"));
    }

    #[test]
    fn in_json_spans_are_seconds_and_the_move_is_called_so() {
        let question = question(&[Span::minutes(10)]);
        let explained = &explanations(&question, &[], &[Some(&answer(&question, 1.0))])[0];
        let json = serde_json::to_value(explained).unwrap();
        assert_eq!(json["steps"][0]["step"], 600);
        assert_eq!(json["steps"][0]["increments"][0]["move"], 10.0);
        assert_eq!(json["place"]["rank"], 1);
    }
}
