//! Where prices come from. A [`PriceFeed`] gives the closes of one-minute candles; each provider has its own file here:
//! [`RecordedPrices`] reads files, [`SimulatedMarket`] makes prices up, and the services are [`crunchdao`], [`pyth`],
//! [`hermes`], [`binance`], [`binance_stream`] and [`coinbase`]. [`SeveralFeeds`] asks several in an order of preference and
//! holds them against each other, and [`Prefetched`] keeps what one had of a span.
//!
//! A service that is asked again and again is a `CandleApi` (`polled.rs`); one that tells by itself is a `Line`
//! (`streamed.rs`). What any of them says goes through `candles.rs`, which lets nothing out but closes of candles that are
//! over, in the order of time, each once.

mod back_off;
mod binance;
mod binance_stream;
mod candles;
mod coinbase;
mod crunchdao;
mod error;
mod files;
mod hermes;
mod http;
mod judge;
mod polled;
mod prefetched;
mod pyth;
mod several;
mod simulated;
mod streamed;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{Asset, PricePoint, Timestamp};

pub use binance::binance;
pub use binance_stream::binance_stream;
pub use coinbase::coinbase;
pub use crunchdao::{CrunchdaoBounds, Stamp, crunchdao};
pub use error::{Fault, FeedError, RowFault};
pub use files::{RecordedPrices, RecordedSpan, assets_in};
pub use hermes::{hermes, hermes_id};
pub use http::{HTTP, Key, Service, Surroundings, Timing, WEB_SOCKET, check_address};
pub use prefetched::Prefetched;
pub use pyth::pyth;
pub use several::{CrossCheck, SeveralFeeds};
pub use simulated::SimulatedMarket;

/// Addresses of the services that a configuration need not name.
pub mod addresses {
    pub use crate::binance::ADDRESS as BINANCE;
    pub use crate::binance_stream::ADDRESS as BINANCE_STREAM;
    pub use crate::coinbase::ADDRESS as COINBASE;
    pub use crate::crunchdao::ADDRESS as CRUNCHDAO;
    pub use crate::hermes::ADDRESS as HERMES;
    pub use crate::pyth::ADDRESS as PYTH;
}

/// The name that the ledger keeps as the source of a price.
pub type SourceName = Arc<str>;

/// The close of one candle, and who gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Close {
    /// The close and its instant.
    pub point: PricePoint,
    /// Whose it is.
    pub source: SourceName,
}

impl Close {
    /// Closes that are all of one source.
    pub(crate) fn all_of(source: &SourceName, points: impl IntoIterator<Item = PricePoint>) -> Vec<Close> {
        points.into_iter().map(|point| Close { point, source: Arc::clone(source) }).collect()
    }
}

/// Which closes are asked for: those with `after < at <= up_to`.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of what.
    pub asset: &'a Asset,
    /// Not this instant, but all later ones.
    pub after: Timestamp,
    /// This instant is the last.
    pub up_to: Timestamp,
    /// The newest close that is known already: what comes is held against it.
    pub known: Option<PricePoint>,
}

impl<'a> Wanted<'a> {
    /// For somebody who knows no close yet.
    pub fn new(asset: &'a Asset, after: Timestamp, up_to: Timestamp) -> Self {
        Wanted { asset, after, up_to, known: None }
    }
}

/// A source of prices.
#[async_trait]
pub trait PriceFeed: Send + Sync {
    /// The closes that are wanted, oldest first, only of candles that have closed. Empty when the source has none. Of a
    /// long span it may be the first part only: ask again for what comes after the last.
    ///
    /// # Errors
    /// [`FeedError::UnknownAsset`] when the source does not price the asset; what else can fail is the provider's.
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError>;

    /// What the source is called in the log. Each close says by itself whose it is.
    fn name(&self) -> &str;
}
