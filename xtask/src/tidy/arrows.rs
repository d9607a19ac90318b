//! Dependency arrows point inwards: a crate may use the crates listed here and no other.

use toml::{Table, Value};

use super::{Finding, SourceFile};

/// What workers, `testkit` and `condor` may use: everything inside of them.
const INNER: &[&str] = &[
    "domain",
    "protocol",
    "scoring",
    "storage",
    "feeds",
    "node-credentials",
    "model-client",
    "http-serve",
    "monitoring",
];

/// Each crate with what it may depend on inside the workspace. A new crate needs a line here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("scoring", &["domain"]),
    ("storage", &["domain"]),
    ("journal", &["domain"]),
    ("feeds", &["domain"]),
    ("storage-sqlite", &["domain", "storage"]),
    ("storage-postgres", &["domain", "storage"]),
    ("node-credentials", &["domain"]),
    ("http-serve", &[]),
    ("monitoring", &["domain"]),
    ("model-client", &["domain", "protocol", "node-credentials"]),
    ("orchestrator", &["domain", "protocol", "node-credentials", "http-serve"]),
    (
        "predict-worker",
        &[
            "domain",
            "protocol",
            "scoring",
            "storage",
            "journal",
            "feeds",
            "node-credentials",
            "model-client",
            "monitoring",
        ],
    ),
    ("score-worker", INNER),
    ("report-worker", INNER),
    ("testkit", INNER),
    (
        "condor",
        &[
            "domain",
            "protocol",
            "scoring",
            "storage",
            "feeds",
            "journal",
            "model-client",
            "storage-sqlite",
            "storage-postgres",
            "orchestrator",
            "predict-worker",
            "score-worker",
            "report-worker",
            "http-serve",
            "monitoring",
        ],
    ),
    ("throwaway-postgres", &["domain"]),
    ("e2e", &[]),
    ("xtask", &["domain", "throwaway-postgres"]),
];

/// What tests may use on top.
const ALLOWED_IN_TESTS: &[&str] = &["testkit", "storage-sqlite", "storage-postgres", "model-client"];

/// Tests of the whole may use anything.
const TESTS_OF_THE_WHOLE: &str = "e2e";

/// Crates that know nothing of databases or HTTP frameworks, and those.
const PURE: &[&str] = &["domain", "scoring", "model-client"];
/// hyper is a protocol implementation: model-client speaks HTTP/2 with it.
const FRAMEWORKS: &[&str] = &["sqlx", "axum", "tower-http"];

const SECTIONS: &[&str] = &["dependencies", "build-dependencies", "dev-dependencies"];

pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.crate_folder().is_some());
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &SourceFile) -> Vec<Finding> {
    let manifest: Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![file.finding(1, format!("it cannot be read: {error}"))],
    };
    let name = file.crate_folder().and_then(|folder| folder.rsplit('/').next()).unwrap_or_default();
    let Some(allowed) = allowed(name) else {
        let cure = "say on what it may depend in xtask/src/tidy/arrows.rs";
        return vec![file.finding(1, format!("`{name}` is not in the table of dependency arrows: {cure}"))];
    };
    let mut findings = Vec::new();
    for (section, dependency) in dependencies(&manifest) {
        let fault = if ALLOWED.iter().any(|(internal, _)| *internal == dependency) {
            let for_tests = name == TESTS_OF_THE_WHOLE
                || section == "dev-dependencies" && ALLOWED_IN_TESTS.contains(&dependency.as_str());
            let inwards = if allowed.is_empty() { "no other crate".into() } else { allowed.join(", ") };
            (!allowed.contains(&dependency.as_str()) && !for_tests).then(|| {
                format!(
                    "`{name}` must not depend on `{dependency}`: arrows point inwards, to {inwards}; move the code"
                )
            })
        } else {
            (PURE.contains(&name) && FRAMEWORKS.contains(&dependency.as_str())).then(|| {
                format!("`{name}` must not know `{dependency}`: move what needs it into an outer crate")
            })
        };
        findings.extend(fault.map(|message| file.finding(line_of(file, &dependency), message)));
    }
    findings
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(known, _)| *known == name).map(|(_, allowed)| *allowed)
}

/// Section and package name of every dependency, those of single platforms and renamed ones included.
fn dependencies(manifest: &Table) -> Vec<(&'static str, String)> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(platforms.filter_map(Value::as_table));
    let mut found = Vec::new();
    for table in tables {
        for section in SECTIONS {
            let entries = table.get(*section).and_then(Value::as_table).into_iter().flatten();
            found.extend(entries.map(|(key, value)| {
                let renamed = value.get("package").and_then(Value::as_str);
                (*section, renamed.unwrap_or(key).to_owned())
            }));
        }
    }
    found
}

fn line_of(file: &SourceFile, dependency: &str) -> usize {
    let names_it = |line: &str| {
        line.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).any(|word| word == dependency)
    };
    file.lines().find(|(_, line)| names_it(line)).map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::super::{file, texts};
    use super::*;

    fn found(name: &str, manifest: &str) -> Vec<String> {
        texts(check(&[file(&format!("crates/{name}/Cargo.toml"), manifest)]))
    }

    #[test]
    fn an_arrow_outwards_is_found_however_it_is_written() {
        let expected = "crates/scoring/Cargo.toml:2: `scoring` must not depend on `storage`: arrows point inwards, \
                        to domain; move the code";
        for manifest in [
            "[dependencies]\nstorage.workspace = true\n",
            "[dependencies]\nstorage = { path = \"../storage\" }\n",
            "[dependencies]\nother = { package = \"storage\", path = \"../storage\" }\n",
            "[target.'cfg(unix)'.dependencies]\nstorage.workspace = true\n",
            "[build-dependencies]\nstorage.workspace = true\n",
            "[dev-dependencies]\nstorage.workspace = true\n",
            "# its table:\n[dependencies.storage]\nworkspace = true\n",
        ] {
            assert_eq!(found("scoring", manifest), [expected], "{manifest}");
        }
        assert_eq!(found("domain", "[dependencies]\nscoring.workspace = true\n").len(), 1);
        assert_eq!(found("condor", "[dependencies]\ntestkit.workspace = true\n").len(), 1);
        assert_eq!(found("score-worker", "[dependencies]\nstorage-sqlite.workspace = true\n").len(), 1);
    }

    #[test]
    fn arrows_inwards_and_test_helpers_are_left_alone() {
        assert!(
            found("scoring", "[dependencies]\ndomain.workspace = true\nserde.workspace = true\n").is_empty()
        );
        assert!(found("score-worker", "[dependencies]\nscoring.workspace = true\n").is_empty());
        assert!(found("score-worker", "[dev-dependencies]\nstorage-sqlite.workspace = true\n").is_empty());
        assert!(found("domain", "[dev-dependencies]\ntestkit.workspace = true\n").is_empty());
        assert!(found("e2e", "[dependencies]\ncondor.workspace = true\n").is_empty());
    }

    #[test]
    fn databases_and_http_frameworks_stay_out_of_the_pure_crates() {
        assert_eq!(
            found("model-client", "[dev-dependencies]\naxum.workspace = true\n"),
            [
                "crates/model-client/Cargo.toml:2: `model-client` must not know `axum`: move what needs it into an outer crate"
            ]
        );
        assert_eq!(found("domain", "[dependencies]\nsqlx.workspace = true\n").len(), 1);
        assert!(found("report-worker", "[dependencies]\naxum.workspace = true\n").is_empty());
    }

    #[test]
    fn a_crate_without_a_place_in_the_table_is_found() {
        assert_eq!(
            found("novel", "[dependencies]\n"),
            [
                "crates/novel/Cargo.toml:1: `novel` is not in the table of dependency arrows: say on what it may depend \
              in xtask/src/tidy/arrows.rs"
            ]
        );
        assert_eq!(found("novel", "[dependencies").len(), 1);
    }
}
