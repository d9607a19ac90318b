//! Users for submissions: each submission of each model runs under a user id of its own, in a folder of its own.
//!
//! A submission's folder is copied into its user's home at each start, so that it sees nothing else, changes nothing of the
//! original, and the data folder can be closed to everybody. The owner of a home is the record of whose user id it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use domain::ModelId;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::models_file::{ModelEntry, ModelProgram};
use crate::submission_id::SubmissionId;

/// User ids that nobody else uses: above those of people and services, below those that containers take.
const DEFAULT_RANGE: UserRange = UserRange { first: 70_000, last: 79_999 };

/// User ids from `first` to `last`, both included, written such as `70000-79999`; groups have the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRange {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl UserRange {
    pub(crate) fn contains(self, uid: u32) -> bool {
        (self.first..=self.last).contains(&uid)
    }
}

impl FromStr for UserRange {
    type Err = InvalidUserRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let range = UserRange { first: first.parse().ok()?, last: last.parse().ok()? };
            (range.first > 0 && range.first <= range.last && range.last < u32::MAX).then_some(range)
        };
        parse().ok_or_else(|| InvalidUserRange(text.to_owned()))
    }
}

/// A text that is no range of users.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no range of user ids above 0 such as {DEFAULT_RANGE}")]
pub struct InvalidUserRange(String);

impl fmt::Display for UserRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Under which users submissions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsersChoice {
    /// Their own where that is possible, else the operator's.
    Auto,
    /// The operator's.
    Off,
    /// Their own, of this range.
    Range(UserRange),
}

/// A text that says nothing about users.
#[derive(Debug, thiserror::Error)]
#[error("`{0}`: write auto, off, or a range of user ids above 0 such as {DEFAULT_RANGE}")]
pub struct InvalidUsersChoice(String);

impl FromStr for UsersChoice {
    type Err = InvalidUsersChoice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(UsersChoice::Auto),
            "off" => Ok(UsersChoice::Off),
            _ => text.parse().map(UsersChoice::Range).map_err(|_| InvalidUsersChoice(text.to_owned())),
        }
    }
}

/// Submissions cannot run under users of their own.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// Only the superuser can.
    #[error("only the superuser can start processes of other users")]
    NotSuperuser,
    /// The program cannot be started as another user.
    #[error("user {uid} cannot run {program}: {reason}")]
    CannotRun {
        /// As whom.
        uid: u32,
        /// What.
        program: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder of homes.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Each home has one.
    #[error("all user ids of {range} are taken by folders in {homes}: remove those that nobody needs")]
    NoneLeft {
        /// Of these.
        range: UserRange,
        /// There.
        homes: PathBuf,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> UsersError {
    move |source| UsersError::Io { path: path.to_owned(), source }
}

/// Under which users the submissions of one orchestrator run.
#[derive(Debug, Clone)]
pub enum SubmissionUsers {
    /// The operator's; the reason in words.
    Operator(String),
    /// Their own.
    Own(Users),
}

impl SubmissionUsers {
    /// Finds out whether `choice` is possible for `program`, which will be started, and for `submissions`, with homes in
    /// `homes`, which every user must be able to reach. An error only when users of their own were asked for by range.
    pub fn choose(
        choice: UsersChoice,
        homes: &Path,
        program: &Path,
        submissions: &Path,
    ) -> Result<Self, UsersError> {
        match choice {
            UsersChoice::Off => Ok(SubmissionUsers::Operator("as asked".to_owned())),
            UsersChoice::Range(range) => {
                Users::new(range, homes, program, submissions).map(SubmissionUsers::Own)
            }
            UsersChoice::Auto => Ok(Users::new(DEFAULT_RANGE, homes, program, submissions)
                .map_or_else(|why| SubmissionUsers::Operator(why.to_string()), SubmissionUsers::Own)),
        }
    }

    /// What the operator is to know, in one sentence.
    pub fn describe(&self) -> String {
        match self {
            SubmissionUsers::Operator(why) => format!(
                "submissions run with the rights of the operator ({why}): they can read and change all that you can, the \
                 deploy key too, call one another, and have one another stopped at the orchestrator's port: run only those \
                 that you trust"
            ),
            SubmissionUsers::Own(users) => format!(
                "submissions run as users of their own ({}), each in a home below {}",
                users.range,
                users.homes.display()
            ),
        }
    }

    /// The users of submissions, where it can be told which connections are theirs.
    pub(crate) fn told_apart(&self) -> Option<UserRange> {
        match self {
            SubmissionUsers::Own(users) if cfg!(target_os = "linux") => Some(users.range),
            SubmissionUsers::Own(_) | SubmissionUsers::Operator(_) => None,
        }
    }
}

/// The homes of one orchestrator's submissions.
#[derive(Debug, Clone)]
pub struct Users {
    range: UserRange,
    /// Shared by all orchestrators of this machine: a folder for each, with a home for each submission of each model.
    homes: PathBuf,
    own: PathBuf,
    /// Held while processes of a home's user may run.
    in_use: Arc<Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>>,
}

/// A home that is ready, and held until this is dropped, which also ends what still runs there.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) uid: u32,
    pub(super) path: PathBuf,
    _held: OwnedMutexGuard<()>,
}

impl Home {
    pub(super) fn submission(&self) -> PathBuf {
        self.path.join("submission")
    }

    pub(super) fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    pub(super) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Kills every process of the user, also those that have left their process group.
    fn sweep(&self) {
        let sweep = as_user(Command::new("/bin/sh"), self.uid).args(["-c", "kill -KILL -1"]).status();
        if let Err(error) = sweep {
            tracing::warn!(uid = self.uid, %error, "cannot look for processes that user {} has left: {error}", self.uid);
        }
    }
}

/// Nothing is left behind, however the host ended.
impl Drop for Home {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// The command as another user: without groups of the operator's, environment, or input and output.
fn as_user(mut command: Command, uid: u32) -> Command {
    use std::os::unix::process::CommandExt;
    command.uid(uid).gid(uid).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Users {
    fn new(range: UserRange, homes: &Path, program: &Path, submissions: &Path) -> Result<Self, UsersError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(UsersError::NotSuperuser);
        }
        let cannot_run =
            |reason| UsersError::CannotRun { uid: range.first, program: program.to_owned(), reason };
        let status = as_user(Command::new(program), range.first).arg("--version").status();
        let status = status.map_err(|error| cannot_run(error.to_string()))?;
        if !status.success() {
            return Err(cannot_run(status.to_string()));
        }
        let homes = std::path::absolute(homes).map_err(io_error(homes))?;
        let submissions = submissions.canonicalize().map_err(io_error(submissions))?;
        let own = homes.join(name_of(&submissions.display().to_string()));
        DirBuilder::new().recursive(true).mode(0o711).create(&own).map_err(io_error(&own))?;
        for folder in [&homes, &own] {
            // passed through, not listed
            fs::set_permissions(folder, Permissions::from_mode(0o711)).map_err(io_error(folder))?;
        }
        Ok(Users { range, homes, own, in_use: Arc::default() })
    }

    fn home_path(&self, model_id: &ModelId, submission: &SubmissionId) -> PathBuf {
        self.own.join(name_of(&format!("{submission}\n{model_id}")))
    }

    /// Makes the home of a model's submission ready, with a fresh copy of `folder`. Waits until nothing runs there.
    pub(super) async fn home(
        &self,
        model_id: &ModelId,
        submission: &SubmissionId,
        folder: &Path,
    ) -> Result<Home, UsersError> {
        let path = self.home_path(model_id, submission);
        let held = self.hold(&path).lock_owned().await;
        let (users, folder) = (self.clone(), folder.to_owned());
        let preparing = tokio::task::spawn_blocking(move || users.prepare(path, held, &folder));
        preparing.await.unwrap_or_else(|error| Err(io_error(&self.own)(io::Error::other(error))))
    }

    fn hold(&self, path: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.entry(path.to_owned()).or_default().clone()
    }

    fn prepare(&self, path: PathBuf, held: OwnedMutexGuard<()>, folder: &Path) -> Result<Home, UsersError> {
        let uid = self.own_user(&path)?;
        let home = Home { uid, path, _held: held };
        // what an orchestrator that was killed may have left
        home.sweep();
        let (copy, temporary, environments) = (home.submission(), home.temporary(), home.environments());
        for stale in [&copy, &temporary] {
            remove(stale).map_err(io_error(stale))?;
        }
        for own in [&temporary, &environments] {
            make_folder(own, uid).map_err(io_error(own))?;
        }
        copy_folder(folder, &copy, uid).map_err(|(path, source)| UsersError::Io { path, source })?;
        Ok(home)
    }

    /// The user of a home, which is made if it is not there. One at a time over all orchestrators of the machine.
    fn own_user(&self, path: &Path) -> Result<u32, UsersError> {
        let lock = self.homes.join("lock");
        let file =
            File::options().create(true).append(true).mode(0o600).open(&lock).map_err(io_error(&lock))?;
        file.lock().map_err(io_error(&lock))?;
        let taken = self.taken().map_err(io_error(&self.homes))?;
        match path.symlink_metadata() {
            Ok(home) if self.range.contains(home.uid()) && taken.get(&home.uid()) == Some(&1) => {
                return Ok(home.uid());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            _ => remove(path).map_err(io_error(path))?,
        }
        let free = (self.range.first..=self.range.last).find(|uid| !taken.contains_key(uid));
        let none_left = || UsersError::NoneLeft { range: self.range, homes: self.homes.clone() };
        let uid = free.ok_or_else(none_left)?;
        make_folder(path, uid).map_err(io_error(path))?;
        Ok(uid)
    }

    /// How many homes each user has: one, unless somebody moved folders about.
    fn taken(&self) -> io::Result<BTreeMap<u32, usize>> {
        let mut taken = BTreeMap::new();
        for orchestrator in folders(&self.homes)? {
            for home in folders(&orchestrator)? {
                *taken.entry(home.symlink_metadata()?.uid()).or_default() += 1;
            }
        }
        Ok(taken)
    }

    /// Removes the homes that belong to none of `entries` and where nothing runs.
    pub(super) fn keep_only(&self, entries: &[ModelEntry]) {
        let wanted: BTreeSet<PathBuf> = entries.iter().filter_map(|entry| self.home_of(entry)).collect();
        let users = self.clone();
        // environments are large: removing them takes its time
        tokio::task::spawn_blocking(move || {
            let homes = folders(&users.own).unwrap_or_default();
            for home in homes.into_iter().filter(|home| !wanted.contains(home)) {
                if let Ok(_held) = users.hold(&home).try_lock_owned()
                    && let Err(error) = remove(&home)
                {
                    let path = home.display();
                    tracing::warn!(%path, %error, "cannot remove {path}, which nobody needs any more: {error}");
                }
            }
        });
    }

    fn home_of(&self, entry: &ModelEntry) -> Option<PathBuf> {
        match &entry.program {
            ModelProgram::Submission(id) => Some(self.home_path(&entry.model_id, id)),
            ModelProgram::Builtin(_) => None,
        }
    }
}

fn name_of(text: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string()
}

fn folders(parent: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Removes a folder and all below it; links are removed, not followed.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A folder of the user's, closed to all others. One that is there already is left as it is.
fn make_folder(path: &Path, uid: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => chown(path, Some(uid), Some(uid)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies files and folders for a user. Hidden ones and what Python compiled are left out. A link is refused: it could lead
/// to what the user must not see.
fn copy_folder(from: &Path, to: &Path, uid: u32) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| (path, error)
    };
    make_folder(to, uid).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") || name == "__pycache__" {
            continue;
        }
        let (kind, target) = (entry.file_type().map_err(at(&source))?, to.join(&name));
        if kind.is_dir() {
            copy_folder(&source, &target, uid)?;
        } else if kind.is_file() {
            copy_file(&source, &target, uid).map_err(at(&source))?;
        } else {
            let refused = "it is no file and no folder: links are not followed, copy what it leads to";
            return Err((source, io::Error::new(ErrorKind::InvalidInput, refused)));
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, uid: u32) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::set_permissions(to, Permissions::from_mode(0o600))?;
    chown(to, Some(uid), Some(uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_users_is_a_word_or_a_range_without_the_superuser() {
        assert_eq!("auto".parse::<UsersChoice>().unwrap(), UsersChoice::Auto);
        let range = UserRange { first: 5000, last: 5000 };
        assert_eq!("5000-5000".parse::<UsersChoice>().unwrap(), UsersChoice::Range(range));
        for bad in ["", "0-10", "10-9", "10", "a-b", "1-4294967295"] {
            assert!(bad.parse::<UsersChoice>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_link_out_of_a_submission_is_refused_and_hidden_files_stay_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let own = nix::unistd::getuid().as_raw();
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::write(from.join("deep/main.py"), "pass").unwrap();
        fs::write(from.join(".secret"), "x").unwrap();
        copy_folder(&from, &to, own).unwrap();
        assert_eq!(fs::read_to_string(to.join("deep/main.py")).unwrap(), "pass");
        assert!(!to.join(".secret").exists());
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o700);

        std::os::unix::fs::symlink("/etc/passwd", from.join("deep/link")).unwrap();
        remove(&to).unwrap();
        let (path, error) = copy_folder(&from, &to, own).unwrap_err();
        assert!(path.ends_with("deep/link") && error.to_string().contains("links"), "{error}");
    }
}
