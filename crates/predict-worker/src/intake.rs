//! Prices in: from the feed into the ledger, and on to the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Asset, Stopwatch, Timestamp};
use feeds::{Close, FeedError, PriceFeed, Wanted};
use futures::future::join_all;

use crate::lane::LaneContext;
use crate::recorder::Recorder;
use crate::repair::Gap;
use crate::settings::PredictSettings;

/// Takes prices from the feed; each asset by itself, so that none waits for another's source.
pub struct Intake {
    context: Arc<LaneContext>,
    recorder: Recorder,
    feed: Mutex<Arc<dyn PriceFeed>>,
    /// Assets that are not asked about any more, and when the last of their rounds resolves: without later prices those
    /// could never be scored.
    retiring: Mutex<BTreeMap<Asset, Timestamp>>,
}

impl Intake {
    /// Takes nothing yet. `awaited` are the assets of the rounds that wait to be scored, and when the last of those resolves.
    pub fn new(
        context: Arc<LaneContext>,
        recorder: Recorder,
        feed: Arc<dyn PriceFeed>,
        mut awaited: BTreeMap<Asset, Timestamp>,
    ) -> Self {
        let settings = context.settings();
        awaited.retain(|asset, _| settings.is_asked(asset));
        Intake { context, recorder, feed: Mutex::new(feed), retiring: Mutex::new(awaited) }
    }

    /// From the slot at `slot` on takes prices from `feed`, for the settings in force. What was asked `before` is priced until
    /// its rounds have resolved.
    pub fn adopt(&self, feed: Arc<dyn PriceFeed>, before: &PredictSettings, slot: Timestamp) {
        *lock(&self.feed) = feed;
        let mut retiring = lock(&self.retiring);
        for schedule in before.schedules.iter() {
            for asset in schedule.assets.iter().filter(|asset| before.is_asked(asset)) {
                let last = retiring.entry(asset.clone()).or_default();
                *last = (*last).max(slot + schedule.horizon);
            }
        }
    }

    /// The assets that are priced here: those that are asked, in configuration order, and those that are awaited.
    pub fn assets(&self) -> Vec<Asset> {
        let mut assets = self.context.settings().asked_assets();
        let mut retiring = lock(&self.retiring);
        retiring.retain(|asset, last| self.context.ledger.newest(asset).is_none_or(|it| it.at <= *last));
        assets.extend(retiring.keys().filter(|asset| !assets.contains(asset)).cloned().collect::<Vec<_>>());
        assets
    }

    /// Takes what the feed has of every asset up to `up_to`. An asset whose source fails, or does not answer within
    /// `patience`, stays stale.
    pub async fn take_all(&self, up_to: Timestamp, patience: Duration) {
        let assets = self.assets();
        let fetches = assets.iter().map(|asset| self.fetch(asset, up_to, patience));
        let mut closes = join_all(fetches).await.concat();
        // In the order of time, so that a long history is told in that order too.
        closes.sort_by_key(|(_, close)| close.point.at);
        self.append(closes, up_to);
    }

    /// The same for one asset.
    pub async fn take(&self, asset: &Asset, up_to: Timestamp, patience: Duration) {
        let closes = self.fetch(asset, up_to, patience).await;
        self.append(closes, up_to);
    }

    /// Asks for the closes of a gap within `patience`, and stores those that have come.
    pub(crate) async fn fill(&self, asset: &Asset, gap: &Gap, patience: Duration) {
        let wanted = Wanted { asset, after: gap.before.at, up_to: gap.end(), known: Some(gap.before) };
        let mut closes = self.ask(wanted, patience).await;
        // Some may have come in the meantime.
        let known = self.context.ledger.closes_since(asset, gap.before.at);
        closes.retain(|close| !known.contains_key(&close.point.at));
        if closes.is_empty() {
            return;
        }
        tracing::info!(%asset, closes = closes.len(), missing = gap.missing.len(), "missing closes have come");
        let closes = closes.into_iter().map(|close| (asset.clone(), close)).collect();
        self.recorder.prices(self.context.ledger.append(closes));
    }

    /// True when the ledger holds the close of `at` or one less than a price interval older.
    pub fn has_fresh_price(&self, asset: &Asset, at: Timestamp) -> bool {
        let interval = self.context.settings().schedules.interval();
        self.context.ledger.newest(asset).is_some_and(|newest| newest.at + interval > at)
    }

    /// What the feed has after the newest known close, or after the beginning of the history; of a long span in as many
    /// answers as it takes, and what has come when patience runs out.
    async fn fetch(&self, asset: &Asset, up_to: Timestamp, patience: Duration) -> Vec<(Asset, Close)> {
        let settings = self.context.settings();
        let oldest = up_to - settings.history - settings.schedules.interval();
        let mut known = self.context.ledger.newest(asset);
        let mut after = known.map_or(oldest, |newest| newest.at.max(oldest));
        let begun = Stopwatch::start();
        let mut taken = Vec::new();
        while after < up_to {
            let wanted = Wanted { asset, after, up_to, known };
            let closes = self.ask(wanted, patience.saturating_sub(begun.elapsed())).await;
            let Some(last) = closes.last().map(|close| close.point) else { break };
            (after, known) = (last.at, Some(last));
            taken.extend(closes.into_iter().map(|close| (asset.clone(), close)));
        }
        taken
    }

    /// One answer of the feed; empty, and the reason in the log, when it fails or does not come in time.
    async fn ask(&self, wanted: Wanted<'_>, patience: Duration) -> Vec<Close> {
        let (source, asset) = (self.feed(), wanted.asset);
        let feed = source.name();
        match tokio::time::timeout(patience, source.closes(wanted)).await {
            Ok(Ok(mut closes)) => {
                closes.retain(|Close { point, .. }| point.at > wanted.after && point.at <= wanted.up_to);
                return closes;
            }
            // Each of several sources has told by itself why it fails, when it did.
            Ok(Err(error @ FeedError::NoneUsable { .. })) => {
                tracing::debug!(%asset, %error, feed, "no prices")
            }
            Ok(Err(error)) => {
                tracing::warn!(%asset, %error, feed, "no prices from the feed");
                if matches!(error, FeedError::UnknownAsset { .. }) {
                    lock(&self.retiring).remove(asset);
                }
            }
            Err(_) => tracing::warn!(%asset, feed, "no answer from the feed within {patience:.1?}"),
        }
        Vec::new()
    }

    fn append(&self, closes: Vec<(Asset, Close)>, up_to: Timestamp) {
        let ledger = &self.context.ledger;
        self.recorder.prices(ledger.append(closes));
        ledger.forget_before(up_to - self.context.settings().history);
    }

    fn feed(&self) -> Arc<dyn PriceFeed> {
        Arc::clone(&lock(&self.feed))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
