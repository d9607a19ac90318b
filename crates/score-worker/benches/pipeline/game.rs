//! Questions and answers that are the same at each run.

use std::fmt::Write;

use domain::{
    CrunchId, Method, ModelId, Prediction, PredictionStatus, Question, Span, Target, Timestamp, TimestampExt,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use scoring::{Expected, Limits, pack_answer};

use crate::Result;

/// The standard deviation of a step's moves.
const MOVE: f64 = 0.002;

/// What a model answers: mixtures of two normals, as Python's `json.dumps` writes them.
#[derive(Clone, Copy)]
pub enum Numbers {
    /// In 6 significant digits, different in every step.
    SixDigits,
    /// All of a double, different in every step.
    Full,
    /// The same in every step, in 6 digits.
    Repeated,
}

/// The instant of the first question.
pub fn start() -> Result<Timestamp> {
    Ok(Timestamp::from_unix_seconds(1_747_699_200).ok_or("an instant")?)
}

/// A question about BTC.
pub fn question(horizon: Span, step: Span, performed_at: Timestamp) -> Result<Question> {
    let (crunch, asset): (CrunchId, _) = ("condor".parse()?, "BTC".parse()?);
    Ok(Question::new(&crunch, asset, horizon, vec![step], Method::Predict, Target::LogReturn, performed_at))
}

/// The text with which the model of this number answers a question.
pub fn text(question: &Question, numbers: Numbers, model: u64) -> String {
    let mut random = Random::from_seed(model);
    let count = question.steps.iter().map(|step| question.horizon.divided_by(*step)).sum();
    let densities = match numbers {
        Numbers::SixDigits => (0..count).map(|_| mixture(&mut random, six_digits)).collect(),
        Numbers::Full => (0..count).map(|_| mixture(&mut random, |number| number)).collect(),
        Numbers::Repeated => vec![mixture(&mut random, six_digits); count],
    };
    format!("[{}]", densities.join(", "))
}

/// Checks and packs the answers of models as the predict worker does, on all cores.
pub fn predictions(question: &Question, texts: &[String]) -> Result<Vec<Prediction>> {
    let expected = Expected::from(question);
    let check = |(model, text): (usize, &String)| -> Result<Prediction> {
        let (_, packed) = pack_answer(text.as_bytes(), &expected, &Limits::default())?;
        let prediction = Prediction::unanswered(model_id(model as u64)?, None, PredictionStatus::Success, "");
        Ok(Prediction { reason: None, answer: Some(packed.into()), ..prediction })
    };
    texts.par_iter().enumerate().map(check).collect()
}

/// The id of the model of this number.
pub fn model_id(model: u64) -> Result<ModelId> {
    Ok(ModelId::new(&format!("model-{model:04}"))?)
}

fn six_digits(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

fn mixture(random: &mut Random, digits: fn(f64) -> f64) -> String {
    let mut components = String::new();
    for (scale, weight) in [(0.5..1.0, 0.5..0.9), (1.2..3.0, 0.1..0.5)] {
        let separator = if components.is_empty() { "" } else { ", " };
        let loc = digits(random.between(-0.2..0.2) * MOVE);
        let (scale, weight) = (digits(random.between(scale) * MOVE), digits(random.between(weight)));
        // Writing to a string cannot fail.
        let _ = write!(
            components,
            r#"{separator}{{"density": {{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": {scale:?}}}}}, "weight": {weight:?}}}"#
        );
    }
    format!(r#"{{"type": "mixture", "components": [{components}]}}"#)
}

/// Uniform numbers.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn from_seed(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn between(&mut self, range: std::ops::Range<f64>) -> f64 {
        let unit = (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        range.start + unit * (range.end - range.start)
    }
}
