//! `condor db prune`: what is old goes, what is needed stays, on both databases.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use domain::{Span, Timestamp};
use e2e::{condor, condor_output, databases, instant, json_lines};
use serde_json::Value;

/// 2025-05-20T00:00:00Z: older than anything is kept.
const START: i64 = 1_747_699_200;
/// Two days of which every round resolves, and a third.
const FROM: &str = "2025-05-20T00:00:00Z";
const TO: &str = "2025-05-22T06:00:00Z";
/// Rounds of a day ahead that were asked from here on do not resolve.
const LAST_DAY: &str = "2025-05-21T00:00:00Z";

fn write_prices(folder: &Path) {
    let (mut state, mut price) = (1_u64, 2000.0);
    let mut text = String::from("timestamp,price\n");
    for minute in 0..54 * 60 {
        state = state * 48_271 % 2_147_483_647;
        price *= 1.0 + (state as f64 / 2_147_483_647.0 - 0.5) * 2e-3;
        writeln!(text, "{},{price:.4}", START + minute * 60).unwrap();
    }
    std::fs::write(folder.join("BTC-1m.csv"), text).unwrap();
}

fn replay(prices: &Path, database: &str) {
    let prices = prices.display().to_string();
    let common = ["replay", "--prices", &prices, "--assets", "BTC", "--database", database, "--models", "2"];
    condor_output(common.into_iter().chain(["--from", FROM, "--to", TO]));
}

fn export(what: &str, database: &str) -> Vec<Value> {
    json_lines(&condor_output(["db", "export", what, "--json", "--database", database]))
}

/// The lines of a prune, and its summary.
fn prune(database: &str, arguments: &[&str]) -> (Vec<Value>, Value) {
    let common = ["db", "prune", "--json", "--database", database];
    let mut lines = json_lines(&condor_output(common.iter().chain(arguments)));
    let summary = lines.pop().unwrap()["summary"].clone();
    (lines, summary)
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter().map(|row| row["round_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn old_predictions_and_scores_go_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    write_prices(folder.path());
    for database in databases(folder.path(), "prune").await {
        let (kind, url) = (database.kind, database.url.as_str());
        replay(folder.path(), url);
        let kept = ["rounds", "prices", "windows", "leaderboard"];
        let before = kept.map(|what| export(what, url));
        let status = condor_output(["db", "status", "--json", "--database", url]);
        let predictions = export("predictions", url);

        let (_, planned) = prune(url, &["--dry-run"]);
        assert_eq!(export("predictions", url), predictions, "{kind}: a dry run changes nothing");
        let (lines, summary) = prune(url, &[]);
        assert_eq!(
            lines.iter().find(|line| line["what"] == "predictions").unwrap()["in_use"],
            0,
            "{lines:?}"
        );
        assert_eq!(summary["rows"], planned["rows"], "{kind}");
        assert!(
            summary["rows"].as_u64().unwrap() > 500 && summary["bytes"].as_u64().unwrap() > 0,
            "{summary}"
        );
        let open = before[0].iter().filter(|round| round["state"] == "closed").count();
        assert_eq!(summary["unfinished_rounds"], open, "{kind}");

        // On PostgreSQL whole days go: the neighbours of a round that is still to be scored stay too.
        let last_day: Timestamp = LAST_DAY.parse().unwrap();
        let must_stay = |round: &&Value| round["state"] == "closed";
        let may_stay = |round: &&Value| {
            must_stay(round) || kind == "postgres" && instant(round, "performed_at") >= last_day
        };
        let rounds = |which: &dyn Fn(&&Value) -> bool| -> BTreeSet<String> {
            before[0]
                .iter()
                .filter(which)
                .map(|round| round["round_id"].as_str().unwrap().to_owned())
                .collect()
        };
        let left = ids(&export("predictions", url));
        assert!(left.is_superset(&rounds(&must_stay)), "{kind}: what is to be scored stays");
        assert!(left.is_subset(&rounds(&may_stay)), "{kind}: what is old is gone");
        assert!(ids(&export("scores", url)).is_subset(&rounds(&may_stay)), "{kind}");
        assert_eq!(kept.map(|what| export(what, url)), before, "{kind}: everything else stays");
        let counted = |status: &str| {
            let status: Value = serde_json::from_str(status).unwrap();
            [status["rounds"].clone(), status["predictions"].clone(), status["models"].clone()]
        };
        let now = condor_output(["db", "status", "--json", "--database", url]);
        assert_eq!(counted(&now), counted(&status), "{kind}");

        let (_, again) = prune(url, &[]);
        assert_eq!(again["rows"], 0, "{kind}: again nothing goes");
    }
}

#[test]
fn what_is_needed_cannot_be_set_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("condor.db").display());
    let missing = condor(["db", "prune", "--database", &url]).output().unwrap();
    let message = String::from_utf8(missing.stderr).unwrap();
    assert!(message.contains("run `condor db migrate`"), "{message}");
    condor_output(["db", "migrate", "--database", &url]);
    let mut command = condor(["db", "prune", "--database", &url]);
    command.env("CONDOR_RETENTION__PREDICTIONS", Span::days(7).to_string());
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("retention.predictions: 7d is too short"), "{message}");
    assert!(condor_output(["db", "prune", "--database", &url]).contains("0 rows removed"));
}
