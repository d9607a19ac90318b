//! The key of the deploy API.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Shorter keys can be guessed.
const MIN_BYTES: usize = 16;

/// A key for the deploy API; never shown.
#[derive(Clone)]
pub struct DeployKey(String);

impl fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeployKey(…)")
    }
}

/// There is no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It would be easy to guess, or cannot be sent.
    #[error("the deploy key must have at least {MIN_BYTES} characters, all of them visible ASCII")]
    Unusable,
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Other users of the machine can read it.
    #[error("{path} can be read by others: take their rights away with `chmod 600 {path}`")]
    Open {
        /// Which.
        path: PathBuf,
    },
}

impl DeployKey {
    /// Checks a key.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        let is_usable = key.len() >= MIN_BYTES && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_usable { Ok(DeployKey(key.to_owned())) } else { Err(KeyError::Unusable) }
    }

    /// The key in the file at `path`; a file that is not there is made with a random key that only its owner can read.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        match File::options().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                writeln!(file, "{key}").map_err(io)?;
                return DeployKey::new(&key);
            }
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io(error)),
            Err(_) => {}
        }
        if path.metadata().map_err(io)?.mode() & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned() });
        }
        DeployKey::new(std::fs::read_to_string(path).map_err(io)?.trim())
    }

    /// Whether `text` is this key, in a time that does not tell how much of it is right.
    pub(super) fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_itself_and_nothing_else_and_never_shown() {
        let key = DeployKey::new("0123456789abcdef").unwrap();
        assert!(key.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!key.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{key:?}").contains("0123"));
        for unusable in ["", "short", "0123456789 abcdef", "0123456789abcdéf"] {
            assert!(DeployKey::new(unusable).is_err(), "{unusable}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_closed_and_refused_when_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deploy-key");
        let made = DeployKey::from_file(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(DeployKey::from_file(&path).unwrap().is(made.0.as_bytes()));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(DeployKey::from_file(&path), Err(KeyError::Open { .. })));
    }
}
