//! Prices in: from the feed into the ledger, and on to the database.

use std::sync::Arc;
use std::time::Duration;

use domain::{Asset, PricePoint, Timestamp};
use feeds::PriceFeed;
use futures::future::join_all;

use crate::lane::LaneContext;
use crate::recorder::Recorder;

/// Takes prices from the feed; each asset by itself, so that none waits for another's source.
pub struct Intake {
    context: Arc<LaneContext>,
    recorder: Recorder,
    feed: Arc<dyn PriceFeed>,
}

impl Intake {
    /// Takes nothing yet.
    pub fn new(context: Arc<LaneContext>, recorder: Recorder, feed: Arc<dyn PriceFeed>) -> Self {
        Intake { context, recorder, feed }
    }

    /// The assets that are priced here, in configuration order.
    pub fn assets(&self) -> Vec<Asset> {
        let settings = &self.context.settings;
        settings.schedules.assets().into_iter().filter(|asset| settings.is_asked(asset)).collect()
    }

    /// Takes what the feed has of every asset up to `up_to`. An asset whose source fails, or does not answer within
    /// `patience`, stays stale.
    pub async fn take_all(&self, up_to: Timestamp, patience: Duration) {
        let assets = self.assets();
        let fetches = assets.iter().map(|asset| self.fetch(asset, up_to, patience));
        let mut closes = join_all(fetches).await.concat();
        // In the order of time, so that a long history is told in that order too.
        closes.sort_by_key(|(_, point)| point.at);
        self.append(closes, up_to);
    }

    /// The same for one asset.
    pub async fn take(&self, asset: &Asset, up_to: Timestamp, patience: Duration) {
        let closes = self.fetch(asset, up_to, patience).await;
        self.append(closes, up_to);
    }

    /// True when the ledger holds the close of `at` or one less than a price interval older.
    pub fn has_fresh_price(&self, asset: &Asset, at: Timestamp) -> bool {
        let interval = self.context.settings.schedules.interval();
        self.context.ledger.newest(asset).is_some_and(|newest| newest.at + interval > at)
    }

    /// What the feed has after the newest known close, or after the beginning of the history.
    async fn fetch(&self, asset: &Asset, up_to: Timestamp, patience: Duration) -> Vec<(Asset, PricePoint)> {
        let settings = &self.context.settings;
        let oldest = up_to - settings.history - settings.schedules.interval();
        let after = self.context.ledger.newest(asset).map_or(oldest, |newest| newest.at.max(oldest));
        if after >= up_to {
            return Vec::new();
        }
        let feed = self.feed.name();
        match tokio::time::timeout(patience, self.feed.closes(asset, after, up_to)).await {
            Ok(Ok(points)) => {
                let valid = points.into_iter().filter(|point| point.at > after && point.at <= up_to);
                return valid.map(|point| (asset.clone(), point)).collect();
            }
            Ok(Err(error)) => tracing::warn!(%asset, %error, feed, "no prices from the feed"),
            Err(_) => tracing::warn!(%asset, feed, "no answer from the feed within {patience:.1?}"),
        }
        Vec::new()
    }

    fn append(&self, closes: Vec<(Asset, PricePoint)>, up_to: Timestamp) {
        let ledger = &self.context.ledger;
        self.recorder.prices(ledger.append(self.feed.name(), closes));
        ledger.forget_before(up_to - self.context.settings.history);
    }
}
