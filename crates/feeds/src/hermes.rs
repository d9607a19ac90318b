//! Pyth's Hermes: the newest aggregated prices, as a stream of server-sent events, with a key as Bearer.
//!
//! `GET /v2/updates/price/latest?ids[]=…` says at once whether key and ids are right; `…/price/stream` then sends every
//! update: price and exponent, and when it was published, in unix seconds. Ids are hexadecimal, without `0x`. There are no
//! candles: the close of a minute is the last price that was published in it, known when the next one comes on the same
//! connection. A minute in which the connection was cut has no close here: what was missed might have been its last price.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, Stopwatch, Timestamp, TimestampExt};
use reqwest::Url;
use serde::Deserialize;

use crate::candles::MINUTE;
use crate::http::{Answer, HTTP, Http, KeyHeader, Pace, Service, Surroundings, with_path};
use crate::streamed::{Line, Memory, Streamed};
use crate::{Fault, FeedError, PriceFeed};

/// Where it is.
pub const ADDRESS: &str = "https://pyth.dourolabs.app/hermes";

/// 30 requests in 10 s, or nothing for a minute; two are made for each connection.
const PACE: Pace = Pace { burst: 4, every: Duration::from_secs(1) };

/// No event is longer: an update of one feed takes about 2 KiB.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// A price from the future, by the server's clock, is a slip: it would hide all that follow.
const TOLERATED_FUTURE: i64 = 30;

/// Prices from Hermes.
///
/// # Errors
/// An address that is none, an id that is none, or a machine without TLS.
pub fn hermes(mut service: Service, surroundings: &Surroundings) -> Result<Arc<dyn PriceFeed>, FeedError> {
    for symbol in service.symbols.values_mut() {
        *symbol =
            hermes_id(symbol).map_err(|fault| FeedError::Setup { feed: service.name.to_string(), fault })?;
    }
    let address = service.url(&HTTP)?;
    let http = Http::new(&service, &address, KeyHeader::Bearer, PACE, surroundings)?;
    let line = HermesLine { http, address, ids: service.symbols.clone() };
    Ok(Arc::new(Streamed::new(line, service, surroundings)))
}

/// The id of a price feed as Hermes writes it: 64 hexadecimal digits, lower case, without `0x`.
///
/// # Errors
/// What is wrong with it.
pub fn hermes_id(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("0x").unwrap_or(text).to_lowercase();
    if id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(format!("`{text}` is no id of a price feed: write its 64 hexadecimal digits"))
}

struct HermesLine {
    http: Http,
    address: Url,
    ids: BTreeMap<Asset, String>,
}

#[derive(Deserialize)]
struct Update {
    #[serde(default)]
    parsed: Vec<Parsed>,
}

#[derive(Deserialize)]
struct Parsed {
    id: String,
    price: Published,
}

#[derive(Deserialize)]
struct Published {
    price: String,
    expo: i32,
    publish_time: i64,
}

impl Published {
    /// The decimal number that price and exponent are, correctly rounded.
    fn value(&self) -> Option<Price> {
        let mantissa: i64 = self.price.parse().ok()?;
        Price::new(format!("{mantissa}e{}", self.expo).parse().ok()?).ok()
    }
}

impl HermesLine {
    fn url(&self, what: &str) -> Url {
        let ids = self.ids.values().map(|id| ("ids[]", id.as_str()));
        let query: Vec<(&str, &str)> = ids.chain([("parsed", "true"), ("encoding", "base64")]).collect();
        with_path(&self.address, &["v2", "updates", "price", what], &query)
    }

    /// All ids, for messages.
    fn symbols(&self) -> String {
        self.ids.values().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Whether key and ids are right, and what time it is there.
    async fn look(&self) -> Result<ServerClock, Fault> {
        let Answer { body, server_time } = self.http.get(self.url("latest"), &self.symbols()).await?;
        let update: Update = self.read(&body)?;
        match self.ids.values().find(|id| !update.parsed.iter().any(|parsed| parsed.id == **id)) {
            None => Ok(ServerClock { at: server_time, since: Stopwatch::start() }),
            Some(id) => Err(self.http.unreadable(format!("there is no price of {id} in it"))),
        }
    }

    fn read(&self, json: &[u8]) -> Result<Update, Fault> {
        serde_json::from_slice(json).map_err(|error| self.http.unreadable(error.to_string()))
    }

    fn take(
        &self,
        update: &Update,
        clock: &ServerClock,
        makers: &mut BTreeMap<Asset, CandleMaker>,
        memory: &Memory,
    ) {
        for Parsed { id, price: told } in &update.parsed {
            let price = told.value().filter(|_| !clock.is_future(told.publish_time));
            for asset in self.ids.iter().filter(|(_, known)| *known == id).map(|(asset, _)| asset) {
                let maker = makers.entry(asset.clone()).or_default();
                match price {
                    Some(price) => {
                        maker
                            .take(told.publish_time, price)
                            .into_iter()
                            .for_each(|point| memory.note(asset, point));
                    }
                    None => maker.complain(self.http.host(), asset, told),
                }
            }
        }
    }
}

#[async_trait]
impl Line for HermesLine {
    async fn follow(&self, memory: &Memory) -> Result<(), Fault> {
        let clock = self.look().await?;
        let mut response = self.http.open(self.url("stream"), &self.symbols()).await?;
        memory.connected();
        let mut makers = BTreeMap::new();
        let mut events = Events::default();
        while let Some(chunk) = self.http.next_chunk(&mut response).await? {
            for data in events.take(&chunk).map_err(|why| self.http.unreadable(why))? {
                self.take(&self.read(data.as_bytes())?, &clock, &mut makers, memory);
            }
        }
        Err(Fault::Cut { host: self.http.host().to_owned(), why: "the stream ended".into() })
    }
}

/// What time it is at the server.
struct ServerClock {
    at: Option<Timestamp>,
    since: Stopwatch,
}

impl ServerClock {
    fn is_future(&self, unix_seconds: i64) -> bool {
        let now = self.at.map(|at| at.timestamp().saturating_add_unsigned(self.since.elapsed().as_secs()));
        now.is_some_and(|now| unix_seconds > now + TOLERATED_FUTURE)
    }
}

/// Makes closes of the prices of one asset that one connection brings.
#[derive(Debug, Default)]
struct CandleMaker {
    last: Option<(i64, Price)>,
    has_complained: bool,
}

impl CandleMaker {
    /// Says once that there are prices that are none: they may come several times a second.
    fn complain(&mut self, host: &str, asset: &Asset, told: &Published) {
        if std::mem::replace(&mut self.has_complained, true) {
            return;
        }
        let Published { price, expo, publish_time } = told;
        tracing::warn!(
            %asset, publish_time,
            "{host} sends a price of {asset} that is none, or of the future, and is left out: {price}e{expo} at {publish_time}"
        );
    }

    /// The close of the last price's minute, when this price is the first after that minute.
    fn take(&mut self, publish_time: i64, price: Price) -> Option<PricePoint> {
        let before = self.last;
        if before.is_some_and(|(at, _)| publish_time < at) {
            return None;
        }
        self.last = Some((publish_time, price));
        let (last_time, last_price) = before?;
        let end = Timestamp::from_unix_seconds(last_time)?.ceil_to(MINUTE);
        (publish_time > end.timestamp()).then_some(PricePoint { at: end, price: last_price })
    }
}

/// Takes server-sent events apart.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    data: String,
}

impl Events {
    /// The data of the events that are complete with this piece.
    fn take(&mut self, piece: &[u8]) -> Result<Vec<String>, String> {
        let mut complete = Vec::new();
        self.rest.extend_from_slice(piece);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line =
                str::from_utf8(&line).map_err(|_| "an event is no text")?.trim_end_matches(['\n', '\r']);
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                complete.push(std::mem::take(&mut self.data));
            }
            self.check_size()?;
        }
        self.check_size()?;
        Ok(complete)
    }

    fn check_size(&self) -> Result<(), String> {
        let is_sensible = self.rest.len().max(self.data.len()) <= MAX_EVENT_BYTES;
        is_sensible.then_some(()).ok_or_else(|| "an event is longer than 1 MiB".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(value: f64) -> Price {
        Price::new(value).unwrap()
    }

    #[test]
    fn an_id_is_taken_with_and_without_its_prefix() {
        let digits = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43";
        assert_eq!(hermes_id(digits).unwrap(), digits);
        assert_eq!(hermes_id(&format!("0x{}", digits.to_uppercase())).unwrap(), digits);
        assert!(hermes_id("BTC/USD").unwrap_err().contains("64 hexadecimal digits"));
        assert!(hermes_id(&digits.replace('e', "x")).is_err());
    }

    #[test]
    fn price_and_exponent_are_a_decimal_number() {
        let value = |price: &str, expo| {
            Published { price: price.into(), expo, publish_time: 0 }.value().map(Price::value)
        };
        assert_eq!(value("6140993501000", -8), Some(61409.93501));
        assert_eq!(value("3", 2), Some(300.0));
        assert_eq!(["0", "-5", "x", "1.5", ""].map(|text| value(text, -8)), [None; 5]);
        assert_eq!((value("1", i32::MAX), value("1", i32::MIN)), (None, None));
    }

    #[test]
    fn a_close_is_the_last_price_at_or_before_the_full_minute_once_a_later_one_is_known() {
        let mut maker = CandleMaker::default();
        let mut take =
            |at, value| maker.take(at, price(value)).map(|point| (point.at.timestamp(), point.price.value()));
        assert_eq!([take(10, 1.0), take(59, 2.0), take(60, 3.0), take(60, 4.0)], [None; 4]);
        assert_eq!(take(61, 5.0), Some((60, 4.0)), "the price of the full minute itself belongs to it");
        assert_eq!(take(59, 6.0), None, "late ones change nothing");
        assert_eq!(take(500, 7.0), Some((120, 5.0)), "minutes without a price have none");
        assert_eq!(take(541, 8.0), Some((540, 7.0)));
    }

    #[test]
    fn events_are_taken_apart_wherever_the_pieces_end() {
        let text =
            "retry: 5\r\n\r\ndata:{\"a\":\ndata: 1}\n\n: still here\n\ndata: two\r\n\r\ndata: not yet\n";
        for cut in 0..text.len() {
            let mut events = Events::default();
            let mut seen = events.take(&text.as_bytes()[..cut]).unwrap();
            seen.extend(events.take(&text.as_bytes()[cut..]).unwrap());
            assert_eq!(seen, ["{\"a\":\n1}", "two"], "cut at {cut}");
        }
        assert!(Events::default().take(&vec![b'x'; MAX_EVENT_BYTES + 1]).is_err());
        let lines = "data: xxxxxxxx\n".repeat(MAX_EVENT_BYTES / 8);
        assert!(Events::default().take(lines.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn closes_of_any_prices_are_increasing_and_each_was_published_in_its_minute(
            told in prop::collection::vec((0i64..3000, 1.0f64..9.0), 0..200),
        ) {
            let mut maker = CandleMaker::default();
            let points: Vec<_> = told.iter().filter_map(|(at, value)| maker.take(*at, price(*value))).collect();
            prop_assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
            for point in points {
                let end = point.at.timestamp();
                let told_in_minute = |(at, value): &(i64, f64)| {
                    end - 60 < *at && *at <= end && price(*value) == point.price
                };
                prop_assert!(told.iter().any(told_in_minute));
            }
        }
    }
}
