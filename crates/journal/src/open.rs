//! How a journal is opened.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::CrunchId;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use crate::syncer::{Care, Syncer};
use crate::writer::Writer;
use crate::{Inner, Journal, JournalError, Result};

/// How large a journal may grow by default: 10 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 10 << 30;

/// The version of the tables and of what they hold.
const VERSION: i64 = 1;

const PAGE_BYTES: u64 = 4096;

/// Somebody who writes to the file by hand may hold it up for so long. Short, so that a slot can still be asked when its mark has
/// to go into the database instead.
const PATIENCE: Duration = Duration::from_millis(200);

/// Rows that a connection reads ahead; with less, its thread and the reader wake each other all the time.
const ROWS_AHEAD: usize = 1000;

/// Whose records a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The competition.
    pub crunch_id: CrunchId,
    /// Where the records are to be stored: the database's address without secrets.
    pub database: String,
}

impl Journal {
    /// Opens the journal at `path` for `owner`; makes the file and its folder when they are missing. Refused while
    /// another process has it, and when it holds records of another owner. It grows to `max_bytes` at most.
    pub async fn open(path: &Path, owner: &Owner, max_bytes: u64) -> Result<Self> {
        Self::open_with(path, owner, max_bytes, Care::default()).await
    }

    pub(crate) async fn open_with(path: &Path, owner: &Owner, max_bytes: u64, care: Care) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| JournalError::NoFile { path: folder.to_owned(), source })?;
        }
        let lock = lock(path)?;
        let not_opened = |source| JournalError::NotOpened { path: path.to_owned(), source };
        let mut writer = options(path, max_bytes).connect().await.map_err(not_opened)?;
        check_version(path, &mut writer).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut writer).await.map_err(not_opened)?;
        take_over(path, &mut writer, owner).await?;
        let reader =
            options(path, max_bytes).row_buffer_size(ROWS_AHEAD).connect().await.map_err(not_opened)?;
        let (writer, reader) = (Arc::new(Writer::new(options(path, max_bytes), writer)), Mutex::new(reader));
        let syncer = Syncer::start(open_log(path)?, care, Arc::clone(&writer));
        Ok(Journal(Arc::new(Inner { writer, syncer, reader, path: path.to_owned(), _lock: lock })))
    }
}

/// The operating system takes the lock back when the process ends. It has a file of its own: SQLite locks parts of the
/// journal itself.
fn lock(path: &Path) -> Result<File> {
    let lock_path = beside(path, ".lock");
    let no_file = |source| JournalError::NoFile { path: lock_path.clone(), source };
    let file = File::create(&lock_path).map_err(no_file)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(no_file(source)),
    }
}

/// The write-ahead log, to sync it: it stays the same file while there is a connection, and SQLite holds no lock on it.
fn open_log(path: &Path) -> Result<File> {
    let path = beside(path, "-wal");
    File::open(&path).map_err(|source| JournalError::NoFile { path, source })
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn options(path: &Path, max_bytes: u64) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(PATIENCE)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        // The syncer brings to the disk what is committed, and shortens the log.
        .synchronous(SqliteSynchronous::Normal)
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", "0")
        .pragma("max_page_count", (max_bytes / PAGE_BYTES).max(1).to_string())
}

async fn check_version(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    match found {
        0 => sqlx::raw_sql("PRAGMA user_version = 1").execute(connection).await.map(drop).map_err(Into::into),
        VERSION => Ok(()),
        _ => Err(JournalError::TooNew { path: path.to_owned(), found, known: VERSION }),
    }
}

/// A journal that holds nothing belongs to whoever opens it.
async fn take_over(path: &Path, connection: &mut SqliteConnection, owner: &Owner) -> Result<()> {
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT crunch_id, database FROM owner").fetch_optional(&mut *connection).await?;
    if let Some((crunch_id, database)) = found {
        if crunch_id == owner.crunch_id.as_str() && database == owner.database {
            return Ok(());
        }
        let holds = "SELECT EXISTS (SELECT 1 FROM records) OR EXISTS (SELECT 1 FROM outcomes)
                            OR EXISTS (SELECT 1 FROM refused)";
        if sqlx::query_scalar(holds).fetch_one(&mut *connection).await? {
            return Err(JournalError::OfAnother { path: path.to_owned(), crunch_id, database });
        }
    }
    let mut transaction = connection.begin().await?;
    sqlx::query("DELETE FROM owner").execute(&mut *transaction).await?;
    sqlx::query("DELETE FROM lease").execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO owner (crunch_id, database) VALUES (?1, ?2)")
        .bind(owner.crunch_id.as_str())
        .bind(owner.database.as_str())
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}
