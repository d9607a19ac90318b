//! The prices that models may still need, in the order of storing, and the ticks made from them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Asset, LedgerEntry, LedgerPosition, Price, PricePoint, Timestamp};
use feeds::Close;
use model_client::EncodedCall;

/// How many different ticks are kept encoded. Models are at one of very few positions: up to date, one tick behind, new.
const CACHED_TICKS: usize = 8;

/// The ledger of the predict worker, its one writer; shared by all lanes.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Contiguous positions, oldest first.
    entries: VecDeque<LedgerEntry>,
    end: LedgerPosition,
    newest: BTreeMap<Asset, PricePoint>,
    ticks: VecDeque<CachedTick>,
}

struct CachedTick {
    after: LedgerPosition,
    up_to: LedgerPosition,
    call: EncodedCall,
}

impl Ledger {
    /// A ledger that goes on after `end`, with the stored entries that are young enough to matter.
    pub fn resume(entries: Vec<LedgerEntry>, end: LedgerPosition) -> Self {
        let mut newest = BTreeMap::new();
        entries.iter().for_each(|entry| note_newest(&mut newest, &entry.asset, entry.point));
        Ledger(Arc::new(Mutex::new(Inner { entries: entries.into(), end, newest, ticks: VecDeque::new() })))
    }

    /// Numbers and takes new closes; returns them as they are to be stored.
    pub fn append(&self, closes: Vec<(Asset, Close)>) -> Vec<LedgerEntry> {
        let mut inner = self.lock();
        let entries: Vec<LedgerEntry> = closes
            .into_iter()
            .map(|(asset, Close { point, source })| {
                inner.end = inner.end.next();
                note_newest(&mut inner.newest, &asset, point);
                LedgerEntry { position: inner.end, asset, point, source: source.to_string() }
            })
            .collect();
        inner.entries.extend(entries.iter().cloned());
        entries
    }

    /// Drops the oldest entries while their close is before `oldest`.
    pub fn forget_before(&self, oldest: Timestamp) {
        let mut inner = self.lock();
        while inner.entries.front().is_some_and(|entry| entry.point.at < oldest) {
            inner.entries.pop_front();
        }
    }

    /// The position of the newest entry.
    pub fn end(&self) -> LedgerPosition {
        self.lock().end
    }

    /// The newest close of an asset.
    pub fn newest(&self, asset: &Asset) -> Option<PricePoint> {
        self.lock().newest.get(asset).copied()
    }

    /// The closes of an asset at `since` or later, as they are known now.
    pub fn closes_since(&self, asset: &Asset, since: Timestamp) -> BTreeMap<Timestamp, Price> {
        let inner = self.lock();
        let of_asset = inner.entries.iter().filter(|entry| entry.point.at >= since && entry.asset == *asset);
        of_asset.map(|entry| (entry.point.at, entry.point.price)).collect()
    }

    /// When the newest close of all is of.
    pub fn newest_close_at(&self) -> Option<Timestamp> {
        self.lock().newest.values().map(|newest| newest.at).max()
    }

    /// The tick with at most `max_entries` of what lies after `after` up to `up_to`, and the position that it reaches;
    /// `None` when there is nothing. Lanes at the same position share one encoded call.
    pub fn tick(
        &self,
        after: LedgerPosition,
        up_to: LedgerPosition,
        max_entries: u64,
    ) -> Option<(LedgerPosition, EncodedCall)> {
        let mut inner = self.lock();
        let before_first = inner.entries.front().map(|entry| LedgerPosition(entry.position.0 - 1))?;
        let after = after.max(before_first);
        let up_to = up_to.min(LedgerPosition(after.0.saturating_add(max_entries)));
        if after >= up_to {
            return None;
        }
        if let Some(tick) = inner.ticks.iter().find(|tick| tick.after == after && tick.up_to == up_to) {
            return Some((up_to, tick.call.clone()));
        }
        let json = tick_json(inner.range(after, up_to));
        let call = EncodedCall::with_json(protocol::method::TICK, json.into());
        if inner.ticks.len() == CACHED_TICKS {
            inner.ticks.pop_front();
        }
        inner.ticks.push_back(CachedTick { after, up_to, call: call.clone() });
        Some((up_to, call))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn range(&self, after: LedgerPosition, up_to: LedgerPosition) -> impl Iterator<Item = &LedgerEntry> {
        let from = self.entries.partition_point(|entry| entry.position <= after);
        let to = self.entries.partition_point(|entry| entry.position <= up_to);
        self.entries.range(from..to)
    }
}

fn note_newest(newest: &mut BTreeMap<Asset, PricePoint>, asset: &Asset, point: PricePoint) {
    match newest.get_mut(asset) {
        Some(known) if known.at > point.at => {}
        Some(known) => *known = point,
        None => {
            newest.insert(asset.clone(), point);
        }
    }
}

/// `{"BTC": [[unix seconds, price], …], …}`, by asset, oldest first; of a corrected price the correction only.
fn tick_json<'a>(entries: impl Iterator<Item = &'a LedgerEntry>) -> String {
    let mut by_asset: BTreeMap<&Asset, Vec<PricePoint>> = BTreeMap::new();
    for entry in entries {
        by_asset.entry(&entry.asset).or_default().push(entry.point);
    }
    let mut json = String::from("{");
    for (asset, mut points) in by_asset {
        points.sort_by_key(|point| point.at);
        if json.len() > 1 {
            json.push(',');
        }
        // An asset's name needs no escapes.
        let _ = write!(json, "\"{asset}\":[");
        let mut rest = points.iter().peekable();
        let mut separator = "";
        while let Some(point) = rest.next() {
            if rest.peek().is_some_and(|next| next.at == point.at) {
                continue;
            }
            let _ = write!(json, "{separator}[{},{}]", point.at.timestamp(), point.price.value());
            separator = ",";
        }
        json.push(']');
    }
    json.push('}');
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TimestampExt;

    fn point(minute: i64, price: f64) -> PricePoint {
        PricePoint {
            at: Timestamp::from_unix_seconds(minute * 60).unwrap(),
            price: Price::new(price).unwrap(),
        }
    }

    fn asset(name: &str) -> Asset {
        Asset::new(name).unwrap()
    }

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        let close =
            |name, minute, price| (asset(name), Close { point: point(minute, price), source: "test".into() });
        ledger.append(vec![close("ETH", 1, 10.0), close("BTC", 1, 100.5)]);
        ledger.append(vec![close("BTC", 3, 102.0), close("BTC", 2, 101.0)]);
        ledger.append(vec![close("BTC", 1, 100.0)]);
        ledger
    }

    /// What a tick between two positions says.
    fn told(ledger: &Ledger, after: u64, up_to: u64) -> String {
        tick_json(ledger.lock().range(LedgerPosition(after), LedgerPosition(up_to)))
    }

    #[test]
    fn a_tick_has_all_after_the_cursor_by_asset_oldest_first_with_late_and_corrected_prices() {
        let ledger = ledger();
        assert_eq!(told(&ledger, 0, 5), r#"{"BTC":[[60,100],[120,101],[180,102]],"ETH":[[60,10]]}"#);
        assert_eq!(told(&ledger, 4, 5), r#"{"BTC":[[60,100]]}"#);
        assert_eq!(told(&ledger, 1, 2), r#"{"BTC":[[60,100.5]]}"#);
        assert!(ledger.tick(LedgerPosition(5), LedgerPosition(5), 100).is_none());
    }

    #[test]
    fn a_long_history_comes_in_parts_and_never_beyond_the_bound() {
        let ledger = ledger();
        let reached =
            |after, up_to| ledger.tick(LedgerPosition(after), LedgerPosition(up_to), 2).map(|tick| tick.0.0);
        assert_eq!([reached(0, 3), reached(2, 3), reached(3, 3)], [Some(2), Some(3), None]);
    }

    #[test]
    fn old_prices_are_forgotten_and_a_new_model_starts_after_them() {
        let ledger = ledger();
        ledger.forget_before(point(2, 1.0).at);
        assert_eq!(ledger.tick(LedgerPosition::START, LedgerPosition(2), 100).map(|tick| tick.0), None);
        assert_eq!(
            ledger.tick(LedgerPosition::START, LedgerPosition(5), 1).map(|tick| tick.0),
            Some(LedgerPosition(3))
        );
        assert_eq!(ledger.end(), LedgerPosition(5));
    }

    #[test]
    fn lanes_at_one_position_share_one_encoded_tick() {
        let ledger = ledger();
        for _ in 0..3 {
            ledger.tick(LedgerPosition(1), LedgerPosition(4), 100).unwrap();
        }
        assert_eq!(ledger.lock().ticks.len(), 1);
    }
}
