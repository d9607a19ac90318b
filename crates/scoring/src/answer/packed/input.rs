//! Bytes that are read from the front. Nothing in them is trusted.

use super::UnreadableAnswer;

/// So many bytes follow what is read, so that sixteen can be had from any place in it.
pub(super) const PADDING: usize = 16;

/// What is left to read.
#[derive(Debug)]
pub(super) struct Input<'a> {
    /// With the padding.
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Over bytes of which the last [`PADDING`] are not to be read.
    pub fn padded(bytes: &'a [u8]) -> Self {
        Input { bytes }
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(PADDING)
    }

    /// True when everything was read.
    pub fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, UnreadableAnswer> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], UnreadableAnswer> {
        self.padded_bytes(count).map(|bytes| &bytes[..count])
    }

    /// The next `count` bytes and the padding or others behind them.
    pub fn padded_bytes(&mut self, count: usize) -> Result<&'a [u8], UnreadableAnswer> {
        if count > self.left() {
            return Err(UnreadableAnswer::Damaged("it ends too early".into()));
        }
        let (taken, rest) = (&self.bytes[..count + PADDING], &self.bytes[count..]);
        self.bytes = rest;
        Ok(taken)
    }

    /// The next integer, seven bits a byte, the lowest first.
    pub fn integer(&mut self) -> Result<u64, UnreadableAnswer> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(UnreadableAnswer::Damaged("an integer does not end".into()))
    }

    /// The next integer, as a count or an index.
    pub fn count(&mut self) -> Result<usize, UnreadableAnswer> {
        let value = self.integer()?;
        usize::try_from(value).map_err(|_| UnreadableAnswer::Damaged(format!("{value} is no count")))
    }
}

/// Appends an integer as [`Input::integer`] reads it.
pub(super) fn write_integer(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
