//! The Python checks, in a virtual environment of their own under the build folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{install, shell, target_folder};

/// A virtual environment under the build folder.
struct Environment {
    folder: &'static str,
    requirements: &'static str,
    /// What can be imported once it is complete.
    imports: &'static str,
}

const SCORES: Environment =
    Environment { folder: "python", requirements: "python/requirements.txt", imports: "import numpy, scipy" };

const INTEROP: Environment = Environment {
    folder: "python-interop",
    requirements: "python/interop_requirements.txt",
    imports: "import model_runner_client, pandas, pyarrow",
};

/// Runs the independent check of scores: on an export of its own making, which it must find right, and on spoilt copies,
/// which it must find wrong; then on a replay of a day. Then lets the field's own client talk to our model host and
/// orchestrator.
pub fn check() -> Result<()> {
    let python = environment(&SCORES)?;
    shell::run(&mut shell::command(&python, &["python/check_scores.py", "--self-test"]))?;
    shell::run(&mut shell::cargo(&["build", "--quiet", "--workspace", "--bin", "condor"]))?;
    check_replay(&python)?;
    check_interop()
}

/// Python's client of the field against our orchestrator and Python submissions behind our model host.
fn check_interop() -> Result<()> {
    let python = environment(&INTEROP)?;
    let mut check = shell::command(&python, &["python/check_interop.py", "--condor"]);
    check.arg(target_folder().join("debug/condor"));
    shell::run(check.arg("--environments").arg(target_folder().join("submission-environments")))
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

/// The interpreter of a virtual environment that has what the scripts import.
fn environment(environment: &Environment) -> Result<PathBuf> {
    let folder = target_folder().join(environment.folder);
    let python = folder.join("bin/python");
    if shell::succeeds(&mut shell::command(&python, &["-c", environment.imports])) {
        return Ok(python);
    }
    ensure_python()?;
    let folder = folder.to_str().context("the path of the build folder is not UTF-8")?;
    shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", folder]))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    shell::run(shell::command(&python, &pip).arg(environment.requirements)).with_context(|| {
        format!(
            "the Python checks need {} from the package index; is there a network?",
            environment.requirements
        )
    })?;
    Ok(python)
}

/// Debian splits what makes virtual environments from the interpreter.
fn ensure_python() -> Result<()> {
    let can_make_environments =
        || shell::succeeds(&mut shell::command("python3", &["-c", "import venv, ensurepip"]));
    if can_make_environments() {
        return Ok(());
    }
    install::packages(&["python3", "python3-venv"], "the checks in Python")
}
