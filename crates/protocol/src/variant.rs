//! Typed values on the wire.

use bytes::Bytes;

use crate::commons::{Argument, Variant, VariantType};

/// A value that a call carries or returns.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    None,
    /// A double.
    Double(f64),
    /// A signed integer.
    Int(i64),
    /// A text.
    String(String),
    /// JSON text; Python writes NaN and Infinity as bare words in it.
    Json(String),
}

/// Bytes that are no value of their type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVariant {
    /// A type number that the protocol does not have.
    #[error("type {0} is not in the protocol")]
    UnknownType(i32),
    /// A type that we have no use for.
    #[error("a value of type {0} has no meaning here")]
    Unsupported(&'static str),
    /// Not 8 bytes.
    #[error("a {kind} has 8 bytes, got {length}")]
    Length {
        /// DOUBLE or INT.
        kind: &'static str,
        /// What came.
        length: usize,
    },
    /// Not UTF-8.
    #[error("the text is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
}

impl Value {
    /// The value as the wire has it.
    pub fn to_variant(&self) -> Variant {
        let (kind, value) = match self {
            Value::None => (VariantType::None, Bytes::new()),
            Value::Double(number) => (VariantType::Double, Bytes::copy_from_slice(&number.to_le_bytes())),
            Value::Int(number) => (VariantType::Int, Bytes::copy_from_slice(&number.to_le_bytes())),
            Value::String(text) => (VariantType::String, Bytes::copy_from_slice(text.as_bytes())),
            Value::Json(text) => (VariantType::Json, Bytes::copy_from_slice(text.as_bytes())),
        };
        Variant { r#type: kind.into(), value }
    }

    /// The value as an argument; positions start at 1.
    pub fn to_argument(&self, position: u32) -> Argument {
        Argument { position, data: Some(self.to_variant()) }
    }

    /// Reads a value from the wire; see also the conversion that takes the variant, and so need not copy a text.
    pub fn from_variant(variant: &Variant) -> Result<Self, InvalidVariant> {
        Value::try_from(variant.clone())
    }
}

/// A text becomes the value's without being copied when nobody else holds the variant's bytes.
impl TryFrom<Variant> for Value {
    type Error = InvalidVariant;

    fn try_from(variant: Variant) -> Result<Self, InvalidVariant> {
        let Variant { r#type, value } = variant;
        let kind = VariantType::try_from(r#type).map_err(|_| InvalidVariant::UnknownType(r#type))?;
        match kind {
            VariantType::None => Ok(Value::None),
            VariantType::Double => Ok(Value::Double(f64::from_le_bytes(eight("DOUBLE", &value)?))),
            VariantType::Int => Ok(Value::Int(i64::from_le_bytes(eight("INT", &value)?))),
            VariantType::String => text(value).map(Value::String),
            VariantType::Json => text(value).map(Value::Json),
            VariantType::Parquet | VariantType::Arrow => Err(InvalidVariant::Unsupported(kind.as_str_name())),
        }
    }
}

fn eight(kind: &'static str, bytes: &[u8]) -> Result<[u8; 8], InvalidVariant> {
    bytes.try_into().map_err(|_| InvalidVariant::Length { kind, length: bytes.len() })
}

fn text(bytes: Bytes) -> Result<String, InvalidVariant> {
    String::from_utf8(bytes.into()).map_err(|error| InvalidVariant::NotUtf8(error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_the_wire() {
        let values = [
            Value::None,
            Value::Double(-0.5),
            Value::Int(-7),
            Value::String("é".into()),
            Value::Json("[NaN]".into()),
        ];
        for value in values {
            assert_eq!(Value::from_variant(&value.to_variant()), Ok(value));
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_cause() {
        let refused = |kind: i32, value: &'static [u8]| {
            Value::from_variant(&Variant { r#type: kind, value: Bytes::from_static(value) })
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(9, b""), "type 9 is not in the protocol");
        assert_eq!(refused(1, b"1234"), "a DOUBLE has 8 bytes, got 4");
        assert_eq!(refused(6, b"[1,\xff]"), "the text is not UTF-8 from byte 3 on");
        assert_eq!(refused(5, b""), "a value of type ARROW has no meaning here");
    }
}
