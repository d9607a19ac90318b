//! Notices changes of the models file.

use std::path::PathBuf;

use domain::CrunchId;

use crate::models_file::{ModelEntry, ModelsFile};

/// The text of the file, or why there is none. A small file is compared whole: an editor may keep its time and its size.
type Content = Result<String, String>;

/// A models file and what it held when it was looked at.
pub(crate) struct ModelsWatch {
    path: PathBuf,
    crunch: CrunchId,
    last_seen: Option<Content>,
    last_taken: Option<Content>,
}

impl ModelsWatch {
    pub(crate) fn new(path: PathBuf, crunch: CrunchId) -> Self {
        ModelsWatch { path, crunch, last_seen: None, last_taken: None }
    }

    /// The entries, when the file has changed and can be read. A change is taken when two looks in a row saw the same, so
    /// never from the middle of a save; the first look counts at once. What is wrong is logged once for each change; an
    /// unreadable file leaves everything as it is.
    pub(crate) async fn changed(&mut self) -> Option<Vec<ModelEntry>> {
        let before = self.last_seen.take();
        let read = self.read().await;
        let is_settled = before.as_ref().is_none_or(|before| *before == read);
        if is_settled { self.take(read) } else { None }
    }

    /// The same after a change that is known to be complete.
    pub(crate) async fn changed_now(&mut self) -> Option<Vec<ModelEntry>> {
        let read = self.read().await;
        self.take(read)
    }

    async fn read(&mut self) -> Content {
        let read = tokio::fs::read_to_string(&self.path).await.map_err(|error| error.to_string());
        self.last_seen = Some(read.clone());
        read
    }

    fn take(&mut self, read: Content) -> Option<Vec<ModelEntry>> {
        if self.last_taken.as_ref() == Some(&read) {
            return None;
        }
        match self.last_taken.insert(read).clone() {
            Ok(text) => self.entries(&text),
            Err(error) => {
                self.complain(&error);
                None
            }
        }
    }

    fn entries(&self, text: &str) -> Option<Vec<ModelEntry>> {
        let file = match ModelsFile::parse(text, &self.crunch) {
            Ok(file) => file,
            Err(error) => {
                self.complain(&error.to_string());
                return None;
            }
        };
        for fault in &file.faults {
            let (path, place, why) = (self.path.display(), &fault.place, &fault.why);
            tracing::error!(%path, place, why, "{path}, {place}: {why}");
        }
        tracing::info!(
            path = %self.path.display(),
            entries = file.entries.len(),
            faults = file.faults.len(),
            "{} has {} models and {} faults",
            self.path.display(),
            file.entries.len(),
            file.faults.len()
        );
        Some(file.entries)
    }

    fn complain(&self, error: &str) {
        let path = self.path.display();
        tracing::error!(%path, error, "{path} cannot be used, all models stay as they are: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "models:\n  - {id: a, builtin: random-walk, desired_state: RUNNING}\n";
    const TWO: &str = "  - {id: b, builtin: random-walk, desired_state: RUNNING}\n";

    #[tokio::test]
    async fn a_change_is_taken_once_and_never_from_the_middle_of_a_save() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.yml");
        let mut watch = ModelsWatch::new(path.clone(), CrunchId::new("condor").unwrap());
        let write = |text: String| std::fs::write(&path, text).unwrap();

        write(format!("{ONE}{TWO}"));
        assert_eq!(watch.changed().await.unwrap().len(), 2, "the first look counts at once");
        assert_eq!(watch.changed().await, None);

        write(ONE.to_owned());
        assert_eq!(watch.changed().await, None, "perhaps a save has only begun");
        write(format!("{ONE}{TWO}"));
        assert_eq!(watch.changed().await, None);
        assert_eq!(watch.changed().await, None, "nothing has changed after all");

        write(ONE.to_owned());
        assert_eq!(watch.changed().await, None);
        assert_eq!(watch.changed().await.unwrap().len(), 1, "two looks saw the same");
    }

    #[tokio::test]
    async fn a_broken_an_empty_and_a_missing_file_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.yml");
        let mut watch = ModelsWatch::new(path.clone(), CrunchId::new("condor").unwrap());
        std::fs::write(&path, ONE).unwrap();
        assert!(watch.changed().await.is_some());
        for broken in ["models: [", ""] {
            std::fs::write(&path, broken).unwrap();
            for _ in 0..3 {
                assert_eq!(watch.changed().await, None);
            }
        }
        std::fs::remove_file(&path).unwrap();
        for _ in 0..3 {
            assert_eq!(watch.changed().await, None);
        }
        std::fs::write(&path, ONE).unwrap();
        assert_eq!(watch.changed().await, None);
        assert!(watch.changed().await.is_some(), "it is watched on");
    }
}
