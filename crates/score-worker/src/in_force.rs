//! Which settings are in force: those put on record last.
//!
//! While a competition is moved to other settings, a worker with the former ones may still run. It stands by: else the
//! two would score each other's rounds again and overwrite each other's leaderboards, for ever.

use std::sync::Arc;

use domain::Timestamp;
use storage::{Result, ScoringChange, StorageError, Store};

use crate::ScoreSettings;

pub struct InForce {
    store: Arc<dyn Store>,
    settings: ScoreSettings,
    /// The own settings as put on record; `None` until they are.
    own: Option<ScoringChange>,
    is_standing_by: bool,
}

impl InForce {
    pub fn new(store: Arc<dyn Store>, settings: ScoreSettings) -> Self {
        InForce { store, settings, own: None, is_standing_by: false }
    }

    /// Puts the own settings on record when called first; from then on says whether they are still the newest there.
    pub async fn check(&mut self, now: Timestamp) -> Result<bool> {
        if self.own.is_none() {
            self.own = Some(self.record(now).await?);
        }
        let is_other = |newest: &ScoringChange| self.own.as_ref().is_some_and(|own| !is_same(newest, own));
        let others = self.store.scoring_changes().await?.pop().filter(is_other);
        self.stand_by(others.as_ref());
        Ok(others.is_none())
    }

    async fn record(&self, now: Timestamp) -> Result<ScoringChange> {
        let own = self.settings.on_record(now).map_err(|error| StorageError::Refused(error.into()))?;
        self.store.record_scoring_change(&own).await?;
        Ok(own)
    }

    /// Logs when it begins to stand by and when it ends.
    fn stand_by(&mut self, others: Option<&ScoringChange>) {
        let own = self.settings.stamp();
        match others {
            Some(others) if !self.is_standing_by => tracing::error!(
                since = %others.at,
                "standing by: another score worker was started with other settings (its scores are {}, mine {own}): \
                 stop that one or this, or give both the same [scoring]",
                others.rule
            ),
            None if self.is_standing_by => tracing::info!("the settings are in force again: scoring {own}"),
            _ => {}
        }
        self.is_standing_by = others.is_some();
    }
}

fn is_same(a: &ScoringChange, b: &ScoringChange) -> bool {
    a.rule == b.rule && a.settings == b.settings
}
