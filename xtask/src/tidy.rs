//! What has to hold in this repository and no compiler checks. Each rule has its own file and names the place and the
//! cure of what it finds.

mod arrows;
mod clock;
mod leftovers;
mod lints;
mod migrations;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

/// One thing that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    path: String,
    /// From 1.
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A text file of the repository.
pub struct SourceFile {
    /// From the root, with `/` between folders.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl SourceFile {
    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }

    /// Lines and their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The folder of the crate whose manifest this is. A workspace of its own, as fuzz targets are, is none of ours.
    fn crate_folder(&self) -> Option<&str> {
        let folder = self.path.strip_suffix("/Cargo.toml")?;
        let is_own_workspace = self.text.lines().any(|line| line.trim() == "[workspace]");
        (!is_own_workspace).then_some(folder)
    }
}

/// Checks the repository at `root` against every rule.
pub fn run(root: &Path) -> Result<()> {
    let findings = check(&load(root)?);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("the repository is not tidy: {} found", findings.len())
}

fn check(files: &[SourceFile]) -> Vec<Finding> {
    let rules = [arrows::check, clock::check, leftovers::check, lints::check, migrations::check];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(files)).collect();
    findings.sort();
    findings
}

/// The files under version control, and those that are about to be: neither ignored nor gone.
fn load(root: &Path) -> Result<Vec<SourceFile>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let paths = shell::output(shell::command("git", &list).current_dir(root))
        .context("tidy looks at the files under version control: run it in a clone")?;
    let mut files = Vec::new();
    for path in paths.split_terminator('\0').filter(|path| root.join(path).is_file()) {
        let bytes = fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        // What is no text holds nothing that a rule is about.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

#[cfg(test)]
pub(crate) fn texts(findings: Vec<Finding>) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_asked_and_findings_come_in_the_order_of_places() {
        let files = [
            file("crates/domain/Cargo.toml", "[dependencies]\nstorage.workspace = true\n"),
            file("crates/domain/src/lib.rs", concat!("// TO", "DO\nlet now = Utc", "::now();\n")),
            file("crates/storage-sqlite/migrations/0001_first.sql", ""),
        ];
        let places: Vec<String> = check(&files).iter().map(|f| format!("{}:{}", f.path, f.line)).collect();
        let expected = [
            "crates/domain/Cargo.toml:1",
            "crates/domain/Cargo.toml:2",
            "crates/domain/src/lib.rs:1",
            "crates/domain/src/lib.rs:2",
            "crates/storage-sqlite/migrations/0001_first.sql:1",
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn the_rules_see_the_files_of_this_repository() {
        if !crate::repository().join(".git").exists() {
            println!("skipped: this is no clone");
            return;
        }
        let files = load(crate::repository()).unwrap();
        for path in ["xtask/src/tidy.rs", "crates/domain/src/clock.rs", "crates/domain/Cargo.toml"] {
            assert!(files.iter().any(|file| file.path == path), "{path}");
        }
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
    }
}
