//! From a model's text to checked densities. What a model sends is hostile until it has passed here.

mod density;
mod element;
mod json;
mod number;
mod packed;
mod plan;
mod stored;
mod tape;

use std::fmt;
use std::sync::Arc;

use domain::{Method, Question, Span};
use serde::{Deserialize, Serialize};

use crate::Density;
use element::{ElementReader, words_between};
use json::{Cursor, Kind, Malformed};
use packed::{Form, Recording};
pub use packed::{PackedAnswer, UnreadableAnswer};
use plan::{Numbers, Plan};
pub use stored::StoredAnswer;
use tape::{Tape, Value};

/// A checked answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// One for each step that was asked, in that order.
    pub steps: Vec<StepAnswer>,
}

/// The answer for one step size.
#[derive(Debug, Clone)]
pub struct StepAnswer {
    /// The step size.
    pub step: Span,
    /// The k-th (from 1) covers (k-1) to k steps after the question; identical consecutive ones are shared.
    pub densities: Vec<Arc<Density>>,
}

/// What an answer must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// How far ahead was asked.
    pub horizon: Span,
    /// The step sizes that were asked; each divides the horizon.
    pub steps: Vec<Span>,
    /// How it was asked.
    pub method: Method,
}

impl From<&Question> for Expected {
    fn from(question: &Question) -> Self {
        Expected { horizon: question.horizon, steps: question.steps.clone(), method: question.method }
    }
}

/// How large an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The size of the text.
    pub max_answer_bytes: usize,
    /// Leaves in one density, through all mixtures.
    pub max_leaves: usize,
    /// Densities within one another: 1 is a leaf alone, 2 a mixture of leaves.
    pub max_nesting: usize,
    /// Points in one bucket dictionary, bins of one histogram, levels of one list of quantiles.
    pub max_buckets: usize,
    /// Values in one list of samples.
    pub max_samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_answer_bytes: 4 * 1024 * 1024,
            max_leaves: 3,
            max_nesting: 4,
            max_buckets: 1000,
            max_samples: 1000,
        }
    }
}

impl Limits {
    /// No limit of a competition; nesting is bounded all the same.
    pub const NONE: Limits = Limits {
        max_answer_bytes: usize::MAX,
        max_leaves: usize::MAX,
        max_nesting: usize::MAX,
        max_buckets: usize::MAX,
        max_samples: usize::MAX,
    };
}

/// Why an answer is not accepted, in words that its author can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the answer, such as `[17].components[1].density.params.scale`; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Refusal { path: String::new(), reason: reason.into() }
    }

    fn at_index(self, index: usize) -> Self {
        self.below(format!("[{index}]"))
    }

    fn at_key(self, key: &str) -> Self {
        let is_word = key.starts_with(|c: char| c.is_ascii_alphabetic())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let key = json::excerpt(key);
        self.below(if is_word { key } else { format!("[{key:?}]") })
    }

    fn below(self, place: String) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        Refusal { path: format!("{place}{separator}{}", self.path), reason: self.reason }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// Why reading stops.
#[derive(Debug)]
enum Fault {
    /// The text is no JSON, which no place in the answer is to blame for.
    Malformed(Malformed),
    Refused(Refusal),
}

impl Fault {
    fn map(self, place: impl FnOnce(Refusal) -> Refusal) -> Self {
        match self {
            Fault::Refused(refusal) => Fault::Refused(place(refusal)),
            malformed => malformed,
        }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Fault::Malformed(malformed)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal)
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(Malformed(reason)) => Refusal::new(reason),
            Fault::Refused(refusal) => refusal,
        }
    }
}

/// Checks an answer. Refused are: a text that is too large, not UTF-8 or not JSON; anything that is not in the grammar
/// of densities; a number that is not finite; another count of densities than was asked for.
pub fn parse_answer(text: &[u8], expected: &Expected, limits: &Limits) -> Result<Answer, Refusal> {
    read_answer(text, expected, limits, None).map(|(answer, _)| answer)
}

/// [`parse_answer`], and the form in which the answer is stored. Texts above 32 MiB are refused whatever the limits.
pub fn pack_answer(
    text: &[u8],
    expected: &Expected,
    limits: &Limits,
) -> Result<(Answer, PackedAnswer), Refusal> {
    let max_answer_bytes = limits.max_answer_bytes.min(packed::MAX_TEXT_BYTES);
    let limits = Limits { max_answer_bytes, ..*limits };
    let (answer, recording) = read_answer(text, expected, &limits, Some(Recording::default()))?;
    let packed = recording.unwrap_or_default().pack();
    Ok((answer, packed))
}

fn read_answer(
    text: &[u8],
    expected: &Expected,
    limits: &Limits,
    recording: Option<Recording>,
) -> Result<(Answer, Option<Recording>), Refusal> {
    parse(text, limits, |cursor| {
        let mut reader = StepReader { expected, limits, elements: ElementReader::new(limits, recording) };
        let steps = match expected.method {
            Method::Predict => vec![reader.single_step(cursor)?],
            Method::PredictAll => reader.all_steps(cursor)?,
        };
        Ok((Answer { steps }, reader.elements.into_recording()))
    })
}

/// Checks one density, as an element of an answer's list.
pub fn parse_density(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse_planned(text, limits, density::plan)
}

/// Checks a bucket dictionary: an object from move to probability.
pub fn parse_buckets(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse_planned(text, limits, density::plan_buckets)
}

/// Checks an object with `samples` and, if they are not of equal weight, `weights`.
pub fn parse_samples(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse_planned(text, limits, density::plan_samples)
}

/// Checks an object with `levels` and `values`: a cdf that is linear between them.
pub fn parse_quantiles(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse_planned(text, limits, density::plan_quantiles)
}

/// From a value and the limits to its plan.
type Planner = for<'a> fn(Value<'_, 'a>, &Limits) -> Result<Plan<'a>, Refusal>;

fn parse_planned(text: &[u8], limits: &Limits, plan: Planner) -> Result<Density, Refusal> {
    parse(text, limits, |cursor| {
        let mut tape = Tape::default();
        cursor.value(&mut tape)?;
        Ok(planned(&tape, cursor.text(), limits, plan)?)
    })
}

/// The density that a value is by its plan.
fn planned(tape: &Tape, text: &str, limits: &Limits, plan: Planner) -> Result<Density, Refusal> {
    plan(tape.root(text), limits)?.density(Numbers::sent(tape.numbers(), text, tape.places()))
}

/// Where a text ends at the latest: positions in it are kept in 32 bits.
const MAX_BYTES: usize = u32::MAX as usize;

fn parse<'a, T>(
    text: &'a [u8],
    limits: &Limits,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Fault>,
) -> Result<T, Refusal> {
    let (size, limit) = (text.len(), limits.max_answer_bytes.min(MAX_BYTES));
    if size > limit {
        return Err(Refusal::new(format!("the answer has {size} bytes, the limit is {limit}")));
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| Refusal::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut cursor = Cursor::new(text);
    let result = read(&mut cursor)?;
    cursor.end().map_err(Fault::from)?;
    // Those in a place that counts were refused above, by name. Elsewhere they would make what we store no JSON.
    match cursor.first_number_word() {
        Some(at) => {
            Err(Refusal::new(format!("not valid JSON at byte {at}: NaN and Infinity are no numbers there")))
        }
        None => Ok(result),
    }
}

/// Reads what was asked for, step by step.
#[derive(Debug)]
struct StepReader<'a, 'l> {
    expected: &'l Expected,
    limits: &'l Limits,
    elements: ElementReader<'a, 'l>,
}

impl<'a> StepReader<'a, '_> {
    fn single_step(&mut self, cursor: &mut Cursor<'a>) -> Result<StepAnswer, Fault> {
        let [step] = self.expected.steps[..] else {
            let count = self.expected.steps.len();
            let reason = format!("method predict answers one step, {count} were asked");
            return Err(Refusal::new(reason).into());
        };
        if cursor.is_at(Kind::Object) {
            let density = self.whole_horizon(cursor, step)?;
            return Ok(StepAnswer { step, densities: vec![Arc::new(density)] });
        }
        self.step_list(cursor, step)
    }

    /// A bucket dictionary in place of the list.
    fn whole_horizon(&mut self, cursor: &mut Cursor<'a>, step: Span) -> Result<Density, Fault> {
        let mut tape = Tape::default();
        cursor.value(&mut tape)?;
        let wanted = densities(self.expected.horizon.divided_by(step));
        if tape.root(cursor.text()).members().any(|(key, _)| key == "type") {
            return Err(Refusal::new(format!("expected a list of {wanted}, got a single density")).into());
        }
        if step != self.expected.horizon {
            let reason = format!(
                "expected a list of {wanted}: a bucket dictionary is accepted only where the one step is the whole horizon"
            );
            return Err(Refusal::new(reason).into());
        }
        let density = planned(&tape, cursor.text(), self.limits, density::plan_buckets)?;
        if let Some(recording) = self.elements.recording() {
            recording.begin_list(Form::Buckets, step, 1);
            let template = recording.template(&words_between(tape.root(cursor.text()), tape.places()));
            recording.add(template, tape.numbers());
        }
        Ok(density)
    }

    fn all_steps(&mut self, cursor: &mut Cursor<'a>) -> Result<Vec<StepAnswer>, Fault> {
        if !cursor.is_at(Kind::Object) {
            let got = self.elements.describe(cursor)?;
            let reason = format!("expected an object from step in seconds to list, got {got}");
            return Err(Refusal::new(reason).into());
        }
        let steps = &self.expected.steps;
        let keys: Vec<String> = steps.iter().map(|step| step.as_secs().to_string()).collect();
        let mut answers: Vec<Option<StepAnswer>> = vec![None; steps.len()];
        let mut follows = cursor.enter()?;
        while follows {
            let key = cursor.key()?;
            match keys.iter().position(|wanted| *wanted == key) {
                Some(index) if answers[index].is_some() => {
                    return Err(Refusal::new("is given twice").at_key(&key).into());
                }
                Some(index) => {
                    let list = self.step_list(cursor, steps[index]);
                    answers[index] = Some(list.map_err(|fault| fault.map(|refusal| refusal.at_key(&key)))?);
                }
                None => self.elements.skip(cursor)?,
            }
            follows = cursor.next()?;
        }
        let missing = |key: &String| Refusal::new(format!("the list for step {key} is missing")).into();
        answers.into_iter().zip(&keys).map(|(answer, key)| answer.ok_or_else(|| missing(key))).collect()
    }

    fn step_list(&mut self, cursor: &mut Cursor<'a>, step: Span) -> Result<StepAnswer, Fault> {
        let count = self.expected.horizon.divided_by(step);
        if !cursor.is_at(Kind::List) {
            let got = self.elements.describe(cursor)?;
            return Err(Refusal::new(format!("expected a list of {}, got {got}", densities(count))).into());
        }
        if let Some(recording) = self.elements.recording() {
            let form = match self.expected.method {
                Method::Predict => Form::List,
                Method::PredictAll => Form::ByStep,
            };
            recording.begin_list(form, step, count);
        }
        let mut parsed = Vec::with_capacity(count);
        let mut found = 0;
        let mut follows = cursor.enter()?;
        while follows {
            if found < count {
                let density = self.elements.density(cursor);
                parsed.push(density.map_err(|fault| fault.map(|refusal| refusal.at_index(found)))?);
            } else {
                self.elements.skip(cursor)?;
            }
            found += 1;
            follows = cursor.next()?;
        }
        if found != count {
            return Err(Refusal::new(format!("expected {}, got {found}", densities(count))).into());
        }
        Ok(StepAnswer { step, densities: parsed })
    }
}

fn densities(count: usize) -> String {
    if count == 1 { "1 density".into() } else { format!("{count} densities") }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
