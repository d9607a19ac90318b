//! Snapshots as charts need them, each read and unpacked once.
//!
//! As stored a snapshot holds everything, to the bit, of which a thousand models have most of a megabyte. Here it is a row of small
//! numbers for each model and parameter, and a bounded number of them is kept. What a ranker may write again is read again as
//! soon as the mark of the snapshots has moved; older ones stay as they are.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Asset, ModelId, Parameter, PerWindow, Span, Standings, Timestamp, WindowScore};
use storage::{PackedSnapshot, SnapshotMark};

use crate::body::off_the_runtime;
use crate::problem::Problem;
use crate::source::Source;

/// How much memory the snapshots may take, in bytes.
const CAPACITY: usize = 64 << 20;

/// How many are read and unpacked at a stretch: as many documents are in memory at once.
const AT_ONCE: usize = 16;

/// A late score changes the snapshots of the day before the newest one, never older ones; the clocks of two score workers may
/// be this far apart.
const MAY_CHANGE_FOR: Span = Span::hours(25);

/// A mean over one window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Mean {
    /// Mean relative score, 0 to 1; `None` without a valid answer. Single precision is more than a chart shows.
    pub(crate) score: Option<f32>,
    /// Scored predictions of any status.
    pub(crate) predictions: u32,
    /// Those without a score of their own.
    pub(crate) failures: u32,
}

impl From<&WindowScore> for Mean {
    fn from(window: &WindowScore) -> Self {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Mean {
            score: window.score.map(|score| score as f32),
            predictions: count(window.predictions),
            failures: count(window.predictions.saturating_sub(window.valid)),
        }
    }
}

/// Every model's means as of one full hour.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Rounds resolved up to here count.
    pub(crate) as_of: Timestamp,
    /// Over all parameters, in the order of model ids.
    pub(crate) overall: Vec<(ModelId, PerWindow<Mean>)>,
    /// In the order of model ids, then of assets and horizons.
    pub(crate) by_parameter: Vec<(ModelId, Parameter, PerWindow<Mean>)>,
}

impl Snapshot {
    fn compact(standings: &Standings, names: &mut Names) -> Self {
        let mut overall = Vec::with_capacity(standings.models.len());
        let mut by_parameter =
            Vec::with_capacity(standings.models.iter().map(|model| model.parameters.len()).sum());
        for model in &standings.models {
            let id = shared(&mut names.models, &model.model_id);
            for standing in &model.parameters {
                let asset = shared(&mut names.assets, &standing.parameter.asset);
                let parameter = Parameter { asset, horizon: standing.parameter.horizon };
                by_parameter.push((id.clone(), parameter, means(&standing.windows)));
            }
            overall.push((id, means(&model.windows)));
        }
        Snapshot { as_of: standings.as_of, overall, by_parameter }
    }

    /// The memory that it takes, in bytes; names are shared.
    fn size(&self) -> usize {
        size_of::<Snapshot>()
            + size_of_val(self.overall.as_slice())
            + size_of_val(self.by_parameter.as_slice())
    }
}

fn means(windows: &PerWindow<WindowScore>) -> PerWindow<Mean> {
    PerWindow::from_fn(|window| Mean::from(windows.get(window)))
}

/// Each name once, however many snapshots it is in.
#[derive(Default)]
struct Names {
    models: HashSet<ModelId>,
    assets: HashSet<Asset>,
}

fn shared<T: Clone + Eq + Hash>(known: &mut HashSet<T>, name: &T) -> T {
    match known.get(name) {
        Some(known) => known.clone(),
        None => {
            known.insert(name.clone());
            name.clone()
        }
    }
}

/// The snapshots that were asked for lately.
pub(crate) struct Snapshots {
    shelf: Mutex<Shelf>,
    names: Arc<Mutex<Names>>,
    /// One reads at a time: the others most often want the same.
    reading: tokio::sync::Mutex<()>,
}

struct Shelf {
    held: HashMap<Timestamp, Held>,
    capacity: usize,
    /// What all of them take.
    size: usize,
    /// Grows with each look-up.
    turn: u64,
}

struct Held {
    snapshot: Arc<Snapshot>,
    /// The mark at the time of reading, or an earlier one.
    mark: SnapshotMark,
    size: usize,
    /// When it was asked for last.
    turn: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots::with_capacity(CAPACITY)
    }
}

impl Snapshots {
    fn with_capacity(capacity: usize) -> Self {
        let shelf = Shelf { held: HashMap::new(), capacity, size: 0, turn: 0 };
        Snapshots { shelf: Mutex::new(shelf), names: Arc::default(), reading: tokio::sync::Mutex::new(()) }
    }

    /// The snapshots as of these instants, where there is one, in their order; `mark` is the newest that is known.
    pub(crate) async fn get(
        &self,
        source: &dyn Source,
        mark: SnapshotMark,
        instants: &[Timestamp],
    ) -> Result<Vec<Arc<Snapshot>>, Problem> {
        let (mut found, missing) = self.held(&mark, instants);
        if !missing.is_empty() {
            let _turn = self.reading.lock().await;
            let (more, missing) = self.held(&mark, &missing);
            found.extend(more);
            for instants in missing.chunks(AT_ONCE) {
                found.extend(self.read(source, mark, instants).await?);
            }
            found.sort_by_key(|snapshot| snapshot.as_of);
        }
        Ok(found)
    }

    /// Those that are held and still true, and the instants of the others.
    fn held(&self, mark: &SnapshotMark, instants: &[Timestamp]) -> (Vec<Arc<Snapshot>>, Vec<Timestamp>) {
        let mut shelf = lock(&self.shelf);
        shelf.turn += 1;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for instant in instants {
            match shelf.take(*instant, mark) {
                Some(snapshot) => found.push(snapshot),
                None => missing.push(*instant),
            }
        }
        (found, missing)
    }

    async fn read(
        &self,
        source: &dyn Source,
        mark: SnapshotMark,
        instants: &[Timestamp],
    ) -> Result<Vec<Arc<Snapshot>>, Problem> {
        let packed = source.packed_snapshots(instants).await.map_err(|error| Problem::unreadable(&error))?;
        let names = Arc::clone(&self.names);
        let snapshots = off_the_runtime(move || unpack(&packed, &names)).await?;
        let mut shelf = lock(&self.shelf);
        snapshots.iter().for_each(|snapshot| shelf.put(Arc::clone(snapshot), mark));
        Ok(snapshots)
    }
}

fn unpack(packed: &[PackedSnapshot], names: &Mutex<Names>) -> Result<Vec<Arc<Snapshot>>, Problem> {
    let unpacked = packed.iter().map(|packed| {
        let standings = packed.unpack().map_err(|error| Problem::unreadable(&error))?;
        Ok(Arc::new(Snapshot::compact(&standings, &mut lock(names))))
    });
    unpacked.collect()
}

impl Shelf {
    fn take(&mut self, instant: Timestamp, mark: &SnapshotMark) -> Option<Arc<Snapshot>> {
        let held = self.held.get_mut(&instant)?;
        let is_final = instant + MAY_CHANGE_FOR < held.mark.newest;
        if !is_final && held.mark != *mark {
            return None;
        }
        held.turn = self.turn;
        Some(Arc::clone(&held.snapshot))
    }

    fn put(&mut self, snapshot: Arc<Snapshot>, mark: SnapshotMark) {
        let size = snapshot.size();
        self.size += size;
        let held = Held { snapshot: Arc::clone(&snapshot), mark, size, turn: self.turn };
        if let Some(previous) = self.held.insert(snapshot.as_of, held) {
            self.size -= previous.size;
        }
        self.make_room();
    }

    /// Lets those go that were not asked for the longest.
    fn make_room(&mut self) {
        while self.size > self.capacity {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.turn).map(|(instant, _)| *instant);
            let Some(removed) = oldest.and_then(|instant| self.held.remove(&instant)) else { return };
            self.size -= removed.size;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
