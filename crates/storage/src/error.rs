//! What can go wrong with a database.

use crate::LeaseName;

/// The result of a repository's method.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

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
    /// What one process at a time may do, and another does by now; what was to be written is not.
    #[error("another process holds the lease `{0}` by now")]
    LeaseLost(LeaseName),
    /// Anything else that the database refuses; trying again does not help.
    #[error("the database refused: {0}")]
    Refused(#[source] Source),
}

impl StorageError {
    /// The address `url` cannot be used; what may be a password in it is left out.
    pub fn invalid_url(url: &str, why: impl Into<String>) -> Self {
        StorageError::InvalidUrl { url: without_secrets(url), why: why.into() }
    }

    /// True when trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, StorageError::Unavailable(_))
    }
}

/// A database address as it may be shown: without the password and the parameters, which may hold one too.
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let separator = if scheme.is_empty() { "" } else { "://" };
    let (user, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (format!("{}@", login.split(':').next().unwrap_or_default()), place),
        None => (String::new(), rest),
    };
    let place = place.split('?').next().unwrap_or_default();
    format!("{scheme}{separator}{user}{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://me:se@cr:et@host/db?password=secret", "postgres://me@host/db"),
            ("postgres://host/db?password=secret", "postgres://host/db"),
            ("mysql:me:secret@host", "mysql@host"),
            ("sqlite://a.db", "sqlite://a.db"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), shown, "{url}");
        }
    }
}
