//! Binance's WebSocket, as <https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md> says: built
//! from that page, not recorded.

use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, PricePoint};
use feeds::{FeedError, PriceFeed, Service, Surroundings, Wanted};
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::truth::{START, btc, minute, points, surroundings, within};

/// A server that a test leads by the hand, connection by connection.
struct Streams {
    listener: TcpListener,
}

type Connection = WebSocketStream<TcpStream>;

impl Streams {
    async fn start() -> Streams {
        Streams { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn feed(&self, surroundings: &Surroundings) -> Arc<dyn PriceFeed> {
        let service = Service {
            name: "binance_stream".into(),
            address: format!("ws://{}", self.listener.local_addr().unwrap()),
            key: None,
            symbols: [(btc(), "BTCUSDT".to_owned()), (eth(), "ETHUSDT".to_owned())].into(),
        };
        feeds::binance_stream(service, surroundings).unwrap()
    }

    async fn next(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "the shape that the library wants")]
        let check = |request: &Request, response: Response| {
            let target = request.uri().path_and_query().unwrap().as_str();
            assert_eq!(target, "/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m");
            Ok(response)
        };
        tokio_tungstenite::accept_hdr_async(stream, check).await.unwrap()
    }
}

fn eth() -> Asset {
    Asset::new("ETH").unwrap()
}

/// The candle that begins at a minute.
pub fn kline(symbol: &str, begin: i64, close: &str, is_closed: bool) -> Message {
    let (open_ms, lower) = ((START + begin * 60) * 1000, symbol.to_lowercase());
    let close_ms = open_ms + 59_999;
    let text = format!(
        r#"{{"stream": "{lower}@kline_1m", "data": {{"e": "kline", "E": {close_ms}, "s": "{symbol}", "k": {{"t": {open_ms},
        "T": {close_ms}, "s": "{symbol}", "i": "1m", "f": 100, "L": 200, "o": "0.1", "c": "{close}", "h": "0.2", "l": "0.1",
        "v": "1000", "n": 100, "x": {is_closed}, "q": "1.0", "V": "500", "Q": "0.5", "B": "123456"}}}}}}"#
    );
    Message::text(text)
}

fn shutdown() -> Message {
    Message::text(r#"{"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}}"#)
}

async fn asked(feed: &dyn PriceFeed, asset: &Asset) -> Result<Vec<PricePoint>, FeedError> {
    feed.closes(Wanted::new(asset, minute(0), minute(100))).await.map(points)
}

async fn until(feed: &dyn PriceFeed, asset: &Asset, count: usize) -> Vec<(i64, f64)> {
    let asking = async {
        loop {
            let points = asked(feed, asset).await.unwrap_or_default();
            if points.len() >= count {
                let told = |point: &PricePoint| ((point.at - minute(0)).num_minutes(), point.price.value());
                return points.iter().map(told).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

/// The error that shows while there is no connection.
async fn failure(feed: &dyn PriceFeed) -> String {
    let asking = async {
        loop {
            if let Err(error) = asked(feed, &btc()).await {
                return error.to_string();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

#[tokio::test]
async fn closes_are_those_of_candles_that_the_server_calls_closed() {
    let (streams, (_, surroundings)) = (Streams::start().await, surroundings(within(60)));
    let feed = streams.feed(&surroundings);
    assert_eq!(asked(feed.as_ref(), &btc()).await.unwrap(), []);
    let mut connection = streams.next().await;
    for message in [
        kline("BTCUSDT", 0, "99.5", false),
        kline("BTCUSDT", 0, "100.5", true),
        kline("ETHUSDT", 0, "7.25", true),
        kline("BTCUSDT", 0, "100.5", true),
        kline("BTCUSDT", 1, "101.5", false),
        Message::text(r#"{"stream": "btcusdt@trade", "data": {"e": "trade", "p": "1"}}"#),
        kline("BTCUSDT", 2, "102.5", true),
    ] {
        connection.send(message).await.unwrap();
    }
    assert_eq!(until(feed.as_ref(), &btc(), 2).await, [(1, 100.5), (3, 102.5)]);
    assert_eq!(until(feed.as_ref(), &eth(), 1).await, [(1, 7.25)]);
}

#[tokio::test]
async fn pings_are_answered_with_what_they_hold() {
    let (streams, (_, surroundings)) = (Streams::start().await, surroundings(within(60)));
    let feed = streams.feed(&surroundings);
    asked(feed.as_ref(), &btc()).await.unwrap();
    let mut connection = streams.next().await;
    for payload in ["1767700800000", ""] {
        connection.send(Message::Ping(payload.into())).await.unwrap();
        let pong = tokio::time::timeout(Duration::from_secs(30), connection.next()).await.unwrap();
        assert_eq!(pong.unwrap().unwrap(), Message::Pong(payload.into()));
    }
}

#[tokio::test]
async fn a_new_connection_follows_on_one_that_ends_announced_or_not_and_nothing_comes_twice() {
    let (streams, (_, surroundings)) = (Streams::start().await, surroundings(within(60)));
    let feed = streams.feed(&surroundings);
    asked(feed.as_ref(), &btc()).await.unwrap();
    let mut first = streams.next().await;
    first.send(kline("BTCUSDT", 0, "100", true)).await.unwrap();
    first.send(shutdown()).await.unwrap();
    let mut second = streams.next().await;
    second.send(kline("BTCUSDT", 0, "100.1", true)).await.unwrap();
    second.send(kline("BTCUSDT", 1, "101", true)).await.unwrap();
    assert_eq!(until(feed.as_ref(), &btc(), 2).await, [(1, 100.0), (2, 101.0)]);
    // As after 24 hours.
    second.close(None).await.unwrap();
    let mut third = streams.next().await;
    third.send(kline("BTCUSDT", 2, "102", true)).await.unwrap();
    assert_eq!(until(feed.as_ref(), &btc(), 3).await[2], (3, 102.0));
    // Cut in the middle of nothing.
    drop(third);
    let mut fourth = streams.next().await;
    fourth.send(kline("BTCUSDT", 3, "103", true)).await.unwrap();
    assert_eq!(until(feed.as_ref(), &btc(), 4).await[3], (4, 103.0));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_and_named() {
    let (streams, (_, mut surroundings)) = (Streams::start().await, surroundings(within(60)));
    surroundings.timing.silence = Duration::from_millis(200);
    let feed = streams.feed(&surroundings);
    asked(feed.as_ref(), &btc()).await.unwrap();
    let _silent = streams.next().await;
    let error = failure(feed.as_ref()).await;
    assert!(
        error.starts_with("binance_stream, BTC: 127.0.0.1:") && error.contains("did not answer"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_left_and_named() {
    for (nonsense, words) in [
        (Message::text("{}"), "is not what it should be"),
        (Message::text("x".repeat(70_000)), "broke off"),
        (kline("BTCUSDT", 0, "-1", true), "is not what it should be"),
        (kline("BTCUSDT", 0, "NaN", true), "is not what it should be"),
    ] {
        let (streams, (_, surroundings)) = (Streams::start().await, surroundings(within(60)));
        let feed = streams.feed(&surroundings);
        asked(feed.as_ref(), &btc()).await.unwrap();
        streams.next().await.send(nonsense).await.unwrap();
        let error = failure(feed.as_ref()).await;
        assert!(error.starts_with("binance_stream, BTC: ") && error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_none_is_named_with_the_cure() {
    for (status, words) in
        [("403 Forbidden", "check the key"), ("503 Busy", "fails (503"), ("404 No", "correct the symbol")]
    {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let streams = Streams { listener };
        let (_, surroundings) = surroundings(within(60));
        let feed = streams.feed(&surroundings);
        let serving = async {
            loop {
                let (mut stream, _) = streams.listener.accept().await.unwrap();
                let mut head = [0; 1024];
                tokio::io::AsyncReadExt::read(&mut stream, &mut head).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
            }
        };
        let error = tokio::select! {
            () = serving => String::new(),
            error = failure(feed.as_ref()) => error,
        };
        assert!(error.contains(words), "{error}");
    }
}
