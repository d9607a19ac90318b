//! Closes that were fetched beforehand, for whoever reads days of them minute by minute.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{Asset, Timestamp};
use futures::future::try_join_all;

use crate::{Close, FeedError, PriceFeed, Wanted};

/// What a feed had of a span, held in memory, each close under the name of its source.
#[derive(Debug, Clone)]
pub struct Prefetched {
    name: String,
    closes: BTreeMap<Asset, Vec<Close>>,
}

impl Prefetched {
    /// Asks `feed` for the closes of `assets` with `after < at <= up_to`, all assets at once, each page by page until no more
    /// come. An asset that it has no close of has none here.
    ///
    /// # Errors
    /// What the feed says of the first question that fails.
    pub async fn fetch(
        feed: &dyn PriceFeed,
        assets: &[Asset],
        after: Timestamp,
        up_to: Timestamp,
    ) -> Result<Self, FeedError> {
        let fetched = assets.iter().map(|asset| async move {
            Ok::<_, FeedError>((asset.clone(), all(feed, Wanted::new(asset, after, up_to)).await?))
        });
        Ok(Prefetched {
            name: feed.name().to_owned(),
            closes: try_join_all(fetched).await?.into_iter().collect(),
        })
    }

    /// How many closes it has, of all assets together.
    pub fn len(&self) -> usize {
        self.closes.values().map(Vec::len).sum()
    }

    /// Whether it has none at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Every page of what is wanted.
async fn all(feed: &dyn PriceFeed, mut wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
    let mut closes: Vec<Close> = Vec::new();
    while wanted.after < wanted.up_to {
        let page = feed.closes(wanted).await?;
        let Some(last) = page.last().map(|close| close.point) else { break };
        wanted = Wanted { after: last.at, known: Some(last), ..wanted };
        closes.extend(page);
    }
    Ok(closes)
}

#[async_trait]
impl PriceFeed for Prefetched {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let closes = self.closes.get(wanted.asset).ok_or_else(|| FeedError::UnknownAsset {
            asset: wanted.asset.clone(),
            feed: self.name.clone(),
            known: self.closes.keys().cloned().collect(),
        })?;
        let count_up_to = |instant: Timestamp| closes.partition_point(|close| close.point.at <= instant);
        let from = count_up_to(wanted.after);
        Ok(closes[from..count_up_to(wanted.up_to).max(from)].to_vec())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use domain::Span;

    use super::*;
    use crate::SimulatedMarket;

    /// Gives a market's closes ten at a time, and none of XAU.
    struct InPages(SimulatedMarket);

    #[async_trait]
    impl PriceFeed for InPages {
        async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
            if wanted.asset.as_str() == "XAU" {
                return Ok(Vec::new());
            }
            Ok(self.0.closes(wanted).await?.into_iter().take(10).collect())
        }

        fn name(&self) -> &str {
            "in pages"
        }
    }

    #[tokio::test]
    async fn it_answers_as_the_feed_did_and_keeps_the_name_of_the_source() {
        let (from, up_to) = (Timestamp::default(), Timestamp::default() + Span::hours(2));
        let [btc, xau, eth] = ["BTC", "XAU", "ETH"].map(|asset| Asset::new(asset).unwrap());
        let market = SimulatedMarket::new(1, from, &[btc.clone(), xau.clone()]);
        let wanted = Wanted::new(&btc, from + Span::minutes(7), up_to - Span::minutes(7));
        let truth = market.closes(wanted).await.unwrap();

        let prefetched =
            Prefetched::fetch(&InPages(market), &[btc.clone(), xau.clone()], from, up_to).await.unwrap();
        assert_eq!((prefetched.len(), prefetched.name()), (120, "in pages"));
        assert_eq!(prefetched.closes(wanted).await.unwrap(), truth);
        assert_eq!((truth.len(), &*truth[0].source), (106, "simulated"));
        assert_eq!(prefetched.closes(Wanted::new(&xau, from, up_to)).await.unwrap(), []);
        let unknown = prefetched.closes(Wanted::new(&eth, from, up_to)).await;
        assert!(matches!(unknown, Err(FeedError::UnknownAsset { .. })), "{unknown:?}");
        let backwards = Wanted::new(&btc, up_to, from);
        assert_eq!(prefetched.closes(backwards).await.unwrap(), []);
    }
}
