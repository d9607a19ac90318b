//! The score worker over a real database, with simulated time.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod corrections;
mod crowd;
mod faults;
mod flaky;
mod game;
mod metrics;
mod naive;
mod operator;
mod postgres;
mod property;
mod ranking;
mod restarts;
mod retention;
mod rules;
mod scoring;
mod season;
mod what_if;
