//! A made-up market, for a machine without prices: stochastic volatility, jumps, and assets that move together.
//!
//! Per minute, each asset's log price moves by σ·(ρ·z₀ + √(1-ρ²)·z) + jumps, where z₀ is common to all assets, ρ the
//! asset's share in it, and σ the asset's usual volatility times the exponential of two slow processes, one common and one
//! of its own (log-normal stochastic volatility with discrete Ornstein-Uhlenbeck logarithms, as in Taylor 1986). Jumps
//! come at random, as in Merton 1976.
//!
//! A close is a pure function of (seed, origin, asset, minute): only IEEE arithmetic and libm are used, and every asset
//! has a random stream of its own, so that bits depend neither on the platform, nor on who asks when, nor on the other
//! assets.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, Span, Timestamp, TimestampExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Close, FeedError, PriceFeed, Wanted};

const NAME: &str = "simulated";
const INTERVAL: Span = Span::minutes(1);
const MINUTES_PER_YEAR: f64 = 365.0 * 24.0 * 60.0;

/// Closes are kept in memory, 8 bytes each: this bounds them to 42 MB an asset.
const LIFE: Span = Span::days(3650);

/// Stationary standard deviation of each of the two log volatilities.
const LOG_VOLATILITY_SD: f64 = 0.35;
/// The common one is forgotten over two days, an asset's own over six hours.
const COMMON_MEMORY_MINUTES: f64 = 2880.0;
const OWN_MEMORY_MINUTES: f64 = 360.0;
/// One jump in twelve hours on average, with a standard deviation of ten usual minutes: a seventh of all variance.
const JUMPS_PER_MINUTE: f64 = 1.0 / 720.0;
const JUMP_SIZE: f64 = 10.0;

/// Above this a double cannot hold every tick.
const MAX_TICKS: f64 = 9e15;

/// The random stream of what is common to all assets; those of assets follow from their names.
const COMMON_STREAM: u64 = 0;

/// What an asset is like.
#[derive(Debug, Clone, Copy)]
struct Profile {
    start: f64,
    decimals: i32,
    /// Standard deviation of a year's log return.
    yearly_volatility: f64,
    /// Correlation of its minutes with the common factor.
    common_share: f64,
}

const fn profile(start: f64, decimals: i32, yearly_volatility: f64, common_share: f64) -> Profile {
    Profile { start, decimals, yearly_volatility, common_share }
}

fn profile_of(asset: &Asset) -> Profile {
    match asset.as_str() {
        "BTC" => profile(100_000.0, 1, 0.45, 0.9),
        "ETH" => profile(2_500.0, 2, 0.65, 0.85),
        "SOL" => profile(160.0, 2, 0.8, 0.8),
        "XRP" => profile(2.2, 4, 0.75, 0.75),
        "BNB" => profile(650.0, 2, 0.5, 0.75),
        "ADA" => profile(0.7, 4, 0.85, 0.8),
        "DOGE" => profile(0.2, 5, 0.9, 0.8),
        "XAU" | "XAUT" => profile(3_300.0, 2, 0.16, 0.1),
        "SP500" => profile(6_000.0, 2, 0.16, 0.35),
        "AAPL" | "AAPLX" => profile(200.0, 2, 0.28, 0.25),
        "TSLA" | "TSLAX" => profile(300.0, 2, 0.6, 0.3),
        "NVDA" | "NVDAX" => profile(140.0, 2, 0.5, 0.3),
        "GOOGL" | "GOOGLX" => profile(170.0, 2, 0.3, 0.25),
        _ => profile(100.0, 3, 0.5, 0.5),
    }
}

/// A made-up market with a close for every minute from its origin on.
#[derive(Debug)]
pub struct SimulatedMarket {
    origin: Timestamp,
    assets: Vec<Asset>,
    path: Mutex<Path>,
}

impl SimulatedMarket {
    /// The market of `seed` that begins at `origin`, cut to the minute. Another origin is another market.
    pub fn new(seed: u64, origin: Timestamp, assets: &[Asset]) -> Self {
        let origin = origin.floor_to(INTERVAL);
        SimulatedMarket { origin, assets: assets.to_vec(), path: Mutex::new(Path::new(seed, origin, assets)) }
    }

    /// The number of the last close at or before `instant`, from 0 at the origin; `None` before it.
    fn index_at(&self, instant: Timestamp) -> Option<usize> {
        let minutes = (instant - self.origin).num_seconds().div_euclid(i64::from(INTERVAL.as_secs()));
        usize::try_from(minutes).ok()
    }

    fn path(&self) -> MutexGuard<'_, Path> {
        // Minutes are added whole, one after the other: what a thread that panicked left behind is good.
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl PriceFeed for SimulatedMarket {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let Wanted { asset, after, up_to, .. } = wanted;
        let place = self.assets.iter().position(|known| known == asset).ok_or_else(|| {
            FeedError::UnknownAsset { asset: asset.clone(), feed: NAME.into(), known: self.assets.clone() }
        })?;
        let end = self.origin + LIFE;
        if up_to > end {
            return Err(FeedError::BeyondSimulation { origin: self.origin, end });
        }
        let first = self.index_at(after).map_or(0, |index| index + 1);
        let Some(last) = self.index_at(up_to).filter(|&last| last >= first) else {
            return Ok(Vec::new());
        };
        let mut path = self.path();
        path.extend_to(last);
        let closes = path.assets[place].closes[first..=last].iter();
        let instants = (first..).map(|index| self.origin + INTERVAL.times(index as u32));
        let point = |(at, &close)| Price::new(close).ok().map(|price| PricePoint { at, price });
        Ok(Close::all_of(&NAME.into(), instants.zip(closes).filter_map(point)))
    }

    fn name(&self) -> &str {
        NAME
    }
}

/// All assets' closes as far as anybody has asked for them.
#[derive(Debug)]
struct Path {
    common: Noise,
    common_volatility: LogVolatility,
    assets: Vec<AssetPath>,
    /// How many closes every asset has.
    len: usize,
}

impl Path {
    fn new(seed: u64, origin: Timestamp, assets: &[Asset]) -> Self {
        Path {
            common: Noise::new(seed, origin, COMMON_STREAM),
            common_volatility: LogVolatility::new(COMMON_MEMORY_MINUTES),
            assets: assets.iter().map(|asset| AssetPath::new(seed, origin, asset)).collect(),
            len: 1,
        }
    }

    fn extend_to(&mut self, last: usize) {
        while self.len <= last {
            let (shock, factor) = self.common.normal_pair();
            let common_log_volatility = self.common_volatility.step(shock);
            for asset in &mut self.assets {
                asset.step(factor, common_log_volatility);
            }
            self.len += 1;
        }
    }
}

#[derive(Debug)]
struct AssetPath {
    noise: Noise,
    volatility: LogVolatility,
    /// Volatility of a usual minute.
    usual: f64,
    common_share: f64,
    own_share: f64,
    ticks_per_unit: f64,
    log_price: f64,
    /// Each finite and above zero.
    closes: Vec<f64>,
}

impl AssetPath {
    fn new(seed: u64, origin: Timestamp, asset: &Asset) -> Self {
        let profile = profile_of(asset);
        let minute = profile.yearly_volatility / MINUTES_PER_YEAR.sqrt();
        AssetPath {
            noise: Noise::new(seed, origin, stream_of(asset)),
            volatility: LogVolatility::new(OWN_MEMORY_MINUTES),
            // What jumps add to the variance is taken from the rest.
            usual: minute / (1.0 + JUMPS_PER_MINUTE * JUMP_SIZE * JUMP_SIZE).sqrt(),
            common_share: profile.common_share,
            own_share: (1.0 - profile.common_share * profile.common_share).sqrt(),
            ticks_per_unit: libm::pow(10.0, f64::from(profile.decimals)),
            log_price: libm::log(profile.start),
            closes: vec![profile.start],
        }
    }

    fn step(&mut self, factor: f64, common_log_volatility: f64) {
        let (shock, own) = self.noise.normal_pair();
        let log_volatility = common_log_volatility + self.volatility.step(shock);
        // The mean of exp(2 N(0, v)) is exp(2v), here v = 2·sd².
        let scale = libm::exp(log_volatility - 2.0 * LOG_VOLATILITY_SD * LOG_VOLATILITY_SD);
        let deviation = self.usual * scale;
        let diffusion = deviation * (self.common_share * factor + self.own_share * own);
        self.log_price += diffusion - 0.5 * deviation * deviation + self.jump();
        self.closes.push(self.rounded());
    }

    fn jump(&mut self) -> f64 {
        if self.noise.uniform() > JUMPS_PER_MINUTE {
            return 0.0;
        }
        self.usual * JUMP_SIZE * self.noise.normal_pair().0
    }

    /// The price in whole ticks, at least one.
    fn rounded(&self) -> f64 {
        let ticks = (libm::exp(self.log_price) * self.ticks_per_unit).round();
        ticks.clamp(1.0, MAX_TICKS) / self.ticks_per_unit
    }
}

/// A logarithm of volatility that wanders about 0 with standard deviation [`LOG_VOLATILITY_SD`].
#[derive(Debug)]
struct LogVolatility {
    value: f64,
    kept: f64,
    added: f64,
}

impl LogVolatility {
    fn new(memory_minutes: f64) -> Self {
        let kept = 1.0 - 1.0 / memory_minutes;
        LogVolatility { value: 0.0, kept, added: LOG_VOLATILITY_SD * (1.0 - kept * kept).sqrt() }
    }

    fn step(&mut self, shock: f64) -> f64 {
        self.value = self.kept * self.value + self.added * shock;
        self.value
    }
}

/// A random stream.
#[derive(Debug)]
struct Noise(ChaCha8Rng);

impl Noise {
    fn new(seed: u64, origin: Timestamp, stream: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&origin.timestamp().to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(bytes);
        rng.set_stream(stream);
        Noise(rng)
    }

    /// Uniform above 0, up to 1: 53 random bits.
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Two independent standard normals, after Box and Muller 1958.
    fn normal_pair(&mut self) -> (f64, f64) {
        let radius = (-2.0 * libm::log(self.uniform())).sqrt();
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        (radius * cos, radius * sin)
    }
}

/// FNV-1a of the name, 64 bits. Never [`COMMON_STREAM`] but with a chance of one in 2⁶⁴.
fn stream_of(asset: &Asset) -> u64 {
    asset.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn assets(names: &[&str]) -> Vec<Asset> {
        names.iter().map(|name| Asset::new(name).unwrap()).collect()
    }

    fn origin() -> Timestamp {
        "2025-05-20T00:00:00Z".parse().unwrap()
    }

    fn market(seed: u64, names: &[&str]) -> SimulatedMarket {
        SimulatedMarket::new(seed, origin(), &assets(names))
    }

    /// The closes of the minutes `from..=to` after the origin.
    async fn closes(market: &SimulatedMarket, name: &str, from: u32, to: u32) -> Vec<f64> {
        let after = market.origin + Span::minutes(from) - Span::seconds(1);
        let points = market
            .closes(Wanted::new(&Asset::new(name).unwrap(), after, market.origin + Span::minutes(to)))
            .await
            .unwrap();
        points.iter().map(|close| close.point.price.value()).collect()
    }

    fn log_returns(closes: &[f64]) -> Vec<f64> {
        closes.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect()
    }

    fn mean_product(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64
    }

    #[tokio::test]
    async fn the_bits_of_a_market_are_fixed_for_ever() {
        let market = market(7, &["BTC", "ETH", "made-up"]);
        assert_eq!(closes(&market, "BTC", 0, 4).await, [100_000.0, 100_012.1, 99_984.0, 100_013.1, 99_969.9]);
        assert_eq!(closes(&market, "ETH", 43_199, 43_200).await, [2836.98, 2838.21]);
        assert_eq!(closes(&market, "made-up", 999, 1000).await, [99.861, 99.855]);
    }

    #[tokio::test]
    async fn a_close_stands_at_every_full_minute_from_the_origin_on() {
        let market = SimulatedMarket::new(1, origin() + Span::seconds(59), &assets(&["BTC"]));
        let btc = Asset::new("BTC").unwrap();
        let up_to = origin() + Span::seconds(179);
        let points = market.closes(Wanted::new(&btc, origin() - Span::days(1), up_to)).await.unwrap();
        let expected = [0, 1, 2].map(|minute| origin() + Span::minutes(minute));
        assert_eq!(points.iter().map(|close| close.point.at).collect::<Vec<_>>(), expected);
        assert!(market.closes(Wanted::new(&btc, up_to, up_to + Span::seconds(0))).await.unwrap().is_empty());
        assert!(
            market
                .closes(Wanted::new(&btc, origin() - Span::days(2), origin() - Span::days(1)))
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            market.closes(Wanted::new(&btc, origin(), origin() + Span::minutes(1))).await.unwrap().len(),
            1
        );
    }

    #[tokio::test]
    async fn what_the_market_does_not_have_is_refused_in_words() {
        let market = market(1, &["BTC", "ETH"]);
        let [btc, doge] = ["BTC", "DOGE"].map(|name| Asset::new(name).unwrap());
        let error = market.closes(Wanted::new(&doge, origin(), origin())).await.unwrap_err();
        assert_eq!(error.to_string(), "the simulated prices have no DOGE: choose among BTC, ETH");
        let error = market.closes(Wanted::new(&btc, origin(), Timestamp::MAX_UTC)).await.unwrap_err();
        assert!(error.to_string().contains("start it again from a later origin"), "{error}");
    }

    #[tokio::test]
    async fn another_seed_origin_or_asset_is_another_path() {
        let base = closes(&market(1, &["BTC"]), "BTC", 0, 50).await;
        assert_ne!(base, closes(&market(2, &["BTC"]), "BTC", 0, 50).await);
        let later = SimulatedMarket::new(1, origin() + Span::minutes(1), &assets(&["BTC"]));
        assert_ne!(base, closes(&later, "BTC", 0, 50).await);
        let unknown = market(1, &["one", "two"]);
        assert_ne!(closes(&unknown, "one", 0, 50).await, closes(&unknown, "two", 0, 50).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn threads_that_ask_at_once_see_the_same_prices() {
        let shared = Arc::new(market(3, &["BTC", "ETH"]));
        let expected = closes(&market(3, &["BTC", "ETH"]), "ETH", 0, 3000).await;
        let tasks: Vec<_> = (0..8u32)
            .map(|task| {
                let shared = Arc::clone(&shared);
                tokio::spawn(
                    async move { (task, closes(&shared, "ETH", task * 100, 3000 - task * 50).await) },
                )
            })
            .collect();
        for task in tasks {
            let (task, seen) = task.await.unwrap();
            assert_eq!(seen, expected[task as usize * 100..=3000 - task as usize * 50]);
        }
    }

    #[tokio::test]
    async fn the_market_looks_like_one() {
        let market = market(11, &["BTC", "ETH", "XAU"]);
        let minutes = 60 * 24 * 60;
        let btc = log_returns(&closes(&market, "BTC", 0, minutes).await);
        let eth = log_returns(&closes(&market, "ETH", 0, minutes).await);
        let xau = log_returns(&closes(&market, "XAU", 0, minutes).await);
        let deviation = |returns: &[f64]| mean_product(returns, returns).sqrt();
        let yearly = deviation(&btc) * MINUTES_PER_YEAR.sqrt();
        assert!((0.3..0.65).contains(&yearly), "volatility {yearly}");
        let kurtosis =
            btc.iter().map(|r| r.powi(4)).sum::<f64>() / btc.len() as f64 / deviation(&btc).powi(4);
        assert!(kurtosis > 5.0, "kurtosis {kurtosis}");
        let correlation = |a: &[f64], b: &[f64]| mean_product(a, b) / deviation(a) / deviation(b);
        assert!((0.4..0.9).contains(&correlation(&btc, &eth)), "{}", correlation(&btc, &eth));
        assert!((-0.1..0.3).contains(&correlation(&btc, &xau)), "{}", correlation(&btc, &xau));
        let sizes: Vec<f64> = btc.iter().map(|r| r.abs()).collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        let excess: Vec<f64> = sizes.iter().map(|size| size.min(5.0 * mean) - mean).collect();
        let clustering =
            mean_product(&excess[60..], &excess[..excess.len() - 60]) / mean_product(&excess, &excess);
        assert!(clustering > 0.05, "volatility an hour later {clustering}");
    }

    #[tokio::test]
    async fn prices_have_the_decimals_of_their_asset() {
        let market = market(5, &["BTC", "DOGE"]);
        for (name, ticks) in [("BTC", 10.0), ("DOGE", 100_000.0)] {
            for close in closes(&market, name, 0, 500).await {
                assert_eq!((close * ticks).round() / ticks, close);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn prices_depend_neither_on_who_asked_before_nor_on_the_other_assets(
            seed: u64,
            mut stops in prop::collection::vec(0u32..2000, 1..6),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let asked = market(seed, &["SOL", "BTC"]);
            let fresh = market(seed, &["BTC", "ETH", "XAU"]);
            stops.push(2000);
            for stop in stops {
                let seen = runtime.block_on(closes(&asked, "BTC", stop / 2, stop));
                let expected = runtime.block_on(closes(&fresh, "BTC", 0, 2000));
                prop_assert_eq!(&seen[..], &expected[stop as usize / 2..=stop as usize]);
                prop_assert!(seen.iter().all(|&price| price > 0.0));
            }
        }
    }
}
