//! Closes that the ledger lacks although later ones have come: they are asked for again, and stored as late prices.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use domain::{Asset, PricePoint, Span, Timestamp, TimestampExt};

use crate::lane::LaneContext;
use crate::worker::PredictWorker;

/// How far back gaps are looked for: sources that tell by themselves remember a day.
const LOOK_BACK: Span = Span::hours(24);
/// Between two looks. No more than one question about each asset comes of one.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);
/// The pause before a gap is asked for again; it doubles each time.
const FIRST_PAUSE: Span = Span::minutes(1);
/// The longest such pause: what no source has had for hours will hardly come.
const LONGEST_PAUSE: Span = Span::hours(2);
/// How long the feed may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Closes that are missing, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gap {
    /// The close before them.
    pub(crate) before: PricePoint,
    /// They, oldest first; at least one.
    pub(crate) missing: Vec<Timestamp>,
}

impl Gap {
    /// The last of them; a gap that closes from its beginning keeps it.
    pub(crate) fn end(&self) -> Timestamp {
        self.missing.last().copied().unwrap_or(self.before.at)
    }
}

/// Asks for what is missing, each gap more and more rarely.
#[derive(Default)]
pub struct Repair {
    /// By asset and the end of the gap.
    tries: BTreeMap<(Asset, Timestamp), Try>,
}

struct Try {
    /// Not before.
    next: Timestamp,
    /// From the next one to the one after it.
    pause: Span,
}

/// Repairs gaps for as long as the worker leads, while no slot waits for its closes. To be polled by the task that plays the
/// slots: the ledger numbers what comes in one order.
pub(crate) async fn keep_repairing(worker: &PredictWorker) -> Infallible {
    let mut repair = Repair::default();
    loop {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        if worker.is_between_slots() {
            repair.look(worker).await;
        }
    }
}

impl Repair {
    /// Asks about each asset with a gap that is due: for the latest of these.
    pub async fn look(&mut self, worker: &PredictWorker) {
        let now = worker.context.clock.now();
        let assets = worker.intake.assets().into_iter();
        let gaps: BTreeMap<Asset, Vec<Gap>> =
            assets.map(|asset| (asset.clone(), gaps(&worker.context, &asset, now))).collect();
        let is_open =
            |asset: &Asset, end| gaps.get(asset).is_some_and(|gaps| gaps.iter().any(|gap| gap.end() == end));
        self.tries.retain(|(asset, end), _| is_open(asset, *end));
        for (asset, gaps) in gaps {
            if let Some(gap) = gaps.into_iter().rev().find(|gap| self.is_due(&asset, gap, now)) {
                self.note_try(&asset, &gap, now);
                worker.intake.fill(&asset, &gap, PATIENCE).await;
            }
        }
    }

    fn is_due(&self, asset: &Asset, gap: &Gap, now: Timestamp) -> bool {
        self.tries.get(&(asset.clone(), gap.end())).is_none_or(|tried| tried.next <= now)
    }

    fn note_try(&mut self, asset: &Asset, gap: &Gap, now: Timestamp) {
        let first = Try { next: now, pause: FIRST_PAUSE };
        let tried = self.tries.entry((asset.clone(), gap.end())).or_insert(first);
        tried.next = now + tried.pause;
        tried.pause = tried.pause.times(2).min(LONGEST_PAUSE);
    }
}

/// The gaps of the last day between closes that the ledger holds, oldest first.
pub(crate) fn gaps(context: &LaneContext, asset: &Asset, now: Timestamp) -> Vec<Gap> {
    let settings = context.settings();
    let (markets, interval) = (&settings.markets, settings.schedules.interval());
    let known = context.ledger.closes_since(asset, now - settings.history.min(LOOK_BACK));
    let pairs = known.iter().zip(known.iter().skip(1));
    let gap = |((&at, &price), (&after, _)): ((&Timestamp, _), (&Timestamp, _))| {
        let missing: Vec<Timestamp> = markets.expected_closes(asset, at, after, interval).collect();
        (!missing.is_empty()).then_some(Gap { before: PricePoint { at, price }, missing })
    };
    pairs.filter_map(gap).collect()
}

impl PredictWorker {
    /// True in the middle of an interval.
    fn is_between_slots(&self) -> bool {
        let interval = self.context.settings().schedules.interval();
        let now = self.context.clock.now();
        let gone = now.since(now.floor_to(interval));
        gone > interval.as_duration() / 4 && gone < interval.as_duration() * 3 / 4
    }
}
