//! The web page in a browser.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{install, repository, shell, target_folder};

/// Where the tests are, below the repository's root.
const TESTS: &str = "crates/report-worker/page-tests";

/// Looks at every view of the page in Chromium, over a replay that the tests make by themselves. They leave pictures in the
/// folder `page-screenshots` below the build folder.
pub fn check() -> Result<()> {
    ensure_installed()?;
    let folder = repository().join(TESTS);
    install_packages(&folder)?;
    shell::run(&mut shell::cargo(&["build", "--quiet", "--workspace", "--bin", "condor"]))?;
    let pictures = target_folder().join("page-screenshots");
    let mut tests = shell::command(Path::new("node"), &["--test", "--test-reporter=spec", "tests/"]);
    tests.current_dir(folder).env("CONDOR", target_folder().join("debug/condor"));
    shell::run(tests.env("PAGE_SCREENSHOTS", pictures))
}

fn ensure_installed() -> Result<()> {
    let programs = [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium")];
    let missing = programs.iter().filter(|(program, _)| shell::which(program).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install::packages(&missing, "the test of the page")
}

/// Installs what the lock file names, unless that is what is there.
fn install_packages(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let installed = folder.join("node_modules/installed-lock.json");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let quietly = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::run(shell::command(Path::new("npm"), &quietly).current_dir(folder))
        .context("the packages of the page's tests could not be installed from npm; is there a network?")?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}
