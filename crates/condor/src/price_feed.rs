//! Opens the sources of prices that the configuration names.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use domain::{Asset, SystemClock};
use feeds::{
    CrossCheck, FeedError, PriceFeed, RecordedPrices, Service, SeveralFeeds, SimulatedMarket, Surroundings,
    Timing,
};

use crate::config::{Config, ConfigError, PriceSource};

/// The channel of Pyth unless another is named.
const CHANNEL: &str = "fixed_rate@200ms";

/// All sources as one, for `assets`. Files are read; services are asked only when prices are.
pub fn open(config: &Config, assets: &[Asset]) -> Result<Arc<dyn PriceFeed>, ConfigError> {
    let mut feeds = open_each(config, assets)?;
    let is_own = config.prices.sources.iter().all(|source| source.service().is_none());
    if is_own && feeds.len() == 1 {
        return Ok(feeds.remove(0));
    }
    Ok(Arc::new(together(config, feeds)))
}

/// Sources held against each other, as the predict worker does.
pub fn together(config: &Config, feeds: Vec<Arc<dyn PriceFeed>>) -> SeveralFeeds {
    let check = CrossCheck { max_deviation: config.prices.max_deviation };
    SeveralFeeds::new(feeds, check, &surroundings())
}

/// Each source by itself, in the order of preference.
pub fn open_each(config: &Config, assets: &[Asset]) -> Result<Vec<Arc<dyn PriceFeed>>, ConfigError> {
    let is_alone = config.prices.sources.len() == 1;
    config.prices.sources.iter().map(|source| open_one(source, assets, is_alone)).collect()
}

fn open_one(
    source: &PriceSource,
    assets: &[Asset],
    is_alone: bool,
) -> Result<Arc<dyn PriceFeed>, ConfigError> {
    let service = service(source)?;
    let surroundings = surroundings();
    let opened = match (source, service) {
        (PriceSource::Simulated { seed, origin }, _) => {
            Ok(Arc::new(SimulatedMarket::new(*seed, *origin, assets)) as Arc<dyn PriceFeed>)
        }
        (PriceSource::Files { dir, shift }, _) => {
            let files = RecordedPrices::load(dir, &recorded(dir, assets, is_alone).map_err(unusable)?);
            files.map(|files| Arc::new(files.shifted_by(*shift)) as Arc<dyn PriceFeed>)
        }
        (PriceSource::Crunchdao(extra), service) => {
            let (bounds, stamp) = (extra.bounds.unwrap_or_default(), extra.stamp.unwrap_or_default());
            feeds::crunchdao(service, bounds, stamp, &surroundings)
        }
        (PriceSource::Pyth(extra), service) => {
            feeds::pyth(service, extra.channel.as_deref().unwrap_or(CHANNEL), &surroundings)
        }
        (PriceSource::Hermes(_), service) => feeds::hermes(service, &surroundings),
        (PriceSource::Binance(_), service) => feeds::binance(service, &surroundings),
        (PriceSource::BinanceStream(_), service) => feeds::binance_stream(service, &surroundings),
        (PriceSource::Coinbase(_), service) => feeds::coinbase(service, &surroundings),
    };
    opened.map_err(unusable)
}

fn unusable(error: FeedError) -> ConfigError {
    ConfigError::Value { key: "prices.sources", fault: error.to_string() }
}

/// Files that are the only source have all assets; beside others they may have some.
fn recorded(dir: &std::path::Path, assets: &[Asset], is_alone: bool) -> Result<Vec<Asset>, FeedError> {
    if is_alone {
        return Ok(assets.to_vec());
    }
    let recorded = feeds::assets_in(dir)?;
    Ok(assets.iter().filter(|asset| recorded.contains(asset)).cloned().collect())
}

/// What a source has of a service.
fn service(source: &PriceSource) -> Result<Service, ConfigError> {
    let config = source.service().cloned().unwrap_or_default();
    Ok(Service {
        name: source.name().into(),
        address: source.address().to_owned(),
        key: config.read_key(source.name())?,
        symbols: config.symbols,
    })
}

fn surroundings() -> Surroundings {
    // Pauses are to differ between processes, and nothing else depends on them.
    let seed = RandomState::new().hash_one("pauses");
    Surroundings { clock: Arc::new(SystemClock), seed, timing: Timing::default() }
}
