//! What is new, told to everybody who listens: rendered once, however many do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::Stream;
use futures::stream::unfold;
use serde::Serialize;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::problem::Problem;

/// Listeners at once; each takes a connection and a few kilobytes.
const MAX_STREAMS: usize = 3000;

/// Events that a listener may be behind; who falls back further is cut off, and sees what is new when it comes again.
const BACKLOG: usize = 256;

/// How often a listener hears something, so that both ends notice a connection that is none any more.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// The first that a listener hears: how long to wait before it comes again after it was cut off, in milliseconds.
const GREETING: &[u8] = b"retry: 2000\n\n";

/// Takes events, and passes them to who listens.
pub(crate) struct Events {
    frames: Sender<Bytes>,
    places: Arc<Semaphore>,
    closing: CancellationToken,
    metrics: Metrics,
}

impl Events {
    /// Streams end with `closing`.
    pub(crate) fn new(closing: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        Events { frames: channel(BACKLOG).0, places, closing, metrics: Metrics::default() }
    }

    /// Has `metrics` count the events.
    pub(crate) fn counted_by(self, metrics: &Metrics) -> Self {
        Events { metrics: metrics.clone(), ..self }
    }

    /// Tells everybody.
    pub(crate) fn tell<T: Serialize>(&self, name: &str, data: &T) {
        match serde_json::to_string(data) {
            Ok(data) => {
                self.metrics.events.inc();
                self.send(format!("event: {name}\ndata: {data}\n\n").into());
            }
            Err(error) => tracing::error!(%error, "report worker: an event has no JSON form: {error}"),
        }
    }

    /// Lets everybody hear something until the streams end.
    pub(crate) async fn beat(&self) {
        let pause = || tokio::time::sleep(HEARTBEAT_EVERY);
        while self.closing.run_until_cancelled(pause()).await.is_some() {
            self.send(Bytes::from_static(b": still here\n\n"));
        }
    }

    /// Nobody may be listening.
    fn send(&self, frame: Bytes) {
        let _ = self.frames.send(frame);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        MAX_STREAMS - self.places.available_permits()
    }

    /// Everything that is told from now on.
    pub(crate) fn listen(&self) -> Result<impl Stream<Item = Result<Bytes, Lagging>> + use<>, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Problem::unavailable("Too many are listening. Ask again in a few seconds, or poll instead.")
        })?;
        let listener = Listener {
            frames: self.frames.subscribe(),
            closing: self.closing.clone(),
            greeting: Some(Bytes::from_static(GREETING)),
            _place: place,
        };
        Ok(unfold(Some(listener), |listener| async {
            let mut listener = listener?;
            match listener.next().await? {
                Ok(frame) => Some((Ok(frame), Some(listener))),
                Err(lagging) => Some((Err(lagging), None)),
            }
        }))
    }
}

/// A listener was too slow.
#[derive(Debug, thiserror::Error)]
#[error("the client reads events more slowly than they come")]
pub(crate) struct Lagging;

struct Listener {
    frames: Receiver<Bytes>,
    closing: CancellationToken,
    greeting: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Result<Bytes, Lagging>> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Ok(greeting));
        }
        let received = self.closing.run_until_cancelled(self.frames.recv()).await?;
        Some(received.map_err(|_| Lagging))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn everybody_hears_everything_from_when_they_came_until_the_end() {
        let closing = CancellationToken::new();
        let events = Events::new(closing.clone());
        events.tell("early", &1);
        let streams = [events.listen().unwrap(), events.listen().unwrap()];
        assert_eq!(events.listeners(), 2);
        events.tell("round", &"a\nb");
        let mut streams = streams.map(Box::pin);
        for stream in &mut streams {
            assert_eq!(stream.next().await.unwrap().unwrap(), GREETING);
            assert_eq!(stream.next().await.unwrap().unwrap(), "event: round\ndata: \"a\\nb\"\n\n");
        }
        closing.cancel();
        for stream in &mut streams {
            assert!(stream.next().await.is_none());
        }
        assert_eq!(events.listeners(), 0);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_cut_off_and_holds_nobody_up() {
        let events = Events::new(CancellationToken::new());
        let mut slow = std::pin::pin!(events.listen().unwrap());
        assert!(slow.next().await.unwrap().is_ok());
        for number in 0..=BACKLOG {
            events.tell("round", &number);
        }
        assert!(slow.next().await.unwrap().is_err());
        assert!(slow.next().await.is_none());
        assert_eq!(events.listeners(), 0);
    }

    #[tokio::test]
    async fn the_number_of_listeners_is_bounded() {
        let events = Events::new(CancellationToken::new());
        let streams: Vec<_> = (0..MAX_STREAMS).map(|_| events.listen().unwrap()).collect();
        assert!(events.listen().is_err());
        drop(streams);
        assert!(events.listen().is_ok());
    }
}
