//! How the database is opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use storage::{Result, StorageError};

use crate::errors::{failed, is_transient};

/// How many read at once in one process.
const READERS: u32 = 4;

/// Rows that a connection reads ahead; with less, its thread and the reader wake each other all the time.
const ROWS_AHEAD: usize = 1000;

/// How far the WAL grows, in pages of 4 KiB, before it is written back. Many small transactions touch the same pages
/// again and again: four times the default writes each back a quarter as often.
const PAGES_BETWEEN_CHECKPOINTS: &str = "4000";

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
    let options = options(path, false).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    for _ in 1..WAL_ATTEMPTS {
        match options.connect().await {
            Ok(connection) => return connection.close().await.map_err(failed),
            Err(error) if is_transient(&error) => tokio::time::sleep(WAL_PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    }
    options.connect().await.map_err(failed)?.close().await.map_err(failed)
}

/// Connections for reading, made when they are needed.
pub(crate) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        // A local file does not go away.
        .test_before_acquire(false)
        .connect_lazy_with(options(path, true).row_buffer_size(ROWS_AHEAD))
}

/// How one connection is made.
pub(crate) fn options(path: &Path, read_only: bool) -> SqliteConnectOptions {
    // With WAL, NORMAL survives a kill at any time; a power cut may cost the last transactions, never the file.
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(PATIENCE)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("wal_autocheckpoint", PAGES_BETWEEN_CHECKPOINTS)
        .pragma("query_only", if read_only { "ON" } else { "OFF" })
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
