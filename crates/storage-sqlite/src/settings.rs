//! The settings that workers work with.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use storage::{CHANGE_SETTING, Result, SettingChange, SettingsNote, SettingsRepository, storable_text};

use crate::SqliteStore;
use crate::errors::failed;
use crate::operator::record;

#[async_trait]
impl SettingsRepository for SqliteStore {
    async fn note_settings(&self, note: &SettingsNote) -> Result<Vec<SettingChange>> {
        let mut turn = self.writer.begin().await?;
        let mut changes = Vec::new();
        for (key, value) in &note.settings {
            changes.extend(set(&mut turn, key, &storable_text(value)).await?);
        }
        for change in &changes {
            let reason = change.reason();
            record(&mut turn, note.at, &note.by, CHANGE_SETTING, Some(change.key.as_str()), &reason).await?;
        }
        turn.finish().await?;
        Ok(changes)
    }
}

async fn set(connection: &mut SqliteConnection, key: &str, value: &str) -> Result<Option<SettingChange>> {
    let noted: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE key = ?1")
        .bind(key)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if noted.as_deref() == Some(value) {
        return Ok(None);
    }
    sqlx::query(
        "INSERT INTO settings (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(noted.map(|from| SettingChange { key: key.to_owned(), from, to: value.to_owned() }))
}
