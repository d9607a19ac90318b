//! What PostgreSQL's errors mean to callers.

use sqlx::migrate::MigrateError;
use storage::StorageError;

use crate::newest_version;

/// What SQLSTATEs begin with that may pass: connections lost (08), a server that takes no writes for now (25006),
/// serialization and deadlock (40), no room for more (53), locks and timeouts (55P03, 57014), the server stopping or starting (57P01 to 57P03), a session that the server
/// ended (25P03, 57P05), and failures of its machine (58).
const TRANSIENT: [&str; 12] =
    ["08", "25006", "25P03", "40", "53", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "58"];

/// A statement or connection failed.
pub(crate) fn failed(error: sqlx::Error) -> StorageError {
    if is_transient(&error) {
        StorageError::Unavailable(Box::new(error))
    } else {
        StorageError::Refused(Box::new(error))
    }
}

/// True when the same may succeed later.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| TRANSIENT.iter().any(|class| code.starts_with(class)))
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
