//! Prices that come late, or never, as operations say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use domain::{Asset, Clock, Price, PricePoint, SimulatedClock, Span, Timestamp, TimestampExt};
use feeds::{Close, FeedError, PriceFeed, Wanted};

use crate::operation::Feed;
use crate::world::INTERVAL;

/// How late a slow source is: within the grace of questions.
const LAG: Span = Span::seconds(3);

/// A close at every multiple of the price interval.
pub struct Prices {
    clock: Arc<SimulatedClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    manners: BTreeMap<Asset, Feed>,
    /// Those that never come.
    gaps: BTreeSet<(Asset, Timestamp)>,
    /// When each was first given away.
    given: BTreeMap<(Asset, Timestamp), Timestamp>,
}

impl Prices {
    pub fn new(clock: Arc<SimulatedClock>) -> Self {
        Prices { clock, state: Mutex::default() }
    }

    /// From now on the prices of an asset come so.
    pub fn behave(&self, asset: &Asset, manner: Feed) {
        self.state.lock().unwrap().manners.insert(asset.clone(), manner);
    }

    pub fn manner(&self, asset: &Asset) -> Feed {
        self.state.lock().unwrap().manners.get(asset).copied().unwrap_or(Feed::Prompt)
    }

    /// Notes that an instant has come.
    pub fn reach(&self, at: Timestamp) {
        let mut state = self.state.lock().unwrap();
        let State { manners, gaps, .. } = &mut *state;
        let silent = manners.iter().filter(|(_, manner)| **manner == Feed::Gap);
        gaps.extend(silent.map(|(asset, _)| (asset.clone(), at)));
    }

    /// When the worker was first given a close.
    pub fn given_at(&self, asset: &Asset, at: Timestamp) -> Option<Timestamp> {
        self.state.lock().unwrap().given.get(&(asset.clone(), at)).copied()
    }

    /// What there is of an asset by now.
    fn available(&self, asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        let lag = if state.manners.get(asset) == Some(&Feed::Slow) { LAG } else { Span::ZERO };
        let first = after.floor_to(INTERVAL) + INTERVAL;
        let instants = std::iter::successors(Some(first), |at| Some(*at + INTERVAL));
        let there = instants
            .take_while(|at| *at <= up_to && *at + lag <= now)
            .filter(|at| !state.gaps.contains(&(asset.clone(), *at)));
        let closes: Vec<PricePoint> = there.map(|at| PricePoint { at, price: price(at) }).collect();
        for close in &closes {
            state.given.entry((asset.clone(), close.at)).or_insert(now);
        }
        closes
    }
}

/// A price that moves by about a percent each time.
fn price(at: Timestamp) -> Price {
    let k = at.timestamp() / i64::from(INTERVAL.as_secs());
    Price::new(100.0 + (k * 7919 % 211) as f64 / 100.0).unwrap()
}

#[async_trait]
impl PriceFeed for Prices {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let Wanted { asset, after, up_to, .. } = wanted;
        match self.manner(asset) {
            Feed::Prompt | Feed::Slow => {
                let closes = self.available(asset, after, up_to).into_iter();
                Ok(closes.map(|point| Close { point, source: "simulation".into() }).collect())
            }
            Feed::Silent | Feed::Gap => Ok(Vec::new()),
            Feed::Fails => {
                let known = Vec::new();
                Err(FeedError::UnknownAsset { asset: asset.clone(), feed: "simulation".into(), known })
            }
            Feed::Hangs => std::future::pending().await,
        }
    }

    fn name(&self) -> &str {
        "simulation"
    }
}
