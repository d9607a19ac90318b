//! Services that are asked for candles again and again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Clock, PricePoint, Span, Stopwatch, Timestamp, TimestampExt};
use reqwest::Url;

use crate::candles::{self, Bounds, Closes, MINUTE, Row, SETTLING};
use crate::http::{HTTP, Http, KeyHeader, Pace, Service, Surroundings};
use crate::{Close, Fault, FeedError, PriceFeed, Wanted};

/// What is new in an answer is waited for so much longer than it needs to be final, because clocks never agree quite.
const MARGIN: Duration = Duration::from_millis(100);

/// A page without prices is remembered when it lies so far back: nothing will be added there any more.
const SETTLED_PAST: Span = Span::hours(1);

/// How one service is asked for candles, and how it answers.
pub(crate) trait CandleApi: Send + Sync + 'static {
    /// The most candles in one answer.
    const PAGE: u32;
    /// How often the service may be asked: well within what it says itself.
    const PACE: Pace;
    /// How it wants its key.
    const KEY: KeyHeader;

    /// The question for the candles of a page.
    fn question(&self, address: &Url, symbol: &str, page: Page) -> Url;

    /// The candles of an answer, as they are; an error is what the service says instead, or why it cannot be read.
    fn rows(&self, body: &[u8]) -> Result<Vec<Row>, Unanswered>;
}

/// An answer with status 200 that holds no candles.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The service says why.
    Said(String),
    /// It is no answer of this service.
    Unreadable(String),
}

impl From<serde_json::Error> for Unanswered {
    fn from(error: serde_json::Error) -> Self {
        Unanswered::Unreadable(error.to_string())
    }
}

/// Consecutive candles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// The beginning of the first.
    pub first_begins: Timestamp,
    /// The beginning of the last. It may lie in the future: the candle after the last that is wanted shows that that one is
    /// over.
    pub last_begins: Timestamp,
}

impl Page {
    /// The page with the candles that end at `first` and later, up to `last` if it has room.
    fn of_ends(first: Timestamp, last: Timestamp, room: u32) -> Self {
        let last = last.min(first + MINUTE.times(room - 2));
        Page { first_begins: first - MINUTE, last_begins: last }
    }

    /// The end of the last candle that is wanted of it.
    fn last_end(self) -> Timestamp {
        self.last_begins
    }
}

/// A feed from such a service.
pub(crate) struct Polled<A> {
    api: A,
    service: Service,
    address: Url,
    http: Http,
    clock: Arc<dyn Clock>,
    paging: Duration,
    /// Where each asset has no prices, so that one with a short memory is not asked for the time before it again and again.
    empty: Mutex<BTreeMap<Asset, EmptySpan>>,
}

/// No candle that ends from `first` to `last` has a price.
#[derive(Debug, Clone, Copy)]
struct EmptySpan {
    first: Timestamp,
    last: Timestamp,
}

impl<A: CandleApi> Polled<A> {
    pub(crate) fn open(
        api: A,
        service: Service,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn PriceFeed>, FeedError> {
        let address = service.url(&HTTP)?;
        let http = Http::new(&service, &address, A::KEY, A::PACE, surroundings)?;
        let (clock, paging) = (Arc::clone(&surroundings.clock), surroundings.timing.paging);
        Ok(Arc::new(Polled { api, service, address, http, clock, paging, empty: Mutex::default() }))
    }

    /// Waits until the close of `up_to`, a full minute, can be final if it is just over: a question before that would be in vain.
    async fn wait_until_final(&self, up_to: Timestamp) {
        let now = self.clock.now();
        let needed = SETTLING.as_duration() + MARGIN;
        if now >= up_to && now.since(up_to) < needed {
            tokio::time::sleep(needed - now.since(up_to)).await;
        }
    }

    async fn page(&self, symbol: &str, page: Page, wanted: &Wanted<'_>) -> Result<Closes, Fault> {
        let answer = self.http.get(self.api.question(&self.address, symbol, page), symbol).await?;
        let rows = self.api.rows(&answer.body).map_err(|error| self.fault(symbol, error))?;
        let up_to = wanted.up_to.min(page.last_end());
        let bounds = Bounds { after: wanted.after, up_to, server_time: answer.server_time };
        let closes = candles::closes(&rows, bounds);
        match closes.faults.first().copied() {
            None => Ok(closes),
            Some(first) => {
                let (host, count, of) = (self.http.host().to_owned(), closes.faults.len(), rows.len());
                self.with_bad_rows(closes, wanted.asset, Fault::BadRows { host, count, of, first })
            }
        }
    }

    /// What is good in an answer is taken, and the rest named; when nothing is good the source has failed.
    fn with_bad_rows(&self, closes: Closes, asset: &Asset, fault: Fault) -> Result<Closes, Fault> {
        if closes.points.is_empty() {
            return Err(fault);
        }
        let source = &*self.service.name;
        tracing::warn!(source, %asset, "{source}, {asset}: {fault}; the other candles of the answer are taken");
        Ok(closes)
    }

    fn fault(&self, symbol: &str, error: Unanswered) -> Fault {
        let (host, symbol) = (self.http.host().to_owned(), symbol.to_owned());
        match error {
            Unanswered::Said(said) => Fault::NotUnderstood { host, symbol, said },
            Unanswered::Unreadable(why) => self.http.unreadable(why),
        }
    }

    /// The first end of a candle that is worth asking for, from `first` on.
    fn skip_empty(&self, asset: &Asset, first: Timestamp) -> Timestamp {
        let empty = self.lock().get(asset).copied();
        empty
            .filter(|span| span.first <= first && first <= span.last)
            .map_or(first, |span| span.last + MINUTE)
    }

    fn note_empty(&self, asset: &Asset, first: Timestamp, last: Timestamp) {
        if last + SETTLED_PAST > self.clock.now() {
            return;
        }
        let mut empty = self.lock();
        let span = empty.entry(asset.clone()).or_insert(EmptySpan { first, last });
        *span = if span.last + MINUTE == first {
            EmptySpan { first: span.first, last }
        } else {
            EmptySpan { first, last }
        };
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Asset, EmptySpan>> {
        self.empty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<A: CandleApi> PriceFeed for Polled<A> {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let symbol = self.service.symbol(wanted.asset)?;
        // Nobody has prices of the future, nor from before there were computers.
        let up_to = wanted.up_to.min(self.clock.now() + MINUTE).floor_to(MINUTE);
        self.wait_until_final(up_to).await;
        let begun = Stopwatch::start();
        let mut next = wanted.after.max(Timestamp::default()).floor_to(MINUTE) + MINUTE;
        let mut points: Vec<PricePoint> = Vec::new();
        loop {
            next = self.skip_empty(wanted.asset, next);
            let has_had_its_time = !points.is_empty() && begun.elapsed() > self.paging;
            if next > up_to || has_had_its_time {
                break;
            }
            let page = Page::of_ends(next, up_to, A::PAGE);
            match self.page(symbol, page, &wanted).await {
                Ok(closes) if closes.points.is_empty() => {
                    self.note_empty(wanted.asset, next, page.last_end());
                }
                Ok(closes) => points.extend(closes.points),
                // What came before is good, and the caller asks again for the rest.
                Err(_) if !points.is_empty() => break,
                Err(fault) => return Err(self.service.failed(wanted.asset, fault)),
            }
            next = page.last_end() + MINUTE;
        }
        Ok(Close::all_of(&self.service.name, points))
    }

    fn name(&self) -> &str {
        &self.service.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_room_for_the_candle_after_the_last_and_pages_do_not_overlap() {
        let instant = |minute: i64| Timestamp::from_unix_seconds(minute * 60).unwrap();
        let page = Page::of_ends(instant(10), instant(100), 5);
        assert_eq!((page.first_begins, page.last_end()), (instant(9), instant(13)));
        let candles = (page.last_begins - page.first_begins).num_minutes() + 1;
        assert_eq!(candles, 5);
        let last = Page::of_ends(instant(14), instant(15), 5);
        assert_eq!((last.first_begins, last.last_end()), (instant(13), instant(15)));
    }
}
