//! `condor up`: from nothing to a full leaderboard, and back to nothing.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use domain::Timestamp;
use e2e::exchange::{binance, close, serve};
use e2e::{Process, condor, condor_output, eventually, free_port, json_lines};
use serde_json::Value;

/// Builds are slow here: the warm-up is a day, which fills the recent window.
const WARM_UP: &str = "1d";

fn up(folder: &Path, port: u16, more: &[&str]) -> Process {
    Process::spawn("up", command(folder, port, more))
}

/// Without a network: whoever has one would get live prices.
fn command(folder: &Path, port: u16, more: &[&str]) -> Command {
    let [port, orchestrator, deploy] = [port, free_port(), free_port()].map(|port| port.to_string());
    let data = folder.join("data").display().to_string();
    let ports = ["--port", &port, "--orchestrator-port", &orchestrator, "--deploy-port", &deploy];
    let mut command = condor(["up", "--data-dir", &data].iter().chain(&ports).chain(more));
    command.env("HTTPS_PROXY", "http://127.0.0.1:1");
    command
}

/// The JSON behind a path, once the server answers; `None` for any answer but 200.
fn get(port: u16, path: &str) -> Option<Value> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).unwrap())
}

#[test]
fn everything_starts_in_an_empty_folder_goes_on_live_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let process = up(folder.path(), port, &["--warm-up", WARM_UP, "--models", "3"]);

    let leaderboard = eventually("a leaderboard of three models", Duration::from_secs(240), || {
        get(port, "/leaderboard?window=recent").filter(|board| board["count"] == 3)
    });
    for (i, model) in leaderboard["models"].as_array().unwrap().iter().enumerate() {
        assert_eq!(model["rank"], i + 1);
        assert!(model["score"].is_number() && model["model_name"].is_string(), "{model}");
        assert_eq!(model["baseline"], true, "it is built in: {model}");
    }
    let statistics = get(port, "/statistics").unwrap();
    assert_eq!(statistics["total_models"], 3);

    // The warm-up ends a moment ago at the most: what is asked now is live.
    let total = || get(port, "/statistics").and_then(|statistics| statistics["total_predictions"].as_u64());
    let database = format!("sqlite://{}", folder.path().join("data/condor.db").display());
    eventually("live rounds", Duration::from_secs(240), || {
        let rounds =
            json_lines(&condor_output(["db", "export", "rounds", "--json", "--database", &database]));
        let is_live = |round: &&Value| round["success"] == 3 && round["closed_at"] != round["performed_at"];
        rounds.iter().rev().find(is_live).cloned()
    });
    every_worker_is_listed(port);
    change_settings_under(&process, folder.path());
    let log = process.log().join("\n");
    assert!(!log.contains("cannot be heard"), "the predict worker waits for the orchestrator: {log}");
    assert!(
        log.contains("no live ones: binance, BTC: ") && log.contains("so the market is simulated"),
        "{log}"
    );
    assert_eq!(price_label(port), "simulated market");
    let before = total().unwrap();
    assert!(process.terminate(Duration::from_secs(90)).success());
    assert!(get(port, "/healthz").is_none(), "the report worker went with it");

    // It goes on where it left off, without a second warm-up.
    let again = up(folder.path(), port, &[]);
    let after = eventually("the page again", Duration::from_secs(30), total);
    assert!(after >= before && after < before + 100, "{before} predictions, then {after}");
    assert!(again.terminate(Duration::from_secs(90)).success());
}

fn price_label(port: u16) -> String {
    get(port, "/api/v1/status").unwrap()["price_label"].as_str().unwrap().to_owned()
}

#[test]
fn live_prices_are_those_of_the_service_and_a_reset_begins_anew_but_keeps_submissions() {
    let folder = tempfile::tempdir().unwrap();
    let (port, submission) = (free_port(), folder.path().join("data/submissions/mine"));
    std::fs::create_dir_all(&submission).unwrap();
    std::fs::write(submission.join("main.py"), "").unwrap();
    let database = format!("sqlite://{}", folder.path().join("data/condor.db").display());
    let prices = || json_lines(&condor_output(["db", "export", "prices", "--json", "--database", &database]));

    let feed = format!("binance={}", serve(binance));
    let process = up(folder.path(), port, &["--feed", &feed, "--warm-up", "2h", "--models", "1"]);
    let summary = |process: &Process| {
        eventually("the summary", Duration::from_secs(240), || {
            let lines = process.log();
            lines.iter().find(|line| line.starts_with("submissions  ")).cloned()
        })
    };
    assert_eq!(summary(&process), "submissions  mine (new)");
    assert_eq!(price_label(port), "live prices");
    let played = prices();
    for price in &played {
        let at: Timestamp = price["at"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            (&price["source"], price["price"].as_f64()),
            (&"binance".into(), Some(close(at.timestamp() - 60)))
        );
    }
    let assets: BTreeSet<&str> = played.iter().filter_map(|price| price["asset"].as_str()).collect();
    assert_eq!(assets, BTreeSet::from(["BTC", "ETH", "SOL"]));
    assert!(played.len() >= 3 * 26 * 60, "a day before the warm-up is there too: {}", played.len());
    let log = process.log().join("\n");
    assert!(log.contains("not asked about XAU: no service without a key has it"), "{log}");
    assert!(process.terminate(Duration::from_secs(90)).success());

    let refused = command(folder.path(), port, &["--feed", "simulated"]).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && message.contains("add --reset to begin anew"), "{message}");

    let before_reset = prices().len();
    let nowhere = format!("coinbase=http://127.0.0.1:{}", free_port());
    let failed = command(folder.path(), port, &["--reset", "--feed", &nowhere]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(prices().len(), before_reset, "nothing is removed before there is something in its place");

    let process =
        up(folder.path(), port, &["--reset", "--feed", "simulated", "--warm-up", "1h", "--models", "1"]);
    assert_eq!(summary(&process), "submissions  mine");
    let sources: BTreeSet<String> = prices().iter().map(|price| price["source"].to_string()).collect();
    assert_eq!(sources, BTreeSet::from(["\"simulated\"".to_owned()]));
    assert!(process.terminate(Duration::from_secs(90)).success());
}

#[test]
fn a_service_that_is_named_and_has_no_prices_is_told_and_nothing_is_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("coinbase=http://127.0.0.1:{}", free_port());
    let output = command(folder.path(), free_port(), &["--feed", &nowhere]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("or --feed simulated") && message.contains("127.0.0.1"), "{message}");
    assert!(!folder.path().join("data/condor.toml").exists(), "nothing was set up");
}

/// What the page says of the machinery.
fn every_worker_is_listed(port: u16) {
    let states = eventually("three workers at work", Duration::from_secs(30), || {
        let system = get(port, "/api/v1/system")?;
        let workers = system["workers"].as_array().unwrap();
        let state = |worker: &Value| format!("{} {} {}", worker["role"], worker["state"], worker["alive"]);
        Some(workers.iter().map(state).collect::<Vec<_>>()).filter(|states| states.len() == 3)
    });
    let expected = [
        "\"predict\" \"leading\" true",
        "\"score\" \"scoring and ranking\" true",
        "\"report\" \"answering\" true",
    ];
    assert_eq!(states, expected);
}

/// A SIGHUP for all is one for each worker; a file that cannot be read is told of once and reaches none.
fn change_settings_under(process: &Process, folder: &Path) {
    let file = folder.join("data/condor.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let lines_with = |words: &str| process.log().iter().filter(|line| line.contains(words)).count();
    std::fs::write(&file, format!("{settings}\n[models]\nno_such_key = 1\n")).unwrap();
    process.hang_up();
    let patience = Duration::from_secs(30);
    eventually("the refusal", patience, || (lines_with("no_such_key") > 0).then_some(()));
    let changes = "[models]\nmax_consecutive_failures = 3\n[scoring]\nasset_weights = { BTC = 2.0 }\n";
    std::fs::write(&file, format!("{settings}\n{changes}")).unwrap();
    process.hang_up();
    let config = file.display().to_string();
    let audit = || condor_output(["audit", "--config", &config]);
    let on_record = eventually("both changes on record", patience, || {
        Some(audit()).filter(|text| text.lines().count() == 2)
    });
    for change in ["models.max_consecutive_failures: from 10 to 3", "scoring.asset_weights: from {} to"] {
        assert!(on_record.contains(change), "{on_record}");
    }
    assert!(!on_record.contains("+00:00"), "instants end with Z, as everywhere: {on_record}");
    assert_eq!(lines_with("no_such_key"), 1, "one process says it");
}

/// Settings of a folder that was set up before.
fn set_up_with(data: &Path, settings: &str) {
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(data.join("condor.toml"), settings).unwrap();
    std::fs::write(data.join("warm-up-done"), "").unwrap();
}

#[test]
fn security_that_its_own_models_do_not_have_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    set_up_with(&data, "[orchestrator.security]\nkind = \"gateway\"\nprivate_key = \"coordinator.key\"\n");
    let [port, orchestrator, deploy] = [(); 3].map(|()| free_port().to_string());
    let output =
        condor(["up", "--port", &port, "--orchestrator-port", &orchestrator, "--deploy-port", &deploy])
            .arg("--data-dir")
            .arg(&data)
            .output()
            .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("condor.toml: [orchestrator.security]: "), "{message}");
    assert!(message.contains("kind = \"plain\""), "{message}");
    assert!(!data.join("condor.db").exists(), "nothing was begun");
}
