//! An answer as it arrives.
//!
//! A small answer is let in. A larger one waits outside until the [budget](crate::budget) has room for all of it, and then
//! has a stated time to be complete. An answer that nobody waits for any more is read to its end without being kept.

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::budget::{Budget, Room, SMALL_BYTES};
use crate::call::FRAME_HEADER_BYTES;
use crate::stream::Narrowed;
use crate::transport::{Fault, in_words};

/// The message that answers a call, and the room that it takes.
#[derive(Debug)]
pub(crate) struct Answer {
    pub message: Bytes,
    pub room: Room,
}

/// Reads the one message of a response, of at most `limit` bytes. Once `unwanted` is done nothing is kept, and there is no
/// answer.
pub(crate) async fn receive(
    body: RecvStream,
    limit: usize,
    budget: &Budget,
    inlet: Narrowed,
    unwanted: impl Future<Output = ()>,
) -> Result<Option<Answer>, Fault> {
    let mut reception = Reception { body, inlet: &inlet, message: IncomingMessage::new(limit), withheld: 0 };
    let kept = tokio::select! {
        biased;
        () = unwanted => None,
        kept = reception.keep(budget) => Some(kept),
    };
    match kept {
        Some(kept) => kept.map(Some),
        None => reception.drain().await.map(|()| None),
    }
}

struct Reception<'a> {
    body: RecvStream,
    /// Of the connection that it comes by.
    inlet: &'a Narrowed,
    message: IncomingMessage,
    /// So much has come and does not count as taken in: while it is the whole window, the node cannot send.
    withheld: usize,
}

impl Reception<'_> {
    async fn keep(&mut self, budget: &Budget) -> Result<Answer, Fault> {
        let inlet = self.inlet;
        while self.message.announced.is_none() && inlet.until(self.next()).await? {}
        let announced = self.message.announced.unwrap_or_default();
        if announced <= SMALL_BYTES {
            self.message.make_room();
            self.rest().await?;
            return Ok(Answer { message: self.message.finish()?, room: Room::default() });
        }
        // What comes meanwhile waits where it is.
        let room = budget.take(announced).await;
        self.message.make_room();
        match timeout(budget.patience, self.rest()).await {
            Ok(read) => read?,
            Err(_) => {
                let (received, patience) = (self.message.received, budget.patience);
                return Err(Fault::Malformed(format!(
                    "only {received} of the answer's {announced} bytes came within {patience:?}"
                )));
            }
        }
        Ok(Answer { message: self.message.finish()?, room })
    }

    /// Reads to the end, of which only the status is of interest.
    async fn drain(&mut self) -> Result<(), Fault> {
        self.message.forget();
        self.rest().await
    }

    /// Lets the node send on, to the end.
    async fn rest(&mut self) -> Result<(), Fault> {
        self.inlet.open();
        loop {
            self.let_in();
            if !self.next().await? {
                break;
            }
        }
        let trailers = self.body.trailers().await.map_err(broke_off)?;
        match trailers.and_then(grpc_status) {
            Some(status) if status.code() == Code::Ok => Ok(()),
            Some(status) => Err(Fault::Refused(status)),
            None => Err(Fault::Broken("the answer ended without a gRPC status".to_owned())),
        }
    }

    /// Takes the next piece; false at the end. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Result<bool, Fault> {
        match self.body.data().await {
            Some(Ok(data)) => {
                self.withheld += data.len();
                self.message.push(data)?;
                Ok(true)
            }
            // A node may end its answer so when it has not read all of the request.
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => Ok(false),
            Some(Err(error)) => Err(broke_off(error)),
            None => Ok(false),
        }
    }

    fn let_in(&mut self) {
        let bytes = std::mem::take(&mut self.withheld);
        // refused only when it is more than has come
        let _ = self.body.flow_control().release_capacity(bytes);
    }
}

fn broke_off(error: h2::Error) -> Fault {
    Fault::Broken(format!("the answer broke off: {}", in_words(&error)))
}

/// The gRPC status in a response's head or trailers.
pub(crate) fn grpc_status(mut headers: HeaderMap<HeaderValue>) -> Option<Status> {
    // Details that are no base64 make tonic panic; we have no use for them.
    headers.remove("grpc-status-details-bin");
    Status::from_header_map(&headers)
}

/// A gRPC message as it arrives: refused at its header when it announces more than the limit.
struct IncomingMessage {
    header: [u8; FRAME_HEADER_BYTES],
    /// So much of the header is there.
    header_bytes: usize,
    /// The length in the header, once that is there.
    announced: Option<usize>,
    /// How much has come after the header.
    received: usize,
    /// What has come after the header; nothing once it is not wanted.
    kept: Option<Kept>,
    limit: usize,
}

impl IncomingMessage {
    fn new(limit: usize) -> Self {
        IncomingMessage {
            header: [0; FRAME_HEADER_BYTES],
            header_bytes: 0,
            announced: None,
            received: 0,
            kept: Some(Kept::Pieces(Vec::new())),
            limit,
        }
    }

    fn push(&mut self, mut data: Bytes) -> Result<(), Fault> {
        let announced = match self.announced {
            Some(announced) => announced,
            None => match self.read_header(&mut data)? {
                Some(announced) => announced,
                None => return Ok(()),
            },
        };
        self.received += data.len();
        if self.received > announced {
            return Err(Fault::Malformed("the answer goes on after its message".to_owned()));
        }
        if let Some(kept) = &mut self.kept {
            kept.push(data);
        }
        Ok(())
    }

    /// Takes what belongs to the header; the length that it announces, once it is complete.
    fn read_header(&mut self, data: &mut Bytes) -> Result<Option<usize>, Fault> {
        let missing = &mut self.header[self.header_bytes..];
        let part = data.split_to(missing.len().min(data.len()));
        missing[..part.len()].copy_from_slice(&part);
        self.header_bytes += part.len();
        if self.header_bytes < FRAME_HEADER_BYTES {
            return Ok(None);
        }
        let [flag, length @ ..] = self.header;
        if flag != 0 {
            return Err(Fault::Malformed("the answer is compressed, which we did not offer".to_owned()));
        }
        let announced = u32::from_be_bytes(length) as usize;
        if announced > self.limit {
            return Err(Fault::TooLarge { bytes: announced });
        }
        self.announced = Some(announced);
        Ok(Some(announced))
    }

    /// Makes room for all of it at once, so that it is not moved as it grows.
    fn make_room(&mut self) {
        if let (Some(announced), Some(kept)) = (self.announced, &mut self.kept) {
            kept.gather(announced);
        }
    }

    /// Keeps nothing from now on.
    fn forget(&mut self) {
        self.kept = None;
    }

    fn finish(&mut self) -> Result<Bytes, Fault> {
        self.make_room();
        match self.kept.take() {
            Some(Kept::Whole(kept)) if self.announced == Some(kept.len()) => Ok(kept.freeze()),
            _ => Err(Fault::Malformed("the answer is cut off".to_owned())),
        }
    }
}

/// What has come of a message.
#[derive(Debug, PartialEq)]
enum Kept {
    /// As it came: while the message waits for room, nothing is copied and nothing takes memory twice.
    Pieces(Vec<Bytes>),
    /// In one, with room for the rest.
    Whole(BytesMut),
}

impl Kept {
    fn push(&mut self, data: Bytes) {
        match self {
            Kept::Pieces(pieces) => pieces.push(data),
            Kept::Whole(whole) => whole.extend_from_slice(&data),
        }
    }

    /// Puts the pieces together, where there is room for so many bytes in all.
    fn gather(&mut self, bytes: usize) {
        if let Kept::Pieces(pieces) = self {
            let mut whole = BytesMut::with_capacity(bytes);
            pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
            *self = Kept::Whole(whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_together_whatever_its_pieces() {
        let framed = [0, 0, 0, 0, 3, b'a', b'b', b'c'];
        for size in 1..=framed.len() {
            let mut message = IncomingMessage::new(3);
            framed.chunks(size).for_each(|piece| message.push(Bytes::copy_from_slice(piece)).unwrap());
            assert_eq!(message.finish().unwrap(), "abc");
        }
    }

    #[test]
    fn a_huge_message_is_refused_by_its_header_alone() {
        let mut message = IncomingMessage::new(4 * 1024 * 1024);
        let fault = message.push(Bytes::from_static(&[0, 0x06, 0x40, 0, 0])).unwrap_err();
        assert!(matches!(fault, Fault::TooLarge { bytes: 104_857_600 }));
    }

    #[test]
    fn what_is_no_grpc_message_is_refused() {
        let refused = |bytes: &'static [u8]| {
            let mut message = IncomingMessage::new(100);
            let read = message.push(Bytes::from_static(bytes)).and_then(|()| message.finish());
            let Fault::Malformed(words) = read.unwrap_err() else { panic!("no words") };
            words
        };
        assert_eq!(refused(b""), "the answer is cut off");
        assert_eq!(refused(&[0, 0, 0, 0, 2, 1]), "the answer is cut off");
        assert_eq!(refused(&[0, 0, 0, 0, 1, 1, 1]), "the answer goes on after its message");
        assert_eq!(refused(&[1, 0, 0, 0, 1, 1]), "the answer is compressed, which we did not offer");
    }

    #[test]
    fn a_message_that_is_not_wanted_takes_no_memory_and_is_still_held_to_its_length() {
        let mut message = IncomingMessage::new(100);
        message.push(Bytes::from_static(&[0, 0, 0, 0, 3, 1])).unwrap();
        message.forget();
        message.push(Bytes::from_static(&[2, 3])).unwrap();
        assert_eq!(message.kept, None);
        let fault = message.push(Bytes::from_static(&[4])).unwrap_err();
        assert!(matches!(fault, Fault::Malformed(words) if words == "the answer goes on after its message"));
    }

    #[test]
    fn a_status_with_hostile_details_is_read_without_them() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("8"));
        headers.insert("grpc-message", HeaderValue::from_static("busy%20now"));
        headers.insert("grpc-status-details-bin", HeaderValue::from_static("!no base64!"));
        let status = grpc_status(headers).unwrap();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "busy now"));
    }
}
