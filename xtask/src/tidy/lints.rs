//! Every crate takes the workspace's lints.

use toml::{Table, Value};

use super::{Finding, SourceFile};

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.crate_folder().is_some());
    let without = manifests.filter(|file| !takes_workspace_lints(&file.text));
    without
        .map(|file| file.finding(1, "the workspace's lints are missing: add [lints] workspace = true"))
        .collect()
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let manifest: Table = manifest.parse().unwrap_or_default();
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    lints.and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_crate_without_the_workspaces_lints_is_found() {
        let found = |manifest| check(&[file("crates/x/Cargo.toml", manifest)]).len();
        assert_eq!(found("[package]\nname = \"x\"\n"), 1);
        assert_eq!(found("[lints]\nworkspace = false\n"), 1);
        assert_eq!(found("[lints]\nworkspace = true\n"), 0);
        assert!(
            check(&[file("Cargo.toml", "[workspace]\n")]).is_empty(),
            "the workspace itself has none to take"
        );
        assert_eq!(found("[package]\nname = \"x\"\n[workspace]\n"), 0, "a workspace of its own");
    }
}
