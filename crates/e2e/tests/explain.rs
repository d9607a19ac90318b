//! `condor score --explain` on what a replay left: every score comes out to the bit again, and nothing of an open
//! round is told.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::fmt::Write;
use std::path::Path;

use domain::{Clock, Span, SystemClock, Timestamp, TimestampExt};
use e2e::{condor, condor_output, json_lines};
use serde_json::Value;

/// Six hours of minutes up to now.
const MINUTES: i64 = 360;

struct Replayed {
    folder: tempfile::TempDir,
    rounds: Vec<Value>,
}

impl Replayed {
    fn up_to(now: Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = now - Span::minutes(MINUTES as u32);
        write_prices(folder.path(), start);
        let mut replayed = Replayed { folder, rounds: Vec::new() };
        let (from, to) = ((start + Span::hours(1)).to_rfc3339(), now.to_rfc3339());
        let prices = replayed.folder.path().display().to_string();
        let arguments = ["replay", "--prices", &prices, "--assets", "BTC", "--from", &from, "--to", &to];
        condor_output(arguments.into_iter().chain(["--models", "3", "--database", &replayed.database()]));
        replayed.rounds = json_lines(&condor_output([
            "db",
            "export",
            "rounds",
            "--json",
            "--database",
            &replayed.database(),
        ]));
        replayed
    }

    fn database(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("condor.db").display())
    }

    fn in_state(&self, state: &str) -> Vec<&str> {
        let rounds = self.rounds.iter().filter(|round| round["state"] == state);
        rounds.map(|round| round["round_id"].as_str().unwrap()).collect()
    }

    fn text(&self, prediction: &str) -> String {
        condor_output(["score", "--explain", prediction, "--database", &self.database()])
    }

    fn json(&self, prediction: &str) -> Value {
        let arguments = ["score", "--explain", prediction, "--json", "--database", &self.database()];
        json_lines(&condor_output(arguments)).remove(0)
    }
}

/// With a hole of three minutes at a slot, the first that is at least 200 minutes in: every twelfth minute is one.
fn write_prices(folder: &Path, start: Timestamp) {
    let hole = (start + Span::minutes(200)).ceil_to(Span::minutes(12)).timestamp();
    let (mut state, mut price) = (1_u64, 2000.0);
    let mut text = String::from("timestamp,price\n");
    for minute in 0..=MINUTES {
        state = state * 48_271 % 2_147_483_647;
        price *= 1.0 + (state as f64 / 2_147_483_647.0 - 0.5) * 2e-3;
        let at = start.timestamp() + minute * 60;
        if !(hole..hole + 180).contains(&at) {
            writeln!(text, "{at},{price:.4}").unwrap();
        }
    }
    std::fs::write(folder.join("BTC-1m.csv"), text).unwrap();
}

#[test]
fn scores_are_explained_and_open_rounds_are_not() {
    let replayed = Replayed::up_to(SystemClock.now().floor_to(Span::minutes(1)));

    let scored = replayed.in_state("scored");
    assert!(scored.len() > 5);
    for round in scored.iter().step_by(3) {
        let report = replayed.json(&format!("{round}/random-walk"));
        assert_eq!(report["agrees"], true, "{report}");
        assert_eq!(report["explanation"]["raw"], report["stored"]["raw"]);
        assert_eq!(report["explanation"]["place"]["field"], 3);
        let text = replayed.text(&format!("{round}/random-walk"));
        assert!(text.contains("the same to the last bit"), "{text}");
    }

    let open = replayed.in_state("closed");
    let report = replayed.json(&format!("{}/random-walk", open.last().unwrap()));
    assert_eq!((&report["explanation"], &report["stored"]), (&Value::Null, &Value::Null), "{report}");
    assert!(report["standing"].as_str().unwrap().starts_with("open until "), "{report}");

    let missed = replayed.in_state("missed");
    let text = replayed.text(&format!("{}/random-walk", missed[0]));
    assert!(text.contains("missed: it was never asked"), "{text}");

    let refused = |prediction: &str| {
        let arguments = ["score", "--explain", prediction, "--database", &replayed.database()];
        let output = condor(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = refused(&format!("{}/nobody", scored[0]));
    assert!(code == Some(1) && message.contains("choose one of ewma-volatility, "), "{message}");
    let (code, message) = refused("00000000-0000-8000-8000-000000000000/random-walk");
    assert!(code == Some(1) && message.contains("condor db export rounds --json"), "{message}");
    let (code, message) = refused("random-walk");
    assert!(code == Some(2) && message.contains("write ROUND_ID/MODEL_ID"), "{message}");
}
