//! The messages between the host and the Python process: `python/submission_host.py` says how they look.
//!
//! What comes from the process is hostile: every length is checked against what is there.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protocol::commons::{Argument, KwArgument, Variant, VariantType};
use protocol::status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message in words that is passed on, in characters.
const LONGEST_MESSAGE: usize = 4000;

/// What is around the value in an answer, at most: status, message, lengths.
const AROUND_THE_VALUE: usize = 64 * 1024;

const STATUS_CODES: [&str; 5] = [
    status::SUCCESS,
    status::INVALID_ARGUMENT,
    status::BAD_IMPLEMENTATION,
    status::SETUP_FAILED,
    status::MODEL_FAILED,
];

/// What the process is asked to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Setup,
    Call,
}

/// A request, in pieces, so that large arguments are not copied.
pub(super) struct Request {
    id: u32,
    pieces: Vec<Bytes>,
    head: BytesMut,
}

impl Request {
    /// `name` is the class or the method. `None` when an argument has no value.
    pub(super) fn new(
        id: u32,
        kind: Kind,
        name: &str,
        mut positional: Vec<Argument>,
        by_keyword: Vec<KwArgument>,
    ) -> Option<Self> {
        let mut request = Request { id, pieces: Vec::new(), head: BytesMut::new() };
        request.head.put_u32_le(id);
        request.head.put_u8(kind as u8);
        request.put_text(name);
        positional.sort_by_key(|argument| argument.position);
        request.put_length(positional.len());
        for argument in positional {
            request.put_variant(argument.data?);
        }
        request.put_length(by_keyword.len());
        for argument in by_keyword {
            request.put_text(&argument.keyword);
            request.put_variant(argument.data?);
        }
        request.cut();
        Some(request)
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Writes the whole request.
    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let length: usize = self.pieces.iter().map(Bytes::len).sum();
        to.write_u32_le(to_u32(length)).await?;
        for piece in &self.pieces {
            to.write_all(piece).await?;
        }
        to.flush().await
    }

    fn put_length(&mut self, length: usize) {
        self.head.put_u32_le(to_u32(length));
    }

    fn put_text(&mut self, text: &str) {
        self.put_length(text.len());
        self.head.put_slice(text.as_bytes());
    }

    fn put_variant(&mut self, variant: Variant) {
        // a type that does not fit a byte is as unknown as 255
        self.head.put_u8(u8::try_from(variant.r#type).unwrap_or(u8::MAX));
        self.put_length(variant.value.len());
        self.cut();
        self.pieces.push(variant.value);
    }

    fn cut(&mut self) {
        let head = self.head.split().freeze();
        self.pieces.push(head);
    }
}

/// The gRPC server takes messages below 2^32 bytes.
fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// What the process answered.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// One of the protocol's status codes.
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) value: Variant,
}

/// The bytes from the process are no answer to what it was asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidAnswer {
    #[error("the pipe ended")]
    Ended,
    #[error("{0} bytes were announced, more than {1}")]
    TooLarge(usize, usize),
    #[error("the answer is cut short")]
    CutShort,
    #[error("the answer has {0} bytes too many")]
    TooLong(usize),
    #[error("the answer is to request {got}, not to {expected}")]
    OtherRequest { got: u32, expected: u32 },
    #[error("the answer has no status of the protocol")]
    UnknownStatus,
    #[error("the answer's value is of type {0}, which is not in the protocol")]
    UnknownType(u8),
}

/// Reads the answer to request `id`, whose value may have `largest_value` bytes.
pub(super) async fn receive(
    from: &mut (impl AsyncRead + Unpin),
    id: u32,
    largest_value: usize,
) -> Result<Answer, InvalidAnswer> {
    let length = from.read_u32_le().await.map_err(|_| InvalidAnswer::Ended)? as usize;
    let largest = largest_value + AROUND_THE_VALUE;
    if length > largest {
        return Err(InvalidAnswer::TooLarge(length, largest));
    }
    // memory grows with what arrives, not with what was announced
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes).await.map_err(|_| InvalidAnswer::Ended)?;
    if bytes.len() < length {
        return Err(InvalidAnswer::Ended);
    }
    parse(bytes.into(), id)
}

fn parse(mut bytes: Bytes, expected: u32) -> Result<Answer, InvalidAnswer> {
    let got = bytes.try_get_u32_le().map_err(|_| InvalidAnswer::CutShort)?;
    if got != expected {
        return Err(InvalidAnswer::OtherRequest { got, expected });
    }
    let code = take(&mut bytes)?;
    let code = STATUS_CODES.into_iter().find(|known| known.as_bytes() == code);
    let code = code.ok_or(InvalidAnswer::UnknownStatus)?;
    let message = String::from_utf8_lossy(&take(&mut bytes)?).chars().take(LONGEST_MESSAGE).collect();
    let kind = bytes.try_get_u8().map_err(|_| InvalidAnswer::CutShort)?;
    let kind = VariantType::try_from(i32::from(kind)).map_err(|_| InvalidAnswer::UnknownType(kind))?;
    let value = take(&mut bytes)?;
    if !bytes.is_empty() {
        return Err(InvalidAnswer::TooLong(bytes.len()));
    }
    Ok(Answer { code, message, value: Variant { r#type: kind.into(), value } })
}

/// The bytes behind a length.
fn take(bytes: &mut Bytes) -> Result<Bytes, InvalidAnswer> {
    let length = bytes.try_get_u32_le().map_err(|_| InvalidAnswer::CutShort)? as usize;
    if length > bytes.len() {
        return Err(InvalidAnswer::CutShort);
    }
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u32, code: &str, message: &[u8], kind: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_le_bytes().to_vec();
        for text in [code.as_bytes(), message] {
            bytes.put_u32_le(u32::try_from(text.len()).unwrap());
            bytes.put_slice(text);
        }
        bytes.put_u8(kind);
        bytes.put_u32_le(u32::try_from(value.len()).unwrap());
        bytes.put_slice(value);
        bytes
    }

    fn framed(length: u32, bytes: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes(), bytes].concat()
    }

    async fn received(bytes: Vec<u8>) -> Result<Answer, InvalidAnswer> {
        receive(&mut bytes.as_slice(), 7, 1000).await
    }

    #[tokio::test]
    async fn an_answer_is_read_as_it_was_written() {
        let bytes = answer(7, "SUCCESS", "é\u{ff}".as_bytes(), 6, b"[1]");
        let length = u32::try_from(bytes.len()).unwrap();
        let read = received(framed(length, &bytes)).await.unwrap();
        let value = Variant { r#type: VariantType::Json.into(), value: Bytes::from_static(b"[1]") };
        assert_eq!(read, Answer { code: status::SUCCESS, message: "é\u{ff}".into(), value });
    }

    #[tokio::test]
    async fn whatever_a_submission_writes_into_the_pipe_is_refused_with_the_cause() {
        let good = answer(7, "SUCCESS", b"", 6, b"[1]");
        let whole = u32::try_from(good.len()).unwrap();
        for cut in 0..good.len() {
            let length = u32::try_from(cut).unwrap();
            assert_eq!(received(framed(length, &good[..cut])).await, Err(InvalidAnswer::CutShort), "{cut}");
            assert_eq!(received(framed(whole, &good[..cut])).await, Err(InvalidAnswer::Ended), "{cut}");
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert_eq!(received(framed(whole + 1, &longer)).await, Err(InvalidAnswer::TooLong(1)));
        let largest = 1000 + AROUND_THE_VALUE;
        let garbage = received(b"hello, world".to_vec()).await;
        assert_eq!(garbage, Err(InvalidAnswer::TooLarge(0x6c6c_6568, largest)));
        let of = |bytes: Vec<u8>| parse(bytes.into(), 7);
        let other = InvalidAnswer::OtherRequest { got: 8, expected: 7 };
        assert_eq!(of(answer(8, "SUCCESS", b"", 6, b"")), Err(other));
        assert_eq!(of(answer(7, "FAILED_PRECONDITION", b"", 6, b"")), Err(InvalidAnswer::UnknownStatus));
        assert_eq!(of(answer(7, "SUCCESS", b"", 9, b"")), Err(InvalidAnswer::UnknownType(9)));
        let message = of(answer(7, "MODEL_FAILED", &[0xff; 50_000], 0, b"")).unwrap().message;
        assert_eq!(message.chars().count(), LONGEST_MESSAGE);
    }
}
