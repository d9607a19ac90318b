//! Whole rounds: every prediction in the field against the same moves.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use domain::{Asset, CrunchId, Method, Price, PricePoint, Question, Span, Target, Timestamp, TimestampExt};
use scoring::{
    DEFAULT_OUTLIER_CAP, Limits, PredictionScore, RoundOutcome, ScoreSettings, SettledStep, Settlement,
    SettlementSettings, rule, score_round, settle,
};

fn question(steps: &[Span]) -> Question {
    let (crunch, asset): (CrunchId, Asset) = ("condor".parse().unwrap(), "BTC".parse().unwrap());
    let start = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
    let method = if steps.len() == 1 { Method::Predict } else { Method::PredictAll };
    Question::new(&crunch, asset, Span::HOUR, steps.to_vec(), method, Target::LogReturn, start)
}

/// Closes of each minute on a zigzag of about one per mille, but for the `missing` ones.
fn settled(question: &Question, missing: std::ops::Range<u32>) -> Settlement {
    let closes: Vec<PricePoint> = (0..=60)
        .filter(|minute| !missing.contains(minute))
        .map(|minute| PricePoint {
            at: question.performed_at + Span::minutes(minute),
            price: Price::new(100.0 + 0.1 * f64::from(minute * 7 % 11)).unwrap(),
        })
        .collect();
    let settings = SettlementSettings { interval: Span::minutes(1), settle_timeout: Span::hours(6) };
    let much_later = question.resolves_at() + Span::hours(7);
    settle(question, &closes, &settings, much_later, Some(much_later))
}

fn all_settled(question: &Question) -> Vec<SettledStep> {
    match settled(question, 0..0) {
        Settlement::Settled(steps) => steps,
        other => panic!("{other:?}"),
    }
}

fn settings() -> ScoreSettings {
    ScoreSettings { rule: rule("crps").unwrap(), outlier_cap: DEFAULT_OUTLIER_CAP, limits: Limits::default() }
}

fn normals(count: usize, scale: f64) -> String {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": 0, "scale": {scale:e}}}}}"#);
    format!("[{}]", vec![density; count].join(", "))
}

fn scores(question: &Question, answers: &[Option<&str>]) -> Vec<PredictionScore> {
    match score_round(question, answers, &all_settled(question), &settings()) {
        RoundOutcome::Scored { predictions, .. } => predictions,
        void => panic!("{void:?}"),
    }
}

#[test]
fn the_sharp_and_right_beat_the_wide_and_the_missing_get_nothing() {
    let question = question(&[Span::minutes(5)]);
    let (good, wide) = (normals(12, 0.003), normals(12, 0.03));
    let scores = scores(&question, &[Some(&wide), None, Some(&good)]);
    assert!(scores[2].raw.unwrap() < scores[0].raw.unwrap());
    let relative: Vec<f64> = scores.iter().map(|score| score.relative).collect();
    assert_eq!(relative, [0.0, 0.0, 1.0]);
    assert_eq!((scores[1].raw, scores[1].failure.as_deref(), scores[1].steps.len()), (None, None, 0));
}

/// Trap 22: what fails never gets the best of a scale on which lower is better, nor another's number.
#[test]
fn an_answer_of_infinite_score_fails_with_its_reason_and_counts_as_the_worst() {
    let question = question(&[Span::minutes(5)]);
    let (good, fair) = (normals(12, 0.003), normals(12, 0.006));
    let heavy = good.replace(r#""norm""#, r#""t""#).replace(r#"{"loc""#, r#"{"df": 0.5, "loc""#);
    let scores = scores(&question, &[Some(&heavy), Some(&good), Some(&fair)]);
    assert_eq!((scores[0].raw, scores[0].relative), (None, 0.0));
    let failure = scores[0].failure.as_deref().unwrap();
    assert!(failure.starts_with("the crps score of density [0] of step 5m at "), "{failure}");
    assert!(failure.ends_with("is not finite: inf"), "{failure}");
    assert_eq!((scores[1].relative, scores[2].relative), (1.0, 0.0));
}

#[test]
fn a_stored_answer_that_is_no_longer_accepted_fails_alone() {
    let question = question(&[Span::minutes(5)]);
    let good = normals(12, 0.003);
    let scores = scores(&question, &[Some("[]"), Some(&good)]);
    assert_eq!(
        scores[0].failure.as_deref(),
        Some("the stored answer is not accepted: expected 12 densities, got 0")
    );
    assert_eq!(scores[1].relative, 1.0);
}

#[test]
fn a_round_without_a_valid_answer_is_void() {
    let question = question(&[Span::minutes(5)]);
    let settled = all_settled(&question);
    let void = |answers: &[Option<&str>]| match score_round(&question, answers, &settled, &settings()) {
        RoundOutcome::Void { reason } => reason,
        scored => panic!("{scored:?}"),
    };
    assert_eq!(void(&[None, None]), "no valid answer");
    assert_eq!(void(&[]), "no valid answer");
    assert!(void(&[None, Some("{}")]).starts_with("no valid answer; the first has no score: "));
}

/// Traps 20 and 24: an outage is left out for everybody, moves nothing else, and earns nobody anything.
#[test]
fn an_outage_leaves_the_same_increments_out_for_every_model() {
    let question = question(&[Span::minutes(5)]);
    let Settlement::Settled(with_gap) = settled(&question, 13..17) else { panic!() };
    let whole = all_settled(&question);
    // The close of minute 15 is away: increments 2 and 3 end or start there.
    let kept = |k: &usize| ![2, 3].contains(k);
    let expected: Vec<_> = (0..12).map(|k| whole[0].increments[k].filter(|_| kept(&k))).collect();
    assert_eq!(with_gap[0].increments, expected);

    let answer = normals(12, 0.003);
    let outcome = score_round(&question, &[Some(&answer), Some(&answer)], &with_gap, &settings());
    let RoundOutcome::Scored { predictions, .. } = outcome else { panic!() };
    for prediction in &predictions {
        assert_eq!((prediction.steps[0].increments, prediction.steps[0].left_out), (10, 2));
        assert!(prediction.raw.unwrap() > 0.0);
    }
}

/// Trap 24: without prices nobody scores, least of all best.
#[test]
fn a_round_whose_prices_never_came_is_void() {
    assert!(matches!(settled(&question(&[Span::minutes(5)]), 1..60), Settlement::Void { .. }));
}

#[test]
fn several_steps_count_alike_whatever_their_number_of_increments() {
    let question = question(&[Span::minutes(30), Span::minutes(5)]);
    let answer = format!(r#"{{"300": {}, "1800": {}}}"#, normals(12, 0.003), normals(2, 0.009));
    let score = &scores(&question, &[Some(&answer)])[0];
    let steps: Vec<(Span, u32)> = score.steps.iter().map(|step| (step.step, step.increments)).collect();
    assert_eq!(steps, [(Span::minutes(30), 2), (Span::minutes(5), 12)]);
    assert_eq!(score.raw, Some((score.steps[0].mean + score.steps[1].mean) / 2.0));
}

/// A hundred models of which one answers absurdly wide and six are absent.
#[test]
fn one_absurd_answer_does_not_flatten_a_field_of_a_hundred() {
    let question = question(&[Span::minutes(5)]);
    let sane: Vec<String> = (0..93).map(|k| normals(12, 0.002 + 0.0003 * f64::from(k))).collect();
    let absurd = normals(12, 1e50);
    let mut answers: Vec<Option<&str>> = sane.iter().map(|answer| Some(answer.as_str())).collect();
    answers.push(Some(&absurd));
    answers.extend([None; 6]);
    let relative = |outlier_cap| -> Vec<f64> {
        let settings = ScoreSettings { outlier_cap, ..settings() };
        match score_round(&question, &answers, &all_settled(&question), &settings) {
            RoundOutcome::Scored { predictions, .. } => {
                predictions.iter().map(|score| score.relative).collect()
            }
            void => panic!("{void:?}"),
        }
    };
    let spread = |relative: &[f64]| 1.0 - relative[..93].iter().fold(1.0_f64, |low, &score| low.min(score));
    let capped = relative(DEFAULT_OUTLIER_CAP);
    // Seven of a hundred count with ten times the median, and so does the 95 % quantile.
    assert!(spread(&capped) > 0.1, "{}", spread(&capped));
    assert!(capped[93..].iter().all(|&score| score == 0.0));
    assert!(spread(&relative(f64::INFINITY)) < 1e-12);
}

#[test]
fn the_bits_are_the_same_on_any_number_of_threads_and_in_every_run() {
    let question = question(&[Span::minutes(5)]);
    let settled = all_settled(&question);
    let mixtures: Vec<String> = (1..40)
        .map(|k| {
            let k = f64::from(k);
            let density = format!(
                r#"{{"type": "mixture", "components": [
                    {{"density": {{"type": "scipy", "name": "t", "params": {{"df": {:e}, "scale": 0.002}}}}, "weight": {k}}},
                    {{"density": {{"type": "scipy", "name": "laplace", "params": {{"scale": {:e}}}}}, "weight": 7}}]}}"#,
                0.7 + k / 9.0,
                0.001 + k / 1e4,
            );
            format!("[{}]", vec![density; 12].join(","))
        })
        .collect();
    let answers: Vec<Option<&str>> = mixtures.iter().map(|answer| Some(answer.as_str())).collect();
    let on_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| score_round(&question, &answers, &settled, &settings()));
        let RoundOutcome::Scored { predictions, .. } = outcome else { panic!() };
        predictions
            .iter()
            .map(|score| (score.raw.unwrap().to_bits(), score.relative.to_bits()))
            .collect::<Vec<_>>()
    };
    let one = on_threads(1);
    assert_eq!(one, on_threads(4));
    assert_eq!(one, on_threads(1));
}
