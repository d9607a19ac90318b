//! The densities of an answer, one after the other. Most of a list looks like what came before, so that little of it
//! needs the grammar: an element with the bytes of the one before is that one, and an element with the words of an
//! earlier one differs in its numbers alone.

use std::sync::Arc;

use super::json::Cursor;
use super::packed::Recording;
use super::plan::{Numbers, Plan};
use super::tape::{Place, Tape, Value};
use super::{Fault, Limits, density};
use crate::Density;

/// So many shapes are remembered: models send few, and every one costs a comparison.
const REMEMBERED_SHAPES: usize = 6;

/// Elements with more numbers are read by the grammar each time rather than remembered.
const MAX_REMEMBERED_NUMBERS: usize = 10_000;

/// Reads the elements of lists of densities.
#[derive(Debug)]
pub(super) struct ElementReader<'a, 'l> {
    limits: &'l Limits,
    /// The element before, and the density that it is.
    previous: Option<(&'a str, Arc<Density>)>,
    /// The last one first.
    shapes: Vec<Shape<'a>>,
    numbers: Vec<f64>,
    tape: Tape,
    /// What the elements consist of, where that is asked for.
    recording: Option<Recording>,
}

impl<'a, 'l> ElementReader<'a, 'l> {
    /// Under these limits; what the elements consist of goes into `recording`.
    pub fn new(limits: &'l Limits, recording: Option<Recording>) -> Self {
        ElementReader {
            limits,
            previous: None,
            shapes: Vec::new(),
            numbers: Vec::new(),
            tape: Tape::default(),
            recording,
        }
    }

    /// Where what the elements consist of is noted.
    pub fn recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_mut()
    }

    /// What the elements consisted of, if that was asked for.
    pub fn into_recording(self) -> Option<Recording> {
        self.recording
    }

    /// Passes the next value, which must be a density.
    pub fn density(&mut self, cursor: &mut Cursor<'a>) -> Result<Arc<Density>, Fault> {
        cursor.skip_whitespace();
        let start = cursor.at();
        if let Some((text, density)) = &self.previous
            && cursor.eat_text(text)
        {
            if let Some(recording) = &mut self.recording {
                recording.add_repeated();
            }
            return Ok(Arc::clone(density));
        }
        let density = match self.by_known_shape(cursor) {
            Some(density) => density,
            None => self.by_grammar(cursor)?,
        };
        self.previous = Some((&cursor.text()[start..cursor.at()], Arc::clone(&density)));
        Ok(density)
    }

    /// Passes a value of any kind, which the grammar has no use for.
    pub fn skip(&mut self, cursor: &mut Cursor<'a>) -> Result<(), Fault> {
        Ok(cursor.value(&mut self.tape)?)
    }

    /// Passes a value of any kind and says what it is.
    pub fn describe(&mut self, cursor: &mut Cursor<'a>) -> Result<String, Fault> {
        cursor.value(&mut self.tape)?;
        Ok(self.tape.root(cursor.text()).describe())
    }

    /// Passes an element of a shape that was seen before; `None` when it is of no such shape or its numbers make no
    /// density, and then it is not passed: the grammar says which number is wrong.
    fn by_known_shape(&mut self, cursor: &mut Cursor<'a>) -> Option<Arc<Density>> {
        let start = cursor.at();
        let numbers = &mut self.numbers;
        let found = self.shapes.iter().position(|shape| shape.pass(cursor, numbers))?;
        self.shapes[..=found].rotate_right(1);
        let shape = &self.shapes[0];
        let Ok(density) = shape.plan.shared_density(Numbers::new(numbers)) else {
            cursor.back_to(start);
            return None;
        };
        if let Some(recording) = &mut self.recording {
            recording.add(shape.template, numbers);
        }
        Some(density)
    }

    fn by_grammar(&mut self, cursor: &mut Cursor<'a>) -> Result<Arc<Density>, Fault> {
        cursor.value(&mut self.tape)?;
        let value = self.tape.root(cursor.text());
        let plan = density::plan(value, self.limits)?;
        let (numbers, places) = (self.tape.numbers(), self.tape.places());
        let density = plan.shared_density(Numbers::sent(numbers, cursor.text(), places))?;
        let words = words_between(value, places);
        let template = self.recording.as_mut().map(|recording| {
            let template = recording.template(&words);
            recording.add(template, numbers);
            template
        });
        if numbers.len() <= MAX_REMEMBERED_NUMBERS {
            let shape = Shape { words, plan, template: template.unwrap_or_default() };
            self.shapes.truncate(REMEMBERED_SHAPES - 1);
            self.shapes.insert(0, shape);
        }
        Ok(density)
    }
}

/// What elements have in common that differ in their numbers alone.
#[derive(Debug)]
struct Shape<'a> {
    /// Before the first number, between each two, and after the last.
    words: Vec<&'a str>,
    plan: Plan<'a>,
    /// Its number in the recording, if there is one.
    template: usize,
}

/// What stands before the first number of a value, between each two, and after the last.
pub(super) fn words_between<'a>(value: Value<'_, 'a>, places: &[Place]) -> Vec<&'a str> {
    let text = value.as_sent();
    let origin = value.start();
    let mut words = Vec::with_capacity(places.len() + 1);
    let mut from = 0;
    for place in places {
        words.push(&text[from..place.start as usize - origin]);
        from = place.end as usize - origin;
    }
    words.push(&text[from..]);
    words
}

impl Shape<'_> {
    /// Passes an element of this shape and notes its numbers; or stays where it is.
    fn pass(&self, cursor: &mut Cursor<'_>, numbers: &mut Vec<f64>) -> bool {
        let start = cursor.at();
        let passed = self.pass_words(cursor, numbers).is_some();
        if !passed {
            cursor.back_to(start);
        }
        passed
    }

    fn pass_words(&self, cursor: &mut Cursor<'_>, numbers: &mut Vec<f64>) -> Option<()> {
        numbers.clear();
        let (last, before_numbers) = self.words.split_last()?;
        for words in before_numbers {
            cursor.eat_text(words).then_some(())?;
            numbers.push(cursor.number()?.value);
        }
        cursor.eat_text(last).then_some(())
    }
}
