//! Large answers, and how little memory and patience they may cost whoever waits for others.
#![allow(clippy::unwrap_used, reason = "a test's own node may panic")]

mod common;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use common::{BRIEF, Client, PATIENT, broken, json, predict, timeout};
use futures::future::join_all;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderValue, Response};
use model_client::{CallOutcome, ClusterConfig, ModelNode};
use prost::Message;
use protocol::cluster::{ModelState, RunState};
use protocol::commons::{Status, Variant};
use protocol::dynamic_subclass::CallResponse;
use protocol::status;
use testkit::{Behaviour, FakeModel, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// More than is taken in without room.
const USUAL_BYTES: usize = 200_000;
const HUGE_BYTES: usize = 4_000_000;
/// A byte that begins no field of a message.
const NO_PROTOBUF: u8 = 0xff;
/// Longer than any test waits.
const FOREVER: Duration = Duration::from_secs(600);

/// A node whose answers are written by hand: each call's response comes out here.
struct RawNode {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<RawAnswer>,
}

impl RawNode {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = taken.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, response))) = connection.accept().await {
                        // kept, lest the call is cancelled
                        let answer = RawAnswer::begin(request, response);
                        if taken.send(answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        RawNode { address, calls }
    }

    async fn call(&mut self) -> RawAnswer {
        soon("a call", self.calls.recv()).await.unwrap()
    }
}

/// An answer whose head is sent.
struct RawAnswer {
    body: SendStream<Bytes>,
    _request: http::Request<h2::RecvStream>,
}

impl RawAnswer {
    fn begin(request: http::Request<h2::RecvStream>, mut response: SendResponse<Bytes>) -> Self {
        let body = response.send_response(Response::new(()), false).unwrap();
        RawAnswer { body, _request: request }
    }

    fn announce(&mut self, bytes: usize) {
        let mut header = BytesMut::new();
        header.put_u8(0);
        header.put_u32(bytes as u32);
        self.body.send_data(header.freeze(), false).unwrap();
    }

    /// Sends so many bytes as the client lets them through, and counts them.
    async fn send(&mut self, bytes: usize, sent: &AtomicUsize) -> Result<(), h2::Error> {
        let mut left = bytes;
        while left > 0 {
            self.body.reserve_capacity(left);
            let Some(room) = poll_fn(|context| self.body.poll_capacity(context)).await else {
                return Err(Reason::CANCEL.into());
            };
            let piece = room?.min(left);
            self.body.send_data(Bytes::from(vec![NO_PROTOBUF; piece]), false)?;
            sent.fetch_add(piece, Ordering::SeqCst);
            left -= piece;
        }
        Ok(())
    }

    async fn was_reset(&mut self) -> Reason {
        let reset = poll_fn(|context| self.body.poll_reset(context));
        soon("the client gives the answer up", reset).await.unwrap()
    }

    fn end(mut self) {
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
        self.body.send_trailers(trailers).unwrap();
    }

    /// Answers well, with so many bytes of JSON.
    async fn complete(mut self, bytes: usize) {
        let message = CallResponse {
            status: Some(Status { code: status::SUCCESS.to_owned(), message: String::new() }),
            method_response: Some(Variant { r#type: 6, value: vec![b' '; bytes].into() }),
        };
        let message = message.encode_to_vec();
        self.announce(message.len());
        self.body.send_data(message.into(), false).unwrap();
        self.end();
    }
}

/// A client of nodes at these addresses, with answers of up to 5 MB.
async fn client_of(
    nodes: &[SocketAddr],
    change: impl FnOnce(&mut ClusterConfig),
) -> (Client, Vec<Arc<ModelNode>>) {
    let mut client = Client::start_with(|config| {
        config.max_answer_bytes = 5_000_000;
        config.report_failures = false;
        change(config);
    })
    .await;
    client.orchestrator.announce(nodes.iter().enumerate().map(|(n, address)| ModelState {
        model_id: format!("m{n}"),
        deployment_id: "d".to_owned(),
        state: RunState::Running,
        ip: Some(address.ip().to_string()),
        port: Some(address.port()),
        infos: None,
        baseline: false,
    }));
    let mut joined = Vec::new();
    for _ in nodes {
        joined.push(client.joined().await);
    }
    (client, joined)
}

fn bad_answer(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::BadAnswer { message } => message,
        other => panic!("expected a bad answer, got {other:?}"),
    }
}

/// Asks in the background.
fn ask(node: &Arc<ModelNode>, patience: Duration) -> tokio::task::JoinHandle<CallOutcome> {
    let node = node.clone();
    tokio::spawn(async move { node.call(&predict(), patience).await })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, waiting).await;
}

async fn until_all_room_is_back(client: &Client) {
    until("all room is given back", || client.cluster.buffered_answer_bytes() == 0).await;
}

#[tokio::test]
async fn answers_of_all_sizes_arrive_whole_whatever_the_room() {
    let sizes = [0, 16_000, 131_000, 132_000, USUAL_BYTES, 300_000, 2_000_000, 5_000_000];
    let models = join_all(sizes.map(|bytes| FakeModel::start(Behaviour::huge(bytes)))).await;
    let addresses: Vec<SocketAddr> = models.iter().map(FakeModel::address).collect();
    for room in [1, 1_000_000, 64_000_000] {
        let (client, nodes) = client_of(&addresses, |config| config.max_buffered_answer_bytes = room).await;
        let call = predict();
        // an outcome that is kept keeps its room
        let lengths = nodes.iter().map(async |node| json(&node.call(&call, PATIENT).await).len());
        assert_eq!(join_all(lengths).await, sizes);
        assert_eq!(client.cluster.buffered_answer_bytes(), 0);
    }
}

/// A way to `node` on which answers come in small pieces, each read alone.
async fn in_small_pieces(node: SocketAddr) -> SocketAddr {
    const PIECE_BYTES: usize = 1_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut requests, mut to_client) = client.into_split();
        let (mut answers, mut to_node) = TcpStream::connect(node).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut requests, &mut to_node).await });
        let mut piece = [0; PIECE_BYTES];
        while let Ok(bytes @ 1..) = answers.read(&mut piece).await {
            to_client.write_all(&piece[..bytes]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    address
}

#[tokio::test]
async fn answers_arrive_whatever_the_pieces_that_the_network_makes_of_them() {
    // about where small ones end, and about what a frame of HTTP/2 holds
    let sizes = [10_000, 12_000, 12_200, 14_000, 16_000, 16_300, 16_400, 20_000, 40_000];
    let models = join_all(sizes.map(|bytes| FakeModel::start(Behaviour::answer(" ".repeat(bytes))))).await;
    let addresses = join_all(models.iter().map(|model| in_small_pieces(model.address()))).await;
    let (_client, nodes) = client_of(&addresses, |_| {}).await;
    let call = predict();
    let lengths = nodes.iter().map(async |node| json(&node.call(&call, PATIENT).await).len());
    assert_eq!(join_all(lengths).await, sizes);
}

#[tokio::test]
async fn a_node_that_announces_megabytes_and_drips_is_a_bad_answer_with_its_numbers() {
    let mut node = RawNode::start().await;
    let patience = Duration::from_millis(200);
    let (client, nodes) = client_of(&[node.address], |config| config.answer_patience = patience).await;
    let asked = ask(&nodes[0], PATIENT);
    let mut answer = node.call().await;
    answer.announce(HUGE_BYTES);
    answer.send(140_000, &AtomicUsize::new(0)).await.unwrap();
    let words = bad_answer(asked.await.unwrap());
    assert_eq!(words, "only 140000 of the answer's 4000000 bytes came within 200ms");
    assert_eq!(client.cluster.buffered_answer_bytes(), 0);
    assert_eq!(answer.was_reset().await, Reason::CANCEL);

    let asked = ask(&nodes[0], PATIENT);
    node.call().await.complete(2).await;
    assert_eq!(json(&asked.await.unwrap()), "  ", "the connection goes on");
}

#[tokio::test]
async fn nodes_that_take_the_room_for_large_answers_delay_no_usual_one() {
    let mut hostile = join_all((0..3).map(|_| RawNode::start())).await;
    let honest = FakeModel::start(Behaviour::huge(USUAL_BYTES)).await;
    let mut addresses: Vec<SocketAddr> = hostile.iter().map(|node| node.address).collect();
    addresses.push(honest.address());
    let (client, nodes) = client_of(&addresses, |config| {
        config.max_buffered_answer_bytes = 2_000_000;
        config.answer_patience = FOREVER;
    })
    .await;
    let mut held = Vec::new();
    for (node, hostile) in nodes.iter().zip(&mut hostile) {
        ask(node, FOREVER);
        let mut answer = hostile.call().await;
        answer.announce(HUGE_BYTES);
        held.push(answer);
    }
    until("the room for large answers is taken", || client.cluster.buffered_answer_bytes() > 900_000).await;
    assert_eq!(json(&nodes[3].call(&predict(), PATIENT).await).len(), USUAL_BYTES);
}

#[tokio::test]
async fn nodes_that_take_all_room_delay_others_by_their_time_and_no_longer() {
    let mut hostile = join_all((0..20).map(|_| RawNode::start())).await;
    let honest = FakeModel::start(Behaviour::huge(USUAL_BYTES)).await;
    let mut addresses: Vec<SocketAddr> = hostile.iter().map(|node| node.address).collect();
    addresses.push(honest.address());
    let (client, nodes) = client_of(&addresses, |config| {
        config.max_buffered_answer_bytes = 1_000_000;
        config.answer_patience = Duration::from_millis(100);
    })
    .await;
    let mut held = Vec::new();
    let mut asked = Vec::new();
    for (node, hostile) in nodes.iter().zip(&mut hostile) {
        asked.push(ask(node, PATIENT));
        let mut answer = hostile.call().await;
        answer.announce(USUAL_BYTES);
        held.push(answer);
    }
    assert_eq!(json(&nodes[20].call(&predict(), PATIENT).await).len(), USUAL_BYTES);
    for asked in asked {
        let words = bad_answer(asked.await.unwrap());
        assert_eq!(words, "only 0 of the answer's 200000 bytes came within 100ms");
    }
    assert_eq!(client.cluster.buffered_answer_bytes(), 0);
}

#[tokio::test]
async fn of_an_answer_without_room_no_more_is_taken_than_lies_on_the_way() {
    let mut first = RawNode::start().await;
    let mut second = RawNode::start().await;
    let (client, nodes) = client_of(&[first.address, second.address], |config| {
        config.max_buffered_answer_bytes = 1;
        config.answer_patience = FOREVER;
    })
    .await;
    ask(&nodes[0], FOREVER);
    let mut holder = first.call().await;
    holder.announce(USUAL_BYTES);
    until("the room is taken", || client.cluster.buffered_answer_bytes() > 0).await;

    let asked = ask(&nodes[1], PATIENT);
    let mut answer = second.call().await;
    answer.announce(HUGE_BYTES / 20);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let sending = tokio::spawn(async move { answer.send(HUGE_BYTES / 20, &counted).await.map(|()| answer) });
    until("the window is used up", || sent.load(Ordering::SeqCst) > 120_000).await;
    tokio::time::sleep(BRIEF).await;
    assert!(sent.load(Ordering::SeqCst) <= 131_072, "{sent:?}");
    drop(holder);
    soon("the rest is let in", sending).await.unwrap().unwrap().end();
    assert!(bad_answer(asked.await.unwrap()).contains("no message of this protocol"));
}

#[tokio::test]
async fn a_late_answer_is_read_to_its_end_and_takes_no_room() {
    let mut node = RawNode::start().await;
    let (client, nodes) = client_of(&[node.address], |config| config.max_buffered_answer_bytes = 1).await;
    let asked = ask(&nodes[0], BRIEF);
    let mut answer = node.call().await;
    timeout(asked.await.unwrap());
    answer.announce(HUGE_BYTES);
    let sent = AtomicUsize::new(0);
    soon("all is read", answer.send(HUGE_BYTES - 1, &sent)).await.unwrap();
    assert!(nodes[0].is_busy(), "its answer has not ended");
    assert_eq!(client.cluster.buffered_answer_bytes(), 0);
    answer.send(1, &sent).await.unwrap();
    answer.end();
    soon("the model is free", nodes[0].until_free()).await;
}

#[tokio::test]
async fn an_answer_that_is_half_read_when_patience_ends_gives_its_room_back_at_once() {
    let mut node = RawNode::start().await;
    let (client, nodes) = client_of(&[node.address], |_| {}).await;
    let asked = ask(&nodes[0], Duration::from_millis(500));
    let mut answer = node.call().await;
    answer.announce(HUGE_BYTES);
    answer.send(USUAL_BYTES, &AtomicUsize::new(0)).await.unwrap();
    until("it has room", || client.cluster.buffered_answer_bytes() > 0).await;
    timeout(asked.await.unwrap());
    until_all_room_is_back(&client).await;
    assert!(nodes[0].is_busy());
    answer.send(USUAL_BYTES, &AtomicUsize::new(0)).await.unwrap();
}

#[tokio::test]
async fn a_late_answer_that_goes_on_for_ever_is_given_up_after_its_announced_length() {
    let mut node = RawNode::start().await;
    let (_client, nodes) = client_of(&[node.address], |_| {}).await;
    let asked = ask(&nodes[0], BRIEF);
    let mut answer = node.call().await;
    timeout(asked.await.unwrap());
    answer.announce(HUGE_BYTES);
    let sent = AtomicUsize::new(0);
    soon("the client stops reading", answer.send(10 * HUGE_BYTES, &sent)).await.unwrap_err();
    let sent = sent.into_inner();
    assert!((HUGE_BYTES..HUGE_BYTES + 200_000).contains(&sent), "{sent}");
    soon("the model is free", nodes[0].until_free()).await;
}

#[tokio::test]
async fn a_late_answer_that_announces_too_much_is_not_read_at_all() {
    let mut node = RawNode::start().await;
    let (_client, nodes) = client_of(&[node.address], |_| {}).await;
    let asked = ask(&nodes[0], BRIEF);
    let mut answer = node.call().await;
    timeout(asked.await.unwrap());
    answer.announce(1_000_000_000);
    assert_eq!(answer.was_reset().await, Reason::CANCEL);
    soon("the model is free", nodes[0].until_free()).await;
}

/// However a call ends, the room that its answer had is there for others.
#[tokio::test]
async fn all_room_is_given_back_however_calls_end() {
    let mut raw = join_all((0..7).map(|_| RawNode::start())).await;
    let addresses: Vec<SocketAddr> = raw.iter().map(|node| node.address).collect();
    let (client, nodes) = client_of(&addresses, |config| {
        config.max_buffered_answer_bytes = 4_000_000;
        config.answer_patience = Duration::from_secs(3);
    })
    .await;
    let mut asked: Vec<_> = nodes.iter().map(|node| ask(node, PATIENT)).collect();
    let mut answers = Vec::new();
    for node in &mut raw {
        let mut answer = node.call().await;
        if answers.len() < 6 {
            answer.announce(USUAL_BYTES);
            answer.send(140_000, &AtomicUsize::new(0)).await.unwrap();
        }
        answers.push(answer);
    }
    let rest = &AtomicUsize::new(0);
    let mut answers = answers.into_iter();
    let mut next = || answers.next().unwrap();

    let mut no_protobuf = next();
    no_protobuf.send(60_000, rest).await.unwrap();
    no_protobuf.end();
    let cut_off = next();
    cut_off.end();
    let mut goes_on = next();
    goes_on.send(70_000, rest).await.unwrap();
    let mut reset = next();
    reset.body.send_reset(Reason::INTERNAL_ERROR);
    let _drips = next();
    let _forgotten = next();
    asked.remove(5).abort();
    next().complete(USUAL_BYTES).await;

    let mut outcomes = Vec::new();
    for asked in asked {
        outcomes.push(soon("an outcome", asked).await.unwrap());
    }
    let good = outcomes.pop().unwrap();
    assert_eq!(json(&good).len(), USUAL_BYTES);
    assert!(client.cluster.buffered_answer_bytes() >= USUAL_BYTES, "whoever has an answer has its room");
    drop(good);
    let mut outcomes = outcomes.into_iter();
    let mut next = || outcomes.next().unwrap();
    assert!(bad_answer(next()).contains("no message of this protocol"));
    assert_eq!(bad_answer(next()), "the answer is cut off");
    assert_eq!(bad_answer(next()), "the answer goes on after its message");
    assert!(broken(next()).contains("the answer broke off"));
    assert!(bad_answer(next()).starts_with("only 140000 of"));
    until_all_room_is_back(&client).await;
}

#[tokio::test]
async fn a_shutdown_ends_calls_whose_answers_are_on_their_way() {
    let mut node = RawNode::start().await;
    let (client, nodes) = client_of(&[node.address], |_| {}).await;
    let asked = ask(&nodes[0], PATIENT);
    let mut answer = node.call().await;
    answer.announce(HUGE_BYTES);
    until("it has room", || client.cluster.buffered_answer_bytes() > 0).await;
    drop(nodes);
    client.cluster.shutdown().await;
    assert!(matches!(asked.await.unwrap(), CallOutcome::Unreachable { .. }));
}
