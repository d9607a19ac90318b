//! Removes everything that is old, portion by portion.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{Stopwatch, Timestamp};
use serde::Serialize;

use crate::retention::NEEDED;
use crate::{Expiry, Place, Portion, Prunable, Result, Retention, Store, Unfinished};

/// So often something that others use is tried before it is left for another time.
const TRIES: u32 = 10;

/// What was removed, or would be, of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Of what.
    pub what: Prunable,
    /// What was from before.
    pub before: Timestamp,
    /// Rows.
    pub rows: u64,
    /// What they took: see [`Amount::bytes`](crate::Amount::bytes).
    pub bytes: u64,
    /// Parts that were left because others used them all the time.
    pub in_use: u64,
}

/// A removal of everything that is old at one instant. It may be dropped at any time; another one goes on with the rest.
#[derive(Debug)]
pub struct Pruning {
    to_do: VecDeque<(Prunable, Expiry)>,
    place: Place,
    /// Attempts at what is at that place.
    tries: u32,
    done: Vec<Pruned>,
    held_back: u64,
}

impl Pruning {
    /// Finds out what may go at `now`.
    pub async fn plan(store: &dyn Store, retention: &Retention, now: Timestamp) -> Result<Self> {
        let mut to_do: VecDeque<_> = retention.expiries(now).into();
        let asked_before =
            |what| to_do.iter().find(|(other, _)| *other == what).map(|(_, expiry)| expiry.before);
        let before = asked_before(Prunable::Predictions).max(asked_before(Prunable::Scores));
        let unfinished = store.unfinished(before.unwrap_or(Timestamp::MIN_UTC)).await?;
        for (_, expiry) in to_do.iter_mut().filter(|(what, _)| *what == Prunable::Prices) {
            expiry.before = expiry.before.min(first_price_needed(&unfinished));
        }
        let held_back = unfinished.rounds;
        Ok(Pruning { to_do, place: Place::Start, tries: 0, done: Vec::new(), held_back })
    }

    /// Says how much of each kind would go; nothing changes.
    pub async fn survey(&self, store: &dyn Store) -> Result<Vec<Pruned>> {
        let mut found = Vec::new();
        for (what, expiry) in &self.to_do {
            let amount = store.prunable(*what, expiry).await?;
            let (rows, bytes) = (amount.rows, amount.bytes);
            found.push(Pruned { what: *what, before: expiry.before, rows, bytes, in_use: 0 });
        }
        Ok(found)
    }

    /// Removes the next portion; returns how long that took, `None` when everything is done. Others who write need pauses in
    /// between.
    pub async fn step(&mut self, store: &dyn Store) -> Result<Option<Duration>> {
        let Some((what, expiry)) = self.to_do.front().copied() else { return Ok(None) };
        let watch = Stopwatch::start();
        let portion = store.prune(what, &expiry, &self.place).await?;
        self.note(what, &expiry, portion);
        Ok(Some(watch.elapsed()))
    }

    fn note(&mut self, what: Prunable, expiry: &Expiry, portion: Portion) {
        self.tries += 1;
        let is_worth_another_try = portion.is_busy && self.tries < TRIES;
        let pruned = match self.done.last_mut() {
            Some(pruned) if pruned.what == what => pruned,
            _ => {
                let pruned = Pruned { what, before: expiry.before, rows: 0, bytes: 0, in_use: 0 };
                self.done.push_mut(pruned)
            }
        };
        pruned.rows += portion.removed.rows;
        pruned.bytes += portion.removed.bytes;
        if is_worth_another_try {
            return;
        }
        pruned.in_use += u64::from(portion.is_busy);
        self.tries = 0;
        self.place = portion.next;
        if self.place == Place::End {
            self.to_do.pop_front();
            self.place = Place::Start;
        }
    }

    /// What has gone so far, by kind.
    pub fn done(&self) -> &[Pruned] {
        &self.done
    }

    /// How many old rounds are still to be scored, so that they and some of their neighbours stay.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }
}

/// A round that is still to be scored needs prices from a little before it was asked on.
fn first_price_needed(unfinished: &Unfinished) -> Timestamp {
    unfinished.oldest.map_or(Timestamp::MAX_UTC, |oldest| oldest - NEEDED)
}
