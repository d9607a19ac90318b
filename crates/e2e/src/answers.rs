//! Whether what models gave is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Timestamp, TimestampExt};
use serde_json::Value;
use testkit::Answered;

use crate::{Crowd, Game};

/// An answer that was complete so long before a kill, or a deadline, is not lost.
const JOURNALED_AFTER: Duration = Duration::from_millis(100);

/// Every answer in time to a worker that lived for 100 ms after it is stored, once. Returns how many such answers there are.
pub fn check_answers(game: &Game, crowd: &Crowd, killed_at: &[Timestamp]) -> usize {
    let ids = game.round_ids();
    let is_success = |row: &&Value| row["status"] == "SUCCESS";
    let predictions = game.export("predictions");
    let rows: Vec<String> = predictions.iter().filter(is_success).map(prediction_key).collect();
    let stored: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    assert_eq!(stored.len(), rows.len(), "stored twice");
    let answers: Vec<_> =
        crowd.answers().into_iter().filter(|(_, answered)| counts(answered, killed_at)).collect();
    let is_lost = |(model, answered): &&(&str, Answered)| {
        let id = &ids[&(Game::asset_of(answered), Game::slot_of(answered))];
        !stored.contains(format!("{id}/{model}").as_str())
    };
    let lost: Vec<_> = answers.iter().filter(is_lost).collect();
    println!("{} answers were complete 100 ms before a kill, {} are lost", answers.len(), lost.len());
    assert!(lost.is_empty(), "killed at {killed_at:?}: {lost:?}");
    answers.len()
}

/// True for an answer in time, unless the worker was killed meanwhile or too soon after.
fn counts(answered: &Answered, killed_at: &[Timestamp]) -> bool {
    let was_killed =
        |killed: &Timestamp| answered.asked_at < *killed && answered.at + JOURNALED_AFTER > *killed;
    let deadline = Game::slot_of(answered) + Game::CALL_TIMEOUT;
    answered.at + JOURNALED_AFTER < deadline && !killed_at.iter().any(was_killed)
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
