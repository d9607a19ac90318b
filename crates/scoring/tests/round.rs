//! Whole rounds: every prediction in the field against the same moves.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use domain::{Asset, CrunchId, Method, Price, PricePoint, Question, Span, Target, Timestamp, TimestampExt};
use scoring::{
    Aggregation, DEFAULT_OUTLIER_CAP, Expected, Grid, GridSettings, Limits, PackedAnswer, PredictionScore,
    RoundOutcome, RuleSettings, ScoreSettings, SettledStep, Settlement, SettlementSettings, StepMean,
    grid_crps, pack_answer, parse_density, rule, score_round, settle,
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
    let settings = SettlementSettings::new(Span::minutes(1));
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
    ScoreSettings::with_rule("crps").unwrap()
}

fn normals(count: usize, scale: f64) -> String {
    let density =
        format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": 0, "scale": {scale:e}}}}}"#);
    format!("[{}]", vec![density; count].join(", "))
}

/// Of all that can be read.
fn scores(question: &Question, answers: &[Option<&str>]) -> Vec<PredictionScore> {
    scores_under(&settings(), question, answers)
}

fn scores_under(
    settings: &ScoreSettings,
    question: &Question,
    answers: &[Option<&str>],
) -> Vec<PredictionScore> {
    match score_round(question, answers, &all_settled(question), settings) {
        RoundOutcome::Scored { predictions, .. } => predictions.into_iter().flatten().collect(),
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

/// It was accepted once: that it cannot be read now is a fault of ours, and none of its model or of the others.
#[test]
fn a_round_is_scored_as_if_a_stored_answer_that_cannot_be_read_were_not_there() {
    let question = question(&[Span::minutes(5)]);
    let (good, fair, poor) = (normals(12, 0.003), normals(12, 0.004), normals(12, 0.006));
    let scored = |answers: &[Option<&str>]| match score_round(
        &question,
        answers,
        &all_settled(&question),
        &settings(),
    ) {
        RoundOutcome::Scored { best, q95, predictions } => ((best, q95), predictions),
        void => panic!("{void:?}"),
    };
    let (without, others) = scored(&[Some(&good), Some(&fair), None, Some(&poor)]);
    let (with, mut all) = scored(&[Some(&good), Some("[]"), Some(&fair), None, Some(&poor)]);
    let left_out = all.remove(1).unwrap_err().to_string();
    assert_eq!(left_out, "the stored answer is not accepted: expected 12 densities, got 0");
    assert_eq!((with, all), (without, others));
}

/// Limits may be tightened while a round is open, or before one is scored again.
#[test]
fn what_was_accepted_once_counts_however_large_it_is() {
    let question = question(&[Span::minutes(5)]);
    let (one, mut nested) = (normals(1, 0.003), normals(1, 0.003));
    for _ in 0..10 {
        let inner = nested.trim_matches(['[', ']']);
        nested = format!(
            r#"[{{"type": "mixture", "components": [{{"weight": 1, "density": {inner}}}, {{"weight": 1, "density": {}}}]}}]"#,
            one.trim_matches(['[', ']'])
        );
    }
    let nested =
        format!("[{}]", [nested.strip_prefix('[').unwrap().strip_suffix(']').unwrap(); 12].join(","));
    let all = scores(&question, &[Some(&normals(12, 0.003)), Some(&nested)]);
    assert_eq!(all[1].failure, None);
    assert!((all[1].raw.unwrap() / all[0].raw.unwrap() - 1.0).abs() < 1e-9, "all leaves are the same");
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
    for prediction in predictions.iter().flatten() {
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

#[test]
fn a_sum_counts_every_increment_alike_and_a_scale_divides_it() {
    let question = question(&[Span::minutes(30), Span::minutes(5)]);
    let answer = format!(r#"{{"300": {}, "1800": {}}}"#, normals(12, 0.003), normals(2, 0.009));
    let mean = scores(&question, &[Some(&answer)]).remove(0);
    let mut in_sum = ScoreSettings { aggregation: Aggregation::Sum, ..settings() };
    let sum = scores_under(&in_sum, &question, &[Some(&answer)]).remove(0);
    let total = |means: &[StepMean]| means.iter().map(|s| s.mean * f64::from(s.increments)).sum::<f64>();
    assert!((sum.raw.unwrap() / total(&mean.steps) - 1.0).abs() < 1e-14);
    assert_eq!(sum.steps, mean.steps, "steps are shown as means all the same");

    in_sum.asset_scales.insert(question.asset.clone(), 0.004);
    in_sum.asset_scales.insert("ETH".parse().unwrap(), 7.0);
    let scaled = scores_under(&in_sum, &question, &[Some(&answer)]).remove(0);
    assert_eq!(scaled.raw, Some(sum.raw.unwrap() / 0.004));
    assert_eq!((scaled.relative, scaled.steps), (sum.relative, sum.steps));
}

#[test]
fn sums_and_means_leave_out_the_same_increments() {
    let question = question(&[Span::minutes(5)]);
    let Settlement::Settled(with_gap) = settled(&question, 13..17) else { panic!() };
    let answer = normals(12, 0.003);
    let raw = |aggregation| {
        let settings = ScoreSettings { aggregation, ..settings() };
        match score_round(&question, &[Some(&answer)], &with_gap, &settings) {
            RoundOutcome::Scored { predictions, .. } => predictions[0].as_ref().unwrap().raw.unwrap(),
            void => panic!("{void:?}"),
        }
    };
    assert!((raw(Aggregation::Sum) / raw(Aggregation::Mean) - 10.0).abs() < 1e-13);
}

#[test]
fn under_the_log_score_certainty_fails_and_outliers_are_not_capped() {
    let question = question(&[Span::minutes(5)]);
    let certain = format!("[{}]", [r#"{"type": "buckets", "probabilities": {"0.001": 1}}"#; 12].join(","));
    let answers = [normals(12, 0.004), normals(12, 0.006), normals(12, 1e50), certain];
    let answers: Vec<Option<&str>> = answers.iter().map(|answer| Some(answer.as_str())).collect();
    let settings = ScoreSettings::with_rule("log_score").unwrap();
    let scores = scores_under(&settings, &question, &answers);
    assert!(scores[0].raw.unwrap() < 0.0 && scores[0].relative == 1.0);
    assert!(scores[1].relative > 0.99, "115 nats away the absurd one counts as it is");
    assert_eq!((scores[2].relative, scores[3].relative), (0.0, 0.0));
    assert_eq!((scores[3].raw, &scores[3].steps[..]), (None, &[][..]));
    let failure = scores[3].failure.as_deref().unwrap();
    assert!(failure.starts_with("the log_score score of density [0] of step 5m at "), "{failure}");
    assert!(failure.ends_with("is not finite: inf"), "{failure}");
}

#[test]
fn under_the_grid_rule_each_step_has_bounds_of_its_own() {
    let question = question(&[Span::minutes(30), Span::minutes(5)]);
    let grid = GridSettings {
        bounds: [(question.asset.clone(), 0.02)].into_iter().collect(),
        ..GridSettings::default()
    };
    let rule = rule("crps_grid", &RuleSettings { crps_grid: grid }).unwrap();
    let answer = format!(r#"{{"300": {}, "1800": {}}}"#, normals(12, 0.003), normals(2, 0.009));
    let on_grid = scores_under(&ScoreSettings::new(rule), &question, &[Some(&answer)]).remove(0);
    let density =
        parse_density(normals(1, 0.009)[1..].trim_end_matches(']').as_bytes(), &Limits::NONE).unwrap();
    let bound = 0.02 * 6.0_f64.sqrt();
    let moves = all_settled(&question)[0].increments.clone();
    let expected: Vec<f64> = moves
        .iter()
        .map(|increment| {
            grid_crps(&density, increment.unwrap().move_, Grid::new(-bound, bound, 1024).unwrap())
        })
        .collect();
    assert_eq!(on_grid.steps[0].mean, (expected[0] + expected[1]) / 2.0);
    let exact = scores(&question, &[Some(&answer)]).remove(0);
    assert!((on_grid.raw.unwrap() / exact.raw.unwrap() - 1.0).abs() < 0.02, "it approximates the CRPS");
}

#[test]
fn an_asset_that_the_grid_rule_has_no_bound_for_has_no_scores() {
    let question = question(&[Span::minutes(5)]);
    let rule = rule("crps_grid", &RuleSettings::default()).unwrap();
    let answer = normals(12, 0.003);
    match score_round(&question, &[Some(&answer)], &all_settled(&question), &ScoreSettings::new(rule)) {
        RoundOutcome::Void { reason } => {
            assert!(
                reason
                    .ends_with("the rule crps_grid has no settings for BTC: add them in [scoring.crps_grid]"),
                "{reason}"
            );
        }
        scored => panic!("{scored:?}"),
    }
}

#[test]
fn packed_answers_score_as_their_texts_do_and_a_damaged_one_is_left_out_alone() {
    let (question, answers) = hundred_answers();
    let valid: Vec<&str> =
        answers.iter().flatten().map(String::as_str).filter(|text| *text != "[]").collect();
    let texts: Vec<Option<&str>> = std::iter::once(None).chain(valid.into_iter().map(Some)).collect();
    let packed = |text: &str| {
        pack_answer(text.as_bytes(), &Expected::from(&question), &Limits::default()).unwrap().1.into_bytes()
    };
    let mut stored: Vec<Option<Vec<u8>>> = texts.iter().map(|text| text.map(packed)).collect();
    let settled = all_settled(&question);
    let scores = |stored: &[Option<Vec<u8>>]| {
        let answers: Vec<Option<PackedAnswer<&[u8]>>> =
            stored.iter().map(|bytes| bytes.as_deref().map(PackedAnswer::new)).collect();
        score_round(&question, &answers, &settled, &settings())
    };
    assert_eq!(scores(&stored), score_round(&question, &texts, &settled, &settings()));

    stored[7].as_mut().unwrap().pop();
    let RoundOutcome::Scored { predictions, .. } = scores(&stored) else { panic!() };
    let left_out = predictions[7].as_ref().unwrap_err().to_string();
    assert!(left_out.starts_with("the stored answer is damaged: "), "{left_out}");
    let valid = predictions.iter().flatten().filter(|prediction| prediction.raw.is_some());
    assert_eq!(valid.count(), texts.len() - 2);
}

#[test]
fn a_model_alone_and_two_that_are_equal_get_one_each() {
    let question = question(&[Span::minutes(5)]);
    let (answer, wide) = (normals(12, 0.003), normals(12, 1e50));
    let relative = |answers: &[Option<&str>]| -> Vec<f64> {
        scores(&question, answers).iter().map(|score| score.relative).collect()
    };
    assert_eq!(relative(&[Some(&answer)]), [1.0]);
    assert_eq!(relative(&[Some(&wide)]), [1.0], "it is the best and the worst");
    assert_eq!(relative(&[Some(&answer), Some(&answer)]), [1.0, 1.0]);
    assert_eq!(relative(&[None, Some(&answer), None, Some(&answer)]), [0.0, 1.0, 0.0, 1.0]);
}

/// A hundred models of which one answers absurdly wide and six are absent: the 95 % quantile is the cap, ten times the
/// median, so the sane ones share the upper part of the scale; without the cap nothing would tell them apart.
#[test]
fn one_absurd_answer_does_not_flatten_a_field_of_a_hundred() {
    let question = question(&[Span::minutes(5)]);
    let mut sane: Vec<String> = (0..93).map(|k| normals(12, 0.004 + 0.0003 * f64::from(k))).collect();
    sane.push(normals(12, 1e50));
    let mut answers: Vec<Option<&str>> = sane.iter().map(|answer| Some(answer.as_str())).collect();
    answers.extend([None; 6]);
    let relative = |outlier_cap| -> Vec<f64> {
        let settings = ScoreSettings { outlier_cap, ..settings() };
        scores_under(&settings, &question, &answers).iter().map(|score| score.relative).collect()
    };
    let capped = relative(DEFAULT_OUTLIER_CAP);
    assert_eq!(capped[0], 1.0);
    assert!(capped[..93].windows(2).all(|pair| pair[0] > pair[1]), "each is told from the next: {capped:?}");
    let spread = capped[0] - capped[92];
    assert!((0.12..0.13).contains(&spread), "{spread}");
    assert!(capped[93..].iter().all(|&score| score == 0.0));
    let flat = relative(f64::INFINITY);
    assert!(flat[..93].iter().all(|&score| 1.0 - score < 1e-40), "{flat:?}");
}

/// A large round of several steps and of every kind of answer and outcome.
fn hundred_answers() -> (Question, Vec<Option<String>>) {
    let question = question(&[Span::minutes(30), Span::minutes(5)]);
    let mixture = |k: f64, count: usize| {
        let density = format!(
            r#"{{"type": "mixture", "components": [
                {{"density": {{"type": "scipy", "name": "t", "params": {{"df": {:e}, "scale": 0.002}}}}, "weight": {k}}},
                {{"density": {{"type": "scipy", "name": "laplace", "params": {{"scale": {:e}}}}}, "weight": 7}}]}}"#,
            0.7 + k / 9.0,
            0.001 + k / 1e4,
        );
        format!("[{}]", vec![density; count].join(","))
    };
    let answer = |k: u32| match k % 10 {
        0 => None,
        1 => Some("[]".to_owned()),
        2 => Some(format!(r#"{{"300": {}, "1800": {}}}"#, normals(12, 1e50), normals(2, 1e50))),
        _ => {
            let scale = f64::from(k + 1);
            Some(format!(r#"{{"300": {}, "1800": {}}}"#, mixture(scale, 12), mixture(scale, 2)))
        }
    };
    (question, (0..100).map(answer).collect())
}

#[test]
fn the_bits_of_a_large_round_of_several_steps_are_the_same_on_any_number_of_threads() {
    let (question, answers) = hundred_answers();
    let answers: Vec<Option<&str>> = answers.iter().map(Option::as_deref).collect();
    for id in ["crps", "log_score", "mean_density"] {
        let on_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let settings = ScoreSettings::with_rule(id).unwrap();
            let scores = pool.install(|| scores_under(&settings, &question, &answers));
            let bits = |score: &PredictionScore| {
                let steps: Vec<u64> = score.steps.iter().map(|step| step.mean.to_bits()).collect();
                (score.raw.map(f64::to_bits), score.relative.to_bits(), steps, score.failure.clone())
            };
            scores.iter().map(bits).collect::<Vec<_>>()
        };
        let one = on_threads(1);
        assert_eq!(one.iter().filter(|(raw, ..)| raw.is_some()).count(), 80, "{id}");
        assert_eq!(one, on_threads(4), "{id}");
        assert_eq!(one, on_threads(1), "{id}: a rerun");
    }
}
