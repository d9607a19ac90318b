//! What the binary says to somebody who has never seen it, and how it fails.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use e2e::{condor, condor_output, json_lines};

fn failure(arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = condor(arguments).current_dir(folder.path()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "up",
        "predict",
        "score",
        "report",
        "orchestrator",
        "models",
        "model-host",
        "replay",
        "what-if",
        "backtest",
        "probe",
        "db",
        "config",
        "feeds",
    ];
    let overview = condor_output(["--help"]);
    for command in commands {
        assert!(overview.contains(&format!("  {command} ")), "{command} is in the overview");
        let help = condor_output([command, "--help"]);
        assert!(help.contains("Usage:") && help.len() > 200, "{command}: {help}");
    }
    for export in ["rounds", "predictions", "scores", "prices", "windows", "leaderboard"] {
        assert!(condor_output(["db", "export", "--help"]).contains(export));
    }
}

#[test]
fn bad_usage_and_bad_configuration_end_with_2_and_name_the_cure() {
    let cases: [(&[&str], &str); 15] = [
        (&["replay", "--database", "sqlite://x.db"], "--prices <DIR>|--ledger <URL>"),
        (
            &["replay", "--ledger", "sqlite://./x.db", "--database", "sqlite://x.db"],
            "a replay needs a database of its own",
        ),
        (
            &["what-if", "--database", "sqlite://x.db", "--windows", "24h,12h,168h"],
            "a window of 12h after one of 24h: name the shortest first",
        ),
        (&["replay", "--prices", "nowhere", "--database", "sqlite://x.db"], "nowhere"),
        (&["predict", "--config", "nowhere.toml"], "--config"),
        (&["score", "--database", "mysql://x"], "sqlite://FILE or postgres://"),
        (&["model-host", "--builtin", "crystal-ball"], "random-walk"),
        (&["orchestrator", "--models", "nowhere.yml"], "--models"),
        (&["frobnicate"], "unrecognized subcommand"),
        (
            &["replay", "--prices", ".", "--assets", "DOGE", "--database", "sqlite://x.db"],
            "BTC, ETH, SOL, XAU",
        ),
        (&["replay", "--prices", "."], "--database sqlite://replay.db"),
        (&["probe", "--orchestrator", "127.0.0.1:9091"], "ws://HOST:PORT/CRUNCH"),
        (&["probe", "--orchestrator", "ws://192.0.2.1:9091/condor"], "Say --yes if that is a test fleet"),
        (
            &["probe", "--orchestrator", "ws://127.0.0.1:1/condor", "--step", "7m"],
            "--step 7m does not divide --horizon 24h",
        ),
        (
            &[
                "replay",
                "--orchestrator",
                "ws://192.0.2.1:9091/condor",
                "--prices",
                ".",
                "--database",
                "sqlite://x.db",
            ],
            "Say --yes if that is a test fleet",
        ),
    ];
    for (arguments, cure) in cases {
        let (code, message) = failure(arguments);
        assert!(message.contains(cure), "{arguments:?}: {message}");
        assert_eq!(code, 2, "{arguments:?}: {message}");
    }
}

#[test]
fn what_cannot_be_done_ends_with_1() {
    let (code, message) = failure(&["db", "status", "--database", "postgres://nobody@127.0.0.1:1/none"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("unavailable"), "{message}");
    let (code, message) = failure(&["probe", "--orchestrator", "ws://127.0.0.1:1/condor"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("the orchestrator cannot be heard"), "{message}");
}

#[test]
fn an_empty_database_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("condor.db").display());
    condor_output(["db", "migrate", "--database", &url]);
    let status = &json_lines(&condor_output(["db", "status", "--json", "--database", &url]))[0];
    assert_eq!(status["models"], 0);
    assert_eq!(status["rounds"]["scored"], 0);
    assert!(status["schema_version"].as_i64().unwrap() > 0);
}

#[test]
fn a_part_ends_with_the_process_that_started_it() {
    let mut host = condor(["model-host", "--builtin", "random-walk", "--exit-with-parent"]);
    let mut child =
        host.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    drop(child.stdin.take());
    let ended =
        e2e::eventually("the host ends", std::time::Duration::from_secs(20), || child.try_wait().unwrap());
    assert!(ended.success());
}
