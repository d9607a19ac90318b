//! Whether what models gave is stored.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use domain::{Timestamp, TimestampExt};
use serde_json::Value;
use testkit::Answered;

use crate::{Crowd, Game};

/// An answer that was complete so long before a kill, or a deadline, is not lost.
const JOURNALED_AFTER: Duration = Duration::from_millis(100);

/// Answers that were complete in time, to a worker that lived for 100 ms after.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// All of them.
    pub complete: usize,
    /// Those that the worker timed out all the same: it had no time to read them, on a machine that is too busy.
    pub timed_out: usize,
}

/// Every answer in time to a worker that lived for 100 ms after it is stored, once. The worker was killed within each of the
/// ranges.
pub fn check_answers(game: &Game, crowd: &Crowd, kills: &[Range<Timestamp>]) -> Answers {
    let ids = game.round_ids();
    let mut stored = BTreeMap::new();
    for row in game.export("predictions") {
        let twice = stored.insert(prediction_key(&row), row["status"].clone());
        assert!(twice.is_none(), "stored twice: {row}");
    }
    let (mut answers, mut late, mut lost) = (0, 0, Vec::new());
    for (model, answered) in crowd.answers() {
        if !counts(&answered, kills) {
            continue;
        }
        answers += 1;
        let id = &ids[&(Game::asset_of(&answered), Game::slot_of(&answered))];
        match stored.get(&format!("{id}/{model}")).and_then(Value::as_str) {
            Some("SUCCESS") => {}
            Some("TIMEOUT") => late += 1,
            _ => lost.push((model, answered)),
        }
    }
    println!(
        "{answers} answers were complete 100 ms before a kill: {} are lost, {late} were timed out",
        lost.len()
    );
    assert!(lost.is_empty(), "killed at {kills:?}: {lost:?}");
    Answers { complete: answers, timed_out: late }
}

/// True for an answer in time, unless the worker was killed meanwhile or too soon after.
fn counts(answered: &Answered, kills: &[Range<Timestamp>]) -> bool {
    let was_killed =
        |kill: &Range<Timestamp>| answered.asked_at < kill.end && answered.at + JOURNALED_AFTER > kill.start;
    let deadline = Game::slot_of(answered) + Game::CALL_TIMEOUT;
    answered.at + JOURNALED_AFTER < deadline && !kills.iter().any(was_killed)
}

/// How long after its slot the last question of all came to its model.
pub fn latest_question(crowd: &Crowd) -> Duration {
    let late = |(_, answered): &(&str, Answered)| answered.asked_at.since(Game::slot_of(answered));
    crowd.answers().iter().map(late).max().unwrap_or_default()
}

/// Which prediction a row is about.
pub fn prediction_key(row: &Value) -> String {
    let text = |field: &str| row[field].as_str().unwrap().to_owned();
    format!("{}/{}", text("round_id"), text("model_id"))
}
