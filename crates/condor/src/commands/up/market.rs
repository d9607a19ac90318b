//! Which prices a new folder plays: recorded, live where the network answers, else simulated.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use domain::{Asset, Clock, Span, SystemClock, Timestamp, TimestampExt};
use feeds::{FeedError, Prefetched, PriceFeed, RecordedPrices, Wanted};
use futures::future::join_all;

use super::super::{UsageError, recorded_assets};
use crate::cli::UpArgs;
use crate::config::{Config, PriceSource, ServiceConfig};
use crate::price_feed;

/// The seed of the simulated market.
const MARKET_SEED: u64 = 1;
/// Prices begin this long before the warm-up, so that models have seen some when they are first asked.
const LEAD: Span = Span::days(1);

/// So long a service may take to say that it is there: somebody waits for the page.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// How far back a probe asks: a close or two of an exchange may be late.
const PROBED: Span = Span::minutes(10);
/// So long the days of the warm-up may take to come.
const HISTORY_PATIENCE: Duration = Duration::from_secs(60);

/// What the exchanges trade that need no key, of what is asked about by default.
const COINS: [&str; 3] = ["BTC", "ETH", "SOL"];

/// `--feed NAME[=ADDRESS]`
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    /// A market made up from a seed.
    Simulated,
    /// A service that needs no key.
    Live {
        /// Which.
        service: LiveService,
        /// Where it is, unless at its public address.
        address: Option<String>,
    },
}

/// The services that need no key, and go back as far as the warm-up does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LiveService {
    /// Binance spot.
    Binance,
    /// Coinbase Exchange.
    Coinbase,
    /// The CrunchDAO price database.
    Crunchdao,
}

/// Those that are tried unless one is named, in the order of preference: two, so that each checks the other.
const TRIED: [LiveService; 2] = [LiveService::Binance, LiveService::Coinbase];

impl FromStr for Feed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (name, Some(address.to_owned())),
            None => (text, None),
        };
        let service = match (name, &address) {
            ("simulated", None) => return Ok(Feed::Simulated),
            ("simulated", Some(_)) => return Err("a simulated market has no address".to_owned()),
            ("binance", _) => LiveService::Binance,
            ("coinbase", _) => LiveService::Coinbase,
            ("crunchdao", _) => LiveService::Crunchdao,
            _ => {
                return Err(
                    "choose binance, coinbase, crunchdao or simulated; others are set up in condor.toml \
                            (docs/feeds.md)"
                        .to_owned(),
                );
            }
        };
        if let Some(address) = &address {
            feeds::check_address(address, &feeds::HTTP, false)?;
        }
        Ok(Feed::Live { service, address })
    }
}

impl LiveService {
    fn source(self, address: Option<String>, assets: &[Asset]) -> PriceSource {
        let symbols: BTreeMap<Asset, String> =
            assets.iter().filter_map(|asset| Some((asset.clone(), self.symbol(asset)?))).collect();
        let service = ServiceConfig { address, symbols, ..ServiceConfig::default() };
        match self {
            LiveService::Binance => PriceSource::Binance(service),
            LiveService::Coinbase => PriceSource::Coinbase(service),
            LiveService::Crunchdao => PriceSource::Crunchdao(service),
        }
    }

    /// What the service calls an asset.
    fn symbol(self, asset: &Asset) -> Option<String> {
        let is_coin = COINS.contains(&asset.as_str());
        match self {
            LiveService::Binance => is_coin.then(|| format!("{asset}USDT")),
            LiveService::Coinbase => is_coin.then(|| format!("{asset}-USD")),
            LiveService::Crunchdao => Some(asset.to_string()),
        }
    }
}

/// The prices of a new folder.
pub struct Market {
    /// For `condor.toml`.
    pub sources: Vec<PriceSource>,
    /// What of the timetable has prices.
    pub assets: Vec<Asset>,
    /// What the warm-up plays.
    pub history: Arc<dyn PriceFeed>,
    /// The first slot of the warm-up.
    pub from: Timestamp,
    /// The end of the warm-up: now, when the market was chosen.
    pub to: Timestamp,
}

impl Market {
    /// The market that is asked for; without a word of it live prices if a service answers, else simulated ones. `warm_up` is
    /// what will be played before live operation.
    ///
    /// # Errors
    /// Recordings that do not do, or a named service that has no prices.
    pub async fn choose(args: &UpArgs, warm_up: Span) -> anyhow::Result<Self> {
        let config = Config::default();
        let days = Days { to: SystemClock.now().floor_to(config.prices.interval), warm_up };
        match (&args.prices, &args.feed) {
            (Some(dir), _) => Market::recorded(dir, &config, days),
            (None, Some(Feed::Simulated)) => Market::simulated(config, days),
            (None, Some(Feed::Live { service, address })) => {
                Market::live(config, &[(*service, address.clone())], days).await.context(
                    "--feed: it has no prices for us now: try again, another one, or --feed simulated",
                )
            }
            (None, None) => {
                match Market::live(config.clone(), &TRIED.map(|service| (service, None)), days).await {
                    Ok(market) => Ok(market),
                    Err(error) => {
                        eprintln!("prices       no live ones: {error:#}");
                        eprintln!(
                            "             so the market is simulated; --feed NAME insists on a service, --prices DIR plays yours"
                        );
                        Market::simulated(config, days)
                    }
                }
            }
        }
    }

    fn recorded(dir: &std::path::Path, config: &Config, days: Days) -> anyhow::Result<Self> {
        let usage = |error: FeedError| UsageError(error.to_string());
        let assets = recorded_assets(dir, &config.schedules()?.assets())?;
        let prices = RecordedPrices::load(dir, &assets).map_err(usage)?;
        let shift = prices.live_shift(days.to, days.warm_up).map_err(usage)?;
        let sources = vec![PriceSource::Files { dir: dir.canonicalize()?, shift }];
        Ok(days.market(sources, assets, Arc::new(prices.shifted_by(shift))))
    }

    fn simulated(config: Config, days: Days) -> anyhow::Result<Self> {
        let assets = config.schedules()?.assets();
        let sources = vec![PriceSource::Simulated { seed: MARKET_SEED, origin: days.from() - LEAD }];
        let history = price_feed::open(&with_sources(config, sources.clone()), &assets)?;
        Ok(days.market(sources, assets, history))
    }

    /// Those of the services that answer; the days of the warm-up are from the first of them that has them.
    async fn live(
        config: Config,
        services: &[(LiveService, Option<String>)],
        days: Days,
    ) -> anyhow::Result<Self> {
        let asked = config.schedules()?.assets();
        let sources =
            services.iter().map(|(service, address)| service.source(address.clone(), &asked)).collect();
        let config = with_sources(config, sources);
        let assets = priced(&config.prices.sources, &asked);
        let Some(first) = assets.first() else { bail!("none of the services prices what is asked about") };
        let feeds = price_feed::open_each(&config, &assets)?;
        let probes = join_all(feeds.iter().map(|feed| probe(feed.as_ref(), first))).await;
        let (mut sources, mut answering, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for ((source, feed), probed) in config.prices.sources.into_iter().zip(feeds).zip(probes) {
            match probed {
                Ok(()) => {
                    sources.push(source);
                    answering.push(feed);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let (history, without) = history(&answering, &assets, days).await;
        let Some(history) = history else { bail!([faults, without].concat().join("; ")) };
        faults.iter().for_each(|fault| eprintln!("prices       without {fault}"));
        without.iter().for_each(|fault| eprintln!("prices       not for the warm-up: {fault}"));
        let left_out: Vec<&str> =
            asked.iter().filter(|asset| !assets.contains(asset)).map(Asset::as_str).collect();
        if !left_out.is_empty() {
            eprintln!(
                "prices       not asked about {}: no service without a key has it",
                left_out.join(", ")
            );
        }
        Ok(days.market(sources, assets, Arc::new(history)))
    }
}

/// The time of a warm-up.
#[derive(Clone, Copy)]
struct Days {
    to: Timestamp,
    warm_up: Span,
}

impl Days {
    fn from(self) -> Timestamp {
        self.to - self.warm_up
    }

    fn market(self, sources: Vec<PriceSource>, assets: Vec<Asset>, history: Arc<dyn PriceFeed>) -> Market {
        Market { sources, assets, history, from: self.from(), to: self.to }
    }
}

fn with_sources(config: Config, sources: Vec<PriceSource>) -> Config {
    Config { prices: crate::config::PricesConfig { sources, ..config.prices }, ..config }
}

fn priced(sources: &[PriceSource], assets: &[Asset]) -> Vec<Asset> {
    let is_priced = |asset: &&Asset| sources.iter().any(|source| source.prices(asset));
    assets.iter().filter(is_priced).cloned().collect()
}

/// Whether a service has prices now; else why not.
async fn probe(feed: &dyn PriceFeed, asset: &Asset) -> Result<(), String> {
    let now = SystemClock.now();
    let question = feed.closes(Wanted::new(asset, now - PROBED, now - Span::minutes(1)));
    match tokio::time::timeout(PROBE_PATIENCE, question).await {
        Ok(Ok(closes)) if closes.is_empty() => Err(format!("{}: no close in the last {PROBED}", feed.name())),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{}: no answer within {} s", feed.name(), PROBE_PATIENCE.as_secs())),
    }
}

/// The days of the warm-up from the first feed that has them, and why those before it do not.
async fn history(
    feeds: &[Arc<dyn PriceFeed>],
    assets: &[Asset],
    days: Days,
) -> (Option<Prefetched>, Vec<String>) {
    let mut faults = Vec::new();
    for feed in feeds {
        let (name, count) = (feed.name(), assets.len());
        eprintln!("prices       live: fetching {} of {count} assets from {name}", days.warm_up + LEAD);
        let fetched = Prefetched::fetch(feed.as_ref(), assets, days.from() - LEAD, days.to);
        match tokio::time::timeout(HISTORY_PATIENCE, fetched).await {
            Ok(Ok(history)) if !history.is_empty() => return (Some(history), faults),
            Ok(Ok(_)) => faults.push(format!("{name}: no closes of these days")),
            Ok(Err(error)) => faults.push(error.to_string()),
            Err(_) => faults.push(format!("{name}: its closes took over {} s", HISTORY_PATIENCE.as_secs())),
        }
    }
    (None, faults)
}
