//! The content of an answer, with its tag and its compressed forms.

use std::io::Write;

use axum::body::Bytes;
use axum::http::HeaderValue;
use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::problem::Problem;

/// Shorter ones go out as they are: compression would not make fewer packets of them.
const WORTH_COMPRESSING: usize = 1024;

/// A sixth smaller than gzip at the same time.
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW_BITS: u32 = 22;
const BROTLI_BUFFER: usize = 4096;

/// How a body is coded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
}

/// The content of an answer.
pub(crate) struct Body {
    content_type: &'static str,
    tag: HeaderValue,
    plain: Bytes,
    gzip: OnceCell<Bytes>,
    brotli: OnceCell<Bytes>,
}

impl Body {
    /// Any content.
    ///
    /// The tag follows from the content, so that every copy of this worker gives the same. It is a weak one, since the same
    /// content goes out compressed and plain.
    pub(crate) fn new(content_type: &'static str, content: impl Into<Bytes>) -> Self {
        let plain = content.into();
        let tag = format!("W/\"{}\"", Uuid::new_v5(&Uuid::nil(), &plain).simple());
        let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""));
        Body { content_type, tag, plain, gzip: OnceCell::new(), brotli: OnceCell::new() }
    }

    /// `value` as JSON.
    pub(crate) fn json<T: Serialize>(value: &T) -> Result<Self, Problem> {
        let text = serde_json::to_vec(value).map_err(|error| {
            tracing::error!(%error, "report worker: an answer has no JSON form: {error}");
            Problem::internal()
        })?;
        Ok(Body::new("application/json", text))
    }

    pub(crate) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(self.content_type)
    }

    pub(crate) fn tag(&self) -> &HeaderValue {
        &self.tag
    }

    /// The memory that all of its forms may take, in bytes: compressed ones are never longer than the plain one.
    pub(crate) fn len(&self) -> usize {
        let forms = if self.plain.len() < WORTH_COMPRESSING { 1 } else { 2 };
        self.plain.len() * forms
    }

    /// The bytes to send to a client who takes `coding`, and how they are coded; compressed by the first who asks.
    pub(crate) async fn coded(&self, coding: Coding) -> Result<(Coding, Bytes), Problem> {
        if self.plain.len() < WORTH_COMPRESSING {
            return Ok((Coding::Identity, self.plain.clone()));
        }
        let bytes = match coding {
            Coding::Identity => self.plain.clone(),
            Coding::Gzip => self.compressed(&self.gzip, gzip).await?,
            Coding::Brotli => self.compressed(&self.brotli, brotli).await?,
        };
        Ok((coding, bytes))
    }

    async fn compressed(
        &self,
        form: &OnceCell<Bytes>,
        compress: fn(&[u8]) -> std::io::Result<Vec<u8>>,
    ) -> Result<Bytes, Problem> {
        let plain = self.plain.clone();
        let bytes = form.get_or_try_init(async || {
            let bytes = off_the_runtime(move || Ok(compress(&plain))).await?;
            bytes.map(Bytes::from).map_err(|error| {
                tracing::error!(%error, "report worker: an answer cannot be compressed: {error}");
                Problem::internal()
            })
        });
        Ok(bytes.await?.clone())
    }
}

/// Does what takes long where it holds up no other request.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Problem::unavailable("The report worker is stopping. Ask again in a few seconds.")),
        },
    }
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

fn brotli(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = CompressorWriter::new(Vec::new(), BROTLI_BUFFER, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
    encoder.write_all(plain)?;
    encoder.flush()?;
    Ok(encoder.into_inner())
}
