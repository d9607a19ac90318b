//! A line of input.

use std::collections::HashMap;

use anyhow::{Context, anyhow, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An object whose values are kept as text, so that the parser of answers sees numbers as they were sent.
pub struct Row<'a> {
    fields: HashMap<String, &'a RawValue>,
}

impl<'a> Row<'a> {
    /// Reads a line.
    pub fn read(line: &'a [u8]) -> anyhow::Result<Self> {
        let fields =
            serde_json::from_slice(line).map_err(|error| in_words(&error)).context("no JSON object")?;
        Ok(Row { fields })
    }

    /// The line's name, if it has one.
    pub fn id(&self) -> Option<&'a RawValue> {
        self.fields.get("id").copied()
    }

    /// The text of a field; a field that is `null` is not there.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|value| value.get()).filter(|text| *text != "null")
    }

    /// The text of a field that must be there.
    pub fn require(&self, name: &str) -> anyhow::Result<&'a str> {
        self.get(name).ok_or_else(|| anyhow!("`{name}` is missing"))
    }

    /// The value of a field that must be there.
    pub fn value<T: Deserialize<'a>>(&self, name: &str) -> anyhow::Result<T> {
        serde_json::from_str(self.require(name)?)
            .map_err(|error| in_words(&error))
            .with_context(|| format!("`{name}`"))
    }

    /// A number that may be infinite, and then is a word.
    pub fn number(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.require(name)?;
        let number = match text {
            r#""inf""# => Some(f64::INFINITY),
            r#""-inf""# => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        };
        number.ok_or_else(|| anyhow!("`{name}` must be a number, \"inf\" or \"-inf\", got {}", start(text)))
    }

    /// A number.
    pub fn finite(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.require(name)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| anyhow!("`{name}` must be a finite number, got {}", start(text)))
    }

    /// A number above zero.
    pub fn positive(&self, name: &str) -> anyhow::Result<f64> {
        let number = self.finite(name)?;
        ensure!(number > 0.0, "`{name}` must be above 0, got {number}");
        Ok(number)
    }
}

/// What is wrong and where in the text; of the line alone, since there is only one.
fn in_words(error: &serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => anyhow!("{what} at column {}", error.column()),
        None => anyhow!(text),
    }
}

/// Enough of a value to find it.
fn start(text: &str) -> &str {
    const LENGTH: usize = 40;
    text.char_indices().nth(LENGTH).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn fields_are_taken_as_sent_and_refused_by_name() {
        let line = br#"{"x": 0.1, "inf": "inf", "nan": "nan", "n": null, "s": "2", "big": 1e999, "neg": -1.5, "x": 3}"#;
        let row = Row::read(line).unwrap();
        assert_eq!(row.require("x").unwrap(), "3", "of two values the last counts");
        assert_eq!(row.number("inf").unwrap(), f64::INFINITY);
        assert_eq!(message(row.finite("inf")), r#"`inf` must be a finite number, got "inf""#);
        assert_eq!(message(row.number("nan")), r#"`nan` must be a number, "inf" or "-inf", got "nan""#);
        assert_eq!(message(row.number("n")), "`n` is missing");
        assert_eq!(message(row.finite("s")), r#"`s` must be a finite number, got "2""#);
        assert_eq!(message(row.finite("big")), "`big` must be a finite number, got 1e999");
        assert_eq!(message(row.positive("neg")), "`neg` must be above 0, got -1.5");
        assert_eq!(
            message(row.value::<Vec<f64>>("s")),
            "`s`: invalid type: string \"2\", expected a sequence at column 3"
        );
    }
}
