//! What is wrong with our own files.

use std::path::{Path, PathBuf};

/// A file of ours that cannot be used as a credential.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", .path.display())]
pub struct CredentialsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it, and how to mend it.
    pub fault: String,
}

impl CredentialsError {
    pub(crate) fn new(path: &Path, fault: impl ToString) -> Self {
        CredentialsError { path: path.to_owned(), fault: fault.to_string() }
    }
}
