//! Where prices come from. A [`PriceFeed`] gives the closes of one-minute candles; each provider has its own file here:
//! [`RecordedPrices`] reads files, [`SimulatedMarket`] makes prices up.

mod error;
mod files;
mod simulated;

use async_trait::async_trait;
use domain::{Asset, PricePoint, Timestamp};

pub use error::FeedError;
pub use files::{RecordedPrices, RecordedSpan, assets_in};
pub use simulated::SimulatedMarket;

/// A source of prices.
#[async_trait]
pub trait PriceFeed: Send + Sync {
    /// The closes of `asset` with `after < at <= up_to`, oldest first; only of candles that have closed. Empty when the
    /// source has none.
    ///
    /// # Errors
    /// [`FeedError::UnknownAsset`] when the source does not price `asset`; what else can fail is the provider's.
    async fn closes(
        &self,
        asset: &Asset,
        after: Timestamp,
        up_to: Timestamp,
    ) -> Result<Vec<PricePoint>, FeedError>;

    /// The name that the ledger keeps as the source of each price.
    fn name(&self) -> &str;
}
