//! The bytes between us and a node, and what can be learnt from them when there is no HTTP/2.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// A connection to a node, with TLS or without, that notes what it hears.
#[derive(Debug)]
pub(crate) struct NodeStream {
    io: Io,
    heard: Arc<Heard>,
    inlet: Arc<Inlet>,
}

type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What the other side has said so far, below HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    is_tls_record: OnceLock<bool>,
    tls_error: OnceLock<rustls::Error>,
}

/// How a record of TLS begins: alert or handshake, then the version's first byte.
const TLS_RECORDS: [[u8; 2]; 2] = [[0x15, 0x03], [0x16, 0x03]];

/// True when these bytes are TLS rather than a frame of HTTP/2.
pub(crate) fn is_tls_record(bytes: &[u8]) -> bool {
    TLS_RECORDS.iter().any(|start| bytes.starts_with(start))
}

impl Heard {
    /// True when nothing has come.
    pub fn is_nothing(&self) -> bool {
        self.is_tls_record.get().is_none()
    }

    /// True when TLS has come over a plain connection.
    pub fn is_tls(&self) -> bool {
        self.is_tls_record.get() == Some(&true)
    }

    /// What ended a TLS connection: with TLS 1.3 the other side refuses our certificate only after the handshake.
    pub fn tls_error(&self) -> Option<&rustls::Error> {
        self.tls_error.get()
    }

    fn note(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.is_tls_record.get_or_init(|| is_tls_record(bytes));
        }
    }

    fn note_error(&self, error: &io::Error) {
        if let Some(error) = tls_error_in(error) {
            self.tls_error.get_or_init(|| error.clone());
        }
    }
}

/// The TLS fault that an I/O error stands for.
pub(crate) fn tls_error_in(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// How much more is read of a connection. While it is closed, what the node has sent waits outside the process, and soon the
/// node does: so that answers of many models that come at once are taken in one after the other.
#[derive(Debug)]
pub(crate) struct Inlet {
    /// In bytes; the last read may go beyond it.
    left: AtomicUsize,
    opened: AtomicWaker,
    closed: AtomicWaker,
}

impl Inlet {
    fn new() -> Arc<Self> {
        let (opened, closed) = (AtomicWaker::new(), AtomicWaker::new());
        Arc::new(Inlet { left: AtomicUsize::new(usize::MAX), opened, closed })
    }

    /// Closes after so many bytes, unless it is opened before; open again when the guard is dropped.
    pub fn narrow(self: &Arc<Self>, bytes: usize) -> Narrowed {
        self.let_in(bytes);
        Narrowed { inlet: self.clone(), bytes }
    }

    fn let_in(&self, bytes: usize) {
        self.left.store(bytes, Ordering::SeqCst);
        self.opened.wake();
    }

    fn poll_closed(&self, context: &Context<'_>) -> Poll<()> {
        if !self.is_closed() {
            self.closed.register(context.waker());
            // It may have closed in between.
            if !self.is_closed() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        if self.is_closed() {
            self.opened.register(context.waker());
            // It may have been opened in between.
            if self.is_closed() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn is_closed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn count(&self, bytes: usize) {
        let less = |left: usize| (left != usize::MAX).then(|| left.saturating_sub(bytes));
        // nothing is counted while it is open
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        if self.is_closed() {
            self.closed.wake();
        }
    }
}

/// See [`Inlet::narrow`].
pub(crate) struct Narrowed {
    inlet: Arc<Inlet>,
    bytes: usize,
}

impl Narrowed {
    /// Lets everything in.
    pub fn open(&self) {
        self.inlet.let_in(usize::MAX);
    }

    /// Waits for what may lie beyond the bytes that were let in: HTTP/2 hands over whole frames only, and there may be others
    /// before them. As many bytes again are let in as often as it takes.
    pub async fn until<T>(&self, awaited: impl Future<Output = T>) -> T {
        let mut awaited = pin!(awaited);
        poll_fn(|context| {
            loop {
                if let Poll::Ready(value) = awaited.as_mut().poll(context) {
                    return Poll::Ready(value);
                }
                ready!(self.inlet.poll_closed(context));
                self.inlet.let_in(self.bytes);
            }
        })
        .await
    }
}

impl Drop for Narrowed {
    fn drop(&mut self) {
        self.open();
    }
}

impl NodeStream {
    pub fn plain(stream: TcpStream) -> Self {
        Self::over(Either::Left(stream))
    }

    pub fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::over(Either::Right(Box::new(stream)))
    }

    fn over(io: Io) -> Self {
        NodeStream { io, heard: Arc::default(), inlet: Inlet::new() }
    }

    pub fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }

    pub fn inlet(&self) -> Arc<Inlet> {
        self.inlet.clone()
    }
}

impl NodeStream {
    fn io(self: Pin<&mut Self>) -> Pin<&mut Io> {
        Pin::new(&mut self.get_mut().io)
    }

    /// What cannot be sent any more may have been answered already: with the alert that says why.
    fn written<T>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        result: io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if result.is_err() {
            let mut last_words = [0; 64];
            // noted as it is read; nobody else will read it
            let _ = self.as_mut().poll_read(context, &mut ReadBuf::new(&mut last_words));
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.inlet.poll_open(context));
        let (heard, inlet, before) = (self.heard.clone(), self.inlet.clone(), buffer.filled().len());
        let read = ready!(self.io().poll_read(context, buffer));
        let new = &buffer.filled()[before..];
        inlet.count(new.len());
        match &read {
            Ok(()) => heard.note(new),
            Err(error) => heard.note_error(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(self.as_mut().io().poll_write(context, bytes));
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(self.as_mut().io().poll_write_vectored(context, bytes));
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(self.as_mut().io().poll_flush(context));
        self.written(context, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_and_http2_are_told_apart_by_their_first_bytes() {
        assert!(is_tls_record(&[0x15, 3, 1, 0, 2, 2, 70]));
        assert!(is_tls_record(&[0x16, 3, 3, 0, 100]));
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        assert!(!is_tls_record(&settings));
        assert!(!is_tls_record(b"HTTP/1.1 400 Bad Request"));
        assert!(!is_tls_record(&[0x15]));
    }
}
