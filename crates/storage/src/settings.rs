//! The settings that workers work with, and the record of their changes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::Timestamp;

use crate::Result;

/// The word under which changed settings are in the audit; the subject there is the setting's key.
pub const CHANGE_SETTING: &str = "change_setting";

/// What a worker works with from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsNote {
    /// Since when.
    pub at: Timestamp,
    /// Who set it: how the worker was told, and where it read.
    pub by: String,
    /// By key; those that are not in here stay as they are noted.
    pub settings: BTreeMap<String, String>,
}

/// A setting that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Dotted, as in the configuration file.
    pub key: String,
    /// What was noted before.
    pub from: String,
    /// What is noted now.
    pub to: String,
}

impl SettingChange {
    /// As it stands in the audit.
    pub fn reason(&self) -> String {
        format!("from {} to {}", self.from, self.to)
    }
}

/// The settings in force, as workers note them.
#[async_trait]
pub trait SettingsRepository {
    /// Notes what a worker works with, and puts each setting that was noted otherwise before on record in the audit, in the
    /// order of keys. Returns those changes. The first note of a setting is no change; and of many workers that are told of
    /// the same change, the first puts it on record.
    async fn note_settings(&self, note: &SettingsNote) -> Result<Vec<SettingChange>>;
}
