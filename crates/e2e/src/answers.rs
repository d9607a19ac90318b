//! Whether what models gave is stored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use domain::{Timestamp, TimestampExt};
use serde_json::Value;

use crate::{Crowd, Game, Question};

/// An answer that was complete so long before a kill, or a deadline, is not lost.
const JOURNALED_AFTER: Duration = Duration::from_millis(100);

/// Every answer in time to a worker that lived for 100 ms after it is stored, once; returns how many there were. The worker was
/// killed within each of the ranges.
pub fn check_answers(game: &Game, crowd: &Crowd, kills: &[Range<Timestamp>]) -> usize {
    let rounds = game.rounds_by_slot();
    let mut stored = BTreeMap::new();
    for row in game.export("predictions") {
        let (key, status) = (prediction_key(&row), row["status"].clone());
        assert!(stored.insert(key, status).is_none(), "stored twice: {row}");
    }
    let (mut complete, mut lost) = (0, Vec::new());
    for (model, question) in crowd.questions() {
        if !counts(&question, kills) {
            continue;
        }
        complete += 1;
        let round = rounds.get(&(question.asset.clone(), question.slot));
        let round = round.unwrap_or_else(|| panic!("asked, and not on record: {question:?}"));
        let key = format!("{}/{model}", round["round_id"].as_str().unwrap());
        let status = stored.get(&key).and_then(Value::as_str);
        if status != Some("SUCCESS") {
            lost.push(format!("{key}: {status:?}, {question:?}, {round}"));
        }
    }
    println!(
        "{complete} answers were complete 100 ms before a kill or the deadline: {} are lost",
        lost.len()
    );
    assert!(lost.is_empty(), "killed at {kills:?}: {lost:#?}");
    complete
}

/// True for an answer in time, unless the worker that asked was killed before or too soon after.
fn counts(question: &Question, kills: &[Range<Timestamp>]) -> bool {
    let was_killed =
        |kill: &Range<Timestamp>| question.set_up_at < kill.end && question.at + JOURNALED_AFTER > kill.start;
    question.at + JOURNALED_AFTER < deadline(question) && !kills.iter().any(was_killed)
}

fn deadline(question: &Question) -> Timestamp {
    question.slot + Game::CALL_TIMEOUT
}

/// How long after its slot the last question of all came to its model.
pub fn latest_question(crowd: &Crowd) -> Duration {
    let late = |(_, question): &(&str, Question)| question.asked_at.since(question.slot);
    crowd.questions().iter().map(late).max().unwrap_or_default()
}

/// Which prediction a row is about.
pub fn prediction_key(row: &Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    format!("{}/{}", text("round_id"), text("model_id"))
}
