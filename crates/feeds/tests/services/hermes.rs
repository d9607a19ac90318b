//! Hermes, as <https://docs.pyth.network/api-reference/pyth-core/hermes/price_stream_sse_handler> and
//! <https://docs.pyth.network/api-reference/hermes/latest-price-updates> say: built from these pages, not recorded.

use std::sync::Arc;
use std::time::Duration;

use domain::PricePoint;
use feeds::{FeedError, Key, PriceFeed, Service, Surroundings, Wanted};
use tokio::sync::watch;

use crate::server::{Question, Reply, Server};
use crate::truth::{START, btc, http_date, minute, points, surroundings, within};

const ID: &str = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43";

/// An update of one price, in hundredths of a millionth.
fn update(publish_time: i64, price: i64) -> String {
    format!(
        r#"{{"binary": {{"encoding": "base64", "data": ["UE5BVQ=="]}}, "parsed": [{{"id": "{ID}",
        "price": {{"price": "{price}", "conf": "3", "expo": -8, "publish_time": {publish_time}}},
        "ema_price": {{"price": "1", "conf": "3", "expo": -8, "publish_time": {publish_time}}},
        "metadata": {{"slot": 1, "proof_available_time": 2, "prev_publish_time": 3}}}}]}}"#
    )
    .replace('\n', " ")
}

fn event(publish_time: i64, price: i64) -> String {
    format!("data:{}\n\n", update(publish_time, price))
}

fn is_stream(question: &Question) -> bool {
    assert_eq!(question.parameter("ids[]"), ID);
    question.path.ends_with("/v2/updates/price/stream")
}

/// A server whose stream tells what is sent to it; every connection gets all of it from the last `take` on.
async fn server() -> (Server, watch::Sender<Vec<String>>) {
    let (told, events) = watch::channel(Vec::new());
    let server = Server::start(move |question| {
        if is_stream(question) {
            Reply::events(events.clone())
        } else {
            Reply::json(update(START, 100)).with_header("date", &http_date(within(60)))
        }
    });
    (server.await, told)
}

fn feed(address: &str, surroundings: &Surroundings) -> Arc<dyn PriceFeed> {
    let service = Service {
        name: "hermes".into(),
        address: address.into(),
        key: Some(Key::new("open-sesame")),
        symbols: [(btc(), format!("0x{ID}"))].into(),
    };
    feeds::hermes(service, surroundings).unwrap()
}

async fn asked(feed: &dyn PriceFeed) -> Result<Vec<PricePoint>, FeedError> {
    let asset = btc();
    feed.closes(Wanted::new(&asset, minute(0), minute(100))).await.map(points)
}

/// Asks until there are so many closes.
async fn until(feed: &dyn PriceFeed, count: usize) -> Vec<(i64, f64)> {
    let asking = async {
        loop {
            let points = asked(feed).await.unwrap_or_default();
            if points.len() >= count {
                let told = |point: &PricePoint| ((point.at - minute(0)).num_minutes(), point.price.value());
                return points.iter().map(told).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

/// Asks until it fails.
async fn failure(feed: &dyn PriceFeed) -> String {
    let asking = async {
        loop {
            if let Err(error) = asked(feed).await {
                return error.to_string();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap()
}

#[tokio::test]
async fn the_close_of_a_minute_is_the_last_price_at_or_before_its_end_once_it_is_over() {
    let (server, told) = server().await;
    let (_, surroundings) = surroundings(within(60));
    let feed = feed(&server.address, &surroundings);
    let at = |seconds: i64, price: i64| event(START + seconds, price * 100_000_000);
    told.send_modify(|events| {
        events.extend([at(10, 1), at(60, 2), at(60, 3), at(61, 4), at(59, 9), at(119, 5), at(121, 6)]);
        // Minutes without a price have no close, and the last one is not over.
        events.extend([": keep-alive\n\n".into(), at(305, 7)]);
    });
    assert_eq!(until(feed.as_ref(), 3).await, [(1, 3.0), (2, 5.0), (3, 6.0)]);
    let questions = server.questions();
    assert!(questions.iter().all(|question| question.headers["authorization"] == "Bearer open-sesame"));
    told.send_modify(|events| events.push(at(361, 8)));
    assert_eq!(until(feed.as_ref(), 4).await.last(), Some(&(6, 7.0)));
}

#[tokio::test]
async fn a_minute_in_which_the_stream_was_cut_has_no_close_and_none_comes_twice() {
    let (server, told) = server().await;
    let (_, surroundings) = surroundings(within(60));
    let feed = feed(&server.address, &surroundings);
    let at = |seconds: i64, price: i64| event(START + seconds, price * 100_000_000);
    told.send_modify(|events| events.extend([at(30, 1), at(61, 2), at(80, 3)]));
    assert_eq!(until(feed.as_ref(), 1).await, [(1, 1.0)]);
    // The next connection begins in a later minute.
    let (later, events) = watch::channel(vec![at(130, 4), at(181, 5)]);
    server.answer(move |question| {
        if is_stream(question) { Reply::events(events.clone()) } else { Reply::json(update(START, 1)) }
    });
    drop(told);
    assert_eq!(until(feed.as_ref(), 2).await, [(1, 1.0), (3, 4.0)]);
    drop(later);
}

#[tokio::test]
async fn what_is_no_price_or_comes_from_the_future_is_left_out() {
    let (server, told) = server().await;
    let (_, surroundings) = surroundings(within(60));
    let feed = feed(&server.address, &surroundings);
    let at = |seconds: i64, price| event(START + seconds, price);
    let in_a_year = at(365 * 86_400, 100_000_000);
    told.send_modify(|events| {
        events.extend([at(30, 500_000_000), in_a_year, at(40, 0), at(50, -7)]);
        events.extend([at(61, 600_000_000), at(121, 700_000_000)]);
    });
    assert_eq!(until(feed.as_ref(), 2).await, [(1, 5.0), (2, 6.0)]);
}

#[tokio::test]
async fn a_stream_that_cannot_be_had_says_why() {
    let cases = [
        (Reply::status(401, "no key"), "check the key"),
        (Reply::status(404, "Price ids not found: 0xe62d"), "correct the symbol"),
        (Reply::json("{\"parsed\": []}"), "there is no price of e62d"),
        (Reply::json("<html>"), "is not what it should be"),
        (Reply::status(429, "slow").with_header("retry-after", "9"), "is left alone for 9s"),
    ];
    for (reply, words) in cases {
        let server = Server::start(move |_| reply.clone()).await;
        let (_, surroundings) = surroundings(within(60));
        let error = failure(feed(&server.address, &surroundings).as_ref()).await;
        assert!(error.starts_with("hermes, BTC: ") && error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_or_talks_nonsense_is_left() {
    let (silent, told) = server().await;
    let (_, mut surroundings) = surroundings(within(60));
    surroundings.timing.silence = Duration::from_millis(200);
    let error = failure(feed(&silent.address, &surroundings).as_ref()).await;
    assert!(error.contains("did not answer within 200.0ms"), "{error}");
    drop(told);
    let (talking, told) = server().await;
    told.send_modify(|events| events.push("data: {\"parsed\": 7}\n\n".into()));
    let error = failure(feed(&talking.address, &surroundings).as_ref()).await;
    assert!(error.contains("is not what it should be"), "{error}");
}
