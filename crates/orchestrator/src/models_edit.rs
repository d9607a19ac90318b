//! Changes of `models.yml` that keep what they do not concern, invalid entries and unknown keys included. Comments are lost.

use std::io;
use std::path::Path;

use serde_yaml_ng::{Mapping, Value};

use crate::models_file::{as_id, write_document};

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
        let submission = |entry: &Value| entry.get("submission_id").and_then(as_id);
        self.entries().iter().filter_map(submission).any(|submission| submission == name)
    }

    /// Writes the file in one piece.
    pub(crate) fn write(&self, path: &Path) -> Result<(), EditError> {
        Ok(write_document(path, &self.root)?)
    }
}

fn has_id(entry: &Value, id: &str) -> bool {
    entry.get("id").and_then(as_id).is_some_and(|own| own == id)
}

#[cfg(test)]
mod tests {
    use super::*;

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
