//! What a packed answer holds before it is compressed: the lists, the words of their elements once each, which element
//! has which words, and the numbers, column by column.

use std::iter::repeat_n;

use domain::Span;

use super::UnreadableAnswer;
use super::column::{self, ColumnReader};
use super::input::{Input, write_integer};

/// Stands for each number among the words of an element. It cannot be one of their bytes: JSON has no bare control
/// characters but whitespace.
pub(super) const MARKER: char = '\0';

/// Templates with fewer elements have all their numbers in one column: the heads of many would be longer than the numbers.
const LEAST_ROWS: usize = 8;

/// A text takes two bytes for each number at least.
const MAX_NUMBERS: usize = super::MAX_TEXT_BYTES / 2;

/// An answer, taken apart.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub form: Form,
    /// In the order in which they were sent.
    pub lists: Vec<List>,
    pub templates: Vec<Template>,
    /// The elements of all lists, one list after the other.
    pub runs: Vec<Run>,
}

/// What the lists stand in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::answer) enum Form {
    /// Nothing: there is one.
    #[default]
    List,
    /// An object from step to list.
    ByStep,
    /// There is none, but one bucket dictionary for the whole horizon.
    Buckets,
}

/// The list for one step size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    pub step: Span,
    pub count: usize,
}

/// Elements that differ in their numbers alone.
#[derive(Debug, PartialEq)]
pub(super) struct Template {
    /// With a marker for each number.
    pub words: String,
    /// Those of the first element, then those of the second, and so on.
    pub numbers: Vec<f64>,
}

/// Elements that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Their template, each the next of its elements; `None` for elements like the one before.
    pub template: Option<usize>,
    pub count: usize,
}

impl Form {
    const ALL: [Form; 3] = [Form::List, Form::ByStep, Form::Buckets];
}

impl Template {
    /// Without an element so far.
    pub fn new(words: String) -> Self {
        Template { words, numbers: Vec::new() }
    }

    /// How many numbers an element has.
    pub fn slots(&self) -> usize {
        self.words.bytes().filter(|&byte| char::from(byte) == MARKER).count()
    }

    fn write_numbers(&self, rows: usize, out: &mut Vec<u8>) {
        let slots = self.slots();
        if rows < LEAST_ROWS {
            column::write(&self.numbers, out);
            return;
        }
        let mut values = Vec::with_capacity(rows);
        for slot in 0..slots {
            values.clear();
            values.extend(self.numbers[slot..].iter().step_by(slots));
            column::write(&values, out);
        }
    }

    fn read_numbers(
        &mut self,
        rows: usize,
        columns: &mut ColumnReader,
        input: &mut Input<'_>,
    ) -> Result<(), UnreadableAnswer> {
        let slots = self.slots();
        self.numbers = vec![0.0; rows * slots];
        if rows < LEAST_ROWS {
            return columns.read(input, &mut self.numbers, 1);
        }
        (0..slots).try_for_each(|slot| columns.read(input, &mut self.numbers[slot..], slots))
    }
}

impl Contents {
    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![self.form as u8];
        write_integer(self.lists.len() as u64, &mut out);
        for list in &self.lists {
            write_integer(u64::from(list.step.as_secs()), &mut out);
            write_integer(list.count as u64, &mut out);
        }
        write_integer(self.templates.len() as u64, &mut out);
        for template in &self.templates {
            write_integer(template.words.len() as u64, &mut out);
            out.extend_from_slice(template.words.as_bytes());
        }
        write_integer(self.runs.len() as u64, &mut out);
        for run in &self.runs {
            write_integer(run.template.map_or(0, |template| template as u64 + 1), &mut out);
            write_integer(run.count as u64, &mut out);
        }
        let rows = self.rows();
        for (template, rows) in self.templates.iter().zip(rows) {
            template.write_numbers(rows, &mut out);
        }
        out
    }

    /// From bytes. What comes of it holds together: lists, runs and numbers belong to as many elements.
    pub fn read(mut input: Input<'_>) -> Result<Self, UnreadableAnswer> {
        let mut contents = Contents::read_words(&mut input)?;
        contents.check()?;
        let rows = contents.rows();
        let mut columns = ColumnReader::default();
        for (template, rows) in contents.templates.iter_mut().zip(rows) {
            template.read_numbers(rows, &mut columns, &mut input)?;
        }
        if input.is_at_end() { Ok(contents) } else { Err(damaged("something follows its end")) }
    }

    /// All but the numbers.
    fn read_words(input: &mut Input<'_>) -> Result<Self, UnreadableAnswer> {
        let form = Form::ALL.get(usize::from(input.byte()?)).copied();
        let form = form.ok_or_else(|| damaged("its form is unknown"))?;
        let lists = read_all(input, |input| {
            let seconds = u32::try_from(input.integer()?).map_err(|_| damaged("a step is too long"))?;
            Ok(List { step: Span::seconds(seconds), count: input.count()? })
        })?;
        let templates = read_all(input, |input| {
            let length = input.count()?;
            let words =
                std::str::from_utf8(input.bytes(length)?).map_err(|_| damaged("its words are no text"))?;
            Ok(Template::new(words.to_owned()))
        })?;
        let runs = read_all(input, |input| {
            Ok(Run { template: input.count()?.checked_sub(1), count: input.count()? })
        })?;
        Ok(Contents { form, lists, templates, runs })
    }

    fn check(&self) -> Result<(), UnreadableAnswer> {
        if matches!(self.runs.first(), Some(Run { template: None, .. })) {
            return Err(damaged("the first element is like the one before"));
        }
        if self.runs.iter().filter_map(|run| run.template).any(|template| template >= self.templates.len()) {
            return Err(damaged("a template is missing"));
        }
        let elements = sum(self.runs.iter().map(|run| run.count))?;
        if elements != sum(self.lists.iter().map(|list| list.count))? {
            return Err(damaged("its lists are not as long as its elements are many"));
        }
        // Every row is counted in `elements`, whose sum was found to be in range.
        let numbers = self.templates.iter().zip(self.rows());
        let numbers = numbers.map(|(template, rows)| rows.saturating_mul(template.slots()));
        if sum(numbers)? > MAX_NUMBERS {
            return Err(damaged("it claims to hold too many numbers"));
        }
        Ok(())
    }

    /// How many elements each template has numbers of.
    fn rows(&self) -> Vec<usize> {
        let mut rows = vec![0; self.templates.len()];
        for run in &self.runs {
            if let Some(template) = run.template {
                rows[template] += run.count;
            }
        }
        rows
    }

    /// The template and the numbers of each element, in their order; `None` for one like the one before.
    pub fn elements(&self) -> impl Iterator<Item = Option<(usize, &[f64])>> {
        let slots: Vec<usize> = self.templates.iter().map(Template::slots).collect();
        let mut next = vec![0; self.templates.len()];
        let templates = self.runs.iter().flat_map(|run| repeat_n(run.template, run.count));
        templates.map(move |template| {
            let template = template?;
            let start = next[template];
            next[template] += slots[template];
            Some((template, &self.templates[template].numbers[start..next[template]]))
        })
    }
}

fn read_all<T>(
    input: &mut Input<'_>,
    mut read: impl FnMut(&mut Input<'_>) -> Result<T, UnreadableAnswer>,
) -> Result<Vec<T>, UnreadableAnswer> {
    let count = input.count()?;
    // Each takes a byte at least, so that none is read that is not there.
    (0..count).map(|_| read(input)).collect()
}

fn sum(counts: impl Iterator<Item = usize>) -> Result<usize, UnreadableAnswer> {
    counts.into_iter().try_fold(0, usize::checked_add).ok_or_else(|| damaged("a count is too large"))
}

fn damaged(reason: &str) -> UnreadableAnswer {
    UnreadableAnswer::Damaged(reason.to_owned())
}
