//! Participants' models.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{DeploymentId, Model, ModelId, Timestamp};

use crate::Result;

/// A start of a model's code, as far as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Which start.
    pub id: DeploymentId,
    /// The first instant at which it was connected.
    pub first_seen_at: Timestamp,
    /// The last one.
    pub last_seen_at: Timestamp,
}

/// Participants' models. Only the predict worker writes them.
#[async_trait]
pub trait ModelRepository {
    /// Stores models, in place of what was known of them; when they last answered is kept, and so are their deployments, each
    /// with the first and the last instant at which it was connected.
    async fn save_models(&self, models: &[Model]) -> Result<()>;

    /// Every model ever seen, in the order of ids.
    async fn models(&self) -> Result<Vec<Model>>;

    /// One model.
    async fn model(&self, id: &ModelId) -> Result<Option<Model>>;

    /// Up to `limit` of a model's deployments, the one that was first seen last before the others; of those of one instant by id,
    /// the last first. `after` goes on behind the one with this instant and id.
    async fn deployments(
        &self,
        model: &ModelId,
        after: Option<&(Timestamp, DeploymentId)>,
        limit: usize,
    ) -> Result<Vec<Deployment>>;
}

/// The deployments that models tell of, each once, in the order of models and ids; for databases.
pub fn deployments_of(models: &[Model]) -> BTreeMap<(&ModelId, &DeploymentId), (Timestamp, Timestamp)> {
    let mut deployments = BTreeMap::new();
    for model in models {
        let at = model.last_connected_at;
        let (first, last) = deployments.entry((&model.id, &model.deployment_id)).or_insert((at, at));
        *first = at.min(*first);
        *last = at.max(*last);
    }
    deployments
}
