//! Interpreters for submissions: the plain one, or a virtual environment with what `requirements.txt` asks for.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

use super::log;

const REQUIREMENTS: &str = "requirements.txt";

/// Building takes minutes when packages are compiled, and never as long as this.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How many of the builder's last lines an error shows.
const LAST_LINES: usize = 12;

/// What installers may see of the operator's environment: where packages come from, and how to get there. Passwords of
/// anything else stay out of the reach of set-up scripts.
const INSTALLERS_SEE: [&str; 6] = ["PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
const INSTALLERS_SEE_PREFIXES: [&str; 2] = ["PIP_", "UV_"];
const INSTALLERS_SEE_SUFFIXES: [&str; 2] = ["_PROXY", "_proxy"];

/// Prints the interpreter behind whatever starts it (a link, a version manager), and which one it is.
const PROBE: &str = "import sys; assert sys.version_info >= (3, 9), 'Python 3.9 or later is wanted'; \
                     print(sys.executable); print(sys.version.replace('\\n', ' '))";

/// There is no interpreter for a submission.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No Python, or one that does not work.
    #[error(
        "`{python}` is no usable Python interpreter: {reason}; install Python 3.9 or later (Debian, Ubuntu: apt-get install \
         python3 python3-venv), or name another one with --python"
    )]
    Python {
        /// As it was named.
        python: String,
        /// In words.
        reason: String,
    },
    /// A file or folder.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The packages cannot be installed.
    #[error("{requirements} cannot be installed: {reason}; the installer's last lines:\n{last_lines}")]
    Build {
        /// The file.
        requirements: PathBuf,
        /// In words.
        reason: String,
        /// What the installer printed last.
        last_lines: String,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> EnvironmentError {
    move |source| EnvironmentError::Io { path: path.to_owned(), source }
}

/// A folder of virtual environments, each built once for what it holds. Several hosts may share it.
#[derive(Debug, Clone)]
pub struct Environments {
    folder: PathBuf,
}

impl Environments {
    /// Environments in `folder`, which is made when it is needed.
    pub fn in_folder(folder: PathBuf) -> Self {
        Environments { folder }
    }

    /// Environments in `.environments` beside `submission`, shared with its siblings.
    pub fn beside(submission: &Path) -> Self {
        let parent = submission.parent().unwrap_or(submission);
        Environments { folder: parent.join(".environments") }
    }

    /// The interpreter for the submission in the folder `submission` (an absolute path): `python` itself, or that of an
    /// environment which is built first if there is none yet, with uv when that is on the PATH.
    pub async fn interpreter(&self, submission: &Path, python: &Path) -> Result<PathBuf, EnvironmentError> {
        let python = probe(python).await?;
        let path = submission.join(REQUIREMENTS);
        let requirements = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(python.executable),
            Err(error) => return Err(io_error(&path)(error)),
        };
        let Some(key) = key(&requirements, &python, submission) else { return Ok(python.executable) };
        self.built(key, &path, &python.executable).await
    }

    async fn built(
        &self,
        key: Uuid,
        requirements: &Path,
        python: &Path,
    ) -> Result<PathBuf, EnvironmentError> {
        std::fs::create_dir_all(&self.folder).map_err(io_error(&self.folder))?;
        let folder = self.folder.canonicalize().map_err(io_error(&self.folder))?;
        let environment = folder.join(key.to_string());
        let interpreter = environment.join("bin/python");
        let _lock = lock(folder.join(format!("{key}.lock"))).await?;
        if interpreter.is_file() {
            return Ok(interpreter);
        }
        // only who holds the lock builds, so whatever is here was left by a builder that was killed
        let building = folder.join(format!("{key}.building"));
        remove(&building)?;
        remove(&environment)?;
        tracing::info!("building the environment of {} in {}", requirements.display(), environment.display());
        if let Err(error) = build(&building, requirements, python).await {
            remove(&building)?;
            return Err(error);
        }
        std::fs::rename(&building, &environment).map_err(io_error(&environment))?;
        Ok(interpreter)
    }
}

struct Python {
    executable: PathBuf,
    version: String,
}

async fn probe(python: &Path) -> Result<Python, EnvironmentError> {
    let unusable = |reason: String| EnvironmentError::Python { python: python.display().to_string(), reason };
    let output = Command::new(python)
        .args(["-I", "-c", PROBE])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().collect::<Vec<_>>()[..] {
        [executable, version] if output.status.success() && !executable.is_empty() => {
            Ok(Python { executable: executable.into(), version: version.to_owned() })
        }
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(unusable(errors.lines().last().unwrap_or("it does not answer").to_owned()))
        }
    }
}

/// What tells environments apart; `None` when nothing is required.
fn key(requirements: &str, python: &Python, submission: &Path) -> Option<Uuid> {
    let lines = requirements.lines().map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.is_empty() {
        return None;
    }
    let mut content = format!("{}\n{}\n", python.executable.display(), python.version);
    // options and paths mean something else in each folder: nobody shares what they lead to
    if lines.iter().any(|line| line.starts_with('-') || line.contains(['/', '\\', '$'])) {
        content.push_str(&format!("{}\n", submission.display()));
    }
    content.push_str(&lines.join("\n"));
    Some(Uuid::new_v5(&Uuid::NAMESPACE_OID, content.as_bytes()))
}

/// Waits for whoever builds the same; the lock dies with its holder.
async fn lock(path: PathBuf) -> Result<File, EnvironmentError> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(&path).map_err(io_error(&path))?;
        file.lock().map_err(io_error(&path))?;
        Ok(file)
    });
    locked.await.unwrap_or_else(|error| Err(io_error(Path::new("lock"))(io::Error::other(error))))
}

fn remove(folder: &Path) -> Result<(), EnvironmentError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder)(error)),
        _ => Ok(()),
    }
}

async fn build(environment: &Path, requirements: &Path, python: &Path) -> Result<(), EnvironmentError> {
    let folder = requirements.parent().unwrap_or(requirements);
    let mut commands = match find_on_path("uv") {
        Some(uv) => with_uv(&uv, environment, requirements, python),
        None => with_pip(environment, requirements, python),
    };
    for command in &mut commands {
        run(command.current_dir(folder)).await.map_err(|Failed { reason, last_lines }| {
            EnvironmentError::Build { requirements: requirements.to_owned(), reason, last_lines }
        })?;
    }
    Ok(())
}

fn with_uv(uv: &Path, environment: &Path, requirements: &Path, python: &Path) -> [Command; 2] {
    let (mut make, mut install) = (Command::new(uv), Command::new(uv));
    make.args(["venv", "--no-project", "--python"]).args([python, environment]);
    install
        // copies: a submission that writes into its packages must not reach those of others
        .args(["pip", "install", "--link-mode", "copy", "--compile-bytecode", "--python"])
        .arg(environment.join("bin/python"))
        .arg("--requirement")
        .arg(requirements);
    [make, install]
}

fn with_pip(environment: &Path, requirements: &Path, python: &Path) -> [Command; 2] {
    let (mut make, mut install) = (Command::new(python), Command::new(environment.join("bin/python")));
    make.args(["-I", "-m", "venv"]).arg(environment);
    install
        .args(["-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement"])
        .arg(requirements);
    [make, install]
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

struct Failed {
    reason: String,
    last_lines: String,
}

/// Runs one step of a build, its output in the log.
async fn run(command: &mut Command) -> Result<(), Failed> {
    let last_lines = Mutex::new(Vec::new());
    let failed = |reason: String| {
        let lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        Failed { reason, last_lines: lines.join("\n") }
    };
    let program = command.as_std().get_program().display().to_string();
    let mut child = command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| installers_see(name)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot run {program}: {error}")))?;
    let keep = |line: &str| {
        tracing::info!("the installer says: {line}");
        let mut lines = last_lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.to_owned());
        let surplus = lines.len().saturating_sub(LAST_LINES);
        lines.drain(..surplus);
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ending = async {
        let follow_both = async { tokio::join!(follow(stdout, keep), follow(stderr, keep)) };
        tokio::join!(follow_both, child.wait()).1
    };
    match timeout(BUILD_LIMIT, ending).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("{program} ended with {status}"))),
        Ok(Err(error)) => Err(failed(format!("{program} cannot be watched: {error}"))),
        Err(_) => Err(failed(format!("{program} took longer than {} min", BUILD_LIMIT.as_secs() / 60))),
    }
}

async fn follow(output: Option<impl AsyncRead + Unpin>, keep: impl Fn(&str)) {
    if let Some(output) = output {
        log::follow(output, keep).await;
    }
}

pub(crate) fn installers_see(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        INSTALLERS_SEE.contains(&name)
            || INSTALLERS_SEE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || INSTALLERS_SEE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(requirements: &str, version: &str, folder: &str) -> Option<Uuid> {
        let python = Python { executable: "/usr/bin/python3".into(), version: version.into() };
        key(requirements, &python, Path::new(folder))
    }

    #[test]
    fn submissions_share_an_environment_exactly_when_it_would_be_the_same() {
        let numpy = key_of("numpy==2.0\n", "3.11", "/a").unwrap();
        assert_eq!(key_of("# tools\n\n  numpy==2.0", "3.11", "/b"), Some(numpy));
        assert_ne!(key_of("numpy==2.1", "3.11", "/a"), Some(numpy));
        assert_ne!(key_of("numpy==2.0", "3.12", "/a"), Some(numpy));
        for own in ["./pkg", "-r more.txt", "--find-links here\nnumpy", "pkg @ file:///${PWD}/pkg"] {
            assert_ne!(key_of(own, "3.11", "/a"), key_of(own, "3.11", "/b"), "{own}");
        }
    }

    #[test]
    fn nothing_required_needs_no_environment() {
        for nothing in ["", "\n \n", "# numpy\n"] {
            assert_eq!(key_of(nothing, "3.11", "/a"), None, "{nothing:?}");
        }
    }

    #[test]
    fn installers_see_where_packages_come_from_and_no_passwords() {
        for seen in ["PATH", "PIP_INDEX_URL", "UV_CACHE_DIR", "https_proxy", "HTTPS_PROXY"] {
            assert!(installers_see(OsStr::new(seen)), "{seen}");
        }
        for hidden in ["DATABASE_URL", "CONDOR_DATABASE__URL", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"] {
            assert!(!installers_see(OsStr::new(hidden)), "{hidden}");
        }
    }
}
