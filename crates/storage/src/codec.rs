//! How values are stored, the same in every database: large ones as zstd frames, level 1.

use std::borrow::Cow;
use std::cell::RefCell;

use domain::Span;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 1;

/// What one stored value may hold at most when unpacked; more is corrupt.
const MAX_UNPACKED_BYTES: usize = 256 * 1024 * 1024;

thread_local! {
    /// Making a context takes longer than compressing an answer with it.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(compressor());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::new(decompressor());
}

/// Both fail only when memory does, and then the allocation itself has ended the process.
#[allow(clippy::expect_used, reason = "see above")]
fn compressor() -> Compressor<'static> {
    Compressor::new(LEVEL).expect("memory for a compressor")
}

#[allow(clippy::expect_used, reason = "see above")]
fn decompressor() -> Decompressor<'static> {
    Decompressor::new().expect("memory for a decompressor")
}

/// Packs bytes.
#[allow(clippy::expect_used, reason = "compressing into a buffer that grows fails only when memory does")]
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(bytes)).expect("memory for a packed text")
}

/// Unpacks bytes; the error says why it cannot be.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let size = Decompressor::upper_bound(bytes).unwrap_or(MAX_UNPACKED_BYTES).min(MAX_UNPACKED_BYTES);
    let unpacked = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.decompress(bytes, size));
    unpacked.map_err(|error| error.to_string())
}

/// Packs a text.
pub fn encode_text(text: &str) -> Vec<u8> {
    pack(text.as_bytes())
}

/// Unpacks a text; the error says why it cannot be.
pub fn decode_text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(unpack(bytes)?).map_err(|error| error.to_string())
}

/// Packs a value as JSON. Numbers keep every bit.
pub fn encode_document<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_string(value).map(|text| encode_text(&text)).map_err(|error| error.to_string())
}

/// Unpacks a value.
pub fn decode_document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_str(&decode_text(bytes)?).map_err(|error| error.to_string())
}

/// A free text as every database can hold it: PostgreSQL takes no NUL, so that one becomes U+FFFD.
pub fn storable_text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Writes the steps of a question, in seconds: `60,300`.
pub fn encode_steps(steps: &[Span]) -> String {
    let seconds: Vec<String> = steps.iter().map(|step| step.as_secs().to_string()).collect();
    seconds.join(",")
}

/// Reads the steps of a question; the error says why it cannot be.
pub fn decode_steps(text: &str) -> Result<Vec<Span>, String> {
    let step = |word: &str| word.parse().map(Span::seconds).map_err(|_| format!("`{word}` is no step"));
    text.split(',').filter(|word| !word.is_empty()).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_back_and_odd_ones_are_refused() {
        for steps in [vec![], vec![Span::minutes(1)], vec![Span::minutes(1), Span::seconds(u32::MAX)]] {
            assert_eq!(decode_steps(&encode_steps(&steps)), Ok(steps));
        }
        assert_eq!(decode_steps("60,-1"), Err("`-1` is no step".to_owned()));
    }

    #[test]
    fn texts_and_numbers_come_back_to_the_bit() {
        let text = "[{\"type\":\"builtin\"},".repeat(500);
        assert!(encode_text(&text).len() < 200);
        assert_eq!(decode_text(&encode_text(&text)).unwrap(), text);
        assert_eq!(decode_text(&encode_text("")).unwrap(), "");
        let numbers: Vec<f64> = vec![0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0];
        let back: Vec<f64> = decode_document(&encode_document(&numbers).unwrap()).unwrap();
        assert!(numbers.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(decode_text(b"garbage").is_err());
    }
}
