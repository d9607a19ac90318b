//! What the predict worker works with, and how that changes while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Asset, CrunchId, Markets, Schedules, Span};
use feeds::PriceFeed;
use scoring::Limits;

/// What the predict worker needs to know.
#[derive(Debug, Clone)]
pub struct PredictSettings {
    /// The competition.
    pub crunch_id: CrunchId,
    /// What is asked when.
    pub schedules: Schedules,
    /// When the assets are traded: always, unless it is said here.
    pub markets: Markets,
    /// Only these assets are priced and asked; slots stay where the schedules put them. `None`: all.
    pub only_assets: Option<Vec<Asset>>,
    /// The full name of the base class that a submission extends.
    pub base_class: String,
    /// From the slot to the deadline of its rounds.
    pub call_timeout: Span,
    /// How long a model's constructor may take.
    pub setup_timeout: Span,
    /// How long a question waits for the closes of its slot.
    pub open_grace: Span,
    /// How long a newly announced model may take before it counts as in the field although it is not set up.
    pub join_grace: Span,
    /// How far back a new model is told prices.
    pub history: Span,
    /// How long a model may be unconnected before it leaves the field.
    pub leave_after: Span,
    /// What a model may answer.
    pub limits: Limits,
}

impl PredictSettings {
    /// How long a question waits for the closes of its slot, by default.
    pub const OPEN_GRACE: Span = Span::seconds(5);
    /// How long a newly announced model may take to be set up, by default.
    pub const JOIN_GRACE: Span = Span::seconds(10);

    /// True for an asset that is priced and asked.
    pub fn is_asked(&self, asset: &Asset) -> bool {
        self.only_assets.as_ref().is_none_or(|only| only.contains(asset))
    }

    /// The assets that are asked, in configuration order.
    pub fn asked_assets(&self) -> Vec<Asset> {
        self.schedules.assets().into_iter().filter(|asset| self.is_asked(asset)).collect()
    }
}

/// Other settings for a worker that runs, and where it takes its prices from then on.
#[derive(Clone)]
pub struct Change {
    /// Competition, base class, price interval and history have to be those that the worker was started with: models have
    /// been set up and told prices by them.
    pub settings: PredictSettings,
    /// Prices every asset that the settings ask about, and those of the rounds that are not resolved yet.
    pub feed: Arc<dyn PriceFeed>,
}

/// Hands changes to a worker that runs.
#[derive(Clone)]
pub struct Reloadable(Arc<SettingsInForce>);

impl Reloadable {
    pub(crate) fn new(settings: Arc<SettingsInForce>) -> Self {
        Reloadable(settings)
    }

    /// Has the worker work with a change from its next slot on, as a whole. Rounds in flight are closed as they were asked; of
    /// two changes before one slot the later counts.
    pub fn change(&self, change: Change) {
        *lock(&self.0.next) = Some(change);
    }
}

/// The settings of the slot that is played.
pub(crate) struct SettingsInForce {
    current: Mutex<Arc<PredictSettings>>,
    next: Mutex<Option<Change>>,
}

impl SettingsInForce {
    pub fn new(settings: PredictSettings) -> Self {
        SettingsInForce { current: Mutex::new(Arc::new(settings)), next: Mutex::default() }
    }

    pub fn current(&self) -> Arc<PredictSettings> {
        Arc::clone(&lock(&self.current))
    }

    /// Puts a change in force that was handed in; gives where prices come from then, and the settings until then.
    pub fn adopt(&self) -> Option<(Arc<dyn PriceFeed>, Arc<PredictSettings>)> {
        let Change { settings, feed } = lock(&self.next).take()?;
        let before = std::mem::replace(&mut *lock(&self.current), Arc::new(settings));
        Some((feed, before))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
