//! Participants' models as the coordinator knows them.

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, ModelId, Span, Timestamp};

/// The person or team behind a model. Names are free text from outside and may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cruncher {
    /// The cruncher's id.
    pub id: Option<String>,
    /// The cruncher's name.
    pub name: Option<String>,
}

/// A known model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Stable over deployments.
    pub id: ModelId,
    /// The deployment that was announced last.
    pub deployment_id: DeploymentId,
    /// The name that the participant gave; free text.
    pub name: Option<String>,
    /// Who is behind it.
    pub cruncher: Cruncher,
    /// When it joined, or came back after it had left the field.
    pub joined_at: Timestamp,
    /// When it was last seen connected.
    pub last_connected_at: Timestamp,
    /// It is one of the orchestrator's own, to compare with, and no participant's.
    #[serde(default)]
    pub is_baseline: bool,
}

impl Model {
    /// True while the model counts as in the field although it may not run: it leaves after `leave_after` unconnected.
    pub fn is_in_field(&self, now: Timestamp, leave_after: Span) -> bool {
        self.last_connected_at + leave_after > now
    }

    /// The name to show: the participant's, else the id.
    pub fn display_name(&self) -> &str {
        self.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(self.id.as_str())
    }
}
