//! `condor replay`: every prediction accounted for, the same bits every time and on both databases.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use e2e::{Process, condor, condor_output, databases, eventually, json_lines};
use serde_json::Value;

/// Twenty-six hours of minutes from here on, for two assets, with one hour missing in one of them.
const START: i64 = 1_747_699_200; // 2025-05-20T00:00:00Z
const GAP: std::ops::Range<i64> = 300..360;

fn write_prices(folder: &Path) {
    for (asset, seed) in [("BTC", 1_u64), ("ETH", 2)] {
        let (mut state, mut price) = (seed, 2000.0 * seed as f64);
        let mut text = String::from("timestamp,price\n");
        for minute in 0..26 * 60 {
            state = state * 48_271 % 2_147_483_647;
            price *= 1.0 + (state as f64 / 2_147_483_647.0 - 0.5) * 2e-3;
            if asset == "BTC" || !GAP.contains(&minute) {
                writeln!(text, "{},{price:.4}", START + minute * 60).unwrap();
            }
        }
        std::fs::write(folder.join(format!("{asset}-1m.csv")), text).unwrap();
    }
}

fn replay(prices: &Path, database: &str) -> Value {
    let output = condor_output(arguments(prices, database));
    json_lines(&output).last().unwrap()["summary"].clone()
}

fn arguments(prices: &Path, database: &str) -> Vec<String> {
    let prices = prices.display().to_string();
    let times = ["--from", "2025-05-20T01:00:00Z", "--to", "2025-05-21T02:00:00Z"];
    let common = ["replay", "--prices", &prices, "--assets", "BTC,ETH", "--database", database, "--json"];
    let models = ["--models", "2", "--add-model", "random-walk:scale=10"];
    common.into_iter().chain(times).chain(models).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_replay_accounts_for_everything_and_repeats_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    write_prices(folder.path());
    let mut databases = databases(folder.path(), "replay").await;
    let second = format!("sqlite://{}", folder.path().join("second.db").display());
    databases.push(e2e::Database { kind: "sqlite again", url: second });

    let mut leaderboards = Vec::new();
    for database in &databases {
        let summary = replay(folder.path(), &database.url);
        check_counts(&summary);
        leaderboards.push((database.kind, summary["leaderboard"].clone()));
    }
    let (_, first) = &leaderboards[0];
    for (kind, leaderboard) in &leaderboards {
        assert_eq!(leaderboard, first, "{kind} differs");
    }
    let last = first.as_array().unwrap().last().unwrap();
    assert_eq!(last["model_id"], "random-walk:scale=10", "ten times too wide ranks last");

    // The same again into the same database asks nothing twice and changes nothing.
    let again = replay(folder.path(), &databases[0].url);
    check_counts(&again);
    assert_eq!(again["leaderboard"], *first);
    refuses_a_database_with_later_rounds(folder.path(), &databases[0].url);
    replays_from_the_ledger(folder.path(), &databases[0].url, &again);
    tells_what_would_be_under_other_weights(&databases[0].url, first);
}

/// The prices that a replay has recorded are as good as the files that they came from; the outcome goes to a page as well.
fn replays_from_the_ledger(folder: &Path, ledger: &str, expected: &Value) {
    let database = format!("sqlite://{}", folder.join("from-ledger.db").display());
    let report = folder.join("report.html").display().to_string();
    let mut arguments = arguments(folder, &database);
    let prices = arguments.iter().position(|argument| argument == "--prices").unwrap();
    arguments.splice(prices..prices + 2, ["--ledger", ledger, "--report", &report].map(str::to_owned));
    let output = condor_output(arguments);
    assert_eq!(lasting(json_lines(&output)[0]["summary"].clone()), lasting(expected.clone()));
    let page = std::fs::read_to_string(&report).unwrap();
    for shown in ["random-walk:scale=10", "no fresh price", "<polyline", "2025-05-20 04:59"] {
        assert!(page.contains(shown), "{shown}");
    }
}

/// As it is, the leaderboard stays; and nothing of the database changes.
fn tells_what_would_be_under_other_weights(database: &str, leaderboard: &Value) {
    let what_if = |change: &[&str]| {
        let common = ["what-if", "--database", database, "--json"];
        json_lines(&condor_output(common.iter().chain(change)))
    };
    for (place, same) in leaderboard.as_array().unwrap().iter().zip(what_if(&[])) {
        for number in ["rank", "recent", "steady", "anchor", "raw_anchor"] {
            assert_eq!(same["before"][number], place[number]);
            assert_eq!(same["after"][number], place[number]);
        }
    }
    let changed = what_if(&["--asset-weight", "ETH=9", "--rule", "log_score", "--windows", "2h,4h,6h"]);
    let (summary, models) = changed.split_last().unwrap();
    assert_eq!(models.len(), 3);
    assert!(
        models.iter().all(|model| model["before"]["raw_anchor"] != model["after"]["raw_anchor"]),
        "{models:?}"
    );
    assert!(summary["what_if"]["rule"].as_str().unwrap().starts_with("log_score"), "{summary}");
    assert_eq!(what_if(&[])[0]["before"]["rank"], 1);
}

#[tokio::test]
async fn a_replay_that_is_killed_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    write_prices(folder.path());
    let whole = format!("sqlite://{}", folder.path().join("whole.db").display());
    let expected = replay(folder.path(), &whole);
    for database in databases(folder.path(), "replay_killed").await {
        for done in ["replay: 20 %", "replay: 50 %", "replay: 90 %"] {
            let mut process = Process::start("replay", arguments(folder.path(), &database.url));
            eventually(done, Duration::from_secs(120), || {
                process.log().iter().any(|line| line.starts_with(done)).then_some(())
            });
            process.kill_9();
        }
        let resumed = replay(folder.path(), &database.url);
        assert_eq!(lasting(resumed), lasting(expected.clone()), "{}", database.kind);
        for what in ["rounds", "predictions", "scores", "windows", "prices"] {
            assert_eq!(export(&database.url, what), export(&whole, what), "{what}, {}", database.kind);
        }
    }
}

/// All of a summary but what it took.
fn lasting(mut summary: Value) -> Value {
    summary.as_object_mut().unwrap().remove("wall_s").unwrap();
    summary
}

/// Everything of a kind that is stored but how long models took.
fn export(database: &str, what: &str) -> Vec<Value> {
    let mut rows = json_lines(&condor_output(["db", "export", what, "--json", "--database", database]));
    for row in &mut rows {
        row.as_object_mut().unwrap().remove("took_us");
    }
    assert!(!rows.is_empty(), "{what}");
    rows
}

/// Its leaderboard would not be as of the replay's end, and live rounds in flight would be taken for interrupted.
fn refuses_a_database_with_later_rounds(prices: &Path, database: &str) {
    let prices = prices.display().to_string();
    let arguments = ["replay", "--prices", &prices, "--assets", "BTC", "--database", database];
    let times = ["--from", "2025-05-20T01:00:00Z", "--to", "2025-05-20T03:00:00Z"];
    let output = condor(arguments.into_iter().chain(times)).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("past --to: name another --database"), "{message}");
    assert_eq!(output.status.code(), Some(2));
}

fn check_counts(summary: &Value) {
    let count = |field: &str| summary[field].as_u64().unwrap();
    // 25 hours of 5 + 2 + 1 rounds for each of two assets.
    assert_eq!(count("rounds"), 25 * 8 * 2, "{summary}");
    assert_eq!(
        count("scored") + count("void") + count("missed") + count("open"),
        count("rounds"),
        "{summary}"
    );
    let statuses = count("success") + count("failed") + count("timeout") + count("absent");
    assert_eq!(statuses, count("predictions"), "{summary}");
    assert_eq!(count("predictions"), (count("rounds") - count("missed")) * 3, "{summary}");
    assert_eq!(count("success"), count("predictions"), "{summary}");
    // An hour without prices of ETH: its 8 slots are missed.
    assert_eq!(count("missed"), 8, "{summary}");
    // What was asked in the last day, four hours and one hour has not resolved yet.
    assert_eq!(count("open"), 2 * (24 + 8 + 5), "{summary}");
    // Rounds of an hour that lie for the most part in the hour without prices.
    assert_eq!(count("void"), 4, "{summary}");
    let coverage = |asset: usize, field: &str| summary["coverage"][asset][field].clone();
    assert_eq!(coverage(0, "gaps"), serde_json::json!([]), "BTC has all prices");
    let gap = serde_json::json!({
        "after": "2025-05-20T04:59:00Z", "until": "2025-05-20T06:00:00Z", "missed": 8, "void": 4,
    });
    assert_eq!(coverage(1, "gaps"), serde_json::json!([gap]), "that of ETH explains all");
    assert_eq!(coverage(1, "unexplained"), 0);
    for place in summary["leaderboard"].as_array().unwrap() {
        for window in ["recent", "steady", "anchor", "raw_anchor"] {
            assert!(place[window].is_number(), "{place}");
        }
    }
}
