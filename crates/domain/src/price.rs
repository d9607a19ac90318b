//! Prices and their place in the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Asset, Timestamp};

/// A price in quote currency: finite and above zero.
#[derive(Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Price(f64);

/// A number that is no price.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no price: it must be finite and above zero")]
pub struct InvalidPrice(f64);

impl Price {
    /// Checks and takes a price.
    pub fn new(value: f64) -> Result<Self, InvalidPrice> {
        if value.is_finite() && value > 0.0 { Ok(Price(value)) } else { Err(InvalidPrice(value)) }
    }
    /// The price as a number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Price {
    type Error = InvalidPrice;
    fn try_from(value: f64) -> Result<Self, InvalidPrice> {
        Price::new(value)
    }
}

impl From<Price> for f64 {
    fn from(price: Price) -> f64 {
        price.0
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The close of one candle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PricePoint {
    /// When the candle closed, and so when the price was known.
    pub at: Timestamp,
    /// The close.
    pub price: Price,
}

/// A place in the ledger: 1 for the first price ever stored, one more for each after it. 0 is before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LedgerPosition(pub u64);

impl LedgerPosition {
    /// Before the first price.
    pub const START: LedgerPosition = LedgerPosition(0);

    /// The place after this one.
    pub fn next(self) -> Self {
        LedgerPosition(self.0 + 1)
    }
}

/// One price as stored. A later entry for the same asset and instant corrects an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place in the order of storing.
    pub position: LedgerPosition,
    /// What is priced.
    pub asset: Asset,
    /// The close and its instant.
    #[serde(flatten)]
    pub point: PricePoint,
    /// Which source gave it.
    pub source: String,
}

/// A price that came when its instant was past: another one was known for it by then, or a later close of the asset. Rounds
/// that were judged without it are judged again.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceCorrection {
    /// The place of the entry that corrects.
    pub position: LedgerPosition,
    /// What is priced.
    pub asset: Asset,
    /// When the candle closed.
    pub at: Timestamp,
    /// The close that was known before; `None` where it was missing.
    pub old: Option<Price>,
    /// The close that counts from now on.
    pub new: Price,
    /// Which source gave it.
    pub source: String,
    /// When it came.
    pub recorded_at: Timestamp,
}
