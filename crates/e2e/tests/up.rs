//! `condor up`: from nothing to a full leaderboard, and back to nothing.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::path::Path;
use std::time::Duration;

use e2e::{Process, condor, condor_output, eventually, free_port, json_lines};
use serde_json::Value;

/// Builds are slow here: the warm-up is a day, which fills the recent window.
const WARM_UP: &str = "1d";

fn up(folder: &Path, port: u16, more: &[&str]) -> Process {
    let [port, orchestrator, deploy] = [port, free_port(), free_port()].map(|port| port.to_string());
    let data = folder.join("data").display().to_string();
    let ports = ["--port", &port, "--orchestrator-port", &orchestrator, "--deploy-port", &deploy];
    Process::start("up", ["up", "--data-dir", &data].iter().chain(&ports).chain(more))
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
    let before = total().unwrap();
    assert!(process.terminate(Duration::from_secs(90)).success());
    assert!(get(port, "/healthz").is_none(), "the report worker went with it");

    // It goes on where it left off, without a second warm-up.
    let again = up(folder.path(), port, &[]);
    let after = eventually("the page again", Duration::from_secs(30), total);
    assert!(after >= before && after < before + 100, "{before} predictions, then {after}");
    assert!(again.terminate(Duration::from_secs(90)).success());
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
