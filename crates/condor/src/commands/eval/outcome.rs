//! What a line of output holds.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A line of output.
#[derive(Serialize)]
pub struct Line<'a> {
    /// As the line of input has it.
    pub id: Option<&'a RawValue>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a line of input.
#[derive(Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the words of the output")]
pub enum Outcome {
    Density { pdf: Number, cdf: Number, sf: Number },
    Crps { crps: Number },
    Validity { valid: bool, reason: Option<String> },
    Prediction { step_sums: StepSums, exact_step_sums: StepSums },
    Round { relative: Vec<Number> },
    Error { error: String },
}

/// By step size in seconds.
pub type StepSums = BTreeMap<u32, Number>;

/// A number that reads back to the same bits, or a word where JSON has no number.
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            f64::INFINITY => serializer.serialize_str("inf"),
            f64::NEG_INFINITY => serializer.serialize_str("-inf"),
            value if value.is_nan() => serializer.serialize_str("nan"),
            value => serializer.serialize_f64(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_to_the_same_bits_and_others_are_words() {
        for value in [0.1 + 0.2, -0.0, 5e-324, f64::MAX, 1e22, 1.0 / 3.0] {
            let text = serde_json::to_string(&Number(value)).unwrap();
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
        let words = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(Number);
        assert_eq!(serde_json::to_string(&words).unwrap(), r#"["inf","-inf","nan"]"#);
    }
}
