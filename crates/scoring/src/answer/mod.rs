//! From a model's text to checked densities. What a model sends is hostile until it has passed here.

mod density;
mod json;

use std::fmt;
use std::sync::Arc;

use domain::{Method, Question, Span};
use serde::{Deserialize, Serialize};

use crate::Density;
use json::{Document, Kind, Value};

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
    /// Points in one bucket dictionary.
    pub max_buckets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_answer_bytes: 4 * 1024 * 1024, max_leaves: 3, max_nesting: 4, max_buckets: 1000 }
    }
}

impl Limits {
    /// No limit of a competition; nesting is bounded all the same.
    pub const NONE: Limits = Limits {
        max_answer_bytes: usize::MAX,
        max_leaves: usize::MAX,
        max_nesting: usize::MAX,
        max_buckets: usize::MAX,
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

/// Checks an answer. Refused are: a text that is too large, not UTF-8 or not JSON; anything that is not in the grammar
/// of densities; a number that is not finite; another count of densities than was asked for.
pub fn parse_answer(text: &[u8], expected: &Expected, limits: &Limits) -> Result<Answer, Refusal> {
    parse(text, limits, |root| {
        let steps = match expected.method {
            Method::Predict => vec![single_step(root, expected, limits)?],
            Method::PredictAll => all_steps(root, expected, limits)?,
        };
        Ok(Answer { steps })
    })
}

/// Checks one density, as an element of an answer's list.
pub fn parse_density(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse(text, limits, |root| density::read(root, limits))
}

/// Checks a bucket dictionary: an object from move to probability.
pub fn parse_buckets(text: &[u8], limits: &Limits) -> Result<Density, Refusal> {
    parse(text, limits, |root| density::read_buckets(root, limits))
}

fn parse<T>(
    text: &[u8],
    limits: &Limits,
    read: impl FnOnce(Value<'_>) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let (size, limit) = (text.len(), limits.max_answer_bytes);
    if size > limit {
        return Err(Refusal::new(format!("the answer has {size} bytes, the limit is {limit}")));
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| Refusal::new(format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let document = Document::read(text).map_err(Refusal::new)?;
    let result = read(document.root)?;
    // Those in a place that counts were refused above, by name. Elsewhere they would make what we store no JSON.
    match document.first_number_word {
        Some(at) => {
            Err(Refusal::new(format!("not valid JSON at byte {at}: NaN and Infinity are no numbers there")))
        }
        None => Ok(result),
    }
}

fn single_step(root: Value<'_>, expected: &Expected, limits: &Limits) -> Result<StepAnswer, Refusal> {
    let [step] = expected.steps[..] else {
        let count = expected.steps.len();
        return Err(Refusal::new(format!("method predict answers one step, {count} were asked")));
    };
    if root.kind() == Kind::Object {
        let density = whole_horizon(root, step, expected.horizon, limits)?;
        return Ok(StepAnswer { step, densities: vec![Arc::new(density)] });
    }
    step_list(root, step, expected.horizon, limits)
}

/// A bucket dictionary in place of the list.
fn whole_horizon(root: Value<'_>, step: Span, horizon: Span, limits: &Limits) -> Result<Density, Refusal> {
    let count = horizon.divided_by(step);
    if root.members().any(|(key, _)| key == "type") {
        return Err(Refusal::new(format!("expected a list of {}, got a single density", densities(count))));
    }
    if step != horizon {
        let wanted = densities(count);
        return Err(Refusal::new(format!(
            "expected a list of {wanted}: a bucket dictionary is accepted only where the one step is the whole horizon"
        )));
    }
    density::read_buckets(root, limits)
}

fn all_steps(root: Value<'_>, expected: &Expected, limits: &Limits) -> Result<Vec<StepAnswer>, Refusal> {
    if root.kind() != Kind::Object {
        let got = root.describe();
        return Err(Refusal::new(format!("expected an object from step in seconds to list, got {got}")));
    }
    expected
        .steps
        .iter()
        .map(|&step| {
            let key = step.as_secs().to_string();
            let list = density::field(root, &key)?
                .ok_or_else(|| Refusal::new(format!("the list for step {key} is missing")))?;
            step_list(list, step, expected.horizon, limits).map_err(|refusal| refusal.at_key(&key))
        })
        .collect()
}

fn step_list(list: Value<'_>, step: Span, horizon: Span, limits: &Limits) -> Result<StepAnswer, Refusal> {
    let count = horizon.divided_by(step);
    if list.kind() != Kind::List {
        let (wanted, got) = (densities(count), list.describe());
        return Err(Refusal::new(format!("expected a list of {wanted}, got {got}")));
    }
    let found = list.elements().count();
    if found != count {
        return Err(Refusal::new(format!("expected {}, got {found}", densities(count))));
    }
    let mut parsed = Vec::with_capacity(count);
    let mut previous: Option<(Value<'_>, Arc<Density>)> = None;
    for (index, element) in list.elements().enumerate() {
        let density = match previous {
            Some((same, density)) if same == element => density,
            _ => Arc::new(density::read(element, limits).map_err(|refusal| refusal.at_index(index))?),
        };
        parsed.push(Arc::clone(&density));
        previous = Some((element, density));
    }
    Ok(StepAnswer { step, densities: parsed })
}

fn densities(count: usize) -> String {
    if count == 1 { "1 density".into() } else { format!("{count} densities") }
}

#[cfg(test)]
mod tests;
