//! `NAME[:key=value,…]`: which built-in model, and with which parameters.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use domain::Span;
use serde::{Deserialize, Serialize};

use super::catalogue::{CATALOGUE, Card};
use super::{Baseline, BuiltinModel, Forecast};

/// The parameter that every model takes: a factor on all widths.
pub(super) const SCALE: &str = "scale";
/// The parameter that most models take: how much of the past counts.
pub(super) const WINDOW: &str = "window";

/// A text that describes no built-in model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No model of that name.
    #[error("there is no built-in model `{name}`: choose one of {choices}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        choices: String,
    },
    /// The model has no such parameter.
    #[error("{model} has no parameter `{key}`: choose among {choices}")]
    UnknownParameter {
        /// Which model.
        model: &'static str,
        /// What was asked for.
        key: String,
        /// What there is.
        choices: String,
    },
    /// Not a `key=value`, or a key that came before.
    #[error("`{part}` in the parameters of {model} {why}")]
    Malformed {
        /// Which model.
        model: &'static str,
        /// The part in question.
        part: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that the parameter cannot have.
    #[error("`{value}` is no {key}: write {expected}")]
    InvalidValue {
        /// Which parameter.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: String,
    },
}

/// A checked description of a built-in model, written `NAME[:key=value,…]`, such as `random-walk:scale=10`.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuiltinSpec {
    text: String,
    forecast: Arc<dyn Forecast>,
    scale: f64,
}

impl BuiltinSpec {
    /// A new model without any prices.
    pub fn build(&self) -> Box<dyn BuiltinModel> {
        Box::new(Baseline::new(self.forecast.clone(), self.scale))
    }
}

impl FromStr for BuiltinSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let card =
            CATALOGUE.into_iter().find(|card| card.name == name).ok_or_else(|| SpecError::UnknownModel {
                name: name.to_owned(),
                choices: join(CATALOGUE.into_iter().map(|card| card.name)),
            })?;
        let settings = Settings::parse(card, parameters)?;
        let scale = settings.number(SCALE, 1.0, 0.001..=1000.0)?;
        Ok(BuiltinSpec { text: text.to_owned(), forecast: (card.make)(&settings)?, scale })
    }
}

impl TryFrom<String> for BuiltinSpec {
    type Error = SpecError;
    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<BuiltinSpec> for String {
    fn from(spec: BuiltinSpec) -> String {
        spec.text
    }
}

impl PartialEq for BuiltinSpec {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for BuiltinSpec {}

impl fmt::Display for BuiltinSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BuiltinSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// The parameters that a spec gives; those that it leaves out have defaults.
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    fn parse(card: &Card, text: &str) -> Result<Self, SpecError> {
        let mut settings = Settings(Vec::new());
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let malformed = |why| SpecError::Malformed { model: card.name, part: part.to_owned(), why };
            let (key, value) = part.split_once('=').ok_or_else(|| malformed("is not written key=value"))?;
            let key = card.keys().find(|known| *known == key).ok_or_else(|| SpecError::UnknownParameter {
                model: card.name,
                key: key.to_owned(),
                choices: join(card.keys()),
            })?;
            if settings.get(key).is_some() {
                return Err(malformed("is there twice"));
            }
            settings.0.push((key, value.to_owned()));
        }
        Ok(settings)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    /// A number within a range.
    pub(super) fn number(
        &self,
        key: &'static str,
        default: f64,
        range: RangeInclusive<f64>,
    ) -> Result<f64, SpecError> {
        self.value(key, default, &range, "a number")
    }

    /// A whole number within a range.
    pub(super) fn whole_number(
        &self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, SpecError> {
        self.value(key, default, &range, "a whole number")
    }

    /// A span within a range.
    pub(super) fn span(
        &self,
        key: &'static str,
        default: Span,
        range: RangeInclusive<Span>,
    ) -> Result<Span, SpecError> {
        self.value(key, default, &range, "a span")
    }

    /// How much of the past counts.
    pub(super) fn window(&self, default: Span) -> Result<Span, SpecError> {
        self.span(WINDOW, default, Span::hours(1)..=Span::days(30))
    }

    fn value<T: FromStr + PartialOrd + fmt::Display>(
        &self,
        key: &'static str,
        default: T,
        range: &RangeInclusive<T>,
        kind: &str,
    ) -> Result<T, SpecError> {
        let Some(text) = self.get(key) else { return Ok(default) };
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| SpecError::InvalidValue {
            key,
            value: text.to_owned(),
            expected: format!("{kind} from {} to {}", range.start(), range.end()),
        })
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<BuiltinSpec>().unwrap_err().to_string()
    }

    #[test]
    fn a_spec_is_written_as_it_was_read() {
        for text in ["random-walk", "random-walk:scale=10", "ewma-volatility:decay=0.97,reversion=3h"] {
            assert_eq!(text.parse::<BuiltinSpec>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_spec_is_refused_with_the_choices() {
        assert_eq!(
            refused("walk"),
            "there is no built-in model `walk`: choose one of random-walk, ewma-volatility, student-t, \
             two-state-mixture, empirical-histogram"
        );
        assert_eq!(
            refused("random-walk:decay=1"),
            "random-walk has no parameter `decay`: choose among window, scale"
        );
        assert_eq!(refused("random-walk:scale=-1"), "`-1` is no scale: write a number from 0.001 to 1000");
        assert_eq!(refused("random-walk:scale=NaN"), "`NaN` is no scale: write a number from 0.001 to 1000");
        assert_eq!(refused("student-t:window=5"), "`5` is no window: write a span from 1h to 30d");
        assert_eq!(
            refused("student-t:window"),
            "`window` in the parameters of student-t is not written key=value"
        );
        assert_eq!(
            refused("student-t:scale=1,scale=2"),
            "`scale=2` in the parameters of student-t is there twice"
        );
    }
}
