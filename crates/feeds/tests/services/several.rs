//! Several sources in an order of preference, held against each other.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, SimulatedClock, Span, Timestamp};
use feeds::{Close, CrossCheck, FeedError, PriceFeed, SeveralFeeds, SourceName, Surroundings, Wanted};
use proptest::prelude::*;

use crate::rest::{BINANCE, COINBASE, CRUNCHDAO, Kind, Rows};
use crate::server::{Reply, Server};
use crate::truth::{btc, closes, minute, price, surroundings, within};

const CHECK: CrossCheck = CrossCheck { max_deviation: 0.02 };

/// A coordinator's ledger, which asks minute by minute for what comes after its newest close.
struct Ledger {
    feed: SeveralFeeds,
    clock: Arc<SimulatedClock>,
    closes: Vec<Close>,
}

impl Ledger {
    fn new(feeds: Vec<Arc<dyn PriceFeed>>) -> Ledger {
        let (clock, surroundings) = surroundings(within(0));
        Ledger::with(feeds, clock, &surroundings)
    }

    fn with(
        feeds: Vec<Arc<dyn PriceFeed>>,
        clock: Arc<SimulatedClock>,
        surroundings: &Surroundings,
    ) -> Ledger {
        Ledger { feed: SeveralFeeds::new(feeds, CHECK, surroundings), clock, closes: Vec::new() }
    }

    /// Five seconds after a minute.
    async fn take(&mut self, now: i64) -> Result<(), FeedError> {
        self.take_at(now, minute(now) + Span::seconds(5)).await
    }

    async fn take_at(&mut self, up_to: i64, now: Timestamp) -> Result<(), FeedError> {
        self.clock.set(now);
        let (asset, known) = (btc(), self.closes.last().map(|close| close.point));
        let after = known.map_or(minute(0), |known| known.at);
        let wanted = Wanted { asset: &asset, after, up_to: minute(up_to), known };
        self.closes.extend(self.feed.closes(wanted).await?);
        Ok(())
    }

    fn points(&self) -> Vec<PricePoint> {
        self.closes.iter().map(|close| close.point).collect()
    }

    /// The source of each minute.
    fn sources(&self) -> Vec<&str> {
        self.closes.iter().map(|close| &*close.source).collect()
    }
}

/// What a source of a test does; it changes while the test goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    Right,
    /// All prices are multiplied by this.
    Wrong(f64),
    /// It answers, and has nothing newer than this minute.
    Stops(i64),
    Fails,
    Hangs,
}

/// A source that has the closes of all minutes.
struct Source {
    name: SourceName,
    manner: Mutex<Manner>,
    asked: Mutex<u32>,
}

impl Source {
    fn new(name: &str) -> Arc<Source> {
        Arc::new(Source { name: name.into(), manner: Mutex::new(Manner::Right), asked: Mutex::new(0) })
    }

    fn be(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }
}

#[async_trait]
impl PriceFeed for Source {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        *self.asked.lock().unwrap() += 1;
        let manner = *self.manner.lock().unwrap();
        let (factor, newest) = match manner {
            Manner::Right => (1.0, wanted.up_to),
            Manner::Wrong(factor) => (factor, wanted.up_to),
            Manner::Stops(n) => (1.0, wanted.up_to.min(minute(n))),
            Manner::Hangs => std::future::pending().await,
            Manner::Fails => {
                let fault = "it fails".to_owned();
                return Err(FeedError::Setup { feed: self.name.to_string(), fault });
            }
        };
        let mut closes = Vec::new();
        let mut at = wanted.after + Span::minutes(1);
        while at <= newest {
            let price = Price::new(price(at.timestamp()) * factor).unwrap();
            closes.push(Close { point: PricePoint { at, price }, source: Arc::clone(&self.name) });
            at = at + Span::minutes(1);
        }
        Ok(closes)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[tokio::test]
async fn failover_takes_less_than_an_interval_and_the_ledger_is_the_truth_and_says_whose_each_price_is() {
    let clock = surroundings(within(0)).0;
    let answering = |kind: Kind| {
        let clock = Arc::clone(&clock);
        move |question: &_| kind.answer(question, domain::Clock::now(clock.as_ref()))
    };
    let first = Server::start(answering(BINANCE)).await;
    let second = Server::start(answering(COINBASE)).await;
    let surroundings = Surroundings { clock: clock.clone(), ..surroundings(within(0)).1 };
    let feeds =
        vec![BINANCE.feed(&first.address, &surroundings), COINBASE.feed(&second.address, &surroundings)];
    let mut ledger = Ledger::with(feeds, clock.clone(), &surroundings);
    let troubles: [fn() -> Reply; 3] =
        [|| Reply::status(500, "oops"), || Reply::json("[[").cut(), || Reply::json("<html>")];
    for now in 1..=12 {
        match now {
            4..=6 => first.answer(move |_| troubles[now as usize - 4]()),
            _ => first.answer(answering(BINANCE)),
        }
        ledger.take(now).await.unwrap();
        assert_eq!(ledger.closes.len() as i64, now, "no slot is without its close");
    }
    assert_eq!(ledger.points(), closes(0, 12));
    let sources = ledger.sources();
    assert_eq!(sources[..3], ["binance"; 3]);
    assert_eq!(sources[3..6], ["coinbase"; 3]);
    assert_eq!(sources[6..], ["binance"; 6]);
}

#[tokio::test]
async fn one_that_hangs_is_given_up_in_time_for_the_next_and_not_waited_for_again_at_once() {
    let (a, b) = (Source::new("a"), Source::new("b"));
    let (clock, mut surroundings) = surroundings(within(0));
    surroundings.timing.source = Duration::from_millis(200);
    surroundings.timing.first_pause = Duration::from_secs(10);
    let mut ledger = Ledger::with(vec![a.clone(), b.clone()], clock, &surroundings);
    a.be(Manner::Hangs);
    ledger.take(1).await.unwrap();
    ledger.take_at(1, minute(1) + Span::seconds(8)).await.unwrap();
    assert_eq!((ledger.sources(), *a.asked.lock().unwrap()), (vec!["b"], 1));
    a.be(Manner::Right);
    ledger.take(2).await.unwrap();
    assert_eq!((ledger.sources(), ledger.points()), (vec!["b", "a"], closes(0, 2)));
}

#[tokio::test]
async fn one_that_fails_rests_longer_each_time_and_the_error_names_all_when_none_is_left() {
    let (a, b) = (Source::new("a"), Source::new("b"));
    let (clock, mut surroundings) = surroundings(within(0));
    surroundings.timing.first_pause = Duration::from_secs(8);
    let mut ledger = Ledger::with(vec![a.clone(), b.clone()], clock, &surroundings);
    a.be(Manner::Fails);
    b.be(Manner::Fails);
    let error = ledger.take(1).await.unwrap_err();
    assert_eq!(error.to_string(), "no source has prices of BTC now: a: it fails; b: it fails");
    let mut when_asked = Vec::new();
    for second in 1..240 {
        let before = *a.asked.lock().unwrap();
        let error = ledger.take_at(1, minute(1) + Span::seconds(5 + second)).await.unwrap_err();
        assert!(error.to_string().contains("a: it fails"), "{error}");
        if *a.asked.lock().unwrap() > before {
            when_asked.push(second);
        }
    }
    let pauses: Vec<u32> = when_asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(when_asked[0] <= 8 && pauses[0] > 7 && pauses[0] <= 17, "{when_asked:?}");
    assert!(pauses.iter().all(|pause| *pause <= 61) && when_asked.len() >= 5, "{when_asked:?}");
    // A clock that is set back does not make it rest for ever.
    a.be(Manner::Right);
    ledger.take(1).await.unwrap();
    assert_eq!(ledger.points(), closes(0, 1));
}

#[tokio::test]
async fn a_source_that_is_wrong_by_three_per_cent_never_enters_the_ledger_against_two_that_agree() {
    for wrong in 0..3 {
        let sources = ["a", "b", "c"].map(Source::new);
        let mut ledger =
            Ledger::new(sources.iter().map(|source| source.clone() as Arc<dyn PriceFeed>).collect());
        for now in 1..=20 {
            let is_wrong = (5..=15).contains(&now);
            sources[wrong].be(if is_wrong { Manner::Wrong(1.03) } else { Manner::Right });
            ledger.take(now).await.unwrap();
        }
        assert_eq!(ledger.points(), closes(0, 20), "{wrong}");
        let from_b = ledger.sources().iter().filter(|source| **source == "b").count();
        assert_eq!(from_b, if wrong == 0 { 11 } else { 0 });
    }
}

#[tokio::test]
async fn of_two_that_differ_none_is_taken_when_the_preferred_is_not_near_the_close_before() {
    for factor in [1.03, 0.97, 30.0] {
        let (a, b) = (Source::new("a"), Source::new("b"));
        let mut ledger = Ledger::new(vec![a.clone(), b.clone()]);
        ledger.take(1).await.unwrap();
        a.be(Manner::Wrong(factor));
        for now in 2..=6 {
            ledger.take(now).await.unwrap();
            assert_eq!(ledger.points(), closes(0, 1));
        }
        // It is asked for again as soon as they agree: nothing is lost.
        a.be(Manner::Right);
        ledger.take(7).await.unwrap();
        assert_eq!(ledger.points(), closes(0, 7));
        b.be(Manner::Wrong(factor));
        for now in 8..=12 {
            ledger.take(now).await.unwrap();
        }
        assert_eq!((ledger.points(), ledger.sources()), (closes(0, 12), vec!["a"; 12]));
    }
}

#[tokio::test]
async fn two_that_differ_from_the_beginning_on_are_both_not_believed() {
    let (a, b) = (Source::new("a"), Source::new("b"));
    let mut ledger = Ledger::new(vec![a.clone(), b]);
    a.be(Manner::Wrong(1.03));
    ledger.take(3).await.unwrap();
    assert_eq!(ledger.points(), []);
}

#[tokio::test]
async fn a_jump_that_nobody_confirms_waits_for_those_that_may_and_is_taken_when_there_is_none() {
    let (a, b) = (Source::new("a"), Source::new("b"));
    let mut ledger = Ledger::new(vec![a.clone(), b.clone()]);
    ledger.take(1).await.unwrap();
    a.be(Manner::Wrong(1.03));
    b.be(Manner::Stops(1));
    ledger.take(2).await.unwrap();
    assert_eq!(ledger.points(), closes(0, 1), "b answers and may yet say something else");
    b.be(Manner::Right);
    ledger.take_at(2, minute(2) + Span::seconds(20)).await.unwrap();
    assert_eq!(ledger.points(), closes(0, 1));
    b.be(Manner::Fails);
    ledger.take_at(2, minute(2) + Span::seconds(30)).await.unwrap();
    assert_eq!(ledger.points(), closes(0, 1), "b may be well again in a moment");
    ledger.take(3).await.unwrap();
    assert_eq!(ledger.closes.len(), 3, "markets jump: it costs a slot");
}

#[tokio::test]
async fn one_that_answers_a_moment_late_is_still_preferred_and_one_that_stops_is_not_waited_for() {
    let (a, b) = (Source::new("a"), Source::new("b"));
    let mut ledger = Ledger::new(vec![a.clone(), b]);
    ledger.take(1).await.unwrap();
    a.be(Manner::Stops(1));
    ledger.take_at(2, minute(2) + Span::seconds(2)).await.unwrap();
    assert_eq!(ledger.closes.len(), 1);
    a.be(Manner::Right);
    ledger.take_at(2, minute(2) + Span::seconds(2)).await.unwrap();
    a.be(Manner::Stops(2));
    ledger.take_at(3, minute(3) + Span::seconds(4)).await.unwrap();
    assert_eq!((ledger.sources(), ledger.points()), (vec!["a", "a", "b"], closes(0, 3)));
}

#[tokio::test]
async fn a_source_that_starts_late_is_completed_by_one_with_a_longer_memory() {
    let (clock, surroundings) = surroundings(within(600));
    let short = Server::start(|question| {
        let recent =
            |rows: Rows| rows.into_iter().filter(|(begin, _)| *begin >= minute(500).timestamp()).collect();
        CRUNCHDAO.answer_with(question, within(600), recent)
    });
    let short = short.await;
    let long = Server::start(|question| COINBASE.answer(question, within(600))).await;
    let feeds =
        vec![CRUNCHDAO.feed(&short.address, &surroundings), COINBASE.feed(&long.address, &surroundings)];
    let mut ledger = Ledger::with(feeds, clock, &surroundings);
    ledger.take_at(600, within(600)).await.unwrap();
    assert_eq!(ledger.points(), closes(0, 600));
    assert_eq!(ledger.sources().iter().filter(|source| **source == "coinbase").count(), 500);
}

#[tokio::test]
async fn an_asset_is_unknown_only_when_no_source_prices_it() {
    let (_, surroundings) = surroundings(within(1));
    let server = Server::start(|question| BINANCE.answer(question, within(1))).await;
    let feeds = || vec![BINANCE.feed(&server.address, &surroundings)];
    let doge = Asset::new("DOGE").unwrap();
    let alone = SeveralFeeds::new(feeds(), CHECK, &surroundings);
    let error = alone.closes(Wanted::new(&doge, minute(0), minute(1))).await.unwrap_err();
    assert_eq!(error.to_string(), "the binance prices have no DOGE: choose among BTC");
    let feeds = [feeds(), vec![Source::new("all") as Arc<dyn PriceFeed>]].concat();
    let both = SeveralFeeds::new(feeds, CHECK, &surroundings);
    assert_eq!(both.closes(Wanted::new(&doge, minute(0), minute(1))).await.unwrap().len(), 1);
    assert_eq!(both.name(), "binance, all");
}

fn manners() -> impl Strategy<Value = Manner> {
    prop_oneof![
        4 => Just(Manner::Right),
        2 => (0.9f64..1.1).prop_map(Manner::Wrong),
        1 => (0i64..30).prop_map(Manner::Stops),
        1 => Just(Manner::Fails),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_sources_do_no_instant_comes_twice_and_each_price_is_what_its_source_said(
        steps in prop::collection::vec((prop::collection::vec(manners(), 3), 0u32..59), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sources = ["a", "b", "c"].map(Source::new);
            let mut ledger = Ledger::new(sources.iter().map(|source| source.clone() as Arc<dyn PriceFeed>).collect());
            for (i, (manners, second)) in steps.iter().enumerate() {
                sources.iter().zip(manners).for_each(|(source, manner)| source.be(*manner));
                let (now, before) = (i as i64 + 1, ledger.closes.len());
                let _ = ledger.take_at(now, minute(now) + Span::seconds(*second)).await;
                for close in &ledger.closes[before..] {
                    let place = sources.iter().position(|source| source.name == close.source).unwrap();
                    let factor = match manners[place] {
                        Manner::Wrong(factor) => factor,
                        _ => 1.0,
                    };
                    let said = price(close.point.at.timestamp()) * factor;
                    assert_eq!(close.point.price.value(), said);
                    assert!(close.point.at <= minute(now));
                }
            }
            let instants: Vec<Timestamp> = ledger.points().iter().map(|point| point.at).collect();
            assert!(instants.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(instants.iter().collect::<BTreeSet<_>>().len(), instants.len());
        });
    }
}
