//! Credentials that follow their files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use domain::Timestamp;

use crate::error::CredentialsError;
use crate::expiry::{Perishable, Reminder};

/// Files larger than this are no credentials.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// When the files of credentials are looked at, and when their end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChecks {
    /// How often the files are read to see whether they have changed.
    pub every: Duration,
    /// How long before a certificate expires the log begins to warn.
    pub warn_before: Duration,
}

impl Default for FileChecks {
    /// Every ten seconds; two weeks before.
    fn default() -> Self {
        FileChecks { every: Duration::from_secs(10), warn_before: Duration::from_secs(14 * 24 * 60 * 60) }
    }
}

type Read<T> = dyn Fn(&Files) -> Result<T, CredentialsError> + Send + Sync;

/// What was read from some files; read again when their contents change, and kept as long as new contents cannot be used.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    read: Box<Read<T>>,
    current: RwLock<Arc<T>>,
    seen: Mutex<Seen>,
    reminder: Reminder,
}

/// The contents of a set of files, in the order of their paths.
pub(crate) struct Files(Vec<(PathBuf, Vec<u8>)>);

/// What the last look at the files found.
#[derive(PartialEq, Eq)]
enum Seen {
    Contents(Vec<u8>),
    Fault(String),
}

impl Files {
    fn load(paths: &[PathBuf]) -> Result<Self, CredentialsError> {
        let load = |path: &PathBuf| Ok((path.clone(), load(path)?));
        Ok(Files(paths.iter().map(load).collect::<Result<_, _>>()?))
    }

    /// The file at this place in the list of paths.
    pub fn get(&self, index: usize) -> (&Path, &[u8]) {
        self.0.get(index).map_or((Path::new(""), &[]), |(path, contents)| (path, contents))
    }

    /// Stands for the contents, so that no key is kept longer than needed.
    fn digest(&self) -> Vec<u8> {
        let mut context = digest::Context::new(&digest::SHA256);
        for (_, contents) in &self.0 {
            context.update(&contents.len().to_le_bytes());
            context.update(contents);
        }
        context.finish().as_ref().to_vec()
    }
}

fn load(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let refused = |why: &dyn fmt::Display| CredentialsError::new(path, why);
    let size = std::fs::metadata(path).map_err(|why| refused(&why))?.len();
    if size > MAX_FILE_BYTES {
        return Err(refused(&format!("it has {size} bytes, which is no credential")));
    }
    std::fs::read(path).map_err(|why| refused(&why))
}

impl<T: Perishable> Watched<T> {
    /// Reads the files a first time.
    pub(crate) fn open(
        paths: Vec<PathBuf>,
        warn_before: Duration,
        read: impl Fn(&Files) -> Result<T, CredentialsError> + Send + Sync + 'static,
    ) -> Result<Self, CredentialsError> {
        let files = Files::load(&paths)?;
        let current = RwLock::new(Arc::new(read(&files)?));
        let seen = Mutex::new(Seen::Contents(files.digest()));
        Ok(Watched { paths, read: Box::new(read), current, seen, reminder: Reminder::new(warn_before) })
    }

    /// What is in force.
    pub fn current(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files once: takes what is new in them, and logs what cannot be used and what expires. Reads small
    /// files, and so may block for a moment.
    pub fn refresh(&self, now: Timestamp) {
        self.reread();
        self.reminder.check(self.current().expiries(), now);
    }

    fn reread(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = Files::load(&self.paths);
        let now_seen = match &found {
            Ok(files) => Seen::Contents(files.digest()),
            Err(error) => Seen::Fault(error.to_string()),
        };
        if *seen == now_seen {
            return;
        }
        *seen = now_seen;
        match found.and_then(|files| (self.read)(&files)) {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!(path = %self.place(), "credentials read again: {} has changed", self.place());
            }
            Err(error) => {
                tracing::error!(%error, "changed credentials cannot be used, the earlier ones stay in force: {error}");
            }
        }
    }

    fn place(&self) -> std::path::Display<'_> {
        self.paths.first().map_or(Path::new(""), |path| path.as_path()).display()
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("paths", &self.paths).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expiry::Expiry;

    struct Text(String);

    impl Perishable for Text {
        fn expiries(&self) -> &[Expiry] {
            &[]
        }
    }

    fn text(files: &Files) -> Result<Text, CredentialsError> {
        let (path, contents) = files.get(0);
        let text = str::from_utf8(contents).map_err(|why| CredentialsError::new(path, why))?;
        Ok(Text(text.to_owned()))
    }

    #[test]
    fn new_contents_are_taken_and_unusable_ones_leave_the_earlier_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "one").unwrap();
        let watched = Watched::open(vec![path.clone()], Duration::ZERO, text).unwrap();
        let after = |change: &dyn Fn()| {
            change();
            watched.refresh(Timestamp::default());
            watched.current().0.clone()
        };
        assert_eq!(after(&|| ()), "one");
        assert_eq!(after(&|| std::fs::write(&path, "two").unwrap()), "two");
        assert_eq!(after(&|| std::fs::write(&path, [0xff]).unwrap()), "two");
        assert_eq!(after(&|| std::fs::remove_file(&path).unwrap()), "two");
        assert_eq!(after(&|| std::fs::write(&path, "six").unwrap()), "six");
    }

    #[test]
    fn a_file_that_is_missing_at_first_is_named() {
        let missing = Watched::open(vec!["nowhere/tls.crt".into()], Duration::ZERO, text);
        assert!(missing.err().unwrap().to_string().starts_with("nowhere/tls.crt: "));
    }
}
