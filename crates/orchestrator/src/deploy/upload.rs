//! What is uploaded: read, checked, and stored in a folder of its own.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;

use super::problem::Problem;
use crate::models_file::DesiredState;

/// All of an upload together. Larger ones are refused with 413.
pub const MAX_UPLOAD_BYTES: usize = 32 * 1024 * 1024;
/// An upload takes no longer than this.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Names of models and people.
const MAX_TEXT_BYTES: usize = 200;
const MAX_NAME_BYTES: usize = 100;

const MAIN: &str = "main.py";
const REQUIREMENTS: &str = "requirements.txt";
const NOTEBOOK: &str = ".ipynb";

/// A form as it was sent: what it leaves out is `None`.
#[derive(Default)]
pub(super) struct Form {
    pub(super) desired_state: Option<DesiredState>,
    pub(super) model_name: Option<String>,
    pub(super) cruncher_name: Option<String>,
    pub(super) cruncher_id: Option<String>,
    pub(super) code: Option<Code>,
}

/// The files of a submission, complete: a notebook, or `main.py` and `requirements.txt`.
pub(super) struct Code(Vec<(String, Vec<u8>)>);

impl Form {
    pub(super) async fn read(parts: Multipart) -> Result<Self, Problem> {
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The upload took too long: try again.");
        tokio::time::timeout(UPLOAD_TIMEOUT, Self::read_parts(parts)).await.map_err(late)?
    }

    async fn read_parts(mut parts: Multipart) -> Result<Self, Problem> {
        let (mut form, mut files) = (Form::default(), Vec::new());
        while let Some(part) = parts.next_field().await.map_err(unreadable)? {
            match part.name().unwrap_or_default() {
                "files" => add_file(&mut files, part).await?,
                "desired_state" => form.desired_state = Some(desired_state(part).await?),
                "model_name" => form.model_name = Some(text("model_name", part).await?),
                "cruncher_name" => form.cruncher_name = Some(text("cruncher_name", part).await?),
                "cruncher_id" => form.cruncher_id = Some(text("cruncher_id", part).await?),
                // an orchestrator has one competition
                "crunch_id" => {}
                other => {
                    return Err(Problem::bad_request(format!("The part `{}` is unknown.", shown(other))));
                }
            }
        }
        if !files.is_empty() {
            form.code = Some(Code::complete(files)?);
        }
        Ok(form)
    }
}

fn unreadable(error: MultipartError) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The upload is larger than {} MiB.", MAX_UPLOAD_BYTES / (1024 * 1024)),
        ),
        _ => Problem::bad_request(format!("The form cannot be read: {}.", error.body_text())),
    }
}

/// What is safe to repeat of what a client sent.
fn shown(text: &str) -> String {
    text.chars().take(MAX_NAME_BYTES).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

async fn text(name: &str, part: Field<'_>) -> Result<String, Problem> {
    let text = part.text().await.map_err(unreadable)?;
    if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        let wrong = format!("`{name}` must be at most {MAX_TEXT_BYTES} bytes without control characters.");
        return Err(Problem::bad_request(wrong));
    }
    Ok(text)
}

async fn desired_state(part: Field<'_>) -> Result<DesiredState, Problem> {
    match text("desired_state", part).await?.as_str() {
        "RUNNING" => Ok(DesiredState::Running),
        "STOPPED" => Ok(DesiredState::Stopped),
        other => {
            let other = shown(other);
            Err(Problem::bad_request(format!("`desired_state` is `{other}`: send RUNNING or STOPPED.")))
        }
    }
}

async fn add_file(files: &mut Vec<(String, Vec<u8>)>, part: Field<'_>) -> Result<(), Problem> {
    let name = part.file_name().unwrap_or_default().to_owned();
    check_name(&name)?;
    if files.iter().any(|(known, _)| *known == name) {
        return Err(Problem::bad_request(format!("`files` has `{name}` twice.")));
    }
    let content = part.bytes().await.map_err(unreadable)?;
    files.push((name, content.to_vec()));
    Ok(())
}

/// Only names that are expected, and that are nothing but names.
fn check_name(name: &str) -> Result<(), Problem> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '(' | ')');
    let is_notebook = name.ends_with(NOTEBOOK)
        && name.len() > NOTEBOOK.len()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && name.chars().all(is_plain);
    if is_notebook || name == MAIN || name == REQUIREMENTS {
        return Ok(());
    }
    Err(Problem::bad_request(format!(
        "`files` has `{}`: send one notebook (a plain name that ends in {NOTEBOOK}), or {MAIN} with {REQUIREMENTS}.",
        shown(name)
    )))
}

impl Code {
    fn complete(files: Vec<(String, Vec<u8>)>) -> Result<Self, Problem> {
        let has = |wanted: &str| files.iter().any(|(name, _)| name == wanted);
        let notebooks = files.iter().filter(|(name, _)| name.ends_with(NOTEBOOK)).count();
        let wrong = match (notebooks, has(MAIN), has(REQUIREMENTS)) {
            (1, false, false) | (0, true, true) => return Ok(Code(files)),
            (0, true, false) => format!("{REQUIREMENTS} is missing; it may be empty."),
            (0, false, _) => format!("{MAIN} is missing."),
            _ => format!("send one notebook alone, or {MAIN} with {REQUIREMENTS}."),
        };
        Err(Problem::bad_request(format!("`files` is not complete: {wrong}")))
    }

    /// Writes the files into a new folder, which is there with all of them or not at all.
    pub(super) fn store(&self, folder: &Path) -> io::Result<()> {
        let parent = folder.parent().unwrap_or(folder);
        let partial = parent.join(format!(".partial-{}", uuid::Uuid::new_v4()));
        let stored = self.write(&partial).and_then(|()| fs::rename(&partial, folder));
        if stored.is_err() {
            // whatever is left of it is hidden and used by nobody
            let _ = fs::remove_dir_all(&partial);
        }
        stored
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)?;
        for (name, content) in &self.0 {
            let mut file =
                File::options().write(true).create_new(true).mode(0o600).open(folder.join(name))?;
            file.write_all(content)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_and_nothing_else() {
        for good in ["main.py", "requirements.txt", "tracker.ipynb", "My tracker (2).ipynb"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".ipynb",
            "..",
            "../main.py",
            "/etc/main.py",
            "a/b.ipynb",
            "..\\b.ipynb",
            "a\0.ipynb",
            "main.PY",
            ".x.ipynb",
            "setup.py",
            "é.ipynb",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_name(&format!("{}.ipynb", "x".repeat(200))).is_err());
    }
}
