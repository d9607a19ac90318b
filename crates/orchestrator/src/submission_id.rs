//! Names of submissions' folders, and names of files that follow from ids.

use std::fmt;

use uuid::Uuid;

const MAX_LENGTH: usize = 150;

/// The name of a submission's folder: one path component of ASCII letters, digits, `.`, `_` and `-` that does not begin
/// with a dot, at most 150 bytes. It cannot lead out of the folder of submissions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubmissionId(String);

/// A text that names no submission.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no name of a submission's folder: use letters, digits, `.`, `_` and `-`, at most {MAX_LENGTH}, and no dot \
     at the beginning"
)]
pub struct InvalidSubmissionId(String);

impl SubmissionId {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidSubmissionId> {
        if is_plain(name) {
            Ok(SubmissionId(name.to_owned()))
        } else {
            Err(InvalidSubmissionId(name.chars().take(MAX_LENGTH).collect()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_LENGTH).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_allowed)
}

/// A file name for an id, whatever the id is: itself where it is a plain name, else one that follows from it. Two ids never
/// get the same name.
pub(crate) fn file_name(id: &str) -> String {
    // a plain id that looks like one that was made is made too
    if is_plain(id) && !id.starts_with(MADE) {
        id.to_owned()
    } else {
        format!("{MADE}{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()))
    }
}

const MADE: &str = "id-";

const UPLOAD: &str = "upload-";

/// Folders of a model's uploads are this and a number: no other model's, and none that an operator would make.
pub(crate) fn upload_prefix(id: &str) -> String {
    format!("{UPLOAD}{}.", file_name(id))
}

/// Whether a folder of this name is one of uploads.
pub(crate) fn is_upload(name: &str) -> bool {
    name.starts_with(UPLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_a_folder() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "a\0b", "a b", "é", &"x".repeat(151)] {
            assert!(SubmissionId::new(bad).is_err(), "{bad:?}");
            let name = file_name(bad);
            assert!(name != bad && is_plain(&name), "{name}");
        }
        assert_eq!(SubmissionId::new("my-tracker_2.0").unwrap().as_str(), "my-tracker_2.0");
    }

    #[test]
    fn every_id_has_a_file_name_of_its_own() {
        assert_eq!(file_name("light"), "light");
        assert_ne!(file_name("a/b"), file_name("a\\b"));
        let made = file_name("a/b");
        assert_ne!(file_name(&made), made, "an id that looks like a made name does not take that name");
    }
}
