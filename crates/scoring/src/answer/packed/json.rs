//! A packed answer as text, for people and exports.

use std::ops::Range;

use super::contents::{Contents, Form, MARKER};
use super::{MAX_TEXT_BYTES, UnreadableAnswer, damaged};

/// Numbers may be longer than they were sent.
const MAX_BYTES: usize = 8 * MAX_TEXT_BYTES;

/// JSON in which numbers are as short as they can be.
pub(super) fn write(contents: &Contents) -> Result<String, UnreadableAnswer> {
    let templates = &contents.templates;
    let elements = contents.elements();
    let mut elements = elements
        .map(|element| element.map(|(template, numbers)| (templates[template].words.as_str(), numbers)));
    let mut writer = JsonWriter::default();
    match contents.form {
        Form::Buckets => writer.element(elements.next().flatten())?,
        Form::List => contents.lists.iter().try_for_each(|list| writer.list(list.count, &mut elements))?,
        Form::ByStep => {
            for (index, list) in contents.lists.iter().enumerate() {
                writer.text.push_str(if index == 0 { "{" } else { ", " });
                writer.text.push_str(&format!("\"{}\": ", list.step.as_secs()));
                writer.list(list.count, &mut elements)?;
            }
            writer.text.push('}');
        }
    }
    Ok(writer.text)
}

/// What is written so far.
#[derive(Debug, Default)]
struct JsonWriter {
    text: String,
    /// Where the element before stands.
    before: Range<usize>,
}

impl JsonWriter {
    fn list<'c>(
        &mut self,
        count: usize,
        mut elements: impl Iterator<Item = Option<(&'c str, &'c [f64])>>,
    ) -> Result<(), UnreadableAnswer> {
        self.text.push('[');
        for place in 0..count {
            if place > 0 {
                self.text.push_str(", ");
            }
            self.element(elements.next().flatten())?;
        }
        self.text.push(']');
        Ok(())
    }

    fn element(&mut self, element: Option<(&str, &[f64])>) -> Result<(), UnreadableAnswer> {
        let start = self.text.len();
        match element {
            Some((words, numbers)) => self.words_and_numbers(words, numbers),
            None => self.text.extend_from_within(self.before.clone()),
        }
        self.before = start..self.text.len();
        if self.text.len() <= MAX_BYTES {
            Ok(())
        } else {
            Err(damaged(format!("as text it has more than {MAX_BYTES} bytes")))
        }
    }

    fn words_and_numbers(&mut self, words: &str, numbers: &[f64]) {
        for (index, words) in words.split(MARKER).enumerate() {
            if let Some(number) = index.checked_sub(1).and_then(|slot| numbers.get(slot)) {
                self.text.push_str(&shortest(*number));
            }
            self.text.push_str(words);
        }
    }
}

/// Numbers that nobody asked for may be too large for a double: JSON has no word for infinity, but such numbers.
fn shortest(number: f64) -> String {
    match number {
        f64::INFINITY => "1e999".into(),
        f64::NEG_INFINITY => "-1e999".into(),
        _ => format!("{number:?}"),
    }
}
