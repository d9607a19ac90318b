//! The settings that workers work with.

use async_trait::async_trait;
use sqlx::PgConnection;
use storage::{
    CHANGE_SETTING, Result, SettingChange, SettingsNote, SettingsRepository, Topic, storable_text,
};

use crate::errors::failed;
use crate::operator::{lock, record};
use crate::{PostgresStore, changes};

#[async_trait]
impl SettingsRepository for PostgresStore {
    async fn note_settings(&self, note: &SettingsNote) -> Result<Vec<SettingChange>> {
        let mut transaction = self.begin().await?;
        lock(&mut transaction).await?;
        let mut noted = Vec::new();
        for (key, value) in &note.settings {
            noted.extend(set(&mut transaction, key, &storable_text(value)).await?);
        }
        for change in &noted {
            let reason = change.reason();
            record(&mut transaction, note.at, &note.by, CHANGE_SETTING, Some(change.key.as_str()), &reason)
                .await?;
        }
        changes::commit(transaction, &[Topic::Audit]).await?;
        Ok(noted)
    }
}

async fn set(connection: &mut PgConnection, key: &str, value: &str) -> Result<Option<SettingChange>> {
    let noted: Option<String> = sqlx::query_scalar("SELECT value FROM settings WHERE key = $1")
        .bind(key)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if noted.as_deref() == Some(value) {
        return Ok(None);
    }
    sqlx::query(
        "INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(noted.map(|from| SettingChange { key: key.to_owned(), from, to: value.to_owned() }))
}
