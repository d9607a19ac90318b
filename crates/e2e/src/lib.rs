//! What end-to-end tests need: the real binary, a game that runs sixty times as fast as the real one, and both databases.
//!
//! Being for tests, everything here panics when it does not work.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "test code: a failure is to end the test")]

mod binary;
mod database;
mod game;

pub use binary::{Memory, Process, condor, condor_output, json_lines};
pub use database::{Database, databases};
pub use game::{Game, instant};

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
