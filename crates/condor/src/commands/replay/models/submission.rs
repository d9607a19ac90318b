//! A Python submission that a participant names by its path.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use domain::ModelId;
use orchestrator::limits::Limits;
use orchestrator::logs::ModelLogs;
use orchestrator::models_file::{DesiredState, ModelProgram};
use orchestrator::{ModelEntry, ProcessRunner, SubmissionId, SubmissionUsers, Submissions};
use protocol::cluster::ModelInfos;

use crate::commands::UsageError;
use crate::commands::models::code_in;

/// A folder that can be run as a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The folder, as it really is.
    folder: PathBuf,
    id: SubmissionId,
    /// The folder's name.
    pub model_id: ModelId,
}

impl Submission {
    /// The submission at `path`: a folder with `main.py` or one notebook, or that file itself.
    ///
    /// # Errors
    /// A path that leads nowhere, a folder without a submission, a file that is not what runs of its folder, a name that no
    /// model can have.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        let refused = |why: String| UsageError(format!("submission {}: {why}", path.display()));
        let real = path.canonicalize().map_err(|error| refused(error.to_string()))?;
        let folder = if real.is_dir() { &real } else { real.parent().unwrap_or(&real) };
        let code = code_in(folder).map_err(|error| match real.is_dir() {
            true => error,
            // it was named, which is no help here: the whole folder runs
            false => refused("move it into a folder of its own, where it is what runs".to_owned()).into(),
        })?;
        if !real.is_dir() && real != code {
            let name = code.file_name().unwrap_or_default().display();
            bail!(refused(format!(
                "of its folder {name} runs: name that, or move it into a folder of its own"
            )));
        }
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let id = SubmissionId::new(name).map_err(|error| refused(error.to_string()))?;
        let model_id = ModelId::new(name).map_err(|error| refused(error.to_string()))?;
        Ok(Submission { folder: folder.to_owned(), id, model_id })
    }

    /// The model, as an orchestrator lists it.
    pub fn entry(&self) -> ModelEntry {
        let infos = ModelInfos { model_name: Some(self.model_id.to_string()), ..ModelInfos::default() };
        ModelEntry {
            model_id: self.model_id.clone(),
            program: ModelProgram::Submission(self.id.clone()),
            desired_state: DesiredState::Running,
            infos,
        }
    }

    /// Runs it as its author, with the limits of an orchestrator; its environment is kept beside it for the next time.
    pub fn runner(&self, python: &Path, base_class: &str, logs: ModelLogs) -> anyhow::Result<ProcessRunner> {
        let executable = std::env::current_exe().context("cannot tell where this program is")?;
        let submissions = Submissions {
            folder: self.folder.parent().unwrap_or(&self.folder).to_owned(),
            python: python.to_owned(),
            base_class: base_class.to_owned(),
            limits: Limits::FOR_SUBMISSIONS,
            users: SubmissionUsers::Operator("it is the user's own".to_owned()),
        };
        Ok(ProcessRunner::new(executable, logs).with_submissions(submissions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("model").tempdir().unwrap();
        files.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        folder
    }

    #[test]
    fn a_folder_is_named_by_itself_or_by_what_runs_in_it() {
        for (files, named) in
            [(&["main.py", "x.ipynb"][..], "main.py"), (&["tracker.ipynb"], "tracker.ipynb")]
        {
            let folder = folder(files);
            let by_folder = Submission::at(folder.path()).unwrap();
            assert_eq!(Submission::at(&folder.path().join(named)).unwrap(), by_folder);
            assert_eq!(by_folder.model_id.as_str(), folder.path().file_name().unwrap().to_str().unwrap());
        }
    }

    #[test]
    fn what_is_no_submission_is_refused_with_the_cure() {
        let refused = |path: &Path| Submission::at(path).unwrap_err().to_string();
        assert!(refused(Path::new("nowhere")).starts_with("submission nowhere: "));
        for files in [&[][..], &["a.ipynb", "b.ipynb"]] {
            assert!(refused(folder(files).path()).contains("no main.py and not exactly one notebook"));
        }
        let both = folder(&["main.py", "x.ipynb", "util.py"]);
        for other in ["x.ipynb", "util.py"] {
            assert!(refused(&both.path().join(other)).contains("of its folder main.py runs"), "{other}");
        }
    }
}
