//! What can go wrong with the journal.

use std::path::PathBuf;

/// The result of the journal's methods.
pub type Result<T, E = JournalError> = std::result::Result<T, E>;

/// What can go wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error(
        "another predict worker uses the journal {}: stop it first, or give this one a journal of its own \
         ([predict] journal)", .0.display()
    )]
    Locked(PathBuf),
    /// It holds records that belong elsewhere.
    #[error(
        "the journal {} holds records of crunch {crunch_id} for the database {database}: start the predict worker \
         with those settings once, so that they are stored, or name another journal ([predict] journal)",
        path.display()
    )]
    OfAnother {
        /// Which journal.
        path: PathBuf,
        /// Whose records it holds.
        crunch_id: String,
        /// Where they are to be stored.
        database: String,
    },
    /// It was written by a newer program.
    #[error("the journal {} has version {found}, this program knows version {known}: run a newer condor", path.display())]
    TooNew {
        /// Which journal.
        path: PathBuf,
        /// What it says.
        found: i64,
        /// What the program knows.
        known: i64,
    },
    /// Its folder or its lock cannot be made.
    #[error("cannot create {}: {source}", path.display())]
    NoFile {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It cannot be opened.
    #[error(
        "the journal {} cannot be opened: {source}: make room and give the right to write there, or name another \
         journal ([predict] journal)",
        path.display()
    )]
    NotOpened {
        /// Which journal.
        path: PathBuf,
        /// Why not.
        source: sqlx::Error,
    },
    /// It could not be read or written; this may pass.
    #[error("{0}")]
    Failed(#[from] sqlx::Error),
    /// What it holds makes no sense.
    #[error("unreadable {what}: {why}")]
    Unreadable {
        /// Which part of it.
        what: String,
        /// What is wrong.
        why: String,
    },
}
