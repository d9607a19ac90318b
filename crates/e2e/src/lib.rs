//! What end-to-end tests need: the real binary, a game that runs sixty times as fast as the real one, and both databases.
//!
//! Being for tests, everything here panics when it does not work.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "test code: a failure is to end the test")]

mod afresh;
mod answers;
mod binary;
mod busy_disk;
mod crowd;
mod database;
mod diary;
pub mod exchange;
mod game;
mod port;
mod random;

pub use afresh::check_afresh;
pub use answers::{check_answers, latest_question, prediction_key};
pub use binary::{Memory, Process, condor, condor_output, json_lines, told_of_full_disks};
pub use busy_disk::BusyDisk;
pub use crowd::Crowd;
pub use database::{Database, databases};
pub use diary::{Question, questions};
pub use game::{Game, instant};
pub use port::free_port;
pub use random::Random;

use std::str::FromStr;
use std::time::Duration;

use domain::Stopwatch;

/// Polls until `happens` gives something.
pub fn eventually<T>(what: &str, patience: Duration, mut happens: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(value) = happens() {
            return value;
        }
        assert!(watch.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What an environment variable says of the test's size; without it, `default`.
pub fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(value) = std::env::var(name) else { return default };
    value.parse().unwrap_or_else(|_| panic!("{name}: `{value}` is no such number"))
}
