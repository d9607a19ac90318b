//! An answer as quantile bands, for fan charts.

use std::sync::Arc;

use domain::{AnswerBytes, Question, Span};
use scoring::{Density, Distribution, Expected, StoredAnswer, UnreadableAnswer};

/// The probabilities whose quantiles make the bands.
pub(crate) const LEVELS: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// The quantiles of one move at [`LEVELS`], in the unit of the round's target; `None` where one is not finite.
pub(crate) type Quantiles = [Option<f64>; LEVELS.len()];

/// The bands over one step size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepBands {
    /// The step size.
    pub(crate) step: Span,
    /// By increment, in the order of time.
    pub(crate) quantiles: Vec<Quantiles>,
}

/// The bands of a stored answer, by step size. Takes milliseconds for the longest answers: call it away from the runtime.
pub(crate) fn bands(question: &Question, answer: &AnswerBytes) -> Result<Vec<StepBands>, UnreadableAnswer> {
    let answer = answer.answer(&Expected::from(question))?;
    let steps = answer.steps.iter();
    Ok(steps.map(|step| StepBands { step: step.step, quantiles: all_quantiles(&step.densities) }).collect())
}

/// Consecutive densities that are one and the same are looked at once.
fn all_quantiles(densities: &[Arc<Density>]) -> Vec<Quantiles> {
    let mut all: Vec<Quantiles> = Vec::with_capacity(densities.len());
    for (place, density) in densities.iter().enumerate() {
        let previous = place.checked_sub(1).filter(|&previous| Arc::ptr_eq(&densities[previous], density));
        all.push(previous.map_or_else(|| quantiles(density), |previous| all[previous]));
    }
    all
}

fn quantiles(density: &Density) -> Quantiles {
    LEVELS.map(|level| Some(density.quantile(level)).filter(|quantile| quantile.is_finite()))
}

#[cfg(test)]
mod tests {
    use domain::{Asset, CrunchId, Method, Target, Timestamp};
    use scoring::{Limits, pack_answer};

    use super::*;

    fn question() -> Question {
        let (crunch, asset) = (CrunchId::new("condor").unwrap(), Asset::new("BTC").unwrap());
        let steps = vec![Span::minutes(20)];
        let at = Timestamp::UNIX_EPOCH;
        Question::new(&crunch, asset, Span::HOUR, steps, Method::Predict, Target::LogReturn, at)
    }

    #[test]
    fn bands_are_the_quantiles_of_each_increment() {
        let norm = |loc: f64| {
            format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": 2}}}}"#)
        };
        let text = format!("[{}, {}, {}]", norm(1.0), norm(1.0), norm(-3.0));
        let expected = Expected::from(&question());
        let (_, packed) = pack_answer(text.as_bytes(), &expected, &Limits::default()).unwrap();
        let bands = bands(&question(), &packed.into()).unwrap();
        assert_eq!((bands.len(), bands[0].step), (1, Span::minutes(20)));
        let [first, second, third] = bands[0].quantiles[..] else { panic!() };
        assert_eq!(first, second);
        let close =
            |quantile: Option<f64>, expected: f64| assert!((quantile.unwrap() - expected).abs() < 1e-12);
        close(first[2], 1.0);
        close(third[2], -3.0);
        // 0.05 and 0.95 lie 1.6449 standard deviations from the mean.
        close(first[0], 1.0 - 2.0 * 1.644_853_626_951_472_2);
        close(third[4], -3.0 + 2.0 * 1.644_853_626_951_472_2);
        assert!(first.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_answer_that_cannot_be_read_says_so() {
        assert!(bands(&question(), &vec![255, 1, 2].into()).is_err());
    }
}
