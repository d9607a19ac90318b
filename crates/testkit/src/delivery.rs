//! How the answers of fake models go over the wire.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use prost::encoding::{WireType, encode_key, encode_varint};
use protocol::commons::VariantType;
use tonic::body::Body;

use crate::behaviour::Delivery;

/// Out of the ordinary.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    Bad(Delivery),
    /// The answer is followed by a value of so many blanks, which are made as they are sent.
    Blanks(usize),
}

type Frames = BoxStream<'static, Result<Frame<Bytes>, tonic::Status>>;

/// Flag and length before each gRPC message.
const FRAME_HEADER_BYTES: usize = 5;
const CHUNK_BYTES: usize = 64 * 1024;

/// Sends an answer in the manner that is asked for in its extensions.
pub(crate) async fn apply(answer: http::Response<Body>) -> http::Response<Body> {
    let (mut head, body) = answer.into_parts();
    let Some(manner) = head.extensions.remove::<Manner>() else {
        return http::Response::from_parts(head, body);
    };
    let framed = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
    let frames = match manner {
        Manner::Bad(delivery) => badly(delivery, framed),
        Manner::Blanks(count) => with_blanks(&framed[FRAME_HEADER_BYTES..], count),
    };
    http::Response::from_parts(head, Body::new(StreamBody::new(frames)))
}

fn badly(delivery: Delivery, framed: Bytes) -> Frames {
    let whole = framed.clone();
    let once = futures::stream::once(async { Ok(Frame::data(whole)) });
    match delivery {
        Delivery::Drip(pause) => drip(framed, pause),
        Delivery::Unended => once.chain(futures::stream::pending()).boxed(),
        Delivery::Endless => futures::stream::repeat_with(move || Ok(Frame::data(framed.clone()))).boxed(),
        Delivery::Reset => {
            futures::stream::once(async { Err(tonic::Status::aborted("the fake resets the stream")) }).boxed()
        }
    }
}

fn drip(framed: Bytes, pause: Duration) -> Frames {
    let bytes = (0..framed.len()).map(move |at| framed.slice(at..=at));
    let slowly = futures::stream::iter(bytes).then(move |byte| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(byte))
    });
    slowly.chain(futures::stream::once(async { Ok(success()) })).boxed()
}

/// `message` is a `CallResponse` without a value.
fn with_blanks(message: &[u8], count: usize) -> Frames {
    let value = value_head(count);
    let mut head = BytesMut::new();
    head.put_u8(0);
    head.put_u32((message.len() + value.len() + count) as u32);
    head.put_slice(message);
    head.put_slice(&value);
    let blanks = Bytes::from(vec![b' '; CHUNK_BYTES.min(count)]);
    let chunks = (0..count.div_ceil(CHUNK_BYTES)).map(move |chunk| {
        let left = count - chunk * CHUNK_BYTES;
        blanks.slice(..left.min(CHUNK_BYTES))
    });
    let data = std::iter::once(head.freeze()).chain(chunks).map(Frame::data);
    futures::stream::iter(data.chain([success()])).map(Ok).boxed()
}

/// The field of a `CallResponse` that holds a JSON variant of so many bytes, up to those bytes.
fn value_head(count: usize) -> Vec<u8> {
    const RESPONSE_VALUE: u32 = 2;
    const VARIANT_TYPE: u32 = 2;
    const VARIANT_BYTES: u32 = 3;
    let mut variant = Vec::new();
    encode_key(VARIANT_TYPE, WireType::Varint, &mut variant);
    encode_varint(VariantType::Json as u64, &mut variant);
    encode_key(VARIANT_BYTES, WireType::LengthDelimited, &mut variant);
    encode_varint(count as u64, &mut variant);
    let mut field = Vec::new();
    encode_key(RESPONSE_VALUE, WireType::LengthDelimited, &mut field);
    encode_varint((variant.len() + count) as u64, &mut field);
    field.extend(variant);
    field
}

fn success() -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]))
}
