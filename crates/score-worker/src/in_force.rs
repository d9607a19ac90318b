//! Which settings are in force: those put on record last.
//!
//! While a competition is moved to other settings, a worker with the former ones may still run. It stands by: else the
//! two would score each other's rounds again and overwrite each other's leaderboards, for ever.

use std::sync::Arc;

use domain::{Timestamp, Weights};
use storage::{Result, ScoringChange, StorageError, Store};
use tokio::sync::watch;

use crate::ScoreSettings;

pub struct InForce {
    store: Arc<dyn Store>,
    settings: ScoreSettings,
    /// The own settings as put on record; `None` until they are.
    own: Option<ScoringChange>,
    /// Those in force, while they are not the own ones.
    others: watch::Sender<Option<ScoringChange>>,
}

impl InForce {
    pub fn new(store: Arc<dyn Store>, settings: ScoreSettings) -> Self {
        InForce { store, settings, own: None, others: watch::Sender::new(None) }
    }

    /// Puts the own settings on record when called first; from then on says whether they are still the newest there.
    pub async fn check(&mut self, now: Timestamp) -> Result<bool> {
        if self.own.is_none() {
            self.own = Some(self.record(now).await?);
        }
        let is_other = |newest: &ScoringChange| self.own.as_ref().is_some_and(|own| !is_same(newest, own));
        let others = self.store.scoring_changes().await?.pop().filter(is_other);
        let is_in_force = others.is_none();
        self.stand_by(others);
        Ok(is_in_force)
    }

    /// Tells which settings are in force while the own ones are not.
    pub fn watch_others(&self) -> watch::Receiver<Option<ScoringChange>> {
        self.others.subscribe()
    }

    /// From now on the own settings have these weights. While others are in force the own ones are not put on record for that:
    /// they are in force again once the others are the same.
    pub fn weigh(&mut self, weights: &Weights, now: Timestamp) -> Result<()> {
        self.settings.weights = weights.clone();
        let is_standing_by = self.others.borrow().is_some();
        self.own = is_standing_by.then(|| self.own_at(now)).transpose()?;
        Ok(())
    }

    async fn record(&self, now: Timestamp) -> Result<ScoringChange> {
        let own = self.own_at(now)?;
        self.store.record_scoring_change(&own).await?;
        Ok(own)
    }

    fn own_at(&self, now: Timestamp) -> Result<ScoringChange> {
        self.settings.on_record(now).map_err(|error| StorageError::Refused(error.into()))
    }

    /// Notes what is in force, and logs when standing by begins and ends.
    fn stand_by(&self, others: Option<ScoringChange>) {
        let own = self.settings.stamp();
        let was_standing_by = self.others.borrow().is_some();
        match &others {
            Some(others) if !was_standing_by => tracing::error!(
                since = %others.at,
                "standing by: another score worker was started with other settings (its scores are {}, mine {own}): \
                 stop that one or this, or give both the same [scoring]",
                others.rule
            ),
            None if was_standing_by => tracing::info!("the settings are in force again: scoring {own}"),
            _ => {}
        }
        self.others.send_replace(others);
    }
}

fn is_same(a: &ScoringChange, b: &ScoringChange) -> bool {
    a.rule == b.rule && a.settings == b.settings
}
