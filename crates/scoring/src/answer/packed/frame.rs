//! The outermost form of a packed answer: a version, and a zstd frame with a checksum. It is compressed here rather than
//! by whoever stores it, so that what is read is known to be whole and bounded before it is looked at, and so that
//! answers are unpacked by the threads that score them.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use super::input::{Input, PADDING};
use super::{UnreadableAnswer, damaged};

/// The first byte of a packed answer. Never that of a zstd frame or of JSON, which are other ways to store an answer. With
/// each new one comes a migration, so that no program meets answers that it cannot read.
const VERSION: u8 = 1;

/// The first byte of a zstd frame. Before there were packed answers their texts were stored, a frame each.
const TEXT: u8 = 0x28;

/// Higher levels take longer and find nothing more: numbers have been made short before.
const LEVEL: i32 = 1;

/// No valid text makes more; what claims more is damaged.
const MAX_BYTES: usize = 8 * super::MAX_TEXT_BYTES;

thread_local! {
    /// Making a context takes longer than compressing an answer with it.
    static COMPRESSOR: RefCell<Compressor<'static>> = RefCell::new(compressor());
    static DECOMPRESSOR: RefCell<Decompressor<'static>> = RefCell::new(decompressor());
}

/// Both fail only when memory does, and then the allocation itself has ended the process.
#[allow(clippy::expect_used, reason = "see above")]
fn compressor() -> Compressor<'static> {
    let mut compressor = Compressor::new(LEVEL).expect("memory for a compressor");
    compressor.set_parameter(CParameter::ChecksumFlag(true)).expect("zstd has checksums");
    compressor
}

#[allow(clippy::expect_used, reason = "see above")]
fn decompressor() -> Decompressor<'static> {
    Decompressor::new().expect("memory for a decompressor")
}

/// What is stored of `contents`.
#[allow(
    clippy::expect_used,
    reason = "compressing into a buffer that is large enough fails only when memory does"
)]
pub(super) fn close(contents: &[u8]) -> Vec<u8> {
    let mut stored = vec![0; 1 + zstd::zstd_safe::compress_bound(contents.len())];
    stored[0] = VERSION;
    let length = COMPRESSOR
        .with_borrow_mut(|compressor| compressor.compress_to_buffer(contents, &mut stored[1..]))
        .expect("memory for a packed answer");
    stored.truncate(1 + length);
    stored
}

/// What was stored, whole.
pub(super) fn open(stored: &[u8]) -> Result<Opened, UnreadableAnswer> {
    match stored {
        [VERSION, frame @ ..] => Ok(Opened::Packed(PaddedContents::read(frame)?)),
        [TEXT, ..] => {
            let text = String::from_utf8(decompress(stored, 0)?);
            text.map(Opened::Text).map_err(|_| damaged("its text is not UTF-8"))
        }
        [version, ..] => Err(UnreadableAnswer::Version(*version)),
        [] => Err(damaged("it is empty")),
    }
}

/// The contents of a frame, with room for so many bytes behind them.
fn decompress(frame: &[u8], room: usize) -> Result<Vec<u8>, UnreadableAnswer> {
    let size = Decompressor::upper_bound(frame).ok_or_else(|| damaged("it is no zstd frame"))?;
    if size > MAX_BYTES {
        return Err(damaged(format!("it claims to hold {size} bytes, the limit is {MAX_BYTES}")));
    }
    let mut contents = Vec::with_capacity(size + room);
    DECOMPRESSOR
        .with_borrow_mut(|decompressor| decompressor.decompress_to_buffer(frame, &mut contents))
        .map_err(damaged)?;
    Ok(contents)
}

/// What was stored of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Opened {
    /// Its packed contents.
    Packed(PaddedContents),
    /// Its text.
    Text(String),
}

/// Packed contents, with padding behind them.
#[derive(Debug, PartialEq)]
pub(super) struct PaddedContents(Vec<u8>);

impl PaddedContents {
    fn read(frame: &[u8]) -> Result<Self, UnreadableAnswer> {
        let mut contents = decompress(frame, PADDING)?;
        contents.resize(contents.len() + PADDING, 0);
        Ok(PaddedContents(contents))
    }

    /// From the start on.
    pub fn input(&self) -> Input<'_> {
        Input::padded(&self.0)
    }
}
