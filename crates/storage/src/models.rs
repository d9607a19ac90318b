//! Participants' models.

use async_trait::async_trait;
use domain::{Model, ModelId};

use crate::Result;

/// Participants' models. Only the predict worker writes them.
#[async_trait]
pub trait ModelRepository {
    /// Stores models, in place of what was known of them; when they last answered is kept.
    async fn save_models(&self, models: &[Model]) -> Result<()>;

    /// Every model ever seen, in the order of ids.
    async fn models(&self) -> Result<Vec<Model>>;

    /// One model.
    async fn model(&self, id: &ModelId) -> Result<Option<Model>>;
}
