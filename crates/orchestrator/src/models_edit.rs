//! Changes of `models.yml` that keep what they do not concern, invalid entries and unknown keys included. Comments are lost.

use std::io;
use std::path::Path;

use serde_yaml_ng::{Mapping, Value};

use crate::builtin::BuiltinEntry;
use crate::models_file::{as_id, write_document, written};
use crate::submission_id::{SubmissionId, is_upload};

const MODELS: &str = "models";

/// A models file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// Reading or writing.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Somebody has to mend it first: nothing of theirs is overwritten.
    #[error("it is no list of models: {0}; mend it by hand first")]
    Broken(String),
}

/// The whole file, as it is written.
pub(crate) struct ModelsDocument {
    root: Mapping,
}

impl ModelsDocument {
    /// Reads the file; one that is not there is an empty list.
    pub(crate) fn read(path: &Path) -> Result<Self, EditError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{MODELS}: []"),
            Err(error) => return Err(error.into()),
        };
        let root: Mapping = serde_yaml_ng::from_str(&text).map_err(|e| EditError::Broken(e.to_string()))?;
        let mut document = ModelsDocument { root };
        match document.root.get_mut(MODELS) {
            Some(models @ Value::Null) => *models = Value::Sequence(Vec::new()),
            Some(Value::Sequence(_)) => {}
            _ => return Err(EditError::Broken("it has no list below `models:`".to_owned())),
        }
        Ok(document)
    }

    /// Reads the file as [`Self::read`] does, and says where it is when that fails.
    fn open(path: &Path) -> io::Result<Self> {
        Self::read(path).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }

    fn entries(&self) -> &[Value] {
        self.root.get(MODELS).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> Option<&mut Vec<Value>> {
        self.root.get_mut(MODELS).and_then(Value::as_sequence_mut)
    }

    /// The first entry with this id: the one that counts.
    pub(crate) fn entry_mut(&mut self, id: &str) -> Option<&mut Mapping> {
        self.entries_mut()?.iter_mut().find(|entry| has_id(entry, id))?.as_mapping_mut()
    }

    pub(crate) fn add(&mut self, entry: Mapping) {
        if let Some(entries) = self.entries_mut() {
            entries.push(Value::Mapping(entry));
        }
    }

    /// Removes every entry with this id; false when there is none.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.entries().len();
        if let Some(entries) = self.entries_mut() {
            entries.retain(|entry| !has_id(entry, id));
        }
        self.entries().len() < before
    }

    /// Whether an entry, valid or not, runs this submission.
    pub(crate) fn uses_submission(&self, name: &str) -> bool {
        self.submissions().iter().any(|submission| submission == name)
    }

    fn submissions(&self) -> Vec<String> {
        self.entries().iter().filter_map(|entry| entry.get("submission_id").and_then(as_id)).collect()
    }

    /// Writes the file in one piece.
    pub(crate) fn write(&self, path: &Path) -> Result<(), EditError> {
        Ok(write_document(path, &self.root)?)
    }
}

/// Has the models file run `roster` in the place of the built-in models that it has; what else it has stays.
///
/// # Errors
/// A file that cannot be read or written, or that is no list of models: nothing of it is overwritten.
pub fn set_roster(path: &Path, roster: &[BuiltinEntry]) -> io::Result<()> {
    let mut document = ModelsDocument::open(path)?;
    let builtin = roster.iter().map(written).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    if let Some(entries) = document.entries_mut() {
        entries.retain(|entry| entry.get("builtin").is_none());
        entries.splice(0..0, builtin);
    }
    write_document(path, &document.root)
}

/// Has the models file run every submission in the folder `submissions` that no entry runs, under the name of its folder as
/// its id. Uploads are left alone: the deploy API looks after them. Names all submissions that the file runs afterwards, with
/// those that came in: an entry that is stopped stays so.
///
/// # Errors
/// A folder or file that cannot be read or written, or a file that is no list of models.
pub fn adopt_submissions(path: &Path, submissions: &Path) -> io::Result<Adopted> {
    let mut document = ModelsDocument::open(path)?;
    let mut adopted = Vec::new();
    for name in folders(submissions)? {
        if document.uses_submission(&name) {
            continue;
        }
        if document.entry_mut(&name).is_some() {
            tracing::warn!(%name, "the submission {name} does not run: another entry of {} has its name as id", path.display());
            continue;
        }
        document.add(submission_entry(&name));
        adopted.push(name);
    }
    if !adopted.is_empty() {
        write_document(path, &document.root)?;
    }
    Ok(Adopted { all: document.submissions(), new: adopted })
}

/// The submissions of a models file.
#[derive(Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Every one that an entry names, in the order of the file.
    pub all: Vec<String>,
    /// Those of them that had no entry before.
    pub new: Vec<String>,
}

/// The folders that an operator or a developer made, in order of name.
fn folders(submissions: &Path) -> io::Result<Vec<String>> {
    let found = match std::fs::read_dir(submissions) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for folder in found {
        let folder = folder?;
        let name = folder.file_name().into_string().ok().filter(|name| SubmissionId::new(name).is_ok());
        names.extend(name.filter(|name| !is_upload(name) && folder.path().is_dir()));
    }
    names.sort();
    Ok(names)
}

fn submission_entry(name: &str) -> Mapping {
    let entry = [("id", name), ("submission_id", name), ("desired_state", "RUNNING"), ("model_name", name)];
    entry.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn has_id(entry: &Value, id: &str) -> bool {
    entry.get("id").and_then(as_id).is_some_and(|own| own == id)
}

#[cfg(test)]
mod tests {
    use domain::CrunchId;

    use super::*;
    use crate::builtin::roster;
    use crate::models_file::{ModelEntry, ModelsFile};

    fn condor() -> CrunchId {
        CrunchId::new("condor").unwrap()
    }

    #[test]
    fn a_change_keeps_what_it_does_not_concern() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.yml");
        std::fs::write(
            &path,
            "models:\n  - just a text\n  - {id: 1, colour: red, submission_id: s}\n  - {id: b}\nmore: 7\n",
        )
        .unwrap();
        let mut document = ModelsDocument::read(&path).unwrap();
        document.entry_mut("1").unwrap().insert("desired_state".into(), "STOPPED".into());
        assert!(document.remove("b") && !document.remove("b"));
        assert!(document.uses_submission("s") && !document.uses_submission("t"));
        document.write(&path).unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        for kept in ["just a text", "id: 1", "colour: red", "desired_state: STOPPED", "more: 7"] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_written_file_reads_back_as_the_roster() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.yml");
        let roster = roster(12);
        set_roster(&path, &roster).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# The models that the local orchestrator runs"));
        let file = ModelsFile::parse(&text, &condor()).unwrap();
        assert_eq!(file.faults, []);
        assert_eq!(file.entries, roster.into_iter().map(ModelEntry::from).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn folders_without_an_entry_are_adopted_once_and_the_roster_changes_built_in_models_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [path, submissions] = ["models.yml", "submissions"].map(|name| folder.path().join(name));
        let adopt = || {
            let Adopted { all, new } = adopt_submissions(&path, &submissions).unwrap();
            (all.join(" "), new.join(" "))
        };
        set_roster(&path, &roster(2)).unwrap();
        assert_eq!(adopt(), (String::new(), String::new()), "there is no folder yet");
        for name in ["b", "a", "stopped", "upload-x.1", ".logs", "no name"] {
            std::fs::create_dir_all(submissions.join(name)).unwrap();
        }
        std::fs::write(submissions.join("file"), "").unwrap();
        let mut document = ModelsDocument::read(&path).unwrap();
        let mut stopped = submission_entry("stopped");
        stopped.insert("desired_state".into(), "STOPPED".into());
        document.add(stopped);
        document.write(&path).unwrap();

        assert_eq!(adopt(), ("stopped a b".to_owned(), "a b".to_owned()));
        assert_eq!(adopt(), ("stopped a b".to_owned(), String::new()));
        set_roster(&path, &roster(1)).unwrap();
        let file = ModelsFile::parse(&std::fs::read_to_string(&path).unwrap(), &condor()).unwrap();
        let ids: Vec<&str> = file.entries.iter().map(|entry| entry.model_id.as_str()).collect();
        assert_eq!(ids, [roster(1)[0].model_id.as_str(), "stopped", "a", "b"]);
        assert_eq!(file.faults, []);
    }

    #[test]
    fn a_broken_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.yml");
        for broken in ["models: [", "models: {a: 1}", "", "other: 1"] {
            std::fs::write(&path, broken).unwrap();
            assert!(matches!(ModelsDocument::read(&path), Err(EditError::Broken(_))), "{broken:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(ModelsDocument::read(&path).unwrap().entries().is_empty(), "a new file is begun");
    }
}
