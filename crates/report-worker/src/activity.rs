//! How models answered, hour by hour over the last week.
//!
//! The predictions of a round never change once they are stored, so each round is read once and only sums are kept. What is not
//! counted yet is looked for newest first: the last two hours every few seconds, older ones seldom, for outcomes that waited in
//! a journal.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Clock, ModelId, RoundId, Span, StatusCounts, Timestamp, TimestampExt};
use storage::ModelActivity;
use tokio::time::sleep;

use crate::source::Source;
use crate::stamp::Stamp;

/// How many hours are kept.
pub(crate) const HOURS: u32 = 168;

/// How many of the last hours are looked at each time.
const RECENT_HOURS: u32 = 2;

/// How often those are looked at, and how many of these times all are.
const EVERY: Duration = Duration::from_secs(5);
const ALL_EVERY: u32 = 120;

/// How many rounds are read at once.
const PORTION: usize = 20;

/// The pause after each portion: others want the database too.
const PAUSE: Duration = Duration::from_millis(20);

/// How one model answered in some span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// How its predictions ended.
    pub(crate) counts: StatusCounts,
    /// How many of them have a latency.
    timed: u64,
    took: Duration,
    longest: Duration,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.counts += other.counts;
        self.timed += other.timed;
        self.took += other.took;
        self.longest = self.longest.max(other.longest);
    }

    /// The mean latency in milliseconds; `None` without any.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        (self.timed > 0).then(|| self.took.as_secs_f64() * 1000.0 / self.timed as f64)
    }

    /// The longest latency in milliseconds; `None` without any.
    pub(crate) fn longest_ms(&self) -> Option<f64> {
        (self.timed > 0).then_some(self.longest.as_secs_f64() * 1000.0)
    }
}

/// What is counted so far.
#[derive(Default)]
pub(crate) struct Activity(Mutex<State>);

struct State {
    /// By the start of the hour.
    hours: BTreeMap<Timestamp, Hour>,
    /// Every model met, by its place in the hours' tallies.
    places: HashMap<ModelId, usize>,
    /// From this hour on everything was counted when it was looked at last.
    complete_since: Option<Timestamp>,
    stamp: Stamp,
}

impl Default for State {
    fn default() -> Self {
        State { hours: BTreeMap::new(), places: HashMap::new(), complete_since: None, stamp: Stamp::fresh() }
    }
}

#[derive(Default)]
struct Hour {
    counted: HashSet<RoundId>,
    tallies: Vec<Tally>,
}

/// One model's hours.
pub(crate) struct ModelHours {
    /// Hours without a prediction of it are left out; oldest first, by their start.
    pub(crate) hours: Vec<(Timestamp, Tally)>,
    /// From here on everything is counted; `None` before the first hour was.
    pub(crate) complete_since: Option<Timestamp>,
}

/// Every model's sums.
pub(crate) struct Totals {
    /// In no order.
    pub(crate) models: HashMap<ModelId, Tally>,
    /// From here on everything is counted; `None` before the first hour was.
    pub(crate) complete_since: Option<Timestamp>,
}

impl Activity {
    /// Changes with what is counted.
    pub(crate) fn stamp(&self) -> Stamp {
        self.lock().stamp
    }

    /// How a model answered in the hours that begin at or after `since`.
    pub(crate) fn of(&self, model: &ModelId, since: Timestamp) -> ModelHours {
        let state = self.lock();
        let place = state.places.get(model);
        let tally = |hour: &Hour| hour.tallies.get(*place?).copied().filter(|tally| tally.counts.total() > 0);
        let hours = state.hours.range(since..).filter_map(|(start, hour)| Some((*start, tally(hour)?)));
        ModelHours { hours: hours.collect(), complete_since: state.complete_since }
    }

    /// How all models answered in the hours that begin at or after `since`.
    pub(crate) fn totals(&self, since: Timestamp) -> Totals {
        let state = self.lock();
        let mut sums = vec![Tally::default(); state.places.len()];
        for hour in state.hours.range(since..).map(|(_, hour)| hour) {
            sums.iter_mut().zip(&hour.tallies).for_each(|(sum, tally)| sum.add(tally));
        }
        let models = state.places.iter().map(|(model, &place)| (model.clone(), sums[place]));
        let models = models.filter(|(_, tally)| tally.counts.total() > 0).collect();
        Totals { models, complete_since: state.complete_since }
    }

    /// Counts until it is dropped.
    pub(crate) async fn keep_counting(&self, source: &dyn Source, clock: &dyn Clock) {
        let mut until_all = 0;
        loop {
            let hours = if until_all == 0 { HOURS } else { RECENT_HOURS };
            let counted = self.count(source, clock.now(), hours).await;
            until_all = match (counted, until_all) {
                (Ok(()), 0) => ALL_EVERY,
                (Ok(()), left) => left - 1,
                (Err(error), _) => {
                    // Whoever asks sees how far back it is counted.
                    tracing::debug!(%error, "report worker: cannot count how models answered: {error}");
                    self.lock().set_complete_since(None);
                    0
                }
            };
            sleep(EVERY).await;
        }
    }

    /// Counts what is not counted yet of the last `hours` hours up to `now`, newest first.
    pub(crate) async fn count(&self, source: &dyn Source, now: Timestamp, hours: u32) -> storage::Result<()> {
        let newest = now.floor_to(Span::HOUR);
        for back in 0..hours {
            let hour = newest - Span::hours(back);
            // The recent hours come along: to go back a week takes longer than they may be out of date.
            if back > RECENT_HOURS {
                for recent in 0..RECENT_HOURS {
                    self.count_hour(source, newest - Span::hours(recent)).await?;
                }
            }
            self.count_hour(source, hour).await?;
            let mut state = self.lock();
            let since = state.complete_since.map_or(hour, |since| since.min(hour));
            state.set_complete_since(Some(since));
        }
        self.lock().forget_before(newest - Span::hours(HOURS - 1));
        Ok(())
    }

    async fn count_hour(&self, source: &dyn Source, hour: Timestamp) -> storage::Result<()> {
        let mut rounds = source.answered_rounds(hour, hour + Span::HOUR).await?;
        if let Some(known) = self.lock().hours.get(&hour) {
            rounds.retain(|id| !known.counted.contains(id));
        }
        for portion in rounds.chunks(PORTION) {
            let activity = source.activity(portion).await?;
            self.lock().add(hour, portion, activity);
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, start: Timestamp, rounds: &[RoundId], activity: Vec<ModelActivity>) {
        let hour = self.hours.entry(start).or_default();
        hour.counted.extend(rounds);
        for one in activity {
            let next = self.places.len();
            let place = *self.places.entry(one.model_id).or_insert(next);
            if hour.tallies.len() <= place {
                hour.tallies.resize(place + 1, Tally::default());
            }
            let tally = Tally { counts: one.counts, timed: one.timed, took: one.took, longest: one.longest };
            hour.tallies[place].add(&tally);
        }
        self.stamp = Stamp::fresh();
    }

    fn set_complete_since(&mut self, since: Option<Timestamp>) {
        if std::mem::replace(&mut self.complete_since, since) != since {
            self.stamp = Stamp::fresh();
        }
    }

    fn forget_before(&mut self, hour: Timestamp) {
        let kept = self.hours.split_off(&hour);
        if !std::mem::replace(&mut self.hours, kept).is_empty() {
            self.set_complete_since(self.complete_since.max(Some(hour)));
        }
    }
}
