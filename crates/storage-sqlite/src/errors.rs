//! What SQLite's errors mean to callers.

use sqlx::migrate::MigrateError;
use storage::StorageError;

use crate::newest_version;

/// SQLite's primary result codes that may pass: BUSY, LOCKED, READONLY (a file system that takes no writes for now), IOERR,
/// FULL, CANTOPEN and PROTOCOL (a race for the WAL).
const TRANSIENT: [i64; 7] = [5, 6, 8, 10, 13, 14, 15];

/// A statement or connection failed.
pub(crate) fn failed(error: sqlx::Error) -> StorageError {
    if is_transient(&error) {
        StorageError::Unavailable(Box::new(error))
    } else {
        StorageError::Refused(Box::new(error))
    }
}

/// True when the same may succeed later.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::InvalidSavePointStatement => true,
        sqlx::Error::Database(error) => {
            let extended: Option<i64> = error.code().and_then(|code| code.parse().ok());
            extended.is_some_and(|code| TRANSIENT.contains(&(code & 0xff)))
        }
        _ => false,
    }
}

/// A migration failed.
pub(crate) fn migration_failed(error: MigrateError) -> StorageError {
    match error {
        MigrateError::VersionMissing(found) => StorageError::SchemaTooNew { found, known: newest_version() },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        other => StorageError::Refused(Box::new(other)),
    }
}

/// A value could not be packed for storing.
pub(crate) fn unstorable(why: String) -> StorageError {
    StorageError::Refused(why.into())
}
