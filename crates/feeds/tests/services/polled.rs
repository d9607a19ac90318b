//! Services that are asked for candles, all alike.

use std::time::Duration;

use domain::{Asset, PricePoint, Span, Stopwatch};
use feeds::{Fault, FeedError, PriceFeed, Wanted};

use crate::rest::{BINANCE, COINBASE, CRUNCHDAO, KINDS, Kind, PYTH};
use crate::server::{Reply, Server};
use crate::truth::{START, btc, closes, minute, points, price, surroundings, within};

/// What a feed gives of minutes after the start.
async fn asked(feed: &dyn PriceFeed, after: i64, up_to: i64) -> Result<Vec<PricePoint>, FeedError> {
    let asset = btc();
    feed.closes(Wanted::new(&asset, minute(after), minute(up_to))).await.map(points)
}

/// Of a service where all is well and it is half a minute after minute `now`, as it is here.
async fn well(kind: Kind, now: i64) -> (Server, std::sync::Arc<dyn PriceFeed>) {
    let server = Server::start(move |question| kind.answer(question, within(now))).await;
    let (_, surroundings) = surroundings(within(now));
    let feed = kind.feed(&server.address, &surroundings);
    (server, feed)
}

/// What becomes of an answer.
async fn answered(kind: Kind, reply: Reply) -> Result<Vec<PricePoint>, FeedError> {
    let server = Server::start(move |_| reply.clone()).await;
    let (_, surroundings) = surroundings(within(10));
    asked(kind.feed(&server.address, &surroundings).as_ref(), 0, 10).await
}

#[tokio::test]
async fn closes_are_those_of_candles_that_are_over_at_the_instants_of_their_ends() {
    for kind in KINDS {
        let (_server, feed) = well(kind, 10).await;
        assert_eq!(asked(feed.as_ref(), 0, 20).await.unwrap(), closes(0, 10), "{}", kind.name);
        assert_eq!(asked(feed.as_ref(), 3, 7).await.unwrap(), closes(3, 7), "{}", kind.name);
        assert_eq!(asked(feed.as_ref(), 10, 11).await.unwrap(), [], "{}", kind.name);
        let asset = btc();
        let close = &feed.closes(Wanted::new(&asset, minute(9), minute(10))).await.unwrap()[0];
        assert_eq!(&*close.source, kind.name);
    }
}

#[tokio::test]
async fn the_forming_candle_stays_away_also_when_our_clock_is_minutes_off() {
    for kind in KINDS {
        let server = Server::start(move |question| kind.answer(question, within(10))).await;
        for ours in [5, 9, 11, 15] {
            let (_, surroundings) = surroundings(within(ours));
            let feed = kind.feed(&server.address, &surroundings);
            let expected = closes(0, ours.min(10));
            assert_eq!(asked(feed.as_ref(), 0, ours).await.unwrap(), expected, "{} at {ours}", kind.name);
        }
    }
}

#[tokio::test]
async fn the_forming_candle_stays_away_also_when_the_service_does_not_say_what_time_it_is() {
    for kind in KINDS {
        let server = Server::start(move |question| {
            let (from, to) = (kind.asked)(question);
            let rows = crate::rest::true_rows(from, to.min(within(10).timestamp()));
            Reply::json((kind.document)(&rows)).with_header("date", "who knows")
        });
        let server = server.await;
        let (_, surroundings) = surroundings(within(14));
        let feed = kind.feed(&server.address, &surroundings);
        assert_eq!(asked(feed.as_ref(), 0, 14).await.unwrap(), closes(0, 10), "{}", kind.name);
        assert_eq!(asked(feed.as_ref(), 0, 4).await.unwrap(), closes(0, 4), "{}", kind.name);
    }
}

#[tokio::test]
async fn a_long_span_is_asked_for_in_pages_each_minute_once() {
    for kind in [CRUNCHDAO, PYTH, BINANCE, COINBASE] {
        let (server, feed) = well(kind, 2500).await;
        assert_eq!(asked(feed.as_ref(), 0, 2500).await.unwrap(), closes(0, 2500), "{}", kind.name);
        let mut next = START;
        for question in server.questions() {
            let (from, to) = (kind.asked)(&question);
            assert_eq!(from, next, "{}", kind.name);
            next = to;
        }
        let pages = server.questions().len() as i64;
        assert_eq!(pages, 2500_i64.div_euclid(kind.page - 1) + 1, "{}", kind.name);
    }
}

#[tokio::test]
async fn a_long_span_comes_in_parts_that_follow_one_another_when_it_takes_too_long() {
    let server = Server::start(|question| COINBASE.answer(question, within(1000))).await;
    let (_, mut surroundings) = surroundings(within(1000));
    surroundings.timing.paging = Duration::ZERO;
    let feed = COINBASE.feed(&server.address, &surroundings);
    let first = asked(feed.as_ref(), 0, 1000).await.unwrap();
    assert_eq!(first, closes(0, 299));
    assert_eq!(asked(feed.as_ref(), 299, 1000).await.unwrap(), closes(299, 598));
}

#[tokio::test]
async fn what_came_before_a_failure_counts_and_the_rest_is_asked_for_again() {
    let (server, feed) = well(COINBASE, 500).await;
    server.answer(|question| match (COINBASE.asked)(question).0 {
        START => COINBASE.answer(question, within(500)),
        _ => Reply::status(500, "oops"),
    });
    assert_eq!(asked(feed.as_ref(), 0, 500).await.unwrap(), closes(0, 299));
    assert!(asked(feed.as_ref(), 299, 500).await.is_err());
}

#[tokio::test]
async fn a_service_with_a_short_memory_is_not_asked_for_the_time_before_it_twice() {
    let month = 30 * 1440;
    let server = Server::start(move |question| {
        CRUNCHDAO.answer_with(question, within(month), |rows| {
            rows.into_iter().filter(|(begin, _)| *begin >= START + (month - 60) * 60).collect()
        })
    });
    let server = server.await;
    let (_, surroundings) = surroundings(within(month));
    let feed = CRUNCHDAO.feed(&server.address, &surroundings);
    let remembered = closes(month - 60, month);
    assert_eq!(asked(feed.as_ref(), 0, month).await.unwrap(), remembered);
    let questions = server.questions().len();
    assert!(questions > 20, "{questions}");
    assert_eq!(asked(feed.as_ref(), 0, month).await.unwrap(), remembered);
    assert_eq!(server.questions().len(), questions + 1);
}

#[tokio::test]
async fn repeated_unordered_and_missing_minutes_double_nothing_and_invent_nothing() {
    for kind in KINDS {
        let server = Server::start(move |question| {
            kind.answer_with(question, within(10), |mut rows| {
                rows[5].1 = "null".into();
                rows.remove(7);
                let again = rows[2].clone();
                rows.insert(4, again);
                rows.reverse();
                rows.swap(1, 3);
                rows
            })
        });
        let server = server.await;
        let (_, surroundings) = surroundings(within(10));
        let mut expected = closes(0, 10);
        expected.remove(7);
        expected.remove(5);
        let feed = kind.feed(&server.address, &surroundings);
        assert_eq!(asked(feed.as_ref(), 0, 10).await.unwrap(), expected, "{}", kind.name);
    }
}

#[tokio::test]
async fn a_candle_that_is_none_costs_its_minute_and_an_answer_without_any_good_one_is_an_error() {
    for kind in KINDS {
        for bad in ["0", "-61000.5", "0.0"] {
            let with_bad = |is_bad: fn(usize) -> bool| {
                let rows = crate::rest::true_rows(START, START + 10 * 60).into_iter().enumerate();
                let spoilt =
                    rows.map(|(i, (begin, close))| (begin, if is_bad(i) { bad.into() } else { close }));
                Reply::json((kind.document)(&spoilt.collect()))
            };
            let mut expected = closes(0, 10);
            expected.remove(3);
            assert_eq!(answered(kind, with_bad(|i| i == 3)).await.unwrap(), expected, "{}", kind.name);
            let error = answered(kind, with_bad(|_| true)).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}, BTC: 127.0.0.1:", kind.name)), "{error}");
            assert!(error.contains("no price") && error.contains("another source"), "{error}");
        }
        let contradiction = crate::rest::true_rows(START, START + 10 * 60);
        let twice =
            contradiction.iter().flat_map(|(begin, close)| [(*begin, close.clone()), (*begin, "7".into())]);
        let error = answered(kind, Reply::json((kind.document)(&twice.collect()))).await.unwrap_err();
        assert!(error.to_string().contains("both at"), "{error}");
        let off = contradiction.iter().map(|(begin, close)| (begin + 7, close.clone())).collect();
        let error = answered(kind, Reply::json((kind.document)(&off))).await.unwrap_err();
        assert!(error.to_string().contains("no full minute"), "{error}");
    }
}

#[tokio::test]
async fn what_a_service_says_instead_of_candles_is_an_error_with_source_asset_and_cure() {
    let cases = [
        (Reply::status(401, "no"), "check the key"),
        (Reply::status(403, "{\"msg\": \"blocked\"}"), "does not let us in (403: {\"msg\": \"blocked\"})"),
        (Reply::status(451, "not there"), "where it may be used from"),
        (Reply::status(500, "oops\n\nhtml"), "fails (500: oops html)"),
        (Reply::status(503, ""), "name another source"),
        (
            Reply::status(301, "moved").with_header("location", "http://127.0.0.1:1/"),
            "correct the symbol, or the address",
        ),
        (Reply::json("<html>"), "is not what it should be"),
        (Reply::json(""), "is not what it should be"),
        (Reply::json("[[1]]"), "is not what it should be"),
        (Reply::json("{}"), "is not what it should be"),
        (Reply::json("{\"timestamp\": [60], \"close\": [NaN]}"), "is not what it should be"),
        (Reply::json("[[").cut(), "broke off"),
        (Reply::json(vec![b' '; 9 << 20]), "more than 8 MiB"),
    ];
    for kind in KINDS {
        for (reply, words) in &cases {
            let error = answered(kind, reply.clone()).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("{}, BTC: ", kind.name)), "{error}");
            assert!(error.contains(words), "{words}: {error}");
        }
        let (status, body) = kind.unknown_symbol;
        let error = answered(kind, Reply::status(status, body)).await.unwrap_err().to_string();
        let words = format!("has no answer for `{}` (", kind.symbol);
        assert!(error.contains(&words) && error.contains("correct the symbol"), "{error}");
    }
}

#[tokio::test]
async fn columns_of_different_lengths_are_no_answer() {
    for (kind, body) in [
        (CRUNCHDAO, r#"{"timestamp": [60, 120], "close": [1.0]}"#),
        (PYTH, r#"{"s": "ok", "t": [60, 120], "c": [1.0]}"#),
        (PYTH, r#"{"s": "maybe"}"#),
    ] {
        let error = answered(kind, Reply::json(body)).await.unwrap_err().to_string();
        assert!(error.contains("is not what it should be"), "{error}");
    }
    assert_eq!(answered(PYTH, Reply::json(r#"{"s": "no_data"}"#)).await.unwrap(), []);
}

#[tokio::test]
async fn a_service_that_wants_a_pause_gets_it() {
    for (reply, pause) in [
        (Reply::status(429, "slow").with_header("retry-after", "40"), 40),
        (Reply::status(418, "banned").with_header("retry-after", "7200"), 7200),
        (Reply::status(429, "slow"), 60),
        (
            Reply::status(429, "slow")
                .with_header("date", "Tue, 06 Jan 2026 12:00:00 GMT")
                .with_header("retry-after", "Tue, 06 Jan 2026 12:01:30 GMT"),
            90,
        ),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let (_, surroundings) = surroundings(within(10));
        let feed = BINANCE.feed(&server.address, &surroundings);
        let error = asked(feed.as_ref(), 0, 10).await.unwrap_err();
        let FeedError::Service { fault: Fault::Limited { pause: told, .. }, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*told, Duration::from_secs(pause));
        let again = asked(feed.as_ref(), 0, 10).await.unwrap_err().to_string();
        assert!(again.contains("wants fewer requests"), "{again}");
        assert_eq!(server.questions().len(), 1, "it is left alone");
    }
}

#[tokio::test]
async fn nobody_is_waited_for_for_ever() {
    let hanging = Server::start(|_| Reply::hang()).await;
    let (_, mut surroundings) = surroundings(within(10));
    surroundings.timing.answer = Duration::from_millis(100);
    for kind in KINDS {
        let error = asked(kind.feed(&hanging.address, &surroundings).as_ref(), 0, 10).await.unwrap_err();
        assert!(error.to_string().contains("did not answer within 100.0ms"), "{error}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_named_without_what_may_be_secret() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, surroundings) = surroundings(within(10));
    for kind in KINDS {
        let feed = kind.feed(&format!("http://{free}/token"), &surroundings);
        let error = asked(feed.as_ref(), 0, 10).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{free} cannot be reached")) && !error.contains("token"), "{error}");
    }
}

#[tokio::test]
async fn a_key_goes_where_the_service_wants_it_and_nowhere_else() {
    for kind in KINDS {
        let server = Server::start(|_| Reply::status(401, "no")).await;
        let (_, surroundings) = surroundings(within(10));
        let feed = (kind.open)(&kind, &server.address, Some("open-sesame"), &surroundings);
        let error = asked(feed.as_ref(), 0, 10).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("open-sesame"));
        let header = if kind.name == "binance" { "x-mbx-apikey" } else { "authorization" };
        let sent = server.questions()[0].headers[header].clone();
        assert!(sent.ends_with("open-sesame") && (sent.starts_with("Bearer ") == (kind.name != "binance")));
        let without = kind.feed(&server.address, &surroundings);
        asked(without.as_ref(), 0, 10).await.unwrap_err();
        assert!(!server.questions()[1].headers.contains_key(header));
    }
}

#[tokio::test]
async fn an_address_may_have_a_path_of_its_own_and_an_asset_needs_a_symbol() {
    let server = Server::start(|question| {
        assert_eq!(question.path, "/behind/a/proxy/v1/prices");
        Reply::status(500, "")
    });
    let server = server.await;
    let (_, surroundings) = surroundings(within(10));
    let feed = CRUNCHDAO.feed(&format!("{}/behind/a/proxy/", server.address), &surroundings);
    asked(feed.as_ref(), 0, 10).await.unwrap_err();
    assert_eq!(server.questions().len(), 1);
    let doge = Asset::new("DOGE").unwrap();
    let error = feed.closes(Wanted::new(&doge, minute(0), minute(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "the crunchdao prices have no DOGE: choose among BTC");
}

#[tokio::test]
async fn a_service_may_stamp_candles_with_their_ends() {
    let server = Server::start(|question| {
        let (from, to) = (CRUNCHDAO.asked)(question);
        let rows = crate::rest::true_rows(from - 60, (to - 60).min(within(10).timestamp()));
        let by_end = rows.into_iter().map(|(begin, close)| (begin + 60, close)).collect();
        Reply::json((CRUNCHDAO.document)(&by_end)).with_header("date", &crate::truth::http_date(within(10)))
    });
    let server = server.await;
    let (_, surroundings) = surroundings(within(10));
    let service = CRUNCHDAO.service(&server.address, None);
    let bounds = feeds::CrunchdaoBounds::Iso;
    let feed = feeds::crunchdao(service, bounds, feeds::Stamp::Close, &surroundings).unwrap();
    assert_eq!(asked(feed.as_ref(), 0, 20).await.unwrap(), closes(0, 10));
    assert_eq!(closes(0, 1)[0].price.value(), price(minute(1).timestamp()));
}

#[tokio::test]
async fn a_close_that_is_just_over_is_waited_for_until_it_is_final() {
    let begun = Stopwatch::start();
    let server = Server::start(move |question| {
        let since = Span::seconds(begun.elapsed().as_secs() as u32);
        BINANCE.answer(question, minute(10) + since)
    });
    let server = server.await;
    let (_, surroundings) = surroundings(minute(10));
    let feed = BINANCE.feed(&server.address, &surroundings);
    assert_eq!(asked(feed.as_ref(), 9, 10).await.unwrap(), closes(9, 10));
    assert_eq!(server.questions().len(), 1);
}
