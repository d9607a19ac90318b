//! What of a predict worker follows the settings, whether it leads or stands by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Asset;
use feeds::PriceFeed;
use model_client::LiveBounds;
use predict_worker::{Change, PredictSettings, Reloadable};

use super::{cluster_config, settings};
use crate::config::{Config, ConfigError};
use crate::price_feed;

/// Settings in force and who follows them.
pub struct Reins(Mutex<InForce>);

struct InForce {
    config: Config,
    prices: Prices,
    /// Of the client that is connected.
    bounds: Option<LiveBounds>,
    /// The worker, while it leads.
    worker: Option<Reloadable>,
    /// They have changed since a worker began to start with them.
    is_changed: bool,
}

impl Reins {
    /// Begins with these settings.
    pub fn new(config: Config, prices: Prices) -> Self {
        Reins(Mutex::new(InForce { config, prices, bounds: None, worker: None, is_changed: false }))
    }

    /// Puts settings in force: bounds at once, all else with the next slot.
    pub fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        let settings = settings(config)?;
        let mut in_force = self.lock();
        let feed = in_force.prices.of(config)?;
        if let Some(worker) = &in_force.worker {
            worker.change(Change { settings, feed });
        }
        if let Some(bounds) = &in_force.bounds {
            bounds.set(cluster_config(config, &config.orchestrator.url).bounds());
        }
        in_force.config = config.clone();
        in_force.is_changed = true;
        Ok(())
    }

    /// The settings in force.
    pub fn config(&self) -> Config {
        self.lock().config.clone()
    }

    /// Another client follows from now on.
    pub fn connected(&self, bounds: LiveBounds) {
        let mut in_force = self.lock();
        bounds.set(cluster_config(&in_force.config, &in_force.config.orchestrator.url).bounds());
        in_force.bounds = Some(bounds);
    }

    /// What a worker starts with that leads from now on; rounds of earlier schedules wait for the prices of `awaited`.
    pub fn start(
        &self,
        awaited: impl Iterator<Item = Asset>,
    ) -> Result<(PredictSettings, Arc<dyn PriceFeed>), ConfigError> {
        let in_force = &mut *self.lock();
        in_force.prices.await_also(&in_force.config, awaited);
        in_force.is_changed = false;
        Ok((settings(&in_force.config)?, in_force.prices.of(&in_force.config)?))
    }

    /// This worker follows from now on. What changed while it started is told at once.
    pub fn leads(&self, worker: Reloadable) -> Result<(), ConfigError> {
        let in_force = &mut *self.lock();
        if in_force.is_changed {
            let (settings, feed) = (settings(&in_force.config)?, in_force.prices.of(&in_force.config)?);
            worker.change(Change { settings, feed });
        }
        in_force.worker = Some(worker);
        Ok(())
    }

    /// Nobody leads here any more.
    pub fn stands_by(&self) {
        self.lock().worker = None;
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The price sources, opened for some assets.
pub struct Prices {
    assets: Vec<Asset>,
    feed: Arc<dyn PriceFeed>,
}

impl Prices {
    /// For the assets of the schedules.
    pub fn open(config: &Config) -> Result<Self, ConfigError> {
        let assets = config.schedules()?.assets();
        Ok(Prices { feed: price_feed::open(config, &assets)?, assets })
    }

    /// For these as well, if the source has them: rounds of schedules that are gone wait for their prices.
    fn await_also(&mut self, config: &Config, awaited: impl Iterator<Item = Asset>) {
        if let Err(error) = self.add(config, awaited) {
            tracing::warn!(%error, "rounds of earlier schedules will not be scored: their prices cannot be had: {error}");
        }
    }

    /// The source for the schedules of a configuration. What was priced before is priced still, as long as it is wanted.
    fn of(&mut self, config: &Config) -> Result<Arc<dyn PriceFeed>, ConfigError> {
        self.add(config, config.schedules()?.assets().into_iter())?;
        Ok(self.feed())
    }

    fn feed(&self) -> Arc<dyn PriceFeed> {
        Arc::clone(&self.feed)
    }

    /// Opens the source anew if there are assets that it was not opened for.
    fn add(&mut self, config: &Config, wanted: impl Iterator<Item = Asset>) -> Result<(), ConfigError> {
        let mut assets = self.assets.clone();
        assets.extend(wanted.filter(|asset| !self.assets.contains(asset)));
        if assets.len() > self.assets.len() {
            *self = Prices { feed: price_feed::open(config, &assets)?, assets };
        }
        Ok(())
    }
}
