//! Services that tell prices by themselves over a connection that is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Asset, Price, PricePoint, Stopwatch, Timestamp};
use tokio::task::JoinHandle;

use crate::back_off::BackOff;
use crate::http::{Service, Surroundings};
use crate::{Close, Fault, FeedError, PriceFeed, Wanted};

/// A day of each asset is kept: what is older is history, which other sources have.
const KEPT: usize = 1440;

/// A connection that held so long was no failure.
const HELD: Duration = Duration::from_secs(60);

/// One way to follow a service.
#[async_trait]
pub(crate) trait Line: Send + Sync + 'static {
    /// Connects, and notes closes until the connection ends. `Ok` when the service said beforehand that it would end.
    async fn follow(&self, memory: &Memory) -> Result<(), Fault>;
}

/// Closes of candles that are over, as they came in.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    closes: BTreeMap<Asset, BTreeMap<Timestamp, Price>>,
    /// Why there is no connection now.
    fault: Option<Fault>,
}

impl Memory {
    /// Takes a close. What is told of an instant first stays.
    pub(crate) fn note(&self, asset: &Asset, point: PricePoint) {
        let mut remembered = self.lock();
        let closes = remembered.closes.entry(asset.clone()).or_default();
        closes.entry(point.at).or_insert(point.price);
        if closes.len() > KEPT {
            closes.pop_first();
        }
    }

    /// The connection stands.
    pub(crate) fn connected(&self) {
        self.lock().fault = None;
    }

    fn broken(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// What is known within bounds. While there is no connection and nothing new, why.
    fn closes(&self, wanted: &Wanted<'_>) -> Result<Vec<PricePoint>, Fault> {
        let remembered = self.lock();
        let known = remembered.closes.get(wanted.asset).into_iter().flatten();
        let within = known.filter(|(at, _)| wanted.after < **at && **at <= wanted.up_to);
        let points: Vec<PricePoint> =
            within.map(|(at, price)| PricePoint { at: *at, price: *price }).collect();
        match &remembered.fault {
            Some(fault) if points.is_empty() => Err(fault.clone()),
            _ => Ok(points),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed from such a service. It connects when it is first asked, and stays connected until it is dropped.
pub(crate) struct Streamed<L> {
    service: Service,
    line: Arc<L>,
    memory: Arc<Memory>,
    surroundings: Surroundings,
    following: Mutex<Option<JoinHandle<()>>>,
}

impl<L: Line> Streamed<L> {
    pub(crate) fn new(line: L, service: Service, surroundings: &Surroundings) -> Self {
        Streamed {
            service,
            line: Arc::new(line),
            memory: Arc::default(),
            surroundings: surroundings.clone(),
            following: Mutex::default(),
        }
    }

    fn start(&self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.get_or_insert_with(|| {
            let timing = self.surroundings.timing;
            let back_off = BackOff::new(timing.first_pause, timing.longest_pause, self.surroundings.seed);
            let name = self.service.name.to_string();
            tokio::spawn(keep_following(Arc::clone(&self.line), Arc::clone(&self.memory), back_off, name))
        });
    }
}

impl<L> Drop for Streamed<L> {
    fn drop(&mut self) {
        let following = self.following.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = following {
            task.abort();
        }
    }
}

#[async_trait]
impl<L: Line> PriceFeed for Streamed<L> {
    async fn closes(&self, wanted: Wanted<'_>) -> Result<Vec<Close>, FeedError> {
        self.service.symbol(wanted.asset)?;
        self.start();
        let points = self.memory.closes(&wanted);
        let points = points.map_err(|fault| self.service.failed(wanted.asset, fault))?;
        Ok(Close::all_of(&self.service.name, points))
    }

    fn name(&self) -> &str {
        &self.service.name
    }
}

/// Connects again whenever the connection ends: at once when that was announced or after a long time, else after a pause.
async fn keep_following<L: Line>(line: Arc<L>, memory: Arc<Memory>, mut back_off: BackOff, source: String) {
    let mut failures = 0;
    loop {
        let connected = Stopwatch::start();
        let end = line.follow(&memory).await;
        failures = if connected.elapsed() > HELD { 0 } else { failures + 1 };
        match end {
            Ok(()) => tracing::info!(source, "{source} ends the connection as it said: connecting anew"),
            Err(fault) => {
                tracing::warn!(source, %fault, "{source}: {fault}");
                memory.broken(fault);
            }
        }
        if failures > 0 {
            tokio::time::sleep(back_off.pause(failures)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::TimestampExt;

    use super::*;

    fn point(minute: i64, price: f64) -> PricePoint {
        let at = Timestamp::from_unix_seconds(minute * 60).unwrap();
        PricePoint { at, price: Price::new(price).unwrap() }
    }

    #[test]
    fn a_day_is_remembered_the_first_word_stays_and_a_fault_shows_when_nothing_is_new() {
        let (memory, btc) = (Memory::default(), Asset::new("BTC").unwrap());
        (1..=2000).for_each(|minute| memory.note(&btc, point(minute, minute as f64)));
        memory.note(&btc, point(2000, 7.0));
        let asked =
            |after, up_to| memory.closes(&Wanted::new(&btc, point(after, 1.0).at, point(up_to, 1.0).at));
        let all = asked(0, 3000).unwrap();
        assert_eq!((all.len(), all[0], all[1439]), (1440, point(561, 561.0), point(2000, 2000.0)));
        assert_eq!(asked(1998, 1999).unwrap(), [point(1999, 1999.0)]);
        let fault = Fault::Cut { host: "h".into(), why: "w".into() };
        memory.broken(fault.clone());
        assert_eq!(asked(1999, 3000).unwrap().len(), 1);
        assert_eq!(asked(2000, 3000), Err(fault));
        memory.connected();
        assert_eq!(asked(2000, 3000), Ok(vec![]));
    }
}
