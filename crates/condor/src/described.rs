//! docs/metrics.md holds one table of all metrics, written from the code.

use domain::Timestamp;
use monitoring::{Description, Registry};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// Between the lines before and after it.
const HEAD: &str = "| metric | kind | labels | what it says |\n|---|---|---|---|\n";

fn row(description: &Description) -> String {
    let Description { name, kind, labels, help } = description;
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
}

fn all() -> Registry {
    let mut registry = Registry::of_process("", Timestamp::default());
    predict_worker::Metrics::default().register(&mut registry);
    score_worker::Metrics::default().register(&mut registry);
    report_worker::Metrics::default().register(&mut registry);
    registry
}

#[test]
fn every_metric_is_described_in_the_docs_and_no_other() {
    let registry = all();
    let rows: String = registry.descriptions().iter().map(row).collect();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(HEAD).expect("docs/metrics.md has a table of metrics");
    let after = &rest[rest.find("\n\n").map_or(rest.len(), |end| end + 1)..];
    let renewed = format!("{before}{HEAD}{rows}{after}");
    if std::env::var_os("RENEW_SNAPSHOTS").is_some() {
        std::fs::write(PAGE, &renewed).unwrap();
    }
    assert!(
        std::fs::read_to_string(PAGE).unwrap() == renewed,
        "the metrics have changed: run `RENEW_SNAPSHOTS=1 cargo test -p condor metric` and look at the difference"
    );
}

#[test]
fn metrics_are_named_alike_and_each_has_a_name_of_its_own() {
    let registry = all();
    let mut names: Vec<&str> = registry.descriptions().iter().map(|it| it.name.as_str()).collect();
    assert!(names.iter().all(|name| name.starts_with("condor_")), "{names:?}");
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
