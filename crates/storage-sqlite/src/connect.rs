//! How the database is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use storage::{Result, StorageError};

use crate::errors::{failed, is_transient};

/// One connection writes for the whole process.
pub(crate) const WRITERS: u32 = 1;
/// How many read at once.
pub(crate) const READERS: u32 = 4;

/// SQLite's queue of writers is not fair, so that the unlucky one of several processes needs patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// The switch to WAL does not wait for locks, unlike everything else: try as often before giving up.
const WAL_ATTEMPTS: u32 = 100;
const WAL_PAUSE: Duration = Duration::from_millis(20);

/// The file that an address means.
pub(crate) fn path_of(url: &str) -> Result<PathBuf> {
    let invalid = |why| StorageError::invalid_url(url, why);
    let path = url.strip_prefix("sqlite://").ok_or_else(|| invalid("it does not begin with sqlite://"))?;
    if path.is_empty() {
        return Err(invalid("it names no file"));
    }
    if path.starts_with(":memory:") || path.starts_with("file:") || path.contains(['?', '\0']) {
        return Err(invalid("it must be a plain file name"));
    }
    Ok(PathBuf::from(path))
}

/// Makes the folder and the file when they are missing, and switches the file to WAL, which it then stays in.
pub(crate) async fn create(url: &str, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            StorageError::invalid_url(url, format!("cannot make the folder {}: {error}", folder.display()))
        })?;
    }
    let options = options(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    for _ in 1..WAL_ATTEMPTS {
        match options.connect().await {
            Ok(connection) => return connection.close().await.map_err(failed),
            Err(error) if is_transient(&error) => tokio::time::sleep(WAL_PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    }
    options.connect().await.map_err(failed)?.close().await.map_err(failed)
}

/// Connections that are made when they are needed.
pub(crate) fn pool(path: &Path, read_only: bool, size: u32) -> SqlitePool {
    let options = if read_only { options(path).pragma("query_only", "ON") } else { options(path) };
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        // A local file does not go away; what a transaction left behind is looked at on release.
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(crate::is_reusable(connection)))
        .connect_lazy_with(options)
}

fn options(path: &Path) -> SqliteConnectOptions {
    // With WAL, NORMAL survives a kill at any time; a power cut may cost the last transactions, never the file.
    SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).synchronous(SqliteSynchronous::Normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_relative_or_absolute() {
        assert_eq!(path_of("sqlite://a/b.db").unwrap(), Path::new("a/b.db"));
        assert_eq!(path_of("sqlite:///a/b c.db").unwrap(), Path::new("/a/b c.db"));
    }

    #[test]
    fn what_is_no_file_is_refused_without_showing_a_password() {
        for url in ["", "sqlite://", "sqlite://:memory:", "sqlite://a.db?mode=ro", "a.db"] {
            assert!(matches!(path_of(url), Err(StorageError::InvalidUrl { .. })), "{url}");
        }
        let error = path_of("postgres://me:secret@host/db").unwrap_err().to_string();
        assert!(error.contains("postgres://me@host/db") && !error.contains("secret"), "{error}");
    }
}
