//! A prediction's score relative to its round.

/// The scores of a round, relative to its field.
#[derive(Debug, Clone, PartialEq)]
pub struct RelativeScores {
    /// The best raw score.
    pub best: f64,
    /// The median of the valid raw scores.
    pub median: f64,
    /// What raw scores were capped at; `None` without an outlier cap.
    pub cap: Option<f64>,
    /// The worst raw score after capping, with which those without a valid answer count.
    pub worst: f64,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: f64,
    /// In the order of the raw scores: 1 for the best to 0 for the worst 5 % and for those without a valid answer.
    pub scores: Vec<f64>,
}

/// Puts raw scores (lower is better, `None` without a valid answer) on a scale from 0 to 1, higher is better.
///
/// With an `outlier_cap`, raw scores are first capped at that many times their median. Those without a valid answer
/// count with the worst capped score. `None` when nobody has a valid answer.
pub fn relative_scores(raw: &[Option<f64>], outlier_cap: Option<f64>) -> Option<RelativeScores> {
    let mut sorted: Vec<f64> = raw.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let median = quantile(&sorted, 0.5)?;
    let cap = outlier_cap.map(|factor| factor * median);
    let capped = |score: f64| cap.map_or(score, |cap| score.min(cap));
    sorted.iter_mut().for_each(|score| *score = capped(*score));
    let (best, worst) = (*sorted.first()?, *sorted.last()?);
    sorted.resize(raw.len(), worst);
    let q95 = quantile(&sorted, 0.95)?;
    let relative =
        |score: f64| if q95 == best { 1.0 } else { ((q95 - score) / (q95 - best)).clamp(0.0, 1.0) };
    let scores = raw.iter().map(|score| score.map_or(0.0, |score| relative(capped(score)))).collect();
    Some(RelativeScores { best, median, cap, worst, q95, scores })
}

/// The quantile between the order statistics on both sides, linearly (type 7 of Hyndman and Fan 1996).
fn quantile(sorted: &[f64], level: f64) -> Option<f64> {
    let place = level * sorted.len().checked_sub(1)? as f64;
    let (below, share) = (place.floor() as usize, place.fract());
    let low = sorted[below];
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_of_one_and_a_field_of_equals_get_one_each() {
        assert_eq!(relative_scores(&[Some(3.0)], Some(10.0)).unwrap().scores, [1.0]);
        assert_eq!(
            relative_scores(&[Some(3.0), None, Some(3.0)], Some(10.0)).unwrap().scores,
            [1.0, 0.0, 1.0]
        );
        assert_eq!(relative_scores(&[Some(0.0), None], Some(10.0)).unwrap().scores, [1.0, 0.0]);
    }

    #[test]
    fn nobody_valid_is_no_score_for_anybody() {
        assert_eq!(relative_scores(&[None, None], Some(10.0)), None);
        assert_eq!(relative_scores(&[], None), None);
    }

    #[test]
    fn a_missing_answer_scores_as_low_as_the_worst_and_never_better() {
        let scores = relative_scores(&[Some(1.0), Some(2.0), Some(5.0), None], Some(10.0)).unwrap();
        assert_eq!((scores.best, scores.q95), (1.0, 5.0));
        assert_eq!(scores.scores, [1.0, 0.75, 0.0, 0.0]);
    }

    #[test]
    fn one_absurd_answer_does_not_flatten_the_others() {
        let mut raw: Vec<Option<f64>> = (0..93).map(|k| Some(1.0 + f64::from(k) / 93.0)).collect();
        raw.push(Some(1e50));
        raw.extend([None; 6]);
        let spread = |outlier_cap| {
            let scores = relative_scores(&raw, outlier_cap).unwrap().scores;
            scores[0] - scores[92]
        };
        assert!(spread(Some(10.0)) > 0.05, "{}", spread(Some(10.0)));
        assert!(spread(None) < 1e-12);
    }

    proptest! {
        #[test]
        fn moving_or_stretching_the_whole_field_changes_nothing(
            raw in prop::collection::vec(prop::option::of(0.0..10.0), 1..40),
            shift in 0.0..5.0,
            stretch in 0.1..10.0,
        ) {
            let before = relative_scores(&raw, None);
            let moved: Vec<_> = raw.iter().map(|score| score.map(|score| score * stretch + shift)).collect();
            let after = relative_scores(&moved, None);
            prop_assert_eq!(before.is_some(), after.is_some());
            if let (Some(before), Some(after)) = (before, after) && before.q95 - before.best > 1e-3 {
                for (a, b) in before.scores.iter().zip(&after.scores) {
                    prop_assert!((a - b).abs() < 1e-9);
                }
            }
        }
    }
}
