//! Binance spot klines as a WebSocket stream, from the address for market data, without a key.
//!
//! `/stream?streams=btcusdt@kline_1m/…` sends each kline several times while it forms, and once more with `"x": true` when it
//! has closed. The server pings every 20 s and wants a pong within a minute, ends every connection after 24 h, and says
//! `serverShutdown` before it goes. A minute in which the connection was cut is not made up for here: the REST interface
//! has it, as a second source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, Timestamp, TimestampExt};
use futures::StreamExt;
use reqwest::Url;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::candles::MINUTE;
use crate::http::{Service, Surroundings, WEB_SOCKET, client_config, host_of, shorten};
use crate::streamed::{Line, Memory, Streamed};
use crate::{Fault, FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "wss://data-stream.binance.vision";

/// An event takes 300 bytes.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// Prices from Binance, as they come.
///
/// # Errors
/// An address that is none, or a machine without TLS.
pub fn binance_stream(
    service: Service,
    surroundings: &Surroundings,
) -> Result<Arc<dyn PriceFeed>, FeedError> {
    let address = service.url(&WEB_SOCKET)?;
    let tls = TlsConnector::from(client_config().map_err(|error| service.unusable(error))?);
    let timing = surroundings.timing;
    let line = KlineLine {
        url: stream_url(&address, &service.symbols),
        host: host_of(&address),
        symbols: service.symbols.clone(),
        tls,
        connect_within: timing.answer,
        silence: timing.silence,
    };
    Ok(Arc::new(Streamed::new(line, service, surroundings)))
}

/// Streams are named in lower case, and their names hold an `@` and a `/` as they are.
fn stream_url(address: &Url, symbols: &BTreeMap<Asset, String>) -> Url {
    let names = symbols.values().map(|symbol| format!("{}@kline_1m", symbol.to_lowercase()));
    let mut url = crate::http::with_path(address, &["stream"], &[]);
    url.set_query(Some(&format!("streams={}", names.collect::<Vec<_>>().join("/"))));
    url
}

struct KlineLine {
    url: Url,
    host: String,
    symbols: BTreeMap<Asset, String>,
    tls: TlsConnector,
    connect_within: Duration,
    silence: Duration,
}

/// An event of a combined stream.
#[derive(Deserialize)]
struct Envelope {
    data: Event,
}

#[derive(Deserialize)]
#[serde(tag = "e")]
enum Event {
    #[serde(rename = "kline")]
    Kline { k: Kline },
    #[serde(rename = "serverShutdown")]
    ServerShutdown,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Kline {
    /// Beginning in milliseconds.
    t: i64,
    s: String,
    c: String,
    /// It has closed.
    x: bool,
}

impl Kline {
    /// The close, of a candle of a full minute.
    fn point(&self) -> Option<PricePoint> {
        let begin = Timestamp::from_unix_seconds(self.t.div_euclid(1000))?;
        let is_minute = self.t.rem_euclid(60_000) == 0;
        let price = Price::new(self.c.parse().ok()?).ok()?;
        is_minute.then_some(PricePoint { at: begin + MINUTE, price })
    }
}

/// Plain or with TLS.
trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

impl KlineLine {
    async fn connect(&self) -> Result<WebSocketStream<Box<dyn Bytes>>, Fault> {
        let unreachable = |why: String| Fault::Unreachable { host: self.host.clone(), why };
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(443);
        let tcp = TcpStream::connect((host, port)).await.map_err(|error| unreachable(error.to_string()))?;
        let bytes: Box<dyn Bytes> = if self.url.scheme() == "wss" {
            let name =
                ServerName::try_from(host.to_owned()).map_err(|error| unreachable(error.to_string()))?;
            Box::new(self.tls.connect(name, tcp).await.map_err(|error| unreachable(error.to_string()))?)
        } else {
            Box::new(tcp)
        };
        let request =
            self.url.as_str().into_client_request().map_err(|error| unreachable(error.to_string()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_EVENT_BYTES))
            .max_frame_size(Some(MAX_EVENT_BYTES));
        let connected = client_async_with_config(request, bytes, Some(config)).await;
        Ok(connected.map_err(|error| self.not_let_in(error))?.0)
    }

    fn not_let_in(&self, error: tungstenite::Error) -> Fault {
        let host = self.host.clone();
        let tungstenite::Error::Http(response) = error else {
            return Fault::Unreachable { host, why: shorten(&error.to_string()) };
        };
        let status = response.status().as_u16();
        let body = response.body().as_deref().unwrap_or_default();
        let said = shorten(&String::from_utf8_lossy(body));
        match status {
            401 | 403 | 451 => Fault::Refused { host, status, said },
            500.. => Fault::Broken { host, status, said },
            _ => {
                let symbols: Vec<&str> = self.symbols.values().map(String::as_str).collect();
                Fault::NotUnderstood { host, symbol: symbols.join(", "), said: format!("{status}: {said}") }
            }
        }
    }

    /// Notes the close that a message tells. True when the server is about to go.
    fn take(&self, text: &str, memory: &Memory) -> Result<bool, Fault> {
        let unreadable = |why: String| Fault::Unreadable { host: self.host.clone(), why };
        let Envelope { data } = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        match data {
            Event::ServerShutdown => return Ok(true),
            Event::Kline { k } if k.x => {
                let point = k.point().ok_or_else(|| {
                    unreadable(format!(
                        "a candle of {} begins at {} ms and closes at {}",
                        k.s,
                        k.t,
                        shorten(&k.c)
                    ))
                })?;
                let assets = self.symbols.iter().filter(|(_, symbol)| symbol.eq_ignore_ascii_case(&k.s));
                assets.for_each(|(asset, _)| memory.note(asset, point));
            }
            Event::Kline { .. } | Event::Other => {}
        }
        Ok(false)
    }
}

#[async_trait]
impl Line for KlineLine {
    async fn follow(&self, memory: &Memory) -> Result<(), Fault> {
        let timed_out = |within| Fault::TimedOut { host: self.host.clone(), within };
        let connecting = tokio::time::timeout(self.connect_within, self.connect()).await;
        let mut socket = connecting.map_err(|_| timed_out(self.connect_within))??;
        memory.connected();
        loop {
            // Pings are answered while the next message is awaited.
            let message = tokio::time::timeout(self.silence, socket.next()).await;
            match message.map_err(|_| timed_out(self.silence))? {
                Some(Ok(Message::Text(text))) => {
                    if self.take(&text, memory)? {
                        return Ok(());
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    return Err(Fault::Cut { host: self.host.clone(), why: "the server hung up".into() });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return Err(Fault::Cut { host: self.host.clone(), why: shorten(&error.to_string()) });
                }
            }
        }
    }
}
