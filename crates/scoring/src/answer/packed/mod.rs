//! The form in which a valid answer is stored: an eighth of its text or less, and densities come back from it to the bit
//! without a text in between.
//!
//! Elements that differ in their numbers alone share their words, an element like the one before takes no room, and
//! numbers stand column by column, in as few bits as tell them apart.

mod column;
mod contents;
mod frame;
mod input;
mod integers;
mod json;
mod recording;

use std::sync::Arc;

use domain::AnswerBytes;

pub(super) use contents::Form;
use contents::{Contents, List, MARKER};
use frame::Opened;
pub(super) use recording::Recording;

use super::json::Cursor;
use super::plan::{Numbers, Plan};
use super::tape::Tape;
use super::{Answer, Expected, Limits, Planner, Refusal, StepAnswer, StoredAnswer, density};
use crate::Density;

/// Longer texts are not packed.
pub(super) const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;

/// A valid answer in the form in which it is stored, over any owned or borrowed bytes. What is in them is not trusted.
///
/// A database may hold answers from before there was this form: compressed texts. They are read as well, and grow fewer
/// as rounds grow old; to pack them would mean to write every one of them anew while the workers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedAnswer<B = Vec<u8>>(B);

/// Why a stored answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableAnswer {
    /// Its text is no longer accepted.
    #[error("the stored answer is not accepted: {0}")]
    Refused(Refusal),
    /// A later program packed it.
    #[error("the stored answer has form {0}, which this program does not know: use a newer one")]
    Version(u8),
    /// It is not as it was stored.
    #[error("the stored answer is damaged: {0}")]
    Damaged(String),
    /// It answers something else.
    #[error("the stored answer is to another question: it has {0}")]
    OtherQuestion(String),
}

impl<B> PackedAnswer<B> {
    /// From what was stored.
    pub const fn new(bytes: B) -> Self {
        PackedAnswer(bytes)
    }

    /// What to store.
    pub fn into_bytes(self) -> B {
        self.0
    }
}

impl<B: AsRef<[u8]>> PackedAnswer<B> {
    /// What to store.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The densities, bit for bit those that [`parse_answer`](crate::parse_answer) made of the text. Limits do not count:
    /// it was accepted under those of its time.
    pub fn unpack(&self, expected: &Expected) -> Result<Answer, UnreadableAnswer> {
        let contents = match frame::open(self.as_bytes())? {
            Opened::Packed(contents) => Contents::read(contents.input())?,
            Opened::Text(text) => return text.answer(expected),
        };
        check_question(&contents.lists, expected)?;
        let mut densities = densities(&contents)?.into_iter();
        let lists = contents.lists.iter();
        let mut steps: Vec<StepAnswer> = lists
            .map(|list| StepAnswer {
                step: list.step,
                densities: densities.by_ref().take(list.count).collect(),
            })
            .collect();
        steps.sort_by_key(|answer| expected.steps.iter().position(|step| *step == answer.step));
        Ok(Answer { steps })
    }

    /// JSON with the words that were sent for each density and the shortest numbers that read back to the same bits.
    /// Keys for steps that were not asked are not in it. A text that was stored as such comes back as it was sent.
    pub fn to_json(&self) -> Result<String, UnreadableAnswer> {
        match frame::open(self.as_bytes())? {
            Opened::Packed(contents) => json::write(&Contents::read(contents.input())?),
            Opened::Text(text) => Ok(text),
        }
    }
}

impl From<PackedAnswer> for AnswerBytes {
    fn from(packed: PackedAnswer) -> Self {
        packed.into_bytes().into()
    }
}

/// Before anything is made as long as the lists claim to be.
fn check_question(lists: &[List], expected: &Expected) -> Result<(), UnreadableAnswer> {
    let has = |step| lists.contains(&List { step, count: expected.horizon.divided_by(step) });
    if lists.len() == expected.steps.len() && expected.steps.iter().all(|&step| has(step)) {
        return Ok(());
    }
    let lists = lists.iter().map(|list| format!("{} densities of step {}", list.count, list.step));
    Err(UnreadableAnswer::OtherQuestion(lists.collect::<Vec<_>>().join(", ")))
}

/// Those of all elements; elements like the one before share theirs.
fn densities(contents: &Contents) -> Result<Vec<Arc<Density>>, UnreadableAnswer> {
    // Plans depend on words alone, so that any number does in the place of each.
    let texts: Vec<String> =
        contents.templates.iter().map(|template| template.words.replace(MARKER, "0")).collect();
    let planner: Planner = match contents.form {
        Form::Buckets => density::plan_buckets,
        Form::List | Form::ByStep => density::plan,
    };
    let templates = texts.iter().zip(&contents.templates);
    let plans: Vec<Plan<'_>> =
        templates.map(|(text, template)| plan(text, template.slots(), planner)).collect::<Result<_, _>>()?;
    let count = contents.lists.iter().map(|list| list.count).sum();
    let mut densities: Vec<Arc<Density>> = Vec::with_capacity(count);
    for element in contents.elements() {
        let density = match (element, densities.last()) {
            (Some((template, numbers)), _) => {
                let density = plans[template].shared_density(Numbers::new(numbers));
                density.map_err(|refusal| damaged(refusal.at_index(densities.len())))?
            }
            (None, Some(before)) => Arc::clone(before),
            (None, None) => continue,
        };
        densities.push(density);
    }
    Ok(densities)
}

fn plan<'a>(text: &'a str, slots: usize, planner: Planner) -> Result<Plan<'a>, UnreadableAnswer> {
    let (mut cursor, mut tape) = (Cursor::new(text), Tape::default());
    cursor.value(&mut tape).and_then(|()| cursor.end()).map_err(|malformed| damaged(malformed.0))?;
    if tape.numbers().len() != slots {
        return Err(damaged("numbers stand among its words"));
    }
    planner(tape.root(text), &Limits::NONE).map_err(damaged)
}

fn damaged(reason: impl ToString) -> UnreadableAnswer {
    UnreadableAnswer::Damaged(reason.to_string())
}

#[cfg(test)]
mod tests;
