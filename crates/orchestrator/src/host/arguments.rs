//! The arguments of calls: bound to names, and read into types.

use std::collections::BTreeMap;
use std::fmt;

use domain::{Asset, Price, PricePoint, Span, Timestamp, TimestampExt};
use protocol::Value;
use protocol::commons::{Argument, KwArgument, Variant};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, de};

use crate::builtin::Prices;

/// Arguments that a method cannot take; the message says which and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidArgument(String);

/// Arguments by position and by keyword, to be taken one after another in the order of the method's parameters.
pub(super) struct Arguments {
    /// Reversed, so that the next one is at the end.
    positional: Vec<Argument>,
    by_keyword: BTreeMap<String, Option<Variant>>,
}

impl Arguments {
    pub(super) fn new(mut positional: Vec<Argument>, by_keyword: Vec<KwArgument>) -> Self {
        positional.sort_by_key(|argument| std::cmp::Reverse(argument.position));
        let by_keyword = by_keyword.into_iter().map(|argument| (argument.keyword, argument.data)).collect();
        Arguments { positional, by_keyword }
    }

    /// The value of the next parameter.
    fn take(&mut self, name: &str) -> Result<Value, InvalidArgument> {
        let missing = || InvalidArgument(format!("the argument `{name}` is missing"));
        let variant = match self.positional.pop() {
            Some(argument) => argument.data,
            None => self.by_keyword.remove(name).ok_or_else(missing)?,
        };
        let invalid = |why: &dyn fmt::Display| InvalidArgument(format!("the argument `{name}`: {why}"));
        Value::from_variant(&variant.ok_or_else(missing)?).map_err(|why| invalid(&why))
    }

    /// Every parameter has been taken: nothing may be left.
    pub(super) fn finish(self) -> Result<(), InvalidArgument> {
        if let Some(argument) = self.positional.last() {
            return Err(InvalidArgument(format!("there is no parameter for argument {}", argument.position)));
        }
        match self.by_keyword.keys().next() {
            Some(keyword) => Err(InvalidArgument(format!("there is no parameter `{}`", excerpt(keyword)))),
            None => Ok(()),
        }
    }

    pub(super) fn asset(&mut self, name: &str) -> Result<Asset, InvalidArgument> {
        match self.take(name)? {
            Value::String(text) => {
                Asset::new(&text).map_err(|why| InvalidArgument(format!("`{name}`: {why}")))
            }
            other => Err(wrong_type(name, "a STRING", &other)),
        }
    }

    /// Seconds.
    pub(super) fn span(&mut self, name: &str) -> Result<Span, InvalidArgument> {
        match self.take(name)? {
            Value::Int(seconds) => u32::try_from(seconds).map(Span::seconds).map_err(|_| {
                InvalidArgument(format!("`{name}` is {seconds}, not a number of seconds from 0"))
            }),
            other => Err(wrong_type(name, "an INT", &other)),
        }
    }

    /// A JSON list of seconds.
    pub(super) fn spans(&mut self, name: &str) -> Result<Vec<Span>, InvalidArgument> {
        let seconds: Vec<u32> = self.json(name)?;
        Ok(seconds.into_iter().map(Span::seconds).collect())
    }

    /// A JSON object from asset to `[[unix seconds, price], …]`.
    pub(super) fn prices(&mut self, name: &str) -> Result<Prices, InvalidArgument> {
        let wire: BTreeMap<Asset, Vec<WirePoint>> = self.json(name)?;
        let points = |list: Vec<WirePoint>| {
            list.into_iter().map(|WirePoint(at, price)| PricePoint { at: at.0, price })
        };
        Ok(wire.into_iter().map(|(asset, list)| (asset, points(list).collect())).collect())
    }

    fn json<T: de::DeserializeOwned>(&mut self, name: &str) -> Result<T, InvalidArgument> {
        match self.take(name)? {
            Value::Json(text) => serde_json::from_str(&text)
                .map_err(|why| InvalidArgument(format!("the JSON in `{name}`: {why}"))),
            other => Err(wrong_type(name, "JSON", &other)),
        }
    }
}

fn wrong_type(name: &str, expected: &str, value: &Value) -> InvalidArgument {
    let kind = value.to_variant().r#type().as_str_name();
    InvalidArgument(format!("`{name}` must be {expected}, got a value of type {kind}"))
}

/// Enough of a foreign text to recognise it.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}

#[derive(Deserialize)]
struct WirePoint(UnixSeconds, Price);

/// An instant, sent as an integer or, by some Python programs, as a float.
struct UnixSeconds(Timestamp);

impl<'de> Deserialize<'de> for UnixSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnixSecondsVisitor)
    }
}

struct UnixSecondsVisitor;

impl Visitor<'_> for UnixSecondsVisitor {
    type Value = UnixSeconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unix seconds")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<UnixSeconds, E> {
        let out_of_range = || E::custom(format!("{seconds} unix seconds are out of range"));
        Timestamp::from_unix_seconds(seconds).map(UnixSeconds).ok_or_else(out_of_range)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<UnixSeconds, E> {
        self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<UnixSeconds, E> {
        // the cast saturates, and what is out of range is refused
        self.visit_i64(seconds.floor() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(values: &[Value]) -> Arguments {
        let numbered = (1..).zip(values).map(|(position, value)| value.to_argument(position));
        // arguments may come in any order: the position counts
        let mut positional: Vec<Argument> = numbered.collect();
        positional.reverse();
        Arguments::new(positional, vec![])
    }

    #[test]
    fn arguments_are_taken_by_position_and_then_by_keyword() {
        let step = KwArgument { keyword: "step".into(), data: Some(Value::Int(60).to_variant()) };
        let positional = vec![Value::Int(3600).to_argument(2), Value::String("BTC".into()).to_argument(1)];
        let mut arguments = Arguments::new(positional, vec![step]);
        assert_eq!(arguments.asset("asset").unwrap().as_str(), "BTC");
        assert_eq!(arguments.span("horizon"), Ok(Span::hours(1)));
        assert_eq!(arguments.span("step"), Ok(Span::minutes(1)));
        assert_eq!(arguments.finish(), Ok(()));
    }

    #[test]
    fn prices_are_read_with_whole_and_broken_seconds() {
        let json = r#"{"ETH": [], "BTC": [[1747699200, 100.5], [1747699260.0, 101]]}"#;
        let prices = arguments(&[Value::Json(json.into())]).prices("prices").unwrap();
        let btc = &prices[&Asset::new("BTC").unwrap()];
        assert_eq!((btc[1].at.timestamp(), btc[1].price.value()), (1_747_699_260, 101.0));
        assert_eq!(prices.len(), 2);
    }

    #[test]
    fn what_is_no_argument_is_refused_with_the_cause() {
        let prices =
            |json: &str| arguments(&[Value::Json(json.into())]).prices("prices").unwrap_err().to_string();
        assert!(prices(r#"{"BTC": [[1747699200, -1]]}"#).contains("-1 is no price"));
        assert!(prices(r#"{"BTC": [[1e30, 1]]}"#).contains("out of range"));
        assert!(prices(r#"{"BTC": [[1747699200, NaN]]}"#).starts_with("the JSON in `prices`"));
        assert!(prices(r#"[1]"#).contains("the JSON in `prices`"));
        let span = |value: Value| arguments(&[value]).span("horizon").unwrap_err().to_string();
        assert_eq!(span(Value::Int(-5)), "`horizon` is -5, not a number of seconds from 0");
        assert_eq!(span(Value::Double(5.0)), "`horizon` must be an INT, got a value of type DOUBLE");
        assert_eq!(arguments(&[]).span("step").unwrap_err().to_string(), "the argument `step` is missing");
        let unused = arguments(&[Value::None]).finish().unwrap_err().to_string();
        assert_eq!(unused, "there is no parameter for argument 1");
    }
}
