//! Changes of the list of models and of the folder of submissions, one at a time.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use domain::ModelId;
use serde_yaml_ng::Mapping;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::problem::Problem;
use super::upload::{Code, Form};
use crate::local::Control;
use crate::models_edit::{EditError, ModelsDocument};
use crate::models_file::DesiredState;
use crate::submission_id::{SubmissionId, upload_prefix};

/// The models file and the submissions.
pub(super) struct ModelStore {
    files: Arc<Files>,
    control: Control,
    /// The file is read, changed and written by one at a time.
    changing: Mutex<()>,
}

struct Files {
    models: PathBuf,
    submissions: PathBuf,
}

impl ModelStore {
    pub(super) fn new(models: PathBuf, submissions: PathBuf, control: Control) -> Self {
        ModelStore { files: Arc::new(Files { models, submissions }), control, changing: Mutex::new(()) }
    }

    /// Adds a model; its id.
    pub(super) async fn create(&self, form: Form) -> Result<String, Problem> {
        let id = Uuid::new_v4().to_string();
        let added = id.clone();
        self.change(&id, None, move |files| files.create(&added, form)).await?;
        Ok(id)
    }

    /// Changes a model. One that shall run is started afresh if it had failed.
    pub(super) async fn update(&self, id: &str, form: Form) -> Result<(), Problem> {
        let shall_run = form.desired_state == Some(DesiredState::Running);
        let forgive = ModelId::new(id).ok().filter(|_| shall_run);
        let changed = id.to_owned();
        self.change(id, forgive, move |files| files.update(&changed, form)).await
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), Problem> {
        let removed = id.to_owned();
        self.change(id, None, move |files| files.remove(&removed)).await
    }

    /// Makes a change of a model, has the orchestrator take it over, and removes the uploads that nobody needs afterwards.
    async fn change(
        &self,
        id: &str,
        forgive: Option<ModelId>,
        change: impl FnOnce(&Files) -> Result<(), Problem> + Send + 'static,
    ) -> Result<(), Problem> {
        let _one_at_a_time = self.changing.lock().await;
        let (files, id) = (self.files.clone(), id.to_owned());
        let changed = tokio::task::spawn_blocking(move || change(&files)).await;
        changed.unwrap_or_else(|error| Err(Problem::internal("a change was not made", error)))?;
        if let Some(in_use) = self.control.reload(forgive).await {
            let files = self.files.clone();
            // the change is made, whatever becomes of what was there before
            let _ = tokio::task::spawn_blocking(move || files.remove_uploads(&id, &in_use)).await;
        }
        Ok(())
    }
}

impl Files {
    fn create(&self, id: &str, form: Form) -> Result<(), Problem> {
        let mut document = self.document()?;
        let mut entry = Mapping::new();
        entry.insert("id".into(), id.into());
        self.apply(&mut entry, id, &form)?;
        document.add(entry);
        self.write(&document)
    }

    fn update(&self, id: &str, form: Form) -> Result<(), Problem> {
        let mut document = self.document()?;
        let entry = document.entry_mut(id).ok_or_else(|| Problem::no_model(id))?;
        self.apply(entry, id, &form)?;
        self.write(&document)
    }

    fn remove(&self, id: &str) -> Result<(), Problem> {
        let mut document = self.document()?;
        if !document.remove(id) {
            return Err(Problem::no_model(id));
        }
        self.write(&document)
    }

    fn document(&self) -> Result<ModelsDocument, Problem> {
        ModelsDocument::read(&self.models).map_err(|error| self.not_changed(error))
    }

    fn write(&self, document: &ModelsDocument) -> Result<(), Problem> {
        document.write(&self.models).map_err(|error| self.not_changed(error))
    }

    fn not_changed(&self, error: EditError) -> Problem {
        match error {
            EditError::Broken(_) => {
                Problem::new(StatusCode::CONFLICT, format!("The list of models cannot be changed: {error}."))
            }
            EditError::Io(error) => Problem::internal("the list of models cannot be changed", error),
        }
    }

    /// Takes over what the form has.
    fn apply(&self, entry: &mut Mapping, id: &str, form: &Form) -> Result<(), Problem> {
        if let Some(code) = &form.code {
            let submission = self.store(id, code)?;
            entry.remove("builtin");
            entry.insert("submission_id".into(), submission.into());
        }
        if let Some(state) = form.desired_state {
            let state = if state == DesiredState::Running { "RUNNING" } else { "STOPPED" };
            entry.insert("desired_state".into(), state.into());
        }
        let texts = [
            ("model_name", &form.model_name),
            ("cruncher_name", &form.cruncher_name),
            ("cruncher_id", &form.cruncher_id),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                entry.insert(key.into(), text.as_str().into());
            }
        }
        Ok(())
    }

    /// Stores an upload beside the earlier ones of the model; the name of its folder.
    fn store(&self, id: &str, code: &Code) -> Result<String, Problem> {
        let newest = self.uploads(id).last().map_or(0, |(number, _)| *number);
        let name = format!("{}{}", upload_prefix(id), newest + 1);
        let stored = fs::create_dir_all(&self.submissions)
            .and_then(|()| code.store(&self.submissions.join(&name)))
            .map_err(|error| Problem::internal("the files cannot be stored", error));
        stored.map(|()| name)
    }

    /// The uploads of a model, oldest first, each with its number.
    fn uploads(&self, id: &str) -> Vec<(u64, PathBuf)> {
        let prefix = upload_prefix(id);
        let number = |name: &str| name.strip_prefix(&prefix)?.parse::<u64>().ok();
        let entries = fs::read_dir(&self.submissions).into_iter().flatten().flatten();
        let mut uploads: Vec<(u64, PathBuf)> =
            entries.filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path()))).collect();
        uploads.sort();
        uploads
    }

    /// Removes the uploads of a model but those that run, are being started, or are asked for by any entry.
    fn remove_uploads(&self, id: &str, in_use: &BTreeSet<SubmissionId>) {
        // somebody else may have broken the list since
        let Ok(document) = ModelsDocument::read(&self.models) else { return };
        for (number, path) in self.uploads(id) {
            let name = format!("{}{number}", upload_prefix(id));
            if document.uses_submission(&name) || in_use.iter().any(|used| used.as_str() == name) {
                continue;
            }
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "{path}, which nobody needs any more, cannot be removed: {error}");
                }
                _ => {}
            }
        }
    }
}
