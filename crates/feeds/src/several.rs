//! Several sources, in an order of preference, held against each other.
//!
//! All that are well are asked at once. Each minute is the preferred source's that has it, unless it stands alone against
//! others (`judge.rs`). One that fails rests, longer each time, while the others serve; what it has again is taken again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Clock, Price, PricePoint, Span, Timestamp, TimestampExt};
use futures::future::join_all;

use crate::back_off::BackOff;
use crate::http::{Surroundings, Timing};
use crate::judge::{Judgement, agree, judge};
use crate::{Close, FeedError, PriceFeed, SourceName, Wanted};

/// How long a close that another source has is held back for a preferred source that answers but has not got it yet.
const HEAD_START: Duration = Duration::from_secs(3);

/// How long a close that nobody confirms is held back for the word of another source, also of one that fails at the moment: it
/// costs a real jump of the market one slot, and keeps a slip out.
const CONFIRMATION: Duration = Duration::from_secs(60);

/// More than this takes several questions, and so longer.
const LONG: Span = Span::hours(6);
const LONGER: u32 = 6;

/// How sources are held against each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossCheck {
    /// Prices that differ by more than this share contradict each other: 0.02 is 2 %.
    pub max_deviation: f64,
}

/// Several sources as one.
pub struct SeveralFeeds {
    feeds: Vec<Arc<dyn PriceFeed>>,
    name: String,
    check: CrossCheck,
    clock: Arc<dyn Clock>,
    timing: Timing,
    state: Mutex<State>,
}

struct State {
    back_off: BackOff,
    /// Sources that fail, by their place and the asset.
    failing: BTreeMap<(usize, Asset), Failing>,
    /// Up to which minute of an asset the log has been told what is odd.
    told: BTreeMap<Asset, Timestamp>,
}

struct Failing {
    failures: u32,
    /// It is not asked before.
    rests_until: Timestamp,
    fault: String,
}

/// What came of asking one source.
enum Asked {
    Closes(Vec<Close>),
    /// It failed, now or a moment ago.
    Failed(String),
    /// It has nothing to do with this asset; it prices these.
    Unpriced(Vec<Asset>),
}

/// The sources that price an asset, by their places.
#[derive(Default)]
struct Witnesses {
    answered: Vec<usize>,
    failing: Vec<usize>,
}

/// What sources say of one instant.
#[derive(Default)]
struct Said {
    /// Places in the order of preference.
    feeds: Vec<usize>,
    prices: Vec<Price>,
    sources: Vec<SourceName>,
}

/// What is odd about one instant, for the log.
#[derive(Debug, Clone, PartialEq)]
struct Oddity {
    at: Timestamp,
    kind: OddityKind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OddityKind {
    Dissent,
    Outvoted,
    Doubtful,
    Jump,
    Refused,
}

impl SeveralFeeds {
    /// `feeds` in the order of preference.
    pub fn new(feeds: Vec<Arc<dyn PriceFeed>>, check: CrossCheck, surroundings: &Surroundings) -> Self {
        let timing = surroundings.timing;
        let back_off = BackOff::new(timing.first_pause, timing.longest_pause, surroundings.seed);
        let state = State { back_off, failing: BTreeMap::new(), told: BTreeMap::new() };
        SeveralFeeds {
            name: feeds.iter().map(|feed| feed.name()).collect::<Vec<_>>().join(", "),
            feeds,
            check,
            clock: Arc::clone(&surroundings.clock),
            timing,
            state: Mutex::new(state),
        }
    }

    async fn ask(&self, place: usize, wanted: Wanted<'_>) -> Asked {
        if let Some(fault) = self.resting(place, wanted.asset) {
            return Asked::Failed(fault);
        }
        let feed = &self.feeds[place];
        let is_long = wanted.after + LONG < wanted.up_to;
        let patience = if is_long { self.timing.source * LONGER } else { self.timing.source };
        match tokio::time::timeout(patience, feed.closes(wanted)).await {
            Ok(Ok(closes)) => {
                self.is_well(place, wanted.asset);
                Asked::Closes(closes)
            }
            Ok(Err(FeedError::UnknownAsset { known, .. })) => Asked::Unpriced(known),
            Ok(Err(error)) => self.failed(place, wanted.asset, error.to_string()),
            Err(_) => {
                let fault = format!("{}, {}: no answer within {patience:.1?}", feed.name(), wanted.asset);
                self.failed(place, wanted.asset, fault)
            }
        }
    }

    /// Why a source is not asked now.
    fn resting(&self, place: usize, asset: &Asset) -> Option<String> {
        let now = self.clock.now();
        let state = self.lock();
        let failing = state.failing.get(&(place, asset.clone()))?;
        // After a clock was set back nobody rests for longer than the longest pause.
        let left = failing.rests_until.since(now);
        (!left.is_zero() && left <= self.timing.longest_pause).then(|| failing.fault.clone())
    }

    fn is_well(&self, place: usize, asset: &Asset) {
        if self.lock().failing.remove(&(place, asset.clone())).is_some() {
            let source = self.feeds[place].name();
            tracing::info!(source, %asset, "{source} has prices of {asset} again");
        }
    }

    fn failed(&self, place: usize, asset: &Asset, fault: String) -> Asked {
        let now = self.clock.now();
        let state = &mut *self.lock();
        let key = (place, asset.clone());
        let failures = state.failing.get(&key).map_or(1, |failing| failing.failures.saturating_add(1));
        let pause = state.back_off.pause(failures);
        let pause_micros = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
        let rests_until = now + chrono::TimeDelta::microseconds(pause_micros);
        let source = self.feeds[place].name();
        tracing::warn!(source, %asset, failures, "{fault}; not asked for {pause:.1?}");
        state.failing.insert(key, Failing { failures, rests_until, fault: fault.clone() });
        Asked::Failed(fault)
    }

    /// What is believed of what was said, oldest first. It ends where it is too early to judge.
    fn weigh(
        &self,
        wanted: &Wanted<'_>,
        said: BTreeMap<Timestamp, Said>,
        witnesses: &Witnesses,
    ) -> (Vec<Close>, Vec<Oddity>) {
        let now = self.clock.now();
        let (mut closes, mut oddities) = (Vec::new(), Vec::new());
        let mut before = wanted.known.map(|known| known.price);
        for (at, said) in said {
            let judgement = judge(&said.prices, before, self.check.max_deviation);
            if is_too_early(now.since(at), &said, judgement, witnesses) {
                break;
            }
            oddities.extend(self.oddity(at, &said, judgement, before));
            let Some(taken) = judgement.taken() else { continue };
            let price = said.prices[taken];
            before = Some(price);
            closes.push(Close { point: PricePoint { at, price }, source: Arc::clone(&said.sources[taken]) });
        }
        (closes, oddities)
    }

    /// What the log is told of one instant.
    fn oddity(
        &self,
        at: Timestamp,
        said: &Said,
        judgement: Judgement,
        before: Option<Price>,
    ) -> Option<Oddity> {
        let differs = |taken: usize| {
            let agrees = |price: &Price| agree(said.prices[taken], *price, self.check.max_deviation);
            !said.prices.iter().all(agrees)
        };
        let kind = match judgement {
            Judgement::Confirmed(taken) => differs(taken).then_some(OddityKind::Dissent)?,
            Judgement::Outvoted(_) => OddityKind::Outvoted,
            Judgement::Doubtful(_) => OddityKind::Doubtful,
            Judgement::Jump(_) => OddityKind::Jump,
            Judgement::Refused => OddityKind::Refused,
        };
        let before = before.map_or_else(String::new, |before| format!(", after {}", before.value()));
        Some(Oddity { at, kind, text: format!("{}{before}", said.describe()) })
    }

    /// Each kind of oddity once for a call, and each minute once.
    fn tell(&self, asset: &Asset, mut oddities: Vec<Oddity>) {
        let Some(newest) = oddities.iter().map(|oddity| oddity.at).max() else { return };
        let told = self.lock().told.get(asset).copied();
        self.lock().told.insert(asset.clone(), told.map_or(newest, |told| told.max(newest)));
        oddities.retain(|oddity| told.is_none_or(|told| oddity.at > told));
        oddities.sort_by_key(|oddity| (oddity.kind, oddity.at));
        for alike in oddities.chunk_by(|a, b| a.kind == b.kind) {
            self.tell_alike(asset, &alike[0], alike.len());
        }
    }

    fn tell_alike(&self, asset: &Asset, first: &Oddity, minutes: usize) {
        let Oddity { at, kind, text } = first;
        let bound = format!("{} %", self.check.max_deviation * 100.0);
        match kind {
            OddityKind::Dissent => tracing::warn!(
                %asset, %at, minutes, "{asset} at {at}: a source differs by more than {bound} from two that agree ({text})"
            ),
            OddityKind::Outvoted => tracing::error!(
                %asset, %at, minutes,
                "{asset} at {at}: the preferred source differs by more than {bound} from others that agree, whose price is taken ({text})"
            ),
            OddityKind::Doubtful => tracing::error!(
                %asset, %at, minutes,
                "{asset} at {at}: the sources differ by more than {bound}; the preferred one is taken, being near the close before ({text})"
            ),
            OddityKind::Jump if self.feeds.len() == 1 => tracing::warn!(
                %asset, %at, minutes, "{asset} at {at}: a jump of more than {bound}, and no other source to confirm it ({text})"
            ),
            OddityKind::Jump => tracing::error!(
                %asset, %at, minutes, "{asset} at {at}: a jump of more than {bound}, which no other source confirms or denies ({text})"
            ),
            OddityKind::Refused => tracing::error!(
                %asset, %at, minutes,
                "{asset} at {at}: NO PRICE IS TAKEN: the sources differ by more than {bound}, and the preferred one also from the close before ({text}); find the wrong one with condor feeds check, and take it out"
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another source, which has not got this minute yet, is waited for.
fn is_too_early(age: Duration, said: &Said, judgement: Judgement, witnesses: &Witnesses) -> bool {
    let Witnesses { answered, failing } = witnesses;
    let is_missing = |place: &&usize| !said.feeds.contains(place);
    match judgement {
        Judgement::Jump(_) | Judgement::Refused => {
            age < CONFIRMATION && answered.iter().chain(failing).any(|place| is_missing(&place))
        }
        _ => age < HEAD_START && answered.iter().filter(is_missing).any(|place| *place < said.feeds[0]),
    }
}

impl Judgement {
    fn taken(self) -> Option<usize> {
        match self {
            Judgement::Confirmed(i)
            | Judgement::Outvoted(i)
            | Judgement::Doubtful(i)
            | Judgement::Jump(i) => Some(i),
            Judgement::Refused => None,
        }
    }
}

impl Said {
    /// What one more source says, which is preferred less than those before.
    fn add(&mut self, place: usize, close: Close) {
        if self.feeds.last() != Some(&place) {
            self.feeds.push(place);
            self.prices.push(close.point.price);
            self.sources.push(close.source);
        }
    }

    fn describe(&self) -> String {
        let each = self.sources.iter().zip(&self.prices);
        each.map(|(source, price)| format!("{source} {}", price.value())).collect::<Vec<_>>().join(", ")
    }
}

#[async_trait]
impl PriceFeed for SeveralFeeds {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        let asked = join_all((0..self.feeds.len()).map(|place| self.ask(place, wanted))).await;
        let mut said: BTreeMap<Timestamp, Said> = BTreeMap::new();
        let mut witnesses = Witnesses::default();
        let (mut faults, mut known) = (Vec::new(), BTreeSet::new());
        for (place, asked) in asked.into_iter().enumerate() {
            match asked {
                Asked::Closes(closes) => {
                    witnesses.answered.push(place);
                    closes
                        .into_iter()
                        .for_each(|close| said.entry(close.point.at).or_default().add(place, close));
                }
                Asked::Failed(fault) => {
                    witnesses.failing.push(place);
                    faults.push(fault);
                }
                Asked::Unpriced(assets) => known.extend(assets),
            }
        }
        let asset = wanted.asset;
        if witnesses.answered.is_empty() && faults.is_empty() {
            let (feed, known) = (self.name.clone(), known.into_iter().collect());
            return Err(FeedError::UnknownAsset { asset: asset.clone(), feed, known });
        }
        if witnesses.answered.is_empty() {
            return Err(FeedError::NoneUsable { asset: asset.clone(), faults });
        }
        let (closes, oddities) = self.weigh(&wanted, said, &witnesses);
        self.tell(asset, oddities);
        Ok(closes)
    }

    fn name(&self) -> &str {
        &self.name
    }
}
