//! What of the database this worker uses: so few methods, and none that writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Leaderboard, Model, ModelId, Standings, Timestamp};
use storage::{
    AuditEntry, Counts, FeedStatus, ModelRepository, OperatorRepository, PriceRepository, Result,
    StandingsRepository, Store,
};

/// The reading side of a [`Store`].
#[async_trait]
pub(crate) trait Source: Send + Sync {
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>>;
    async fn latest_standings(&self) -> Result<Option<Standings>>;
    async fn models(&self) -> Result<Vec<Model>>;
    async fn counts(&self, active_since: Timestamp) -> Result<Counts>;
    async fn feed_status(&self) -> Result<Vec<FeedStatus>>;
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>>;
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>>;
    async fn pause(&self) -> Result<Option<AuditEntry>>;
    async fn ping(&self) -> Result<()>;
    async fn check_schema(&self) -> Result<()>;
}

#[async_trait]
impl Source for Arc<dyn Store> {
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>> {
        StandingsRepository::latest_leaderboard(&**self).await
    }
    async fn latest_standings(&self) -> Result<Option<Standings>> {
        StandingsRepository::latest_standings(&**self).await
    }
    async fn models(&self) -> Result<Vec<Model>> {
        ModelRepository::models(&**self).await
    }
    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        Store::counts(&**self, active_since).await
    }
    async fn feed_status(&self) -> Result<Vec<FeedStatus>> {
        PriceRepository::feed_status(&**self).await
    }
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        OperatorRepository::audit(&**self, limit).await
    }
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>> {
        OperatorRepository::excluded_models(&**self).await
    }
    async fn pause(&self) -> Result<Option<AuditEntry>> {
        OperatorRepository::pause(&**self).await
    }
    async fn ping(&self) -> Result<()> {
        Store::ping(&**self).await
    }
    async fn check_schema(&self) -> Result<()> {
        Store::check_schema(&**self).await
    }
}
