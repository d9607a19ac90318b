//! The prices that settle rounds which are scored together.

use std::collections::BTreeMap;

use domain::{Asset, LedgerPosition, PricePoint, Question, Timestamp};
use scoring::{Settlement, SettlementSettings, settle};
use storage::{Result, StorageError, Store};

/// What the ledger held of the assets of some rounds at one moment. Rounds that resolve one after the other need almost the
/// same closes, so that they are read once for all of them.
pub struct Prices<'s> {
    store: &'s dyn Store,
    settings: &'s SettlementSettings,
    now: Timestamp,
    /// The closes are those up to this place in the ledger at least.
    up_to: LedgerPosition,
    by_asset: BTreeMap<Asset, Ledger>,
}

/// What the ledger held of one asset.
struct Ledger {
    /// Its newest close as of then.
    newest: Option<Timestamp>,
    closes: Closes,
}

enum Closes {
    /// Those that any of the rounds needs, and what lies between.
    Shared(Vec<PricePoint>),
    /// One of them cannot be read: each round reads its own, so that those are spared that do not need it.
    Apart,
}

impl<'s> Prices<'s> {
    /// Reads the prices of these rounds as of `now`.
    pub async fn read(
        store: &'s dyn Store,
        settings: &'s SettlementSettings,
        questions: &[Question],
        now: Timestamp,
    ) -> Result<Self> {
        // Read before the closes: a correction that comes in between is found to be later, and the rounds are judged again.
        let up_to = store.ledger_end().await?;
        let mut prices = Prices { store, settings, now, up_to, by_asset: BTreeMap::new() };
        for asset in questions.iter().map(|question| &question.asset) {
            if !prices.by_asset.contains_key(asset) {
                let ledger = prices.ledger(asset, questions).await?;
                prices.by_asset.insert(asset.clone(), ledger);
            }
        }
        Ok(prices)
    }

    async fn ledger(&self, asset: &Asset, questions: &[Question]) -> Result<Ledger> {
        // Read before the closes: prices that arrive in between must not make one of them look missing for good.
        let newest = self.store.newest_close_at(asset, self.now).await?;
        // In an outage rounds pile up, so none reads a day of closes only to learn that the last is missing.
        let settled = questions
            .iter()
            .filter(|question| question.asset == *asset && !self.is_too_early(question, newest))
            .map(|question| self.settings.needed_closes(question, self.now));
        let all = settled.reduce(|(after, up_to), (from, to)| (after.min(from), up_to.max(to)));
        let closes = match all {
            None => Closes::Shared(Vec::new()),
            Some((after, up_to)) => match self.store.closes(asset, after, up_to).await {
                Err(StorageError::Corrupt { .. }) => Closes::Apart,
                closes => Closes::Shared(closes?),
            },
        };
        Ok(Ledger { newest, closes })
    }

    /// True while the price at the end of a round is missing and there is no later one.
    fn is_too_early(&self, question: &Question, newest: Option<Timestamp>) -> bool {
        newest.is_none_or(|newest| newest + self.settings.max_price_age <= question.resolves_at())
    }

    /// The place in the ledger up to which rounds are settled by what it holds.
    pub fn up_to(&self) -> LedgerPosition {
        self.up_to
    }

    /// Settles one of the rounds.
    pub async fn settle(&self, question: &Question) -> Result<Settlement> {
        let waiting = Settlement::Waiting { instant: question.resolves_at() };
        let Some(Ledger { newest, closes }) = self.by_asset.get(&question.asset) else { return Ok(waiting) };
        if self.is_too_early(question, *newest) {
            return Ok(waiting);
        }
        let settle = |closes: &[PricePoint]| settle(question, closes, self.settings, self.now, *newest);
        match closes {
            Closes::Shared(closes) => Ok(settle(closes)),
            Closes::Apart => {
                let (after, up_to) = self.settings.needed_closes(question, self.now);
                Ok(settle(&self.store.closes(&question.asset, after, up_to).await?))
            }
        }
    }
}
