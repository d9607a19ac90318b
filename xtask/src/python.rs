//! The Python checks; and the virtual environments under the build folder in which our Python runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{install, repository, shell, target_folder};

/// What the check of scores imports.
const SCORES: Environment = Environment { folder: "python", requirements: "python/requirements.txt" };

/// The field's own client, what it needs for tables, and what its nodes and orchestrators are written with.
const INTEROP: Environment =
    Environment { folder: "python-interop", requirements: "python/interop_requirements.txt" };

/// A virtual environment.
pub struct Environment {
    /// Its folder below the build folder.
    pub folder: &'static str,
    /// What is in it, as pip reads it.
    pub requirements: &'static str,
}

/// Runs the independent check of scores: on an export of its own making, which it must find right, and on spoilt copies,
/// which it must find wrong; then on a replay of a day. Then lets the field's own client talk to our model host and
/// orchestrator, and our client to nodes and an orchestrator of the field's kind.
pub fn check() -> Result<()> {
    let python = SCORES.interpreter()?;
    shell::run(&mut shell::command(&python, &["python/check_scores.py", "--self-test"]))?;
    shell::run(&mut shell::cargo(&["build", "--quiet", "--workspace", "--bin", "condor"]))?;
    check_replay(&python)?;
    check_interop()?;
    check_client_interop()
}

/// Python's client of the field against our orchestrator and Python submissions behind our model host.
fn check_interop() -> Result<()> {
    let python = INTEROP.interpreter()?;
    let mut check = shell::command(&python, &["python/check_interop.py", "--condor"]);
    check.arg(target_folder().join("debug/condor"));
    shell::run(check.arg("--environments").arg(target_folder().join("submission-environments")))
}

/// Our client against model nodes written with grpcio and an orchestrator written with websockets.
fn check_client_interop() -> Result<()> {
    let python = INTEROP.interpreter()?;
    let example = ["build", "--quiet", "--package", "model-client", "--example", "ask_all"];
    shell::run(&mut shell::cargo(&example))?;
    let mut check = shell::command(&python, &["python/check_client_interop.py", "--condor"]);
    check.arg(target_folder().join("debug/condor"));
    shell::run(check.arg("--ask-all").arg(target_folder().join("debug/examples/ask_all")))
}

/// Recomputes every score of a day's replay, with a gap in the prices and a model that is ten times too wide.
fn check_replay(python: &Path) -> Result<()> {
    let condor = target_folder().join("debug/condor");
    let folder = tempfile::tempdir()?;
    let database = format!("sqlite://{}", folder.path().join("replay.db").display());
    let mut prices = shell::command(python, &["python/random_prices.py"]);
    shell::run(prices.arg(folder.path()).arg("2025-05-20T00:00:00+00:00"))?;
    let mut replay =
        shell::command(&condor, &["replay", "--assets", "BTC,ETH", "--from", "2025-05-20T02:00:00Z"]);
    replay.args(["--add-model", "random-walk:scale=10", "--database", &database]);
    shell::run(replay.arg("--prices").arg(folder.path()))?;
    let mut check = shell::command(python, &["python/check_scores.py", "--database", &database]);
    shell::run(check.arg("--condor").arg(&condor))
}

impl Environment {
    /// Its interpreter. It is made anew whenever its requirements have changed.
    pub fn interpreter(&self) -> Result<PathBuf> {
        let folder = target_folder().join(self.folder);
        let python = folder.join("bin/python");
        let wanted = fs::read_to_string(repository().join(self.requirements))
            .with_context(|| format!("cannot read {}", self.requirements))?;
        let installed = folder.join("installed.txt");
        let is_current = fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted);
        // Python itself may have gone from under it.
        if is_current && shell::succeeds(&mut shell::command(&python, &["-c", ""])) {
            return Ok(python);
        }
        ensure_installed()?;
        let path = folder.to_str().context("the path of the build folder is not UTF-8")?;
        shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", path]))?;
        self.install(&python)?;
        fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
        Ok(python)
    }

    fn install(&self, python: &Path) -> Result<()> {
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let requirements = self.requirements;
        shell::run(shell::command(python, &pip).arg(requirements)).with_context(|| {
            format!("{requirements} could not be installed from the package index; is there a network?")
        })
    }
}

/// Installs Python where it is missing, and what makes virtual environments, which Debian splits from the interpreter.
pub fn ensure_installed() -> Result<()> {
    let can_make_environments =
        || shell::succeeds(&mut shell::command("python3", &["-c", "import venv, ensurepip"]));
    if can_make_environments() {
        return Ok(());
    }
    install::packages(&["python3", "python3-venv"], "our Python")
}
