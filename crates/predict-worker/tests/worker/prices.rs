//! A source of prices that can fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Clock, Price, PricePoint, Span, SystemClock, Timestamp, TimestampExt};
use feeds::{Close, FeedError, PriceFeed, Wanted};

/// What is wrong with an asset's prices.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// There are no new ones.
    Silent,
    /// The source answers with an error.
    Fails,
    /// The source never answers.
    Hangs,
    /// Each close is there so long after its instant by the machine's clock.
    Late(Duration),
    /// It has none of the closes from one instant to another.
    Lacks { from: Timestamp, to: Timestamp },
}

/// A close at every multiple of an interval, since ever, of every asset.
pub struct Prices {
    interval: Span,
    troubles: Mutex<BTreeMap<String, Trouble>>,
}

impl Prices {
    pub fn every(interval: Span) -> Self {
        Prices { interval, troubles: Mutex::default() }
    }

    /// From now on there is this trouble with an asset.
    pub fn trouble(&self, asset: &str, trouble: Trouble) {
        self.troubles.lock().unwrap().insert(asset.to_owned(), trouble);
    }

    /// All is well again.
    pub fn mend(&self) {
        self.troubles.lock().unwrap().clear();
    }

    fn closes_between(&self, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint> {
        let first = after.floor_to(self.interval) + self.interval;
        let instants = std::iter::successors(Some(first), |at| Some(*at + self.interval));
        let price = |at: Timestamp| Price::new(100.0 + (at.timestamp() % 1000) as f64).unwrap();
        instants.take_while(|at| *at <= up_to).map(|at| PricePoint { at, price: price(at) }).collect()
    }
}

#[async_trait]
impl PriceFeed for Prices {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let Wanted { asset, after, up_to, .. } = wanted;
        let trouble = self.troubles.lock().unwrap().get(asset.as_str()).copied();
        let mut closes = self.closes_between(after, up_to);
        match trouble {
            None => {}
            Some(Trouble::Silent) => closes.clear(),
            Some(Trouble::Fails) => {
                return Err(FeedError::UnknownAsset {
                    asset: asset.clone(),
                    feed: "test".into(),
                    known: Vec::new(),
                });
            }
            Some(Trouble::Hangs) => std::future::pending().await,
            Some(Trouble::Lacks { from, to }) => closes.retain(|close| close.at < from || to < close.at),
            Some(Trouble::Late(lag)) => closes.retain(|close| SystemClock.now().since(close.at) >= lag),
        }
        Ok(closes.into_iter().map(|point| Close { point, source: "test".into() }).collect())
    }

    fn name(&self) -> &str {
        "test"
    }
}
