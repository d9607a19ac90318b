//! What can go wrong with a database.

/// The result of a repository's method.
pub type Result<T> = std::result::Result<T, StorageError>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It cannot be reached, is busy beyond patience, or dropped the connection: this may pass.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Source),
    /// The address of the database makes no sense.
    #[error(
        "`{url}` is no usable database address ({why}): write sqlite://FILE or postgres://USER@HOST:PORT/NAME"
    )]
    InvalidUrl {
        /// The address, without password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The schema was made by a newer program.
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}: run a newer condor"
    )]
    SchemaTooNew {
        /// What the database says.
        found: i64,
        /// What the program knows.
        known: i64,
    },
    /// The schema is missing or older than the program.
    #[error("the database has schema version {found}, this program needs {needed}: run `condor db migrate`")]
    SchemaTooOld {
        /// What the database says; 0 when it is empty.
        found: i64,
        /// What the program needs.
        needed: i64,
    },
    /// A stored value that cannot be read.
    #[error("unreadable value in {table}.{column} of {row}: {why}")]
    Corrupt {
        /// Where.
        table: &'static str,
        /// Which column.
        column: &'static str,
        /// Which row, by its key.
        row: String,
        /// What is wrong.
        why: String,
    },
    /// Anything else that the database refuses; trying again does not help.
    #[error("the database refused: {0}")]
    Refused(#[source] Source),
}

impl StorageError {
    /// True when trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, StorageError::Unavailable(_))
    }
}
