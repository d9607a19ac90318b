//! Whatever a server answers, what comes out is increasing in time, within the bounds, no instant twice, finite and positive,
//! and something that the server said.

use proptest::prelude::*;

use feeds::Wanted;

use crate::rest::{KINDS, Rows};
use crate::server::{Reply, Server};
use crate::truth::{START, btc, http_date, minute, surroundings, within};

/// How an answer is spoilt.
#[derive(Debug, Clone)]
enum Spoilt {
    No,
    Cut(usize),
    Byte(usize, u8),
    Status(u16),
}

fn closes() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1.0f64..99_999.0).prop_map(|value| value.to_string()),
        1 => prop::sample::select(vec!["null", "0", "-0.5", "-7", "1e308", "1e-308", "1e999", "12.50"]).prop_map(String::from),
    ]
}

fn rows() -> impl Strategy<Value = Rows> {
    let begin = prop_oneof![
        8 => (-20i64..60).prop_map(|n| START + n * 60),
        1 => any::<i64>().prop_map(|any| any / 2000),
        1 => START..START + 3600,
    ];
    prop::collection::vec((begin, closes()), 0..50)
}

fn spoilt() -> impl Strategy<Value = Spoilt> {
    prop_oneof![
        6 => Just(Spoilt::No),
        1 => (0usize..4000).prop_map(Spoilt::Cut),
        1 => (0usize..4000, any::<u8>()).prop_map(|(at, byte)| Spoilt::Byte(at, byte)),
        1 => prop::sample::select(vec![204u16, 301, 404, 429, 500]).prop_map(Spoilt::Status),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn whatever_a_server_answers_only_closes_come_out(
        kind in prop::sample::select(KINDS.to_vec()).no_shrink(),
        rows in rows(),
        spoilt in spoilt(),
        server_minute in prop::option::of(-5i64..40),
        our_minute in 0i64..40,
        after in 0i64..40,
        length in 0i64..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut body = (kind.document)(&rows).into_bytes();
            let mut status = 200;
            match spoilt {
                Spoilt::No => {}
                Spoilt::Cut(at) => body.truncate(at),
                Spoilt::Byte(at, byte) => {
                    if let Some(place) = body.get_mut(at) {
                        *place = byte;
                    }
                }
                Spoilt::Status(other) => status = other,
            }
            let is_as_told = matches!(spoilt, Spoilt::No);
            let reply = match server_minute {
                Some(n) => Reply::json(body).with_header("date", &http_date(within(n))),
                None => Reply::json(body),
            };
            let server = Server::start(move |_| if status == 200 { reply.clone() } else { Reply::status(status, "") }).await;
            let (_, surroundings) = surroundings(within(our_minute));
            let feed = kind.feed(&server.address, &surroundings);
            let (asset, up_to) = (btc(), after + length);
            let Ok(closes) = feed.closes(Wanted::new(&asset, minute(after), minute(up_to))).await else { return };
            let points: Vec<_> = closes.iter().map(|close| close.point).collect();
            assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
            for point in points {
                assert!(minute(after) < point.at && point.at <= minute(up_to));
                assert!(server_minute.is_none_or(|n| point.at < within(n)), "not over");
                let value = point.price.value();
                assert!(value.is_finite() && value > 0.0);
                let told = |(begin, close): &(i64, String)| {
                    point.at.timestamp() == begin + 60 && close.parse() == Ok(value)
                };
                assert!(!is_as_told || rows.iter().any(told), "invented");
            }
        });
    }
}
