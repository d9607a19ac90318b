//! Nodes that break the rules below gRPC.

use std::time::Duration;

use protocol::cluster::ModelState;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Result};
use tokio::net::TcpStream;

use crate::fake_model::running_at;
use crate::port::Port;

/// What a node does to each of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFault {
    /// Takes it and says nothing at all.
    Silent,
    /// Begins as HTTP/2 does, and says nothing more.
    Mute,
    /// Begins as HTTP/2 does, a byte each second.
    Trickle,
    /// Answers with something else than HTTP/2, and hangs up.
    Garbage,
    /// Answers the first request with the end of the connection (`GOAWAY`).
    GoAway,
    /// Answers the first request with a message of so many bytes, sent without regard to what the other side lets it send.
    Flood(u32),
}

/// A node that breaks the rules below gRPC, on a port of its own.
#[derive(Debug)]
pub struct BrokenNode {
    port: Port,
}

impl BrokenNode {
    /// Starts on a free port.
    pub async fn start(fault: WireFault) -> Self {
        // A client hangs up on such a node as it likes.
        let serve = move |stream, _| async move { drop(misbehave(stream, fault).await) };
        BrokenNode { port: Port::open(serve).await }
    }

    /// What an orchestrator says of it.
    pub fn running(&self, model_id: &str, deployment_id: &str) -> ModelState {
        running_at(self.port.address(), model_id, deployment_id)
    }
}

const PREFACE_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const CONNECTION: u32 = 0;
/// The first request of a connection.
const FIRST_STREAM: u32 = 1;
/// `:status 200` in the static table of HPACK.
const STATUS_200: &[u8] = &[0x88];
const ENHANCE_YOUR_CALM: u8 = 11;
const LARGEST_FRAME: usize = 16 * 1024;

async fn misbehave(mut stream: TcpStream, fault: WireFault) -> Result<()> {
    match fault {
        WireFault::Silent => {}
        WireFault::Mute => stream.write_all(&settings()).await?,
        WireFault::Trickle => trickle(&mut stream, &settings()).await?,
        WireFault::Garbage => return stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await,
        WireFault::GoAway => {
            first_request(&mut stream).await?;
            stream
                .write_all(&frame(GOAWAY, 0, CONNECTION, &[0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM]))
                .await?;
        }
        WireFault::Flood(bytes) => {
            first_request(&mut stream).await?;
            flood(&mut stream, bytes).await?;
        }
    }
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

async fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    for byte in bytes.chunks(1) {
        stream.write_all(byte).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn flood(stream: &mut TcpStream, bytes: u32) -> Result<()> {
    stream.write_all(&frame(HEADERS, END_HEADERS, FIRST_STREAM, STATUS_200)).await?;
    let [a, b, c, d] = bytes.to_be_bytes();
    stream.write_all(&frame(DATA, 0, FIRST_STREAM, &[0, a, b, c, d])).await?;
    let data = frame(DATA, 0, FIRST_STREAM, &[b' '; LARGEST_FRAME]);
    for _ in 0..bytes as usize / LARGEST_FRAME {
        stream.write_all(&data).await?;
    }
    Ok(())
}

/// Begins as HTTP/2 does, and waits for a request.
async fn first_request(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&settings()).await?;
    stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
    loop {
        let mut header = [0; FRAME_HEADER_BYTES];
        stream.read_exact(&mut header).await?;
        let [a, b, c, kind, ..] = header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        stream.read_exact(&mut vec![0; length]).await?;
        if kind == HEADERS {
            return Ok(());
        }
    }
}

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, CONNECTION, &[])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}
